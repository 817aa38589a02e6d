package gate

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/mergecheck"
)

// TestRebuild tells what AppVeyor is asked for after a verdict.
func TestRebuild(t *testing.T) {
	t.Parallel()
	head, moved := strings.Repeat("a", 40), strings.Repeat("e", 40)
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	widgets, docs := mergecheck.Project{ID: 1, Account: "acme", Slug: "widgets"}, mergecheck.Project{ID: 2, Account: "acme", Slug: "docs"}
	both := mergecheck.Policy{RebuildStale: true, RebuildMissing: true, Freshness: mergecheck.Freshness{Mode: mergecheck.FreshnessStrict}}
	with := func(change func(*mergecheck.Policy)) mergecheck.Policy {
		p := both
		change(&p)
		return p
	}
	stale := mergecheck.Build{
		BuildID: 1, Project: widgets, State: mergecheck.Success, ReportedCommit: head, DestinationBranch: "main", DestinationCommit: strings.Repeat("d", 40),
	}
	tests := []struct {
		name   string
		policy mergecheck.Policy
		age    time.Duration // of the head
		change func(*mergecheck.Facts)
		want   []int64 // projects
	}{
		{name: "stale, and missing for long", policy: both, age: time.Hour, want: []int64{1, 2}},
		{name: "stale, and missing for a moment", policy: both, age: time.Minute, want: []int64{1}},
		{name: "only what is missing", policy: with(func(p *mergecheck.Policy) { p.RebuildStale = false }), age: time.Hour, want: []int64{2}},
		{name: "only what is stale", policy: with(func(p *mergecheck.Policy) { p.RebuildMissing = false }), age: time.Hour, want: []int64{1}},
		{name: "nothing by default", policy: mergecheck.Policy{}, age: time.Hour},
		{name: "sooner by the policy's timer", policy: with(func(p *mergecheck.Policy) { p.NotStartedAfter = 30 * time.Second }), age: time.Minute, want: []int64{1, 2}},
		{name: "later by the policy's timer", policy: with(func(p *mergecheck.Policy) { p.NotStartedAfter = 2 * time.Hour }), age: time.Hour, want: []int64{1}},
		{name: "closed", policy: both, age: time.Hour, change: func(f *mergecheck.Facts) { f.PullRequest.State = "MERGED" }},
		{name: "head unknown", policy: both, age: time.Hour, change: func(f *mergecheck.Facts) { f.PullRequest.Head = "" }},
		{name: "what is missing is waived", policy: both, age: time.Hour, want: []int64{1}, change: func(f *mergecheck.Facts) {
			f.Waivers = []mergecheck.Waiver{{ID: 1, Head: head, Destination: "main", ProjectID: 2, ExpiresOn: now.Add(time.Hour)}}
		}},
		{name: "waived", policy: both, age: time.Hour, change: func(f *mergecheck.Facts) {
			f.Waivers = []mergecheck.Waiver{{ID: 1, Head: head, Destination: "main", ExpiresOn: now.Add(time.Hour)}}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := mergecheck.Facts{
				PullRequest: mergecheck.PullRequest{ID: 7, State: "OPEN", Head: head, DestinationBranch: "main", DestinationCommit: moved},
				Policy:      tt.policy, Seen: []mergecheck.Project{widgets, docs}, Builds: []mergecheck.Build{stale}, Now: now,
				Heads: []mergecheck.Head{{Commit: head, FirstSeenOn: now.Add(-tt.age), LastSeenOn: now}},
			}
			if tt.change != nil {
				tt.change(&f)
			}
			var got []int64
			if job := rebuild(Question{}, evaluation{verdict: mergecheck.Evaluate(f), facts: f}); job != nil {
				got = job.ProjectIDs
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("projects (-want +got):\n%s", diff)
			}
		})
	}
}
