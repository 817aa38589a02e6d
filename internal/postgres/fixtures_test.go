package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"mergegate/internal/builds"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
	"mergegate/internal/pullrequests"
)

const (
	head  = "aaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	twin  = "aaaaaaaaaaaacccccccccccccccccccccccccccc" // shares the first 12 characters of head
	other = "dddddddddddddddddddddddddddddddddddddddd"
	name  = "ws/repo"
)

// later is after any head that a test records now.
var later = time.Date(2090, 1, 2, 3, 4, 5, 678901000, time.UTC)

// open opens a store that knows the repository of builds, which a test that looks at it links
// anew.
func open(t testing.TB) *postgres.Store {
	t.Helper()
	store := openEmpty(t)
	link(t, store, repository(name))
	return store
}

func openEmpty(t testing.TB) *postgres.Store {
	t.Helper()
	return openURL(t, postgrestest.New(t))
}

func openURL(t testing.TB, url string) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), url, postgres.Options{Describe: describe})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

// repository is a new repository with this name, as Bitbucket tells it.
func repository(fullName string) postgres.Repository {
	return postgres.Repository{WorkspaceUUID: uuid.NewString(), RepositoryUUID: uuid.NewString(), FullName: fullName}
}

func link(t testing.TB, store *postgres.Store, r postgres.Repository) postgres.Repository {
	t.Helper()
	if err := store.LinkRepository(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return r
}

func pullRequest(r postgres.Repository, id int64) postgres.PullRequestKey {
	return postgres.PullRequestKey{WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, PullRequestID: id}
}

func build(id int64, change ...func(*mergecheck.Build)) mergecheck.Build {
	b := mergecheck.Build{
		BuildID: id, Project: mergecheck.Project{ID: 1, Account: "acme", Slug: "app"},
		Repository: name, PullRequestID: 7, PullRequestTitle: "A title", Version: fmt.Sprintf("1.0.%d", id), State: mergecheck.Success,
		ReportedCommit: head, SourceBranch: "feature", SourceRepository: name, DestinationBranch: "main",
		URL:           fmt.Sprintf("https://ci.appveyor.com/project/acme/app/builds/%d", id),
		Jobs:          []mergecheck.Job{{ID: "j", Name: "x64", State: mergecheck.Success, Tests: mergecheck.Tests{Total: 3, Passed: 3}}},
		JobsUpdatedOn: later, JobsState: mergecheck.Success,
		CreatedOn: later, StartedOn: later.Add(time.Second), FinishedOn: later.Add(time.Minute), UpdatedOn: later.Add(time.Minute),
		ConfirmedBy: mergecheck.ConfirmedByAppVeyor,
	}
	for _, f := range change {
		f(&b)
	}
	return b
}

func reported(commit string) func(*mergecheck.Build) {
	return func(b *mergecheck.Build) { b.ReportedCommit = commit }
}

func in(state mergecheck.State) func(*mergecheck.Build) {
	return func(b *mergecheck.Build) { b.State = state }
}

func of(fullName string) func(*mergecheck.Build) {
	return func(b *mergecheck.Build) { b.Repository, b.SourceRepository = fullName, fullName }
}

// updated moves an observation's time.
func updated(after time.Duration) func(*mergecheck.Build) {
	return func(b *mergecheck.Build) { b.UpdatedOn = b.UpdatedOn.Add(after) }
}

func record(t testing.TB, store *postgres.Store, list ...mergecheck.Build) builds.Recorded {
	t.Helper()
	var rec builds.Recorded
	for _, b := range list {
		var err error
		if rec, err = builds.Record(t.Context(), store, b, 0, false); err != nil {
			t.Fatal(err)
		}
	}
	return rec
}

// see records commit as the pull request's head now.
func see(t testing.TB, store *postgres.Store, pr postgres.PullRequestKey, commit string) {
	t.Helper()
	if err := pullrequests.See(t.Context(), store, pr, postgres.Sighting{Told: mergecheck.Told{Head: commit, On: time.Now().UTC().Truncate(time.Microsecond)}}); err != nil {
		t.Fatal(err)
	}
}

func facts(t testing.TB, store *postgres.Store, pr postgres.PullRequestKey, commit string) postgres.Facts {
	t.Helper()
	f, err := store.Facts(t.Context(), postgres.Asked{PullRequest: pr, Told: mergecheck.Told{Head: commit}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func buildIDs(list []mergecheck.Build) []int64 {
	ids := []int64{}
	for _, b := range list {
		ids = append(ids, b.BuildID)
	}
	return ids
}

// query returns the first column of each row.
func query[T any](t testing.TB, store *postgres.Store, sql string, args ...any) []T {
	t.Helper()
	rows, err := store.Pool().Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// inTx commits what f writes.
func inTx(t testing.TB, store *postgres.Store, f func(*postgres.Tx) error) {
	t.Helper()
	if err := store.InTx(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func exec(t testing.TB, store *postgres.Store, sql string, args ...any) {
	t.Helper()
	if _, err := store.Pool().Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// queued returns the arguments of the jobs of a kind, oldest first.
func queued(t testing.TB, store *postgres.Store, kind string) []string {
	t.Helper()
	return query[string](t, store, `SELECT args::text FROM river_job WHERE kind = $1 ORDER BY id`, kind)
}

// statuses returns all commit statuses, oldest first.
func statuses(t testing.TB, store *postgres.Store) []postgres.CommitStatus {
	t.Helper()
	list, err := store.CommitStatuses(t.Context(), postgres.Everything, "", 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list
}

// shown sums up commit statuses as "commit state".
func shown(list []postgres.CommitStatus) []string {
	var s []string
	for _, c := range list {
		s = append(s, strings.Join([]string{c.Commit[:13], c.State}, " "))
	}
	return s
}

func equal[T any](t testing.TB, what string, want, got T, opts ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, append(opts, cmpopts.EquateEmpty())...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
