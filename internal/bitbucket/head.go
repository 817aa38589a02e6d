package bitbucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mergegate/internal/mergecheck"
)

// ErrHeadUnknown is returned where Bitbucket's answers don't determine the full SHA of a pull request's head.
var ErrHeadUnknown = errors.New("the head of the pull request is ambiguous")

// HeadUnknown says why Bitbucket's answers don't determine the full SHA of a pull request's head. It wraps
// ErrHeadUnknown, and the *Error where Bitbucket refused.
type HeadUnknown struct {
	NextStep string // what a person can do about it, a sentence

	op    string
	cause string
	err   error // nil: Bitbucket answered everything
}

// Error is for the log; Message is for people.
func (e *HeadUnknown) Error() string {
	text := fmt.Sprintf("%s: %v: %s", e.op, ErrHeadUnknown, e.cause)
	if e.err != nil {
		text += ": " + e.err.Error()
	}
	return text
}

// Unwrap answers ErrHeadUnknown and what Bitbucket refused.
func (e *HeadUnknown) Unwrap() []error {
	if e.err == nil {
		return []error{ErrHeadUnknown}
	}
	return []error{ErrHeadUnknown, e.err}
}

// Cause says what is the case, such as "two commits share the prefix 3d688362cb1f".
func (e *HeadUnknown) Cause() string { return e.cause }

func sourceDeleted(op string, err error) *HeadUnknown {
	return &HeadUnknown{op: op, err: err, cause: "the source branch or fork was deleted", NextStep: "Restore it, or decline the pull request."}
}

func listIncomplete(op string) *HeadUnknown {
	return &HeadUnknown{op: op, cause: "Bitbucket's list of commits is incomplete", NextStep: "Re-run this check in a minute."}
}

func keepsChanging(op string) *HeadUnknown {
	return &HeadUnknown{op: op, cause: "the pull request keeps changing while mergegate reads it", NextStep: "Re-run this check in a minute."}
}

// Message says what is the case and what to do.
func (e *HeadUnknown) Message() string {
	return "mergegate can't tell which commit is the head of this pull request: " + e.cause + ". " + e.NextStep
}

const (
	fullHash       = 40  // characters of a SHA-1
	commitsPerPage = 100 // Bitbucket's most
	// pagesAtOnce bounds what one call of PullRequestHead reads; the next one reads on.
	pagesAtOnce    = 20
	maxCommitPages = 100
)

// PullRequestHead answers the full, 40-character SHA of pr.Source.Commit, which Bitbucket abbreviates to 12. The source
// branch names it; where that can't be read, or has moved, the pull request's commits do. An author can make two
// commits that share 12 characters, so a prefix alone decides nothing, and neither does the order of the list: the head
// is the fitting commit that no other one of the list has as its parent. That takes the whole list. What was read of a
// long one is kept, and the next call reads on.
//
// The error is a *HeadUnknown when neither tells, and wraps *Error when Bitbucket refused.
func (c *Client) PullRequestHead(ctx context.Context, workspace, repo string, pr PullRequest) (string, error) {
	short := mergecheck.CommitHash(pr.Source.Commit)
	if len(short) == fullHash {
		return short, nil
	}
	op := fmt.Sprintf("find the head of pull request %d of %s/%s", pr.ID, workspace, repo)
	if short == "" {
		return "", sourceDeleted(op, nil)
	}
	head, err := c.branchHead(ctx, workspace, repo, pr)
	if err == nil && strings.HasPrefix(head, short) {
		return head, nil
	}
	if StatusOf(err) == http.StatusTooManyRequests {
		return "", err
	}
	return c.headAmongCommits(ctx, op, workspace, repo, pr, short)
}

// branchHead answers the full SHA that the source branch has now, "" where the answer doesn't tell.
func (c *Client) branchHead(ctx context.Context, workspace, repo string, pr PullRequest) (string, error) {
	workspace, repo = sourceOf(workspace, repo, pr)
	branch := pr.Source.Branch
	if workspace == "" || repo == "" || branch == "" || branch == "." || branch == ".." {
		return "", nil
	}
	op := fmt.Sprintf("get branch %q of %s/%s", branch, workspace, repo)
	u, err := c.repositoryURL(op, workspace, repo, "refs", "branches", url.PathEscape(branch))
	if err != nil {
		return "", err
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc // the other half is for the commits
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	var answer struct {
		Name   string `json:"name"`
		Target struct {
			Hash string `json:"hash"`
		} `json:"target"`
	}
	if err := c.do(ctx, call{op: op, method: http.MethodGet, url: u}, &answer); err != nil {
		return "", err
	}
	head := mergecheck.CommitHash(answer.Target.Hash)
	if answer.Name != "" && answer.Name != branch || len(head) != fullHash {
		return "", nil
	}
	return head, nil
}

// sourceOf answers how Bitbucket is asked for the source repository, "" where it can't be: a deleted fork. The pull
// request's own repository is asked for as the caller does, a fork by its UUID where that is known: its name may have
// been taken over by another one.
func sourceOf(workspace, repo string, pr PullRequest) (sourceWorkspace, sourceRepo string) {
	source, destination := pr.Source.Repository, pr.Destination.Repository
	if source.UUID != "" && (source.UUID == destination.UUID || source.UUID == mergecheck.BareUUID(repo)) {
		return workspace, repo
	}
	sourceWorkspace, sourceRepo, _ = strings.Cut(source.FullName, "/")
	if source.WorkspaceUUID != "" {
		sourceWorkspace = source.WorkspaceUUID
	}
	if source.UUID != "" {
		sourceRepo = source.UUID
	}
	return sourceWorkspace, sourceRepo
}

// headAmongCommits looks for the head among all commits of the pull request. The first page is read each time, for it
// tells whether the list is still the one of which pages are kept.
func (c *Client) headAmongCommits(ctx context.Context, op, workspace, repo string, pr PullRequest, short string) (string, error) {
	u, err := c.repositoryURL(op, workspace, repo, "pullrequests", strconv.FormatInt(pr.ID, 10), "commits")
	if err != nil {
		return "", err
	}
	u.RawQuery = "pagelen=" + strconv.Itoa(commitsPerPage)
	page, next, err := c.commitPage(ctx, op, u)
	if err != nil {
		return "", headError(op, err)
	}
	subject, list := headSubject(workspace, repo, pr), listedCommits(pr)
	read, ok := c.heads.resume(subject, list, page)
	if !ok {
		read = newHeadRead(list, page)
		read.add(page, next)
	}
	for range pagesAtOnce - 1 {
		if read.next == nil || read.pages >= maxCommitPages {
			break
		}
		if page, next, err = c.commitPage(ctx, op, read.next); err != nil {
			break
		}
		read.add(page, next)
	}
	c.heads.keep(subject, read)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && read.pages > 1:
		return "", read.unfinished(op, err)
	case err != nil:
		return "", headError(op, err)
	case read.next != nil:
		return "", read.unfinished(op, nil)
	default:
		return read.head(op, short)
	}
}

// commitPage reads a page of commits and answers the address of the next, nil after the last.
func (c *Client) commitPage(ctx context.Context, op string, u *url.URL) (page commitPage, next *url.URL, err error) {
	if err := c.do(ctx, call{op: op, method: http.MethodGet, url: u, landed: &u}, &page); err != nil {
		return page, nil, err
	}
	if page.Next == "" {
		return page, nil, nil
	}
	next, ok := c.linked(page.Next, u)
	if !ok {
		return page, nil, listIncomplete(op)
	}
	return page, next, nil
}

// headError makes a 404 say that the head is unknown: it is Bitbucket's answer when the fork of the source branch is
// gone.
func headError(op string, err error) error {
	if StatusOf(err) == http.StatusNotFound {
		return sourceDeleted(op, err)
	}
	return err
}

type commitPage struct {
	Values []listedCommit `json:"values"`
	Next   string         `json:"next"`
}

type listedCommit struct {
	Hash    string `json:"hash"`
	Parents []struct {
		Hash string `json:"hash"`
	} `json:"parents"`
}
