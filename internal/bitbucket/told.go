package bitbucket

import (
	"context"
	"fmt"
	"time"

	"mergegate/internal/mergecheck"
)

// readsOfHead bounds how often a pull request is read that changes all the time.
const readsOfHead = 3

// PullRequestAndHead reads a pull request with the full SHA of its source commit, "" where it is closed. They are two
// answers, between which a commit may be pushed that begins with the same 12 characters: the head is only taken where
// the pull request hasn't changed after it was read. With an error the pull request is there as far as it was read.
func (c *Client) PullRequestAndHead(ctx context.Context, workspace, repo string, id int64) (pr PullRequest, head string, err error) {
	if pr, err = c.PullRequest(ctx, workspace, repo, id); err != nil {
		return pr, "", err
	}
	for range readsOfHead {
		if pr.isClosed() {
			return pr, "", nil
		}
		if head, err = c.PullRequestHead(ctx, workspace, repo, pr); err != nil || head == pr.Source.Commit {
			return pr, head, err
		}
		again, err := c.PullRequest(ctx, workspace, repo, id)
		if err != nil {
			return pr, "", err
		}
		if again.Source == pr.Source && again.UpdatedOn.Equal(pr.UpdatedOn) {
			return again, head, nil
		}
		pr = again
	}
	return pr, "", keepsChanging(fmt.Sprintf("read pull request %d of %s/%s", id, workspace, repo))
}

func (pr PullRequest) isClosed() bool {
	return mergecheck.PullRequestEvent{State: pr.State}.Closed()
}

// Told is the pull request as it was when it was read, with the head abbreviated. Its time is Bitbucket's: when the
// pull request last changed, or when it was asked for where that is later. A slow answer may tell what was the case
// when the question came, and what was pushed since is newer.
func (pr PullRequest) Told() mergecheck.Told {
	on := pr.UpdatedOn
	if asked := pr.ReadOn.Add(-pr.Took); !pr.ReadOn.IsZero() && asked.After(on) {
		on = asked.Truncate(time.Microsecond)
	}
	return mergecheck.Told{
		State: pr.State, Head: pr.Source.Commit, DestinationBranch: pr.Destination.Branch, DestinationCommit: pr.Destination.Commit, On: on,
	}
}

// Latest is when the pull request was as it was read at the latest, by Bitbucket's clock.
func (pr PullRequest) Latest() time.Time {
	on := pr.Told().On
	if pr.ReadOn.IsZero() {
		return on
	}
	if end := pr.ReadOn.Add(time.Second - time.Microsecond); end.After(on) {
		return end
	}
	return on
}
