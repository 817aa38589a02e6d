package bitbucket

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mergegate/internal/mergecheck"
)

const (
	foundPerPage  = 100
	maxFoundPages = 20 // 2,000 comments, the newest first: ours is among them or was made long ago
)

// Approve approves a pull request as whoever the credential is of. Bitbucket answers 409 where they have approved it
// already (https://github.com/hirakiuc/tinybucket/pull/75). It needs the scope pullrequest:write
// (write:pullrequest:bitbucket).
func (c *Client) Approve(ctx context.Context, workspace, repo string, id int64) error {
	var shown participant
	err := c.pullRequestCall(ctx, http.MethodPost, workspace, repo, id, "approve", nil, &shown)
	if err == nil && !shown.Approved {
		return &Error{Op: "approve", StatusCode: http.StatusOK, Message: "the answer isn't an approval"}
	}
	return err
}

// Unapprove withdraws the approval of whoever the credential is of. Bitbucket answers 404 where there is none, and 400
// once the pull request is merged.
func (c *Client) Unapprove(ctx context.Context, workspace, repo string, id int64) error {
	return c.pullRequestCall(ctx, http.MethodDelete, workspace, repo, id, "approve", nil, nil)
}

// RequestChanges requests changes as whoever the credential is of. It needs the scope pullrequest:write.
func (c *Client) RequestChanges(ctx context.Context, workspace, repo string, id int64) error {
	var shown participant
	err := c.pullRequestCall(ctx, http.MethodPost, workspace, repo, id, "request-changes", nil, &shown)
	if err == nil && shown.State != "changes_requested" {
		return &Error{Op: "request changes", StatusCode: http.StatusOK, Message: "the answer isn't a request for changes"}
	}
	return err
}

// WithdrawChanges withdraws a request for changes. Bitbucket answers 404 where there is none.
func (c *Client) WithdrawChanges(ctx context.Context, workspace, repo string, id int64) error {
	return c.pullRequestCall(ctx, http.MethodDelete, workspace, repo, id, "request-changes", nil, nil)
}

type participant struct {
	Approved bool   `json:"approved"`
	State    string `json:"state"`
}

// content is a text as Bitbucket takes it; it reads Markdown in it.
type content struct {
	Raw string `json:"raw"`
}

type written struct {
	ID        int64     `json:"id"`
	Content   content   `json:"content"`
	Deleted   bool      `json:"deleted"`
	State     string    `json:"state"` // of a task
	CreatedOn time.Time `json:"created_on"`
}

// CreateComment comments on a pull request and returns the comment's id. Comments and tasks need the scope
// pullrequest (read:pullrequest:bitbucket) alone.
func (c *Client) CreateComment(ctx context.Context, workspace, repo string, id int64, text string) (int64, error) {
	return c.create(ctx, workspace, repo, id, "comments", text)
}

// UpdateComment replaces a comment's text. The error's StatusCode is 404 when somebody deleted it.
func (c *Client) UpdateComment(ctx context.Context, workspace, repo string, id, comment int64, text string) error {
	var shown written
	body := map[string]content{"content": {Raw: text}}
	err := c.pullRequestCall(ctx, http.MethodPut, workspace, repo, id, "comments/"+formatID(comment), body, &shown)
	switch {
	case err != nil:
		return err
	case shown.Deleted:
		return &Error{Op: "update comment", StatusCode: http.StatusNotFound, Message: "the comment is deleted"}
	case shown.ID != comment:
		return &Error{Op: "update comment", StatusCode: http.StatusOK, Message: "the answer is not the comment"}
	}
	return nil
}

// DeleteComment deletes a comment. The error's StatusCode is 404 when it is gone already.
func (c *Client) DeleteComment(ctx context.Context, workspace, repo string, id, comment int64) error {
	return c.pullRequestCall(ctx, http.MethodDelete, workspace, repo, id, "comments/"+formatID(comment), nil, nil)
}

// FindComments returns the ids of a pull request's comments that have text in them, oldest first.
func (c *Client) FindComments(ctx context.Context, workspace, repo string, id int64, text string) ([]int64, error) {
	return c.find(ctx, workspace, repo, id, "comments", func(w written) bool {
		return !w.Deleted && strings.Contains(w.Content.Raw, text)
	})
}

// The states of a task.
const (
	TaskResolved   = "RESOLVED"
	TaskUnresolved = "UNRESOLVED"
)

// CreateTask adds a task to a pull request, unresolved, and returns its id.
func (c *Client) CreateTask(ctx context.Context, workspace, repo string, id int64, text string) (int64, error) {
	return c.create(ctx, workspace, repo, id, "tasks", text)
}

// UpdateTask makes a task's text and state what they are to be. The error's StatusCode is 404 when somebody deleted it.
func (c *Client) UpdateTask(ctx context.Context, workspace, repo string, id, task int64, text, state string) error {
	var shown written
	body := map[string]any{"content": content{Raw: text}, "state": state}
	err := c.pullRequestCall(ctx, http.MethodPut, workspace, repo, id, "tasks/"+formatID(task), body, &shown)
	if err == nil && (shown.ID != task || shown.State != state) {
		return &Error{Op: "update task", StatusCode: http.StatusOK, Message: "the answer is not the task as it is to be"}
	}
	return err
}

// DeleteTask deletes a task. The error's StatusCode is 404 when it is gone already.
func (c *Client) DeleteTask(ctx context.Context, workspace, repo string, id, task int64) error {
	return c.pullRequestCall(ctx, http.MethodDelete, workspace, repo, id, "tasks/"+formatID(task), nil, nil)
}

// FindTasks returns the ids of a pull request's tasks that are called text and were made since, oldest first.
func (c *Client) FindTasks(ctx context.Context, workspace, repo string, id int64, text string, since time.Time) ([]int64, error) {
	return c.find(ctx, workspace, repo, id, "tasks", func(w written) bool {
		return w.Content.Raw == text && !w.CreatedOn.Before(since)
	})
}

func (c *Client) create(ctx context.Context, workspace, repo string, id int64, what, text string) (int64, error) {
	var shown written
	body := map[string]content{"content": {Raw: text}}
	if err := c.pullRequestCall(ctx, http.MethodPost, workspace, repo, id, what, body, &shown); err != nil {
		return 0, err
	}
	if shown.ID <= 0 {
		return 0, &Error{Op: "add to " + what, StatusCode: http.StatusOK, Message: "the answer names nothing that was added"}
	}
	return shown.ID, nil
}

// find reads the newest first, and fails rather than leave a page out.
func (c *Client) find(ctx context.Context, workspace, repo string, id int64, what string, wanted func(written) bool) ([]int64, error) {
	op := fmt.Sprintf("list %s of pull request %d of %s/%s", what, id, workspace, repo)
	u, err := c.repositoryURL(op, workspace, repo, "pullrequests", formatID(id), what)
	if err != nil {
		return nil, err
	}
	u.RawQuery = url.Values{"sort": {"-created_on"}, "pagelen": {strconv.Itoa(foundPerPage)}}.Encode()
	var found []int64
	for range maxFoundPages {
		var page struct {
			Values *[]written `json:"values"`
			Next   string     `json:"next"`
		}
		if err := c.do(ctx, call{op: op, method: http.MethodGet, url: u, landed: &u}, &page); err != nil {
			return nil, err
		}
		if page.Values == nil {
			return nil, &Error{Op: op, StatusCode: http.StatusOK, Message: "the answer isn't a list"}
		}
		for _, w := range *page.Values {
			if wanted(w) {
				found = append(found, w.ID)
			}
		}
		if page.Next == "" {
			break
		}
		next, ok := c.linked(page.Next, u)
		if !ok {
			return nil, &Error{Op: op, StatusCode: http.StatusOK, Message: "the next page is elsewhere"}
		}
		u = next
	}
	slices.Sort(found)
	return found, nil
}

func (c *Client) pullRequestCall(ctx context.Context, method, workspace, repo string, id int64, what string, body, answer any) error {
	op := fmt.Sprintf("%s %s of pull request %d of %s/%s", strings.ToLower(method), what, id, workspace, repo)
	u, err := c.repositoryURL(op, workspace, repo, "pullrequests", formatID(id), what)
	if err != nil {
		return err
	}
	return c.do(ctx, call{op: op, method: method, url: u, body: body, empty: answer == nil}, answer)
}

func formatID(id int64) string { return strconv.FormatInt(id, 10) }

// Report is a Code Insights report of a commit.
// https://developer.atlassian.com/cloud/bitbucket/rest/api-group-reports/
type Report struct {
	Title    string       `json:"title"`
	Details  string       `json:"details"` // at most 2,000 characters
	Reporter string       `json:"reporter"`
	Link     string       `json:"link,omitempty"`
	Type     string       `json:"report_type"` // SECURITY, COVERAGE, TEST or BUG
	Result   string       `json:"result"`      // PASSED, FAILED or PENDING
	Data     []ReportData `json:"data"`        // at most 10
}

// ReportData is a fact that a report shows.
type ReportData struct {
	Title string `json:"title"`
	Type  string `json:"type"` // NUMBER or TEXT, and others
	Value any    `json:"value"`
}

// The results of a report.
const (
	ReportPassed  = "PASSED"
	ReportFailed  = "FAILED"
	ReportPending = "PENDING"
)

// PutReport makes a commit, given by its full SHA, have the report under an id of ours. It needs the scope repository
// (read:repository:bitbucket) alone.
func (c *Client) PutReport(ctx context.Context, workspace, repo, commit, id string, r Report) error {
	var shown struct {
		Result string `json:"result"`
	}
	err := c.reportCall(ctx, http.MethodPut, workspace, repo, commit, id, r, &shown)
	if err == nil && shown.Result != r.Result {
		return &Error{Op: "put report", StatusCode: http.StatusOK, Message: "the answer is not the report"}
	}
	return err
}

// DeleteReport deletes a report of a commit.
func (c *Client) DeleteReport(ctx context.Context, workspace, repo, commit, id string) error {
	return c.reportCall(ctx, http.MethodDelete, workspace, repo, commit, id, nil, nil)
}

func (c *Client) reportCall(ctx context.Context, method, workspace, repo, commit, id string, body, answer any) error {
	op := fmt.Sprintf("%s report %s of %s/%s", strings.ToLower(method), id, workspace, repo)
	hash := mergecheck.CommitHash(commit)
	if hash == "" {
		return &Error{Op: op, Message: "the commit isn't a hash", permanent: true}
	}
	u, err := c.repositoryURL(op, workspace, repo, "commit", hash, "reports", url.PathEscape(id))
	if err != nil {
		return err
	}
	return c.do(ctx, call{op: op, method: method, url: u, body: body, empty: answer == nil}, answer)
}
