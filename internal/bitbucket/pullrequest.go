package bitbucket

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"mergegate/internal/mergecheck"
)

// PullRequest is a pull request as Bitbucket answers it.
type PullRequest struct {
	ID                  int64
	State               string // OPEN, MERGED, DECLINED or SUPERSEDED
	Title               string
	Author              string // UUID, lower case, no braces; "" when Bitbucket doesn't tell
	Draft               bool
	Source, Destination Endpoint

	// UpdatedOn is when Bitbucket last changed the pull request, by its own clock; zero when its answer doesn't say.
	UpdatedOn time.Time
	// ReadOn is when Bitbucket gave this answer, by its own clock and to the second; zero when its answer doesn't say.
	ReadOn time.Time
	// Took is how long the answer took: what it tells was so at some time from that long before ReadOn on.
	Took time.Duration
}

// Endpoint is one side of a pull request.
type Endpoint struct {
	Repository Repository // zero when Bitbucket says null: a fork that was deleted
	Branch     string
	Commit     string // lower-case hex, 12 characters in Bitbucket's answers; "" when the branch is gone
}

// PullRequest reads a pull request. Its commits are abbreviated: see PullRequestHead.
func (c *Client) PullRequest(ctx context.Context, workspace, repo string, id int64) (PullRequest, error) {
	op := fmt.Sprintf("get pull request %d of %s/%s", id, workspace, repo)
	u, err := c.repositoryURL(op, workspace, repo, "pullrequests", strconv.FormatInt(id, 10))
	if err != nil {
		return PullRequest{}, err
	}
	var pr PullRequest
	header, begun := http.Header{}, time.Now()
	if err := c.do(ctx, call{op: op, method: http.MethodGet, url: u, header: &header}, &pr); err != nil {
		return PullRequest{}, err
	}
	if pr.ID != id {
		return PullRequest{}, &Error{Op: op, StatusCode: http.StatusOK, Message: "the answer is another pull request, or none"}
	}
	pr.ReadOn, pr.Took = date(header), time.Since(begun)
	return pr, nil
}

// date is Bitbucket's clock as an answer tells it, zero when that is no time.
func date(header http.Header) time.Time {
	on, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return on.UTC()
}

// UnmarshalJSON reads Bitbucket's pull request, with everything but the id left out or null.
func (pr *PullRequest) UnmarshalJSON(data []byte) error {
	var answer struct {
		ID     int64  `json:"id"`
		State  string `json:"state"`
		Title  string `json:"title"`
		Author struct {
			UUID string `json:"uuid"`
		} `json:"author"`
		Draft       any            `json:"draft"`      // a bool
		UpdatedOn   any            `json:"updated_on"` // a string
		Source      endpointAnswer `json:"source"`
		Destination endpointAnswer `json:"destination"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return err
	}
	draft, _ := answer.Draft.(bool)
	updatedOn, _ := answer.UpdatedOn.(string)
	*pr = PullRequest{
		ID:          answer.ID,
		State:       answer.State,
		Title:       answer.Title,
		Author:      mergecheck.BareUUID(answer.Author.UUID),
		Draft:       draft,
		UpdatedOn:   mergecheck.EventTime(updatedOn),
		Source:      answer.Source.endpoint(),
		Destination: answer.Destination.endpoint(),
	}
	return nil
}

// endpointAnswer is Bitbucket's pullrequest_endpoint: the repository is null when a fork was deleted, the commit when
// a branch was.
type endpointAnswer struct {
	Repository *repositoryAnswer `json:"repository"`
	Branch     *struct {
		Name string `json:"name"`
	} `json:"branch"`
	Commit *struct {
		Hash string `json:"hash"`
	} `json:"commit"`
}

func (a endpointAnswer) endpoint() Endpoint {
	e := Endpoint{Repository: a.Repository.repository()}
	if a.Branch != nil {
		e.Branch = mergecheck.BranchName(a.Branch.Name)
	}
	if a.Commit != nil {
		e.Commit = mergecheck.CommitHash(a.Commit.Hash)
	}
	return e
}
