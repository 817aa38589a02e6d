package mergecheck_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mergegate/internal/mergecheck"
)

func genObservation() *rapid.Generator[mergecheck.Build] {
	return rapid.Custom(func(t *rapid.T) mergecheck.Build {
		updated := now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "updated")) * time.Second)
		b := build(10, in(rapid.SampledFrom(mergecheck.States).Draw(t, "state")), func(b *mergecheck.Build) {
			b.UpdatedOn = updated
			b.Version = rapid.SampledFrom([]string{"1.0.1", "1.0.2"}).Draw(t, "version")
			b.ReportedCommit = rapid.SampledFrom([]string{"", head[:10], head[:12], head}).Draw(t, "reported")
			b.SourceBranch = rapid.SampledFrom([]string{"", "feature"}).Draw(t, "branch")
			b.Project.ID = rapid.SampledFrom([]int64{0, 1}).Draw(t, "project")
			b.Jobs = nil
			if rapid.Bool().Draw(t, "with jobs") {
				b.Jobs = []mergecheck.Job{{ID: "j", Tests: mergecheck.Tests{Total: rapid.IntRange(1, 3).Draw(t, "tests")}}}
				b.JobsUpdatedOn, b.JobsState = b.UpdatedOn, b.State
			}
		})
		return b
	})
}

func merge(observations []mergecheck.Build) mergecheck.Build {
	merged := observations[0]
	for _, o := range observations[1:] {
		merged = merged.Merge(o)
	}
	return merged
}

func TestAnyOrderAndRepetitionOfObservationsEndsInTheSameBuild(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		observations := rapid.SliceOfN(genObservation(), 1, 6).Draw(t, "observations")
		want := merge(observations)
		again := append(rapid.Permutation(observations).Draw(t, "another order"),
			rapid.SliceOfN(rapid.SampledFrom(observations), 0, 4).Draw(t, "repetitions")...)
		if diff := cmp.Diff(want, merge(again)); diff != "" {
			t.Fatalf("builds differ (-want +got):\n%s", diff)
		}
	})
}

func TestMergeIsAssociative(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := genObservation().Draw(t, "a"), genObservation().Draw(t, "b"), genObservation().Draw(t, "c")
		if diff := cmp.Diff(a.Merge(b).Merge(c), a.Merge(b.Merge(c))); diff != "" {
			t.Fatalf("builds differ (-want +got):\n%s", diff)
		}
	})
}

func TestMerge(t *testing.T) {
	t.Parallel()
	at := func(seconds int, state mergecheck.State) mergecheck.Build {
		return build(10, in(state), func(b *mergecheck.Build) {
			b.UpdatedOn = now.Add(time.Duration(seconds) * time.Second)
			b.JobsUpdatedOn, b.JobsState = b.UpdatedOn, b.State
		})
	}
	tests := []struct {
		name string
		a, b mergecheck.Build
		want mergecheck.State
	}{
		{name: "newest wins", a: at(1, mergecheck.Success), b: at(2, mergecheck.Running), want: mergecheck.Running},
		{name: "terminal over running on a tie", a: at(1, mergecheck.Running), b: at(1, mergecheck.Success), want: mergecheck.Success},
		{name: "running over queued on a tie", a: at(1, mergecheck.Queued), b: at(1, mergecheck.Running), want: mergecheck.Running},
		{name: "failed over cancelled on a tie", a: at(1, mergecheck.Cancelled), b: at(1, mergecheck.Failed), want: mergecheck.Failed},
		{name: "cancelled over success on a tie", a: at(1, mergecheck.Success), b: at(1, mergecheck.Cancelled), want: mergecheck.Cancelled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.a.Merge(tt.b).State; got != tt.want {
				t.Errorf("state %s, want %s", got, tt.want)
			}
		})
	}
}

func TestHistoryRowErasesNothing(t *testing.T) {
	t.Parallel()
	full := build(10)
	row := build(10, func(b *mergecheck.Build) {
		b.Jobs, b.JobsUpdatedOn, b.JobsState = nil, time.Time{}, ""
		b.Project.ID, b.ReportedCommit, b.SourceBranch = 0, "", ""
		b.UpdatedOn = now
	})
	got := full.Merge(row)
	want := full
	want.UpdatedOn = now
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("build (-want +got):\n%s", diff)
	}
}
