package appveyor

import (
	"context"
	"net/http"
	"net/url"

	"mergegate/internal/mergecheck"
)

// Project reads which project has this name now. Errors are *[Error].
func (c *Client) Project(ctx context.Context, account, slug string) (mergecheck.Project, error) {
	p, _, err := c.historyOf(ctx, account, slug, url.Values{}, 1)
	if err == nil && p.Project.ID == 0 {
		err = statusError(http.StatusNotFound, 0)
	}
	return p.Project, err
}
