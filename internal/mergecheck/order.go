package mergecheck

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"
)

// Merge joins two observations of the same build. It is commutative,
// associative and idempotent, so that any order and repetition of observations
// ends in the same build:
//
//   - the newest UpdatedOn decides; on a tie terminal over running over queued,
//     then failed over cancelled over success;
//   - empty jobs and a zero project id (AppVeyor's history rows) erase nothing;
//   - neither does an answer without the head fields, which older AppVeyor
//     versions leave out.
func (b Build) Merge(o Build) Build {
	merged := b
	if compareObservations(b, o) < 0 {
		merged = o
	}
	merged.ID = max(b.ID, o.ID)
	merged.Project.ID = max(b.Project.ID, o.Project.ID)
	merged.ReportedCommit = longest(b.ReportedCommit, o.ReportedCommit)
	merged.SourceBranch = longest(b.SourceBranch, o.SourceBranch)
	merged.SourceRepository = longest(b.SourceRepository, o.SourceRepository)
	if compareJobs(b, o) < 0 {
		b = o
	}
	merged.Jobs, merged.JobsUpdatedOn, merged.JobsState = b.Jobs, b.JobsUpdatedOn, b.JobsState
	return merged
}

// Supersedes reports whether a newer build, b, decides over o for the same
// project and head: the greater build id does.
func (b Build) Supersedes(o Build) bool { return b.BuildID > o.BuildID }

func compareObservations(a, b Build) int {
	if c := a.UpdatedOn.Compare(b.UpdatedOn); c != 0 {
		return c
	}
	if c := cmp.Compare(rank(a.State), rank(b.State)); c != 0 {
		return c
	}
	// Answers that differ in nothing that matters still need one winner, or
	// their order of arrival would show.
	return cmp.Compare(canonical(a), canonical(b))
}

func compareJobs(a, b Build) int {
	if len(a.Jobs) == 0 || len(b.Jobs) == 0 {
		return cmp.Compare(len(a.Jobs), len(b.Jobs))
	}
	if c := a.JobsUpdatedOn.Compare(b.JobsUpdatedOn); c != 0 {
		return c
	}
	if c := cmp.Compare(rank(a.JobsState), rank(b.JobsState)); c != 0 {
		return c
	}
	return cmp.Compare(canonicalJSON(a.Jobs), canonicalJSON(b.Jobs))
}

// rank orders states seen at the same instant: not to have finished yet gives
// way to having finished, and the worse end gives the safer answer.
func rank(s State) int {
	switch s {
	case Failed:
		return 5
	case Cancelled:
		return 4
	case Success:
		return 3
	case Running:
		return 2
	default:
		return 1
	}
}

// canonical leaves out what Merge joins field by field and what the store adds.
func canonical(b Build) string {
	b.ID, b.Project.ID, b.SourceCommit, b.DestinationCommit = 0, 0, "", ""
	b.ReportedCommit, b.SourceBranch, b.SourceRepository = "", "", ""
	b.Jobs, b.JobsUpdatedOn, b.JobsState = nil, time.Time{}, ""
	return canonicalJSON(b)
}

func canonicalJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "" // unreachable: plain structs of strings, numbers and times
	}
	return string(text)
}

// longest picks between two tellings of what never changes during a build: the
// one that says more, whichever came first.
func longest(a, b string) string {
	if c := cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)); c < 0 {
		return b
	}
	return a
}
