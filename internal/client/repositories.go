package client

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mergegate/api"
)

// ErrRepository says that a repository isn't named as WORKSPACE/REPO.
var ErrRepository = errors.New("name the repository by both, with slugs or UUIDs")

var errBrokeOff = errors.New("the service's answer broke off; see its log, and try again: what was done stays done")

// repositoryPath is the path of "workspace/repo", by slugs or UUIDs.
func repositoryPath(name string) (string, error) {
	workspace, slug, found := strings.Cut(name, "/")
	if !found || workspace == "" || slug == "" || strings.Contains(slug, "/") {
		return "", fmt.Errorf("%q is not WORKSPACE/REPO: %w", name, ErrRepository)
	}
	return "/api/v1/repositories/" + url.PathEscape(workspace) + "/" + url.PathEscape(slug), nil
}

// PullRequest names a pull request.
type PullRequest struct {
	Repository string // workspace/repo
	ID         int64
}

func (p PullRequest) path() (string, error) {
	repository, err := repositoryPath(p.Repository)
	return fmt.Sprintf("%s/pullrequests/%d", repository, p.ID), err
}

// BuildFilter says which builds to list. The zero value is all of them.
type BuildFilter struct {
	PullRequest    int64
	Commit         string // 7 characters or more
	Project, State string
	Since, Until   time.Time // of their creation
}

func (f BuildFilter) query() url.Values {
	query := times(f.Since, f.Until)
	if f.PullRequest != 0 {
		query.Set("pullrequest", fmt.Sprint(f.PullRequest))
	}
	for name, value := range map[string]string{"commit": f.Commit, "project": f.Project, "state": f.State} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return query
}

func times(since, until time.Time) url.Values {
	query := url.Values{}
	for name, on := range map[string]time.Time{"since": since, "until": until} {
		if !on.IsZero() {
			query.Set(name, on.Format(time.RFC3339Nano))
		}
	}
	return query
}

// Builds lists a repository's builds, newest first, at most limit of them. more says that
// there are others.
func (c *Client) Builds(ctx context.Context, repository string, f BuildFilter, limit int) (builds []api.Build, more bool, err error) {
	path, err := repositoryPath(repository)
	if err != nil {
		return nil, false, err
	}
	return list[api.Build](ctx, c, path+"/builds", f.query(), limit)
}

// Build reads one build by its id in the API.
func (c *Client) Build(ctx context.Context, id string) (build api.Build, err error) {
	err = c.get(ctx, "/api/v1/builds/"+url.PathEscape(id), &build)
	return build, err
}

// Decisions lists what merge checks of a repository were answered, newest first; of one
// pull request where it is named by an ID.
func (c *Client) Decisions(ctx context.Context, of PullRequest, limit int) (decisions []api.Decision, more bool, err error) {
	path, err := repositoryPath(of.Repository)
	if of.ID != 0 {
		path, err = of.path()
	}
	if err != nil {
		return nil, false, err
	}
	return list[api.Decision](ctx, c, path+"/decisions", nil, limit)
}

// Verdict evaluates a pull request now.
func (c *Client) Verdict(ctx context.Context, pr PullRequest) (verdict api.Verdict, err error) {
	path, err := pr.path()
	if err != nil {
		return verdict, err
	}
	err = c.get(ctx, path, &verdict)
	return verdict, err
}

// Stats adds up a repository's builds and merge checks. Zero times are 30 days ago, and
// now.
func (c *Client) Stats(ctx context.Context, repository string, since, until time.Time) (stats api.Stats, err error) {
	path, err := repositoryPath(repository)
	if err != nil {
		return stats, err
	}
	err = c.get(ctx, path+"/stats?"+times(since, until).Encode(), &stats)
	return stats, err
}

// Waivers lists a pull request's waivers, newest first.
func (c *Client) Waivers(ctx context.Context, pr PullRequest, limit int) (waivers []api.Waiver, more bool, err error) {
	path, err := pr.path()
	if err != nil {
		return nil, false, err
	}
	return list[api.Waiver](ctx, c, path+"/waivers", nil, limit)
}

// Waive gives a waiver.
func (c *Client) Waive(ctx context.Context, pr PullRequest, r api.WaiverRequest) (waiver api.Waiver, err error) {
	path, err := pr.path()
	if err != nil {
		return waiver, err
	}
	err = c.post(ctx, path+"/waivers", r, &waiver)
	return waiver, err
}

// RevokeWaiver ends one waiver of a pull request, all of them where id is 0.
func (c *Client) RevokeWaiver(ctx context.Context, pr PullRequest, id int64) error {
	path, err := pr.path()
	if err != nil {
		return err
	}
	if path += "/waivers"; id != 0 {
		path += "/" + strconv.FormatInt(id, 10)
	}
	return c.delete(ctx, path)
}

// Rebuild has AppVeyor build a pull request again.
func (c *Client) Rebuild(ctx context.Context, pr PullRequest) ([]api.Rebuild, error) {
	path, err := pr.path()
	if err != nil {
		return nil, err
	}
	var answer api.List[api.Rebuild]
	err = c.post(ctx, path+"/rebuild", nil, &answer)
	return answer.Values, err
}
