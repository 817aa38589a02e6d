package effects

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/mergecheck/messagetest"
)

// TestTexts writes out what the comment and the report say of every code: the comment's
// first line, and the report's details.
func TestTexts(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	build := &mergecheck.Build{
		Version: "1.0.26", State: mergecheck.Failed, URL: "https://ci.appveyor.com/project/acme/widgets/builds/14636",
		StartedOn: now.Add(-3 * time.Minute), DestinationBranch: "develop",
	}
	var rows []messagetest.Row
	for _, code := range slices.Concat([]mergecheck.Code{mergecheck.Passed, mergecheck.NotRequired}, mergecheck.FailCodes) {
		v := verdictOf(t, code, build, now)
		first, _, _ := strings.Cut(commentText(v), "\n")
		report := reportOf(v)
		rows = append(rows,
			messagetest.Row{Facts: "comment", Code: string(code), Message: first},
			messagetest.Row{Facts: "report: " + report.Result, Code: string(code), Message: report.Details})
	}
	messagetest.Hold(t, "Pull request comment and Code Insights report", messagetest.Phrases, rows)
}

// verdictOf is a verdict with the code, on facts that lead to it.
func verdictOf(t *testing.T, code mergecheck.Code, build *mergecheck.Build, now time.Time) mergecheck.Verdict {
	t.Helper()
	head := strings.Repeat("a", 40)
	widgets := mergecheck.Project{ID: 1, Account: "acme", Slug: "widgets"}
	b := *build
	b.Project, b.ReportedCommit, b.BuildID, b.DestinationBranch = widgets, head, 14636, "main"
	f := mergecheck.Facts{
		PullRequest: mergecheck.PullRequest{ID: 7, State: "OPEN", Head: head, DestinationBranch: "main"},
		Seen:        []mergecheck.Project{widgets}, Builds: []mergecheck.Build{b}, Now: now,
	}
	states := map[mergecheck.Code]mergecheck.State{
		mergecheck.Passed: mergecheck.Success, mergecheck.FailedCode: mergecheck.Failed, mergecheck.CancelledCode: mergecheck.Cancelled,
		mergecheck.RunningCode: mergecheck.Running, mergecheck.QueuedCode: mergecheck.Queued, mergecheck.TimedOut: mergecheck.Running,
		mergecheck.MissingProject: mergecheck.Success, mergecheck.StaleDestination: mergecheck.Success,
	}
	f.Builds[0].State = states[code]
	switch code {
	case mergecheck.NotRequired:
		f.Policy.Skip = []mergecheck.SkipRule{{Name: "documentation", Path: func(string) bool { return true }}}
		f.Changed = []string{"docs/a.md"}
	case mergecheck.PullRequestClosed:
		f.PullRequest.State = "MERGED"
	case mergecheck.HeadUnknown:
		f.PullRequest.Head, f.PullRequest.HeadProblem = "", "Bitbucket didn't answer in time"
	case mergecheck.Frozen:
		f.Policy.Freezes = []mergecheck.Freeze{{Name: "year end", From: now.Add(-time.Hour), Until: now.Add(time.Hour)}}
	case mergecheck.TimedOut:
		f.Policy.RunningLongerThan = time.Minute
	case mergecheck.Unavailable:
		f.Builds, f.Unconfirmed = nil, []mergecheck.Unconfirmed{{BuildID: 14636}}
	case mergecheck.NoBuild:
		f.Builds = nil
	case mergecheck.MissingProject:
		f.Seen = append(f.Seen, mergecheck.Project{ID: 2, Account: "acme", Slug: "docs"})
	case mergecheck.StaleDestination:
		f.Builds[0].DestinationBranch = "develop"
	}
	v := mergecheck.Evaluate(f)
	if v.Code != code {
		t.Errorf("%s (%s), want %s", v.Code, v.Message, code)
	}
	return v
}
