package bitbucket

import (
	"context"
	"net/http"

	"mergegate/internal/mergecheck"
)

// CommitStatus is a build status of a commit. Bitbucket overwrites the status that has the same Key.
//
// Bitbucket's limits, which its OpenAPI document doesn't have: Key 40 characters, Name and Description 255, URL below
// 450 with a dot in its host. What exceeds them is answered with 400.
type CommitStatus struct {
	Key         string `json:"key"`
	State       string `json:"state"` // SUCCESSFUL, FAILED, INPROGRESS or STOPPED
	Name        string `json:"name,omitempty"`
	Description string `json:"description,omitempty"`
	URL         string `json:"url,omitempty"`     // in effect required
	Refname     string `json:"refname,omitempty"` // source branch; ties the status to its pull request
}

// PostCommitStatus makes Bitbucket show the status on a commit, given by its full SHA.
// Bitbucket answers 404 for the head of a fork in the repository that the pull request goes to, and 403 when someone
// else made the status of that key.
func (c *Client) PostCommitStatus(ctx context.Context, workspace, repo, commit string, s CommitStatus) error {
	op := "post status " + s.Key + " to " + workspace + "/" + repo
	hash := mergecheck.CommitHash(commit)
	if hash == "" {
		return &Error{Op: op, Message: "the commit isn't a hash", permanent: true}
	}
	u, err := c.repositoryURL(op, workspace, repo, "commit", hash, "statuses", "build")
	if err != nil {
		return err
	}
	var shown struct {
		Key string `json:"key"`
	}
	var created bool
	if err := c.do(ctx, call{op: op, method: http.MethodPost, url: u, body: s, created: &created}, &shown); err != nil {
		return err
	}
	if shown.Key != s.Key && (shown.Key != "" || !created) {
		// A proxy's or a login page's JSON must not pass for "posted".
		return &Error{Op: op, StatusCode: http.StatusOK, Message: "the answer is not the status that was posted"}
	}
	return nil
}

// CommitStatus returns the status that a commit has under a key. The error's StatusCode is 404 when there is none.
func (c *Client) CommitStatus(ctx context.Context, workspace, repo, commit, key string) (CommitStatus, error) {
	op := "get status " + key + " of " + workspace + "/" + repo
	hash := mergecheck.CommitHash(commit)
	if hash == "" {
		return CommitStatus{}, &Error{Op: op, Message: "the commit isn't a hash", permanent: true}
	}
	u, err := c.repositoryURL(op, workspace, repo, "commit", hash, "statuses", "build", key)
	if err != nil {
		return CommitStatus{}, err
	}
	var shown CommitStatus
	err = c.do(ctx, call{op: op, method: http.MethodGet, url: u}, &shown)
	return shown, err
}
