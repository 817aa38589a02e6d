package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"mergegate/api"
)

// decodeInto reads an answer however long it is in coming.
func decodeInto(answer any) func(io.Reader) error {
	return func(r io.Reader) error {
		if err := json.NewDecoder(r).Decode(answer); err != nil {
			return fmt.Errorf("the service's answer is not the API's, or broke off: %w", err)
		}
		return nil
	}
}

// Deliveries lists what was received, newest first.
func (c *Client) Deliveries(ctx context.Context, limit int) (deliveries []api.Delivery, more bool, err error) {
	return list[api.Delivery](ctx, c, "/api/v1/deliveries", nil, limit)
}

// ReplayDelivery has a delivery processed again.
func (c *Client) ReplayDelivery(ctx context.Context, id string) (delivery api.Delivery, err error) {
	err = c.post(ctx, "/api/v1/deliveries/"+url.PathEscape(id)+"/replay", nil, &delivery)
	return delivery, err
}

// ReplaySince has every delivery received since then processed again, and tells progress
// how far it has come. It takes as long as ctx lets it.
func (c *Client) ReplaySince(ctx context.Context, since time.Time, progress func(api.Replayed)) (last api.Replayed, err error) {
	path := "/api/v1/deliveries/replay?" + times(since, time.Time{}).Encode()
	last, err = lines(ctx, c, path, progress)
	if err == nil && !last.Done {
		err = errBrokeOff
	}
	return last, err
}

// lines asks for what answers with a line now and then, and returns the last one.
func lines[T any](ctx context.Context, c *Client, path string, progress func(T)) (last T, err error) {
	err = c.doAll(ctx, http.MethodPost, path, nil, func(r io.Reader) error {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
				return fmt.Errorf("the service's answer is not the API's: %w", err)
			}
			progress(last)
		}
		if lines.Err() != nil {
			return errBrokeOff
		}
		return nil
	})
	return last, err
}

// CommitStatuses lists commit statuses by how far they have come, newest first; all of
// them where outcome is "".
func (c *Client) CommitStatuses(ctx context.Context, outcome string, limit int) (statuses []api.CommitStatus, more bool, err error) {
	query := url.Values{}
	if outcome != "" {
		query.Set("outcome", outcome)
	}
	return list[api.CommitStatus](ctx, c, "/api/v1/commit-statuses", query, limit)
}

// RetryCommitStatus has a commit status posted again that Bitbucket refused.
func (c *Client) RetryCommitStatus(ctx context.Context, id string) (status api.CommitStatus, err error) {
	err = c.post(ctx, "/api/v1/commit-statuses/"+url.PathEscape(id)+"/retry", nil, &status)
	return status, err
}

// Projects lists the AppVeyor projects that were seen, by repository.
func (c *Client) Projects(ctx context.Context) ([]api.SeenProject, error) {
	var answer api.List[api.SeenProject]
	err := c.get(ctx, "/api/v1/projects", &answer)
	return answer.Values, err
}

// ForgetProject stops a project from being required.
func (c *Client) ForgetProject(ctx context.Context, id int64) error {
	return c.post(ctx, fmt.Sprintf("/api/v1/projects/%d/forget", id), nil, nil)
}

// Backfill imports builds from a project's history on AppVeyor, as far back as since, and
// tells progress how far it has come. It takes as long as ctx lets it.
func (c *Client) Backfill(ctx context.Context, project string, since time.Time, progress func(api.Backfill)) (last api.Backfill, err error) {
	query := times(since, time.Time{})
	query.Set("project", project)
	last, err = lines(ctx, c, "/api/v1/backfill?"+query.Encode(), progress)
	if err == nil && !last.Done {
		err = errBrokeOff
	}
	return last, err
}

// CreateToken makes an API token. Its text is in the answer, this once.
func (c *Client) CreateToken(ctx context.Context, r api.TokenRequest) (token api.Token, err error) {
	err = c.post(ctx, "/api/v1/tokens", r, &token)
	return token, err
}

// Tokens lists API tokens, without their text.
func (c *Client) Tokens(ctx context.Context) ([]api.Token, error) {
	var answer api.List[api.Token]
	err := c.get(ctx, "/api/v1/tokens", &answer)
	return answer.Values, err
}

// RevokeToken makes a token invalid at once.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.delete(ctx, "/api/v1/tokens/"+url.PathEscape(id))
}
