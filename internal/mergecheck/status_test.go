package mergecheck_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mergegate/internal/mergecheck"
)

func TestStatusKeysNeverCollide(t *testing.T) {
	t.Parallel()
	type pair struct{ project, pullRequest int64 }
	gen := rapid.Custom(func(t *rapid.T) pair {
		return pair{rapid.Int64Min(0).Draw(t, "project"), rapid.Int64Min(0).Draw(t, "pull request")}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		keyA, keyB := mergecheck.StatusKey(a.project, a.pullRequest), mergecheck.StatusKey(b.project, b.pullRequest)
		if len(keyA) > mergecheck.MaxStatusKey {
			t.Fatalf("%q has %d characters", keyA, len(keyA))
		}
		if (a == b) != (keyA == keyB) {
			t.Fatalf("%+v and %+v have keys %q and %q", a, b, keyA, keyB)
		}
	})
}

func TestLongNumbersAreNotCut(t *testing.T) {
	t.Parallel()
	a, b := mergecheck.StatusKey(math.MaxInt64, math.MaxInt64), mergecheck.StatusKey(math.MaxInt64, math.MaxInt64-1)
	if a == b || len(a) > mergecheck.MaxStatusKey {
		t.Errorf("keys %q and %q", a, b)
	}
}

func TestStatusOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		state       mergecheck.State
		want        string
		description string
	}{
		{name: "queued", state: mergecheck.Queued, want: mergecheck.StatusInProgress, description: "Build 1.0.26 for main is queued"},
		{name: "running", state: mergecheck.Running, want: mergecheck.StatusInProgress, description: "Build 1.0.26 for main is running"},
		{name: "success", state: mergecheck.Success, want: mergecheck.StatusSuccessful, description: "Build 1.0.26 for main passed (2 of 312 tests failed)"},
		{name: "failed", state: mergecheck.Failed, want: mergecheck.StatusFailed, description: "Build 1.0.26 for main failed (2 of 312 tests)"},
		{name: "cancelled", state: mergecheck.Cancelled, want: mergecheck.StatusStopped, description: "Build 1.0.26 for main was cancelled (2 of 312 tests failed)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := mergecheck.StatusOf(build(14636, in(tt.state), func(b *mergecheck.Build) { b.SourceBranch = "feature" }), nil)
			want := mergecheck.CommitStatus{
				Key: "appveyor-1-pr-7", State: tt.want, Name: "AppVeyor PR #7 acme/widgets", Description: tt.description,
				URL: "https://ci.appveyor.com/project/acme/widgets/builds/14636", Refname: "feature",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
}
