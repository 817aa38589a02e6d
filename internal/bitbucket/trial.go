package bitbucket

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// NewestOpen answers the number of the open pull request that changed last, 0 where none is open. It is a pull request to
// try a credential with.
func (c *Client) NewestOpen(ctx context.Context, workspace, repo string) (int64, error) {
	op := "list pull requests of " + workspace + "/" + repo
	u, err := c.repositoryURL(op, workspace, repo, "pullrequests")
	if err != nil {
		return 0, err
	}
	u.RawQuery = "state=OPEN&sort=-updated_on&pagelen=1"
	var answer struct {
		Values []struct {
			ID int64 `json:"id"`
		} `json:"values"`
	}
	if err := c.do(ctx, call{op: op, method: http.MethodGet, url: u}, &answer); err != nil || len(answer.Values) == 0 {
		return 0, err
	}
	return answer.Values[0].ID, nil
}

// TryCommits lists commits of a pull request, for nothing but to see whether the credential may.
func (c *Client) TryCommits(ctx context.Context, workspace, repo string, id int64) error {
	op := "list commits of pull request " + strconv.FormatInt(id, 10) + " of " + workspace + "/" + repo
	u, err := c.repositoryURL(op, workspace, repo, "pullrequests", strconv.FormatInt(id, 10), "commits")
	if err != nil {
		return err
	}
	u.RawQuery = "pagelen=1"
	var answer struct{}
	return c.do(ctx, call{op: op, method: http.MethodGet, url: u}, &answer)
}

// TryWorkspace lists repositories of a workspace, for nothing but to see whether it exists: Bitbucket answers a
// workspace that doesn't with 404, to anybody.
func (c *Client) TryWorkspace(ctx context.Context, workspace string) error {
	op := "list repositories of " + workspace
	u, err := url.Parse(c.base.String() + "/2.0/repositories/" + segment(workspace) + "?pagelen=1")
	if err != nil {
		return &Error{Op: op, Message: "no such address", permanent: true}
	}
	var answer struct{}
	return c.do(ctx, call{op: op, method: http.MethodGet, url: u}, &answer)
}
