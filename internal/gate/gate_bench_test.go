package gate_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mergegate/internal/apptokens"
	"mergegate/internal/bitbucket"
	"mergegate/internal/builds"
	"mergegate/internal/gate"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }

// BenchmarkAsk answers merge checks of a pull request with two builds in a
// repository of 10,000. It reports how many bare round trips to PostgreSQL an
// answer costs on this machine, measured in the same run: reading the facts is
// one, keeping the decision another.
func BenchmarkAsk(b *testing.B) {
	store, err := postgres.Open(b.Context(), postgrestest.New(b), postgres.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	repository := postgres.Repository{
		WorkspaceUUID: "b7ea02c9-0871-4858-a2a6-a190d7de977c", RepositoryUUID: "15a31549-1cff-45dc-9d0d-310114c5038b", FullName: "acme/widgets",
	}
	if err := store.LinkRepository(b.Context(), repository); err != nil {
		b.Fatal(err)
	}
	head := strings.Repeat("a", 40)
	fill(b, store, head)
	client, err := bitbucket.NewClient(bitbucket.Config{BaseURL: "http://127.0.0.1:1"})
	if err != nil {
		b.Fatal(err)
	}
	if err := store.MakePartitions(b.Context()); err != nil {
		b.Fatal(err)
	}
	tokens, err := apptokens.New(store, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	g := gate.New(store, client, tokens, gate.Options{Log: slog.New(slog.DiscardHandler), Accounts: mergecheck.Accounts{"acme": {workspace, "acme"}}})
	question := gate.Question{
		PullRequest: postgres.PullRequestKey{WorkspaceUUID: repository.WorkspaceUUID, RepositoryUUID: repository.RepositoryUUID, PullRequestID: 7},
		Trigger:     "on-merge",
		Brought: &gate.Snapshot{
			State: "OPEN", SourceCommit: head, SourceBranch: "feature", DestinationBranch: "main",
			SourceRepository: repository.FullName, SourceRepositoryUUID: repository.RepositoryUUID,
		},
	}
	if v := g.Ask(b.Context(), question); !v.Success {
		b.Fatal(v.Message)
	}
	ping := func() {
		if _, err := store.Now(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	ping()
	var asking, pinging time.Duration
	for b.Loop() {
		start := time.Now()
		g.Ask(b.Context(), question)
		asked := time.Now()
		ping()
		asking, pinging = asking+asked.Sub(start), pinging+time.Since(asked)
	}
	b.ReportMetric(float64(asking)/float64(pinging), "round-trips/op")
}

func fill(b *testing.B, store *postgres.Store, head string) {
	b.Helper()
	now := time.Now().UTC().Truncate(time.Microsecond)
	for i := range 10_000 {
		build := mergecheck.Build{
			BuildID: int64(i + 1), Project: mergecheck.Project{ID: 1, Account: "acme", Slug: "widgets"}, Repository: "acme/widgets",
			PullRequestID: int64(100 + i/10), State: mergecheck.Success, ReportedCommit: fmt.Sprintf("%040x", i),
			DestinationBranch: "main", CreatedOn: now, FinishedOn: now, UpdatedOn: now, ConfirmedBy: mergecheck.ConfirmedByAppVeyor,
		}
		if i < 2 {
			build.PullRequestID, build.ReportedCommit = 7, head
		}
		if _, err := builds.Record(b.Context(), store, build, 0, false); err != nil {
			b.Fatal(err)
		}
	}
}
