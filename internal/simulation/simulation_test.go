package simulation_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
	"mergegate/internal/simulation"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }

var (
	workspace = uuid.NewString()
	now       = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	head      = strings.Repeat("a", 40)
)

func open(t testing.TB, address string) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), address, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

// link makes a repository known by its name.
func link(t testing.TB, store *postgres.Store, workspaceUUID, name string) postgres.Repository {
	t.Helper()
	r := postgres.Repository{WorkspaceUUID: workspaceUUID, RepositoryUUID: uuid.NewString(), FullName: name}
	if err := store.LinkRepository(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return r
}

// decide keeps a decision on a pull request whose projects' builds end so.
func decide(t testing.TB, store *postgres.Store, r postgres.Repository, id int64, trigger string, states ...mergecheck.State) {
	t.Helper()
	f := mergecheck.Facts{
		PullRequest: mergecheck.PullRequest{ID: id, State: "OPEN", Head: head, SourceBranch: "feature", DestinationBranch: "main", DestinationCommit: strings.Repeat("d", 40)},
		Heads:       []mergecheck.Head{{Commit: head, FirstSeenOn: now.Add(-time.Hour), LastSeenOn: now}},
		Now:         now,
	}
	for i, state := range states {
		project := mergecheck.Project{ID: int64(i + 1), Account: "acme", Slug: fmt.Sprintf("app-%d", i)}
		b := mergecheck.Build{
			BuildID: int64(i + 1), Project: project, Version: "1.0.1", State: state, PullRequestID: id, ReportedCommit: head, SourceCommit: head, CommitID: head,
			DestinationBranch: "main", DestinationCommit: strings.Repeat("d", 40), ConfirmedBy: mergecheck.ConfirmedByAppVeyor,
			CreatedOn: now, StartedOn: now, FinishedOn: now, UpdatedOn: now, JobsUpdatedOn: now, JobsState: state,
		}
		for j := range 4 {
			b.Jobs = append(b.Jobs, mergecheck.Job{
				ID: fmt.Sprintf("job-%d", j), Name: fmt.Sprintf("Image: Visual Studio 2022; Platform: x%d", j), State: state,
				Tests: mergecheck.Tests{Total: 312, Passed: 312},
			})
		}
		f.Seen, f.Builds = append(f.Seen, project), append(f.Builds, b)
	}
	v := mergecheck.Evaluate(f)
	inputs, err := f.Inputs()
	if err != nil {
		t.Fatal(err)
	}
	key := postgres.PullRequestKey{WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, PullRequestID: id}
	err = store.AddDecision(t.Context(), key, postgres.Decision{
		Trigger: trigger, Success: v.Success, Code: string(v.Code), Message: v.Message, Head: head, Destination: "main", Inputs: inputs,
	})
	if err != nil {
		t.Fatal(err)
	}
}

func parse(t testing.TB, document string) *policy.Document {
	t.Helper()
	d, err := policy.Parse([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const required = "rules: [{repositories: widgets, required: [acme/app-0, acme/security]}]"

// TestRun has more decisions than a batch holds, many of them of the same moment.
func TestRun(t *testing.T) {
	t.Parallel()
	address := postgrestest.New(t)
	store := open(t, address)
	widgets, gadgets := link(t, store, workspace, "acme/widgets"), link(t, store, workspace, "acme/gadgets")
	decide(t, store, widgets, 1, "on-merge", mergecheck.Success)
	decide(t, store, widgets, 2, "on-merge", mergecheck.Failed)
	decide(t, store, gadgets, 3, "on-merge", mergecheck.Success)
	decide(t, store, widgets, 4, "on-code-pushed", mergecheck.Success)
	decide(t, store, link(t, store, uuid.NewString(), "other/widgets"), 5, "on-merge", mergecheck.Success)
	postgrestest.MultiplyDecisions(t, address, 900)

	for _, tt := range []struct {
		name  string
		since time.Time
		want  int // of each
	}{
		{name: "all", since: time.Now().Add(-time.Hour), want: 900},
		{name: "some", since: time.Now().Add(-450*time.Second - 500*time.Millisecond), want: 451},
		{name: "none", since: time.Now().Add(time.Hour)},
	} {
		got, err := simulation.Run(t.Context(), store, workspace, parse(t, required), tt.since, nil)
		if err != nil {
			t.Fatal(err)
		}
		blocked := 0
		for _, c := range got.Blocked {
			if c.Repository != "acme/widgets" || c.Code != mergecheck.MissingProject || len(c.PullRequests) != c.Decisions {
				t.Errorf("%s: blocked %s %s, %d decisions on %d pull requests", tt.name, c.Repository, c.Code, c.Decisions, len(c.PullRequests))
			}
			blocked += c.Decisions
		}
		// A second may pass between the decisions and here.
		near := func(got, want int) bool { return got == want || want == 451 && got > 400 && got <= want }
		if !near(blocked, tt.want) || !near(got.Decisions/3, tt.want) || got.Judged != got.Decisions || len(got.Allowed) != 0 {
			t.Errorf("%s: %d of %d judged, %d blocked, allowed %v; want %d", tt.name, got.Judged, got.Decisions, blocked, got.Allowed, tt.want)
		}
		n, err := store.CountMergeDecisions(t.Context(), workspace, tt.since)
		if err != nil || n != got.Decisions {
			t.Errorf("%s: counted %d, %v; want %d", tt.name, n, err, got.Decisions)
		}
	}
}

func TestSince(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want time.Time // zero: refused
	}{
		{text: "30d", want: now.AddDate(0, 0, -30)},
		{text: "90m", want: now.Add(-90 * time.Minute)},
		{text: "2026-01-31", want: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)},
		{text: "2026-01-31T12:00:00+02:00", want: time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)},
		{text: "-30d"},
		{text: "0s"},
		{text: "yesterday"},
		{text: ""},
		{text: "0000-01-01"},
	} {
		got, err := simulation.Since(tt.text, now)
		if diff := cmp.Diff(tt.want, got); diff != "" || (err != nil) != tt.want.IsZero() {
			t.Errorf("%q: %v (-want +got):\n%s", tt.text, err, diff)
		}
	}
}

// BenchmarkRun judges 100,000 decisions from PostgreSQL, on pull requests with
// two builds of four jobs each, by a policy of 500 rules.
func BenchmarkRun(b *testing.B) {
	address := postgrestest.New(b)
	store := open(b, address)
	for i := range 10 {
		r := link(b, store, workspace, fmt.Sprintf("acme/service-%d", i))
		for id := range 10 {
			state := mergecheck.Success
			if id%3 == 0 {
				state = mergecheck.Failed
			}
			decide(b, store, r, int64(id+1), "on-merge", state, mergecheck.Success)
		}
	}
	postgrestest.MultiplyDecisions(b, address, 1000)
	document := "rules:\n"
	for i := range 500 {
		document += fmt.Sprintf("  - {repositories: \"acme/service-%d\", branches: main, required: [acme/app-0], freshness: strict, allow_failure: \"*x%d\"}\n", i, i%4)
	}
	d := parse(b, document)
	for b.Loop() {
		result, err := simulation.Run(b.Context(), store, workspace, d, time.Now().AddDate(-1, 0, 0), nil)
		if err != nil || result.Judged != 100_000 {
			b.Fatalf("%d judged, %v", result.Judged, err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/100000-decisions")
}
