package bitbucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	maxBehind     = 100 // one page: who is further behind is far behind
	pathsPerPage  = 500
	maxPathsPages = 10
)

// CommitsBehind counts the commits that destination has and tested doesn't, up to
// 100. complete is false where there are more. Both are hashes, abbreviated or
// not, of commits that are in the repository.
func (c *Client) CommitsBehind(ctx context.Context, workspace, repo, destination, tested string) (behind int, complete bool, err error) {
	op := fmt.Sprintf("count commits of %s/%s from %s to %s", workspace, repo, tested, destination)
	u, err := c.repositoryURL(op, workspace, repo, "commits")
	if err != nil {
		return 0, false, err
	}
	u.RawQuery = url.Values{"include": {destination}, "exclude": {tested}, "pagelen": {strconv.Itoa(maxBehind)}}.Encode()
	var page struct {
		Values *[]json.RawMessage `json:"values"`
		Next   string             `json:"next"`
	}
	if err := c.do(ctx, call{op: op, method: http.MethodGet, url: u}, &page); err != nil {
		return 0, false, err
	}
	if page.Values == nil {
		return 0, false, &Error{Op: op, StatusCode: http.StatusOK, Message: "the answer isn't a list of commits"}
	}
	return len(*page.Values), page.Next == "", nil
}

// PullRequestPaths lists every path that a pull request changes, old and new names of what was renamed, sorted. It fails
// rather than leave one out. Bitbucket redirects it to the diffstat of the two commits, which needs no access to a fork.
func (c *Client) PullRequestPaths(ctx context.Context, workspace, repo string, id int64) ([]string, error) {
	op := fmt.Sprintf("list what pull request %d of %s/%s changes", id, workspace, repo)
	u, err := c.repositoryURL(op, workspace, repo, "pullrequests", formatID(id), "diffstat")
	if err != nil {
		return nil, err
	}
	u.RawQuery = "pagelen=" + strconv.Itoa(pathsPerPage)
	return c.changedPaths(ctx, op, u)
}

// PathsOfHead lists every path that a pull request changes while its head and its destination are these, given by their
// hashes, the destination's abbreviated or not. It fails where the pull request is, or was meanwhile, at another one:
// what one head changes says nothing about another.
func (c *Client) PathsOfHead(ctx context.Context, workspace, repo string, id int64, head, destination string) ([]string, error) {
	op := fmt.Sprintf("list what pull request %d of %s/%s changes", id, workspace, repo)
	changed := &Error{Op: op, Message: "the pull request changed while mergegate read it", permanent: true}
	before, err := c.PullRequest(ctx, workspace, repo, id)
	if err != nil {
		return nil, err
	}
	short := before.Destination.Commit
	if short == "" || !strings.HasPrefix(destination, short) && !strings.HasPrefix(short, destination) {
		return nil, changed
	}
	if now, err := c.PullRequestHead(ctx, workspace, repo, before); err != nil || now != head {
		return nil, errors.Join(err, changed)
	}
	paths, err := c.PullRequestPaths(ctx, workspace, repo, id)
	if err != nil {
		return nil, err
	}
	after, err := c.PullRequest(ctx, workspace, repo, id)
	if err != nil {
		return nil, err
	}
	after.ReadOn, after.Took = before.ReadOn, before.Took
	if after != before {
		return nil, changed
	}
	if after.UpdatedOn.IsZero() { // nothing says that no head with the same 12 characters is there now
		if now, err := c.PullRequestHead(ctx, workspace, repo, after); err != nil || now != head {
			return nil, errors.Join(err, changed)
		}
	}
	return paths, nil
}

func (c *Client) changedPaths(ctx context.Context, op string, u *url.URL) ([]string, error) {
	paths := []string{}
	for range maxPathsPages {
		var page diffstatPage
		if err := c.do(ctx, call{op: op, method: http.MethodGet, url: u, landed: &u}, &page); err != nil {
			return nil, err
		}
		if page.Values == nil {
			return nil, &Error{Op: op, StatusCode: http.StatusOK, Message: "the answer isn't a list of changes"}
		}
		for _, change := range *page.Values {
			named := change.paths()
			if len(named) == 0 {
				return nil, &Error{Op: op, StatusCode: http.StatusOK, Message: "a change in the answer has no path"}
			}
			paths = append(paths, named...)
		}
		if page.Next == "" {
			slices.Sort(paths)
			return slices.Compact(paths), nil
		}
		next, ok := c.linked(page.Next, u)
		if !ok {
			return nil, &Error{Op: op, StatusCode: http.StatusOK, Message: "the next page of changes is elsewhere"}
		}
		u = next
	}
	return nil, &Error{Op: op, StatusCode: http.StatusOK, Message: fmt.Sprintf("there are more than %d pages of changes", maxPathsPages)}
}

type diffstatPage struct {
	Values *[]diffstat `json:"values"`
	Next   string      `json:"next"`
}

// diffstat is one change: old is null for what was added, new for what was removed.
type diffstat struct {
	Old *struct {
		Path string `json:"path"`
	} `json:"old"`
	New *struct {
		Path string `json:"path"`
	} `json:"new"`
}

func (d diffstat) paths() (paths []string) {
	if d.Old != nil && d.Old.Path != "" {
		paths = append(paths, d.Old.Path)
	}
	if d.New != nil && d.New.Path != "" {
		paths = append(paths, d.New.Path)
	}
	return paths
}
