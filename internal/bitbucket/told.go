package bitbucket

import (
	"time"

	"mergegate/internal/mergecheck"
)

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
