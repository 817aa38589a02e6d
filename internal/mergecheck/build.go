package mergecheck

import (
	"slices"
	"time"
)

// State is where an AppVeyor build or job stands.
type State string

// The states of a build. AppVeyor's "starting", "cancelling" and words it may
// add later count as [Running]: not finished is the safe reading.
const (
	Queued    State = "queued"
	Running   State = "running"
	Success   State = "success"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// States lists every state, in the order a build goes through them.
var States = []State{Queued, Running, Success, Failed, Cancelled}

// Finished reports whether AppVeyor is done with it. A finished build can run
// again: "re-run incomplete" keeps its id.
func (s State) Finished() bool { return s == Success || s == Failed || s == Cancelled }

// Valid reports whether s is one of [States].
func (s State) Valid() bool { return slices.Contains(States, s) }

// Who said that a build is so.
const (
	ConfirmedByAppVeyor = "appveyor" // read back from AppVeyor's REST API
	ConfirmedByReport   = "report"   // posted by a build script
)

// Project is an AppVeyor project. Its identity is ID; account and slug are an
// alias that a rename changes. ID is 0 where AppVeyor's history leaves it out.
type Project struct {
	ID      int64
	Account string
	Slug    string
}

// Name is the project as people know it: "account/slug".
func (p Project) Name() string { return p.Account + "/" + p.Slug }

// Tests counts the tests of a job or of a whole build.
type Tests struct {
	Total  int `json:"total"`
	Passed int `json:"passed"`
	Failed int `json:"failed"`
}

// Job is one job of a build.
type Job struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	State        State  `json:"state"`
	AllowFailure bool   `json:"allow_failure"`
	Tests        Tests  `json:"tests"`
}

// Build is one AppVeyor pull request build. Its identity is BuildID: a version
// can be rewritten by the build and a number can repeat.
//
// Times are UTC with microseconds, as PostgreSQL keeps them; a zero time means
// that AppVeyor gave none.
type Build struct {
	ID               int64 // row in the store; 0 before it is recorded
	BuildID          int64
	Project          Project
	Repository       string // "workspace/repo" of the destination, as AppVeyor names it
	PullRequestID    int64
	PullRequestTitle string
	Version          string
	State            State

	// ReportedCommit is the head as AppVeyor names it: 40, 12 or 10 hex
	// characters, or empty where its answer has none.
	ReportedCommit string
	// SourceCommit is the 40-character head the build is settled to be of; see
	// [Attribute]. Empty while it isn't.
	SourceCommit     string
	SourceBranch     string
	SourceRepository string
	// DestinationBranch is the branch the build merged into. AppVeyor calls it
	// the build's branch.
	DestinationBranch string
	// CommitID is AppVeyor's commitId. A build script may rewrite it, so nothing
	// is concluded from it except doubt.
	CommitID string
	URL      string

	Jobs []Job
	// JobsUpdatedOn and JobsState are those of the observation that the jobs
	// came from: history rows are newer at times, but carry no jobs.
	JobsUpdatedOn time.Time
	JobsState     State

	CreatedOn  time.Time
	StartedOn  time.Time
	FinishedOn time.Time
	UpdatedOn  time.Time

	ConfirmedBy string
}

// Tests adds up the tests of all jobs.
func (b Build) Tests() Tests {
	var sum Tests
	for _, j := range b.Jobs {
		sum.Total += j.Tests.Total
		sum.Passed += j.Tests.Passed
		sum.Failed += j.Tests.Failed
	}
	return sum
}

// MergeCommit is the commit AppVeyor built where that isn't the head itself, or
// empty. On GitHub it is the merge commit; for Bitbucket it is not documented.
func (b Build) MergeCommit() string {
	if len(b.CommitID) != FullCommit || b.CommitID == b.SourceCommit || b.CommitID == b.ReportedCommit {
		return ""
	}
	return b.CommitID
}
