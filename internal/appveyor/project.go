package appveyor

import (
	"context"
	"net/http"

	"mergegate/internal/mergecheck"
)

// Project reads which project has this name now. Errors are *[Error].
func (c *Client) Project(ctx context.Context, account, slug string) (mergecheck.Project, error) {
	var wire struct {
		Project wireProject `json:"project"`
	}
	target := c.projectURL(Ref{Account: account, Slug: slug}, "history") + "?recordsNumber=1"
	if err := c.get(ctx, account, target, &wire); err != nil {
		return mergecheck.Project{}, err
	}
	if wire.Project.ProjectID == 0 {
		return mergecheck.Project{}, statusError(http.StatusNotFound, 0)
	}
	return mergecheck.Project{ID: int64(wire.Project.ProjectID), Account: string(wire.Project.AccountName), Slug: string(wire.Project.Slug)}, nil
}
