package effects

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/bitbucket"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

var (
	head = strings.Repeat("1", 40)
	noon = time.Date(2026, 8, 22, 12, 0, 0, 0, time.UTC)
)

func build(state mergecheck.State, change ...func(*mergecheck.Build)) mergecheck.Build {
	b := mergecheck.Build{
		BuildID: 1, Project: mergecheck.Project{ID: 5, Account: "acme", Slug: "widgets"}, PullRequestID: 7, Version: "1.0.1", State: state,
		ReportedCommit: head, SourceCommit: head, DestinationBranch: "main", URL: "https://ci.appveyor.com/project/acme/widgets/builds/1",
		Jobs:      []mergecheck.Job{{Tests: mergecheck.Tests{Total: 4, Passed: 3, Failed: 1}}},
		CreatedOn: noon.Add(-time.Hour), StartedOn: noon.Add(-time.Hour), FinishedOn: noon, ConfirmedBy: mergecheck.ConfirmedByAppVeyor,
	}
	for _, f := range change {
		f(&b)
	}
	return b
}

func verdict(now time.Time, builds ...mergecheck.Build) mergecheck.Verdict {
	return mergecheck.Evaluate(mergecheck.Facts{
		PullRequest: mergecheck.PullRequest{ID: 7, State: "OPEN", Head: head, DestinationBranch: "main"},
		Builds:      builds, Seen: []mergecheck.Project{build(mergecheck.Success).Project}, Now: now,
		Policy: mergecheck.Policy{Version: 3, RunningLongerThan: 2 * time.Hour},
	})
}

func TestCommentText(t *testing.T) {
	t.Parallel()
	want := `**AppVeyor: not ready to merge.** AppVeyor build 1.0.1 failed (1 of 4 tests).

**Next:** Push a fix, or rebuild the pull request on AppVeyor.

Head ` + "`111111111111`" + `, target branch main, policy version 3.

| project | newest build | verdict |
|---|---|---|
| acme/widgets | [1.0.1](https://ci.appveyor.com/project/acme/widgets/builds/1) failed, 3 of 4 tests passed, 2026-08-22 12:00 UTC | failed |

**Rules**

- ✓ pull\_request\_open: open
- ✓ head\_known: 1111111111111111111111111111111111111111
- ✗ build\_passed: acme/widgets: failed

**What would change it**

- A new build of acme/widgets passes, for 111111111111 or for a new commit.
- A person gives a waiver, with a token of scope waive.
`
	if diff := cmp.Diff(want, commentText(verdict(noon, build(mergecheck.Failed)))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestTheSameVerdictIsTheSameText whenever it is told: else every look at a pull
// request would write to it.
func TestTheSameVerdictIsTheSameText(t *testing.T) {
	t.Parallel()
	queued := build(mergecheck.Queued, func(b *mergecheck.Build) { b.StartedOn = time.Time{} })
	for _, builds := range [][]mergecheck.Build{nil, {queued}, {build(mergecheck.Running)}, {build(mergecheck.Failed)}, {build(mergecheck.Success)}} {
		now, later := verdict(noon, builds...), verdict(noon.Add(7*time.Minute), builds...)
		if diff := cmp.Diff(commentText(now), commentText(later)); diff != "" {
			t.Errorf("%s: the comment (-now +later)\n%s", now.Code, diff)
		}
		if diff := cmp.Diff(reportOf(now), reportOf(later)); diff != "" {
			t.Errorf("%s: the report (-now +later)\n%s", now.Code, diff)
		}
	}
	over := []mergecheck.Verdict{verdict(noon.Add(2*time.Hour), build(mergecheck.Running)), verdict(noon.Add(3*time.Hour), build(mergecheck.Running))}
	if over[0].Code != mergecheck.TimedOut || commentText(over[0]) != commentText(over[1]) {
		t.Errorf("%s:\n%s\n%s", over[0].Code, commentText(over[0]), commentText(over[1]))
	}
}

func TestCommentsAndReportsAreBounded(t *testing.T) {
	t.Parallel()
	nasty := strings.Repeat("*<&`|[", 500)
	v := verdict(noon, build(mergecheck.Failed))
	for i := range 500 {
		b := build(mergecheck.Failed, func(b *mergecheck.Build) { b.Version, b.URL = nasty, "https://ci.appveyor.com/"+nasty })
		v.Projects = append(v.Projects, mergecheck.ProjectVerdict{Project: mergecheck.Project{ID: int64(i), Account: nasty, Slug: nasty}, Required: true, Build: &b, Detail: nasty})
		v.Rules = append(v.Rules, mergecheck.Rule{Rule: nasty, Detail: nasty})
		v.Waivers = append(v.Waivers, mergecheck.WaiverWithState{Waiver: mergecheck.Waiver{Reason: nasty, By: nasty, ProjectName: nasty}})
		v.WouldChange = append(v.WouldChange, nasty)
	}
	v.Message, v.NextStep = nasty, nasty
	if n := len([]rune(commentText(v))); n > maxComment+1 {
		t.Errorf("a comment of %d characters", n)
	}
	if r := reportOf(v); len([]rune(r.Details)) > maxDetails || len(r.Data) > 10 {
		t.Errorf("a report of %d characters, %d data", len([]rune(r.Details)), len(r.Data))
	}
}

func TestEscape(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{name: "plain", text: "1.0.1 (2 tests)", want: "1.0.1 (2 tests)"},
		{name: "markup", text: "**a** _b_ `c` ~d~", want: "\\*\\*a\\*\\* \\_b\\_ \\`c\\` \\~d\\~"},
		{name: "a link", text: "[a](https://b.example)", want: "\\[a\\](https:\u2060//b.example)"},
		{name: "an address", text: "www.b.example", want: "www\u2060.b.example"},
		{name: "a mention", text: "@everyone", want: "@\u2060everyone"},
		{name: "an issue", text: "#1", want: `\#1`},
		{name: "HTML", text: "<b>&amp;", want: "&lt;b&gt;&amp;amp;"},
		{name: "a table", text: "a | b\n| c", want: `a \| b \| c`},
		{name: "escapes", text: `\*`, want: `\\\*`},
	} {
		if got := escape(tt.text); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestLinked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, address, want string }{
		{name: "an address", address: "https://ci.appveyor.com/x?a=b", want: "[1.0](https://ci.appveyor.com/x?a=b)"},
		{name: "none", want: "1.0"},
		{name: "a script", address: "javascript:alert(1)", want: "1.0"},
		{name: "one that ends early", address: "https://ci.appveyor.com/) x", want: "1.0"},
		{name: "no host", address: "https:///x", want: "1.0"},
	} {
		if got := linked("1.0", tt.address); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestTodo(t *testing.T) {
	t.Parallel()
	soon := noon.Add(time.Minute)
	w := want{effect: "comment", state: stateShown, content: "a"}
	is := func(change func(*postgres.Effect)) postgres.Effect {
		e := postgres.Effect{Effect: "comment", Wanted: stateShown, WantedContent: "a", Outcome: postgres.Posted}
		change(&e)
		return e
	}
	for _, tt := range []struct {
		name   string
		effect postgres.Effect
		want   want
		todo   bool
		later  time.Duration
	}{
		{name: "nothing there", want: w, todo: true},
		{name: "nothing there or wanted", want: want{effect: "comment"}},
		{name: "posted", effect: is(func(*postgres.Effect) {}), want: w},
		{name: "another text", effect: is(func(e *postgres.Effect) { e.WantedContent = "b" }), want: w, todo: true},
		{name: "to be gone", effect: is(func(*postgres.Effect) {}), want: want{effect: "comment"}, todo: true},
		{name: "failed", effect: is(func(e *postgres.Effect) { e.Outcome = postgres.Failed }), want: w},
		{name: "failed, of another text", effect: is(func(e *postgres.Effect) { e.Outcome, e.WantedContent = postgres.Failed, "b" }), want: w, todo: true},
		{
			name: "made, then held up for too long", want: w, todo: true,
			effect: is(func(e *postgres.Effect) { e.Outcome, e.Made, e.MadeContent = postgres.Failed, stateShown, "a" }),
		},
		{name: "pending", effect: is(func(e *postgres.Effect) { e.Outcome = postgres.Pending }), want: w, todo: true},
		{
			name: "pending until", want: w, later: time.Minute,
			effect: is(func(e *postgres.Effect) { e.Outcome, e.NextAttemptOn = postgres.Pending, &soon }),
		},
	} {
		if todo, later := tt.want.todo(tt.effect, noon); todo != tt.todo || later != tt.later {
			t.Errorf("%s: %v, %s", tt.name, todo, later)
		}
	}
}

// TestWanted has every effect asked for, by what the verdict is.
func TestWanted(t *testing.T) {
	t.Parallel()
	all := mergecheck.Effects{Approve: true, RequestChanges: true, Comment: true, Task: "wait", Report: true}
	unknown := verdict(noon, build(mergecheck.Success))
	unknown.Code, unknown.Success, unknown.PullRequest.Head, unknown.Projects = mergecheck.HeadUnknown, false, "", nil
	for _, tt := range []struct {
		name    string
		verdict mergecheck.Verdict
		asked   mergecheck.Effects
		want    []string
	}{
		{name: "passed", verdict: verdict(noon, build(mergecheck.Success)), asked: all, want: []string{
			"request_changes:", "approve:approved", "comment:shown", "task:resolved", "report:PASSED",
		}},
		{name: "failed", verdict: verdict(noon, build(mergecheck.Failed)), asked: all, want: []string{
			"approve:", "request_changes:changes_requested", "comment:shown", "task:unresolved", "report:FAILED",
		}},
		{name: "cancelled", verdict: verdict(noon, build(mergecheck.Cancelled)), asked: all, want: []string{
			"approve:", "request_changes:", "comment:shown", "task:unresolved", "report:FAILED",
		}},
		{name: "running", verdict: verdict(noon, build(mergecheck.Running)), asked: all, want: []string{
			"approve:", "request_changes:", "comment:shown", "task:unresolved", "report:PENDING",
		}},
		{name: "head unknown", verdict: unknown, asked: all, want: []string{
			"approve:", "request_changes:", "comment:shown", "task:unresolved",
		}},
		{name: "nothing asked for", verdict: verdict(noon, build(mergecheck.Success)), want: []string{
			"approve:", "request_changes:", "comment:", "task:", "report:",
		}},
	} {
		var got []string
		for _, w := range wanted(tt.verdict, tt.asked) {
			got = append(got, w.effect+":"+w.state)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
	}
}

func TestReportOf(t *testing.T) {
	t.Parallel()
	want := bitbucket.Report{
		Title: "AppVeyor, pull request 7", Reporter: "mergegate", Type: "TEST", Result: "FAILED",
		Details: "AppVeyor build 1.0.1 failed (1 of 4 tests). Push a fix, or rebuild the pull request on AppVeyor.", Link: "https://ci.appveyor.com/project/acme/widgets/builds/1",
		Data: []bitbucket.ReportData{
			{Title: "Verdict", Type: "TEXT", Value: "failed"},
			{Title: "Builds", Type: "NUMBER", Value: 1},
			{Title: "Tests", Type: "NUMBER", Value: 4},
			{Title: "Tests passed", Type: "NUMBER", Value: 3},
			{Title: "Tests failed", Type: "NUMBER", Value: 1},
		},
	}
	if diff := cmp.Diff(want, reportOf(verdict(noon, build(mergecheck.Failed)))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
