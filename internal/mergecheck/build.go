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
	ID      int64  `json:"id,omitzero"`
	Account string `json:"account,omitzero"`
	Slug    string `json:"slug,omitzero"`
	// ReportsOnly says that only build scripts have told of it: it counts where a
	// policy accepts its reports, and nowhere else.
	ReportsOnly bool `json:"reports_only,omitzero"`
	// Replaces is the id of a project that was deleted on AppVeyor and whose place
	// this one has taken, 0 for none.
	Replaces int64 `json:"replaces,omitzero"`
}

// Name is the project as people know it: "account/slug", or by its id where
// nothing else is known.
func (p Project) Name() string {
	if p.Account == "" && p.Slug == "" {
		return "project " + itoa(p.ID)
	}
	return p.Account + "/" + p.Slug
}

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
	ID               int64   `json:"id,omitzero"` // row in the store; 0 before it is recorded
	BuildID          int64   `json:"build_id,omitzero"`
	Project          Project `json:"project,omitzero"`
	Repository       string  `json:"repository,omitzero"` // "workspace/repo" of the destination, as AppVeyor names it
	PullRequestID    int64   `json:"pull_request_id,omitzero"`
	PullRequestTitle string  `json:"pull_request_title,omitzero"`
	Version          string  `json:"version,omitzero"`
	State            State   `json:"state,omitzero"`

	// ReportedCommit is the head as AppVeyor names it: 40, 12 or 10 hex
	// characters, or empty where its answer has none.
	ReportedCommit string `json:"reported_commit,omitzero"`
	// SourceCommit is the 40-character head the build is settled to be of; see
	// [Attribute]. Empty while it isn't.
	SourceCommit     string `json:"source_commit,omitzero"`
	SourceBranch     string `json:"source_branch,omitzero"`
	SourceRepository string `json:"source_repository,omitzero"`
	// DestinationBranch is the branch the build merged into. AppVeyor calls it
	// the build's branch.
	DestinationBranch string `json:"destination_branch,omitzero"`
	// DestinationCommit is the commit of that branch the build merged into, 40 hex
	// characters, as far as the branch's recorded heads tell; "" when they don't.
	DestinationCommit string `json:"destination_commit,omitzero"`
	// CommitID is AppVeyor's commitId. A build script may rewrite it, so nothing
	// is concluded from it except doubt.
	CommitID string `json:"commit_id,omitzero"`
	URL      string `json:"url,omitzero"`

	Jobs []Job `json:"jobs,omitzero"`
	// JobsUpdatedOn and JobsState are those of the observation that the jobs
	// came from: history rows are newer at times, but carry no jobs.
	JobsUpdatedOn time.Time `json:"jobs_updated_on,omitzero"`
	JobsState     State     `json:"jobs_state,omitzero"`

	CreatedOn  time.Time `json:"created_on,omitzero"`
	StartedOn  time.Time `json:"started_on,omitzero"`
	FinishedOn time.Time `json:"finished_on,omitzero"`
	UpdatedOn  time.Time `json:"updated_on,omitzero"`

	// DeletedOn is when the build, which had not ended, was taken for deleted on
	// AppVeyor. It is cancelled then.
	DeletedOn time.Time `json:"deleted_on,omitzero"`

	ConfirmedBy string `json:"confirmed_by,omitzero"`
}

// name is the build as people know it: its version, or its id where that isn't known.
func (b Build) name() string { return orDefault(b.Version, itoa(b.BuildID)) }

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
