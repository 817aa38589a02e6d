package policy_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
)

var (
	now  = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	head = strings.Repeat("a", 40)
	base = strings.Repeat("b", 40)
)

// facts are of a pull request into main with one build in this state.
func facts(state mergecheck.State, change ...func(*mergecheck.Facts)) mergecheck.Facts {
	project := mergecheck.Project{ID: 1, Account: "acme", Slug: "app"}
	f := mergecheck.Facts{
		PullRequest: mergecheck.PullRequest{ID: 7, State: "OPEN", Head: head, DestinationBranch: "main", DestinationCommit: base},
		Heads:       []mergecheck.Head{{Commit: head, FirstSeenOn: now.Add(-time.Hour), LastSeenOn: now}},
		Seen:        []mergecheck.Project{project},
		Builds: []mergecheck.Build{{
			BuildID: 1, Project: project, State: state, PullRequestID: 7, ReportedCommit: head, SourceCommit: head,
			DestinationBranch: "main", DestinationCommit: base, ConfirmedBy: mergecheck.ConfirmedByAppVeyor,
			CreatedOn: now.Add(-30 * time.Minute), StartedOn: now.Add(-30 * time.Minute), UpdatedOn: now.Add(-20 * time.Minute),
			JobsState: state, JobsUpdatedOn: now.Add(-20 * time.Minute), Jobs: []mergecheck.Job{{ID: "j", Name: "nightly", State: state}},
		}},
		Now: now,
	}
	for _, do := range change {
		do(&f)
	}
	return f
}

func moved(f *mergecheck.Facts) { f.Builds[0].DestinationCommit = strings.Repeat("c", 40) }

func changing(paths ...string) func(*mergecheck.Facts) {
	return func(f *mergecheck.Facts) { f.Changed = paths }
}

// decided is the decision on facts by the policy of then.
func decided(t testing.TB, id int64, then mergecheck.Policy, f mergecheck.Facts) policy.Decision {
	t.Helper()
	f.Policy = then
	v := mergecheck.Evaluate(f)
	inputs, err := f.Inputs()
	if err != nil {
		t.Fatal(err)
	}
	return policy.Decision{
		Repository: "acme/widgets", RepositoryID: "{r}", PullRequestID: id, Success: v.Success, Code: v.Code, Inputs: inputs,
	}
}

// inBatches gives out decisions a few at a time.
func inBatches(size int, decisions []policy.Decision) func(context.Context) ([]policy.Decision, error) {
	return func(context.Context) ([]policy.Decision, error) {
		batch := decisions[:min(size, len(decisions))]
		decisions = decisions[len(batch):]
		return batch, nil
	}
}

func TestSimulate(t *testing.T) {
	t.Parallel()
	good, bad := facts(mergecheck.Success), facts(mergecheck.Failed)
	unnamed := decided(t, 3, mergecheck.Policy{}, good)
	unnamed.Repository = ""
	problem := facts(mergecheck.Success, func(f *mergecheck.Facts) { f.Problem = "The policy can't be read." })
	for _, tt := range []struct {
		name      string
		document  string
		decisions []policy.Decision
		want      policy.Simulation
	}{
		{name: "none", document: "rules: []", want: policy.Simulation{}},
		{
			name: "nothing changes", document: "rules: []",
			decisions: []policy.Decision{decided(t, 1, mergecheck.Policy{}, good), decided(t, 2, mergecheck.Policy{}, bad)},
			want:      policy.Simulation{Judged: 2},
		},
		{
			name: "a freeze blocks", document: "rules: [{branches: main, freezes: {name: spring, from: 2026-03-01, until: 2026-04-01}}]",
			decisions: []policy.Decision{
				decided(t, 9, mergecheck.Policy{}, good), decided(t, 7, mergecheck.Policy{}, good), decided(t, 9, mergecheck.Policy{}, good),
				decided(t, 8, mergecheck.Policy{}, bad), unnamed,
			},
			want: policy.Simulation{Judged: 5, Blocked: []policy.Change{
				{Code: mergecheck.Frozen, Repository: "acme/widgets", Decisions: 3, PullRequests: []int64{7, 9}},
				{Code: mergecheck.Frozen, Repository: "{r}", Decisions: 1, PullRequests: []int64{3}},
			}},
		},
		{
			name: "another repository's freeze doesn't", document: "rules: [{repositories: gadgets, freezes: {name: spring, from: 2026-03-01, until: 2026-04-01}}]",
			decisions: []policy.Decision{decided(t, 9, mergecheck.Policy{}, good)},
			want:      policy.Simulation{Judged: 1},
		},
		{
			name: "jobs that may fail allow", document: "rules: [{allow_failure: nightly}]",
			decisions: []policy.Decision{decided(t, 2, mergecheck.Policy{}, bad), decided(t, 1, mergecheck.Policy{}, good)},
			want: policy.Simulation{Judged: 2, Allowed: []policy.Change{
				{Code: mergecheck.FailedCode, Repository: "acme/widgets", Decisions: 1, PullRequests: []int64{2}},
			}},
		},
		{
			name: "changed paths", document: "rules: [{skip: {name: docs, paths: \"*.md\"}}]",
			decisions: []policy.Decision{
				decided(t, 1, mergecheck.Policy{}, facts(mergecheck.Failed, changing("README.md"))),
				decided(t, 2, mergecheck.Policy{}, facts(mergecheck.Failed, changing("main.go"))),
				decided(t, 3, mergecheck.Policy{}, bad),  // which they are was not read
				decided(t, 4, mergecheck.Policy{}, good), // passes whatever they are
			},
			want: policy.Simulation{
				Judged:   3,
				Allowed:  []policy.Change{{Code: mergecheck.FailedCode, Repository: "acme/widgets", Decisions: 1, PullRequests: []int64{1}}},
				Unjudged: []policy.Unjudged{{Reason: "the changed paths weren't recorded", Decisions: 1}},
			},
		},
		{
			name: "distances", document: "rules: [{freshness: {max_behind: 2}}]",
			decisions: []policy.Decision{
				decided(t, 1, mergecheck.Policy{}, facts(mergecheck.Success, moved)),
				decided(t, 2, mergecheck.Policy{}, facts(mergecheck.Success, moved, func(f *mergecheck.Facts) {
					f.Distances = []mergecheck.Distance{{Destination: base, Tested: strings.Repeat("c", 40), Behind: 3, Complete: true}}
				})),
			},
			want: policy.Simulation{
				Judged:   1,
				Blocked:  []policy.Change{{Code: mergecheck.StaleDestination, Repository: "acme/widgets", Decisions: 1, PullRequests: []int64{2}}},
				Unjudged: []policy.Unjudged{{Reason: "how far the target branch had moved wasn't recorded", Decisions: 1}},
			},
		},
		{
			name: "authors", document: "rules: [{skip: {name: bots, authors: 0c3a7799-53ae-4a5b-9e7e-03338980abb5}}]",
			decisions: []policy.Decision{decided(t, 1, mergecheck.Policy{}, bad)},
			want:      policy.Simulation{Unjudged: []policy.Unjudged{{Reason: "the author wasn't recorded", Decisions: 1}}},
		},
		{
			name: "what can't be judged", document: "rules: []",
			decisions: []policy.Decision{
				{PullRequestID: 1, Code: mergecheck.Unavailable},
				{PullRequestID: 2, Code: mergecheck.Unavailable},
				{PullRequestID: 3, Success: true, Code: mergecheck.Passed, Inputs: []byte(`{"builds": 7}`)},
				decided(t, 4, mergecheck.Policy{}, problem),
			},
			want: policy.Simulation{Unjudged: []policy.Unjudged{
				{Reason: "the decision's facts weren't recorded", Decisions: 2},
				{Reason: "a fact was missing when it was decided", Decisions: 1},
				{Reason: "this mergegate can't read the decision's facts", Decisions: 1},
			}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.want.Decisions = len(tt.decisions)
			var done []int
			got, err := policy.Simulate(t.Context(), parse(t, tt.document), inBatches(2, tt.decisions), func(n int) { done = append(done, n) })
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "simulation", tt.want, got)
			if len(done) != (len(tt.decisions)+1)/2 || len(done) > 0 && done[len(done)-1] != len(tt.decisions) {
				t.Errorf("progress %v", done)
			}
		})
	}
}

// TestSimulatingThePolicyOfThenChangesNothing judges decisions by the document
// that they were made by.
func TestSimulatingThePolicyOfThenChangesNothing(t *testing.T) {
	t.Parallel()
	settings := []string{
		"freshness: strict", "freshness: {max_age: 10m}", "allow_failure: nightly", "required: acme/other", "running_longer_than: 5m",
		"not_started_after: 1h", "skip: {name: docs, paths: \"*.md\"}", "freezes: {name: spring, from: 2026-03-01, until: 2026-04-01}",
	}
	rapid.Check(t, func(rt *rapid.T) {
		d := parse(t, "rules: [{"+strings.Join(rapid.SliceOfNDistinct(rapid.SampledFrom(settings), 0, 4,
			func(s string) string { return strings.SplitAfter(s, ":")[0] }).Draw(rt, "settings"), ", ")+"}]")
		var decisions []policy.Decision
		for range rapid.IntRange(1, 5).Draw(rt, "decisions") {
			f := facts(rapid.SampledFrom(mergecheck.States).Draw(rt, "state"))
			if rapid.Bool().Draw(rt, "moved") {
				moved(&f)
			}
			if rapid.Bool().Draw(rt, "paths known") {
				changing(rapid.SampledFrom([]string{"README.md", "main.go"}).Draw(rt, "path"))(&f)
			}
			decisions = append(decisions, decided(t, 7, d.For("acme/widgets", "main"), f))
		}
		got, err := policy.Simulate(t.Context(), d, inBatches(3, decisions), nil)
		if err != nil || len(got.Blocked)+len(got.Allowed) > 0 {
			rt.Fatalf("%+v, %v", got, err)
		}
	})
}

func TestSimulationNamesABoundedNumber(t *testing.T) {
	t.Parallel()
	one := decided(t, 0, mergecheck.Policy{}, facts(mergecheck.Failed))
	var decisions []policy.Decision
	for id := range 1200 {
		one.PullRequestID = int64(id)
		decisions = append(decisions, one, one)
	}
	got, err := policy.Simulate(t.Context(), parse(t, "rules: [{allow_failure: nightly}]"), inBatches(100, decisions), nil)
	if err != nil || len(got.Allowed) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if c := got.Allowed[0]; c.Decisions != 2400 || len(c.PullRequests) != 1000 || !c.More {
		t.Errorf("%d decisions, %d pull requests, more %t", c.Decisions, len(c.PullRequests), c.More)
	}
}

func TestSimulationEndsWithItsReader(t *testing.T) {
	t.Parallel()
	one := decided(t, 1, mergecheck.Policy{}, facts(mergecheck.Success))
	broken := errors.New("the database is gone")
	batches := 0
	_, err := policy.Simulate(t.Context(), parse(t, "rules: []"), func(context.Context) ([]policy.Decision, error) {
		if batches++; batches == 3 {
			return nil, broken
		}
		return []policy.Decision{one}, nil
	}, nil)
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}

	ctx, cancel := context.WithCancel(t.Context())
	_, err = policy.Simulate(ctx, parse(t, "rules: []"), func(context.Context) ([]policy.Decision, error) {
		return []policy.Decision{one}, nil
	}, func(int) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func BenchmarkSimulate(b *testing.B) {
	decisions := make([]policy.Decision, 1000)
	for i := range decisions {
		decisions[i] = decided(b, int64(i), mergecheck.Policy{}, facts(mergecheck.Success, moved))
	}
	d := parse(b, large())
	for b.Loop() {
		if _, err := policy.Simulate(b.Context(), d, inBatches(250, decisions), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(decisions))/b.Elapsed().Seconds(), "decisions/s")
	b.Logf("inputs of %s", fmt.Sprintf("%d bytes", len(decisions[0].Inputs)))
}
