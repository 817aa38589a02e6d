package mergecheck_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/mergecheck"
)

// TestLooks tells which projects AppVeyor has to be looked at for before a merge, and
// what is said of the last looks.
func TestLooks(t *testing.T) {
	t.Parallel()
	const down = "AppVeyor could not be reached"
	looked := func(id int64, ago time.Duration) mergecheck.Look {
		return mergecheck.Look{ProjectID: id, On: now.Add(-ago)}
	}
	failed := func(id int64) mergecheck.Look {
		return mergecheck.Look{ProjectID: id, On: now.Add(-time.Hour), Problem: down}
	}
	byReport := func(b *mergecheck.Build) { b.ConfirmedBy = mergecheck.ConfirmedByReport }
	ofItself := func(b *mergecheck.Build) { b.PullRequestID = 0 }
	ifPresent := mergecheck.Policy{RequiredIfPresent: []string{"acme/docs"}}
	tests := []struct {
		name    string
		policy  mergecheck.Policy
		seen    []mergecheck.Project // besides widgets
		builds  []mergecheck.Build
		waivers []mergecheck.Waiver
		looks   []mergecheck.Look
		due     []int64
		checked string
		message string // a part of it
	}{
		{name: "never looked at", builds: []mergecheck.Build{build(10)}, due: []int64{1}},
		{name: "looked at a moment ago", builds: []mergecheck.Build{build(10)}, looks: []mergecheck.Look{looked(1, 10*time.Second)}, checked: "checked with AppVeyor 10 s ago"},
		{
			name: "looked at a while ago", builds: []mergecheck.Build{build(10)}, looks: []mergecheck.Look{looked(1, 40*time.Second)},
			due: []int64{1}, checked: "checked with AppVeyor 40 s ago",
		},
		{
			name: "one of two", seen: []mergecheck.Project{docs}, builds: []mergecheck.Build{build(10), build(11, of(docs))},
			looks: []mergecheck.Look{looked(1, time.Second), looked(2, 31*time.Second)}, due: []int64{2}, checked: "checked with AppVeyor 31 s ago",
		},
		{name: "failed", builds: []mergecheck.Build{build(10, in(mergecheck.Failed))}},
		{name: "waived", builds: []mergecheck.Build{build(10, in(mergecheck.Failed))}, waivers: []mergecheck.Waiver{waiver()}},
		{name: "skipped", policy: skip(mergecheck.SkipRule{Name: "main", DestinationBranch: func(string) bool { return true }}), builds: []mergecheck.Build{build(10)}},
		{
			name: "a report", policy: mergecheck.Policy{AcceptReports: []string{"1"}}, builds: []mergecheck.Build{build(10, byReport)},
		},
		{
			name: "a build of the head itself, since one of the pull request may be newer", policy: branchBuilds,
			builds: []mergecheck.Build{build(10, ofItself)}, due: []int64{1},
		},
		{
			name: "required if present, and absent", policy: ifPresent, seen: []mergecheck.Project{docs}, builds: []mergecheck.Build{build(10)},
			looks: []mergecheck.Look{looked(1, time.Second)}, due: []int64{2},
		},
		{
			name: "required if present, absent, and looked at", policy: ifPresent, seen: []mergecheck.Project{docs}, builds: []mergecheck.Build{build(10)},
			looks: []mergecheck.Look{looked(1, time.Second), looked(2, 20*time.Second)}, checked: "checked with AppVeyor 20 s ago",
		},
		{
			name: "AppVeyor is down", builds: []mergecheck.Build{build(10)}, looks: []mergecheck.Look{failed(1)},
			due: []int64{1}, checked: down + ", so this result is from 11:59 UTC", message: " " + down + ", so this result is from 11:59 UTC",
		},
		{
			name: "AppVeyor is down for one that is absent", policy: ifPresent, seen: []mergecheck.Project{docs}, builds: []mergecheck.Build{build(10)},
			looks: []mergecheck.Look{looked(1, time.Second), failed(2)}, due: []int64{2},
			checked: down + ", so this result is from 11:59 UTC", message: " " + down + ", so this result is from 11:59 UTC",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := mergecheck.Facts{
				PullRequest: pullRequest(), Policy: tt.policy, Seen: append([]mergecheck.Project{widgets}, tt.seen...),
				Builds: tt.builds, Waivers: tt.waivers, Looks: tt.looks, Now: now,
			}
			if tt.policy.AcceptBranchBuilds {
				f.PullRequest.DestinationCommit = other
				f.Builds, f.BranchBuilds = nil, tt.builds
				f.BranchBuilds[0].CommitID = head
				f.Distances = []mergecheck.Distance{{Destination: other, Tested: head, Complete: true}}
			}
			v := mergecheck.Evaluate(f)
			if diff := cmp.Diff(tt.due, v.Due(f)); diff != "" {
				t.Errorf("due, with %s (-want +got):\n%s", v.Code, diff)
			}
			if v.Checked != tt.checked || !strings.Contains(v.Message, tt.message) {
				t.Errorf("checked %q, message %q; want %q and %q", v.Checked, v.Message, tt.checked, tt.message)
			}
		})
	}
}
