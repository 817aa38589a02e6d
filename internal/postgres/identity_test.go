package postgres_test

import (
	"testing"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
)

// TestTransferStartsFresh moves a repository, which keeps its UUID, to another
// workspace: what was built before stays the old one's to see.
func TestTransferStartsFresh(t *testing.T) {
	t.Parallel()
	store := open(t)
	before := link(t, store, repository("seller/repo"))
	record(t, store, build(1, of("seller/repo")))
	after := repository("buyer/repo")
	after.RepositoryUUID = before.RepositoryUUID
	link(t, store, after)
	rec := record(t, store, build(2, of("buyer/repo")))
	equal(t, "a new build is recorded under", after, rec.Repository)
	equal(t, "the seller's", place{Builds: 1, Statuses: 1, Projects: 1}, placeOf(t, store, before))
	equal(t, "the buyer's", place{Builds: 1, Statuses: 1, Projects: 1}, placeOf(t, store, after))
	list, err := store.Builds(t.Context(), after, postgres.BuildFilter{Limit: 10})
	if err != nil || len(list) != 1 || list[0].BuildID != 2 {
		t.Errorf("the buyer sees %v, error %v", list, err)
	}
}

// TestEqualSlugsInTwoWorkspaces has the same slug, pull request, project name and
// head in two workspaces.
func TestEqualSlugsInTwoWorkspaces(t *testing.T) {
	t.Parallel()
	store := open(t)
	one, two := link(t, store, repository("one/repo")), link(t, store, repository("two/repo"))
	record(t, store, build(1, of("one/repo")), build(2, of("two/repo")), build(3, of("two/repo")))
	equal(t, "one's", place{Builds: 1, Statuses: 1, Projects: 1}, placeOf(t, store, one))
	equal(t, "two's", place{Builds: 2, Statuses: 1, Projects: 1}, placeOf(t, store, two))
	for _, tt := range []struct {
		r    postgres.Repository
		want int
	}{{r: one, want: 1}, {r: two, want: 2}} {
		facts, err := store.Facts(t.Context(), postgres.Asked{PullRequest: pullRequest(tt.r, 7), Told: mergecheck.Told{Head: head}})
		if err != nil || len(facts.Builds) != tt.want {
			t.Errorf("%s: %d builds, error %v; want %d", tt.r.FullName, len(facts.Builds), err, tt.want)
		}
		found, err := store.RepositoryByPath(t.Context(), tt.r.FullName[:3], "repo")
		if err != nil || found != tt.r {
			t.Errorf("%s is found as %+v, error %v", tt.r.FullName, found, err)
		}
	}
}

func TestStatementTimeout(t *testing.T) {
	t.Parallel()
	url := postgrestest.New(t)
	store, err := postgres.Open(t.Context(), url, postgres.Options{StatementTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	start := time.Now()
	_, err = store.Pool().Exec(t.Context(), `SELECT pg_sleep(20)`)
	if err == nil || !postgres.IsUnavailable(err) || time.Since(start) > 10*time.Second {
		t.Errorf("ended after %s with %v", time.Since(start), err)
	}
}
