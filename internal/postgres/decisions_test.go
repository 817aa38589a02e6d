package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/postgres"
)

// TestDecisionsAtOnce keeps decisions that come while the table is locked, so that they are
// kept together: a bad one fails alone.
func TestDecisionsAtOnce(t *testing.T) {
	t.Parallel()
	store := open(t)
	pr := pullRequest(link(t, store, repository(name)), 7)
	locked := lockDecisions(t, store)
	errs := make([]error, 20)
	var callers sync.WaitGroup
	for i := range errs {
		d := postgres.Decision{Trigger: "on-merge", Code: "passed", Message: fmt.Sprintf("%02d", i), Builds: []int64{int64(i), 5}, Inputs: []byte(`{"a": 1}`)}
		switch i {
		case 3:
			d.Inputs = []byte("{")
		case 4:
			d.Builds, d.Inputs, d.PolicyVersion = nil, nil, new(int64(2))
		}
		callers.Go(func() { errs[i] = store.AddDecision(t.Context(), pr, d) })
		if i == 0 {
			awaitInsert(t, store, "decisions")
		}
	}
	unlock(t, locked)
	callers.Wait()
	list, err := store.Decisions(t.Context(), pr, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for i, err := range errs {
		if (err != nil) != (i == 3) {
			t.Errorf("decision %d: %v", i, err)
		}
		builds, inputs := fmt.Sprintf("[%d 5]", i), `{"a": 1}`
		if i == 4 {
			builds, inputs = "[]", ""
		}
		if i != 3 {
			want = append(want, fmt.Sprintf("%02d %s %s", i, builds, inputs))
		}
	}
	for _, d := range list {
		got = append(got, fmt.Sprintf("%s %v %s", d.Message, d.Builds, d.Inputs))
	}
	slices.Sort(got)
	equal(t, "kept", want, got)
}

// TestDecisionsWhoseConnectionIsLost has the connection break while a decision is written:
// who brought it is told, and those who wait are kept.
func TestDecisionsWhoseConnectionIsLost(t *testing.T) {
	t.Parallel()
	store := open(t)
	pr := pullRequest(link(t, store, repository(name)), 7)
	locked := lockDecisions(t, store)
	errs := make([]error, 3)
	var callers sync.WaitGroup
	add := func(i int) {
		callers.Go(func() {
			errs[i] = store.AddDecision(t.Context(), pr, postgres.Decision{Trigger: "on-merge", Code: "passed", Message: fmt.Sprint(i)})
		})
	}
	add(0)
	pid := awaitInsert(t, store, "decisions")
	add(1)
	add(2)
	exec(t, store, `SELECT pg_terminate_backend($1)`, pid)
	unlock(t, locked)
	callers.Wait()
	list, err := store.Decisions(t.Context(), pr, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range list {
		got = append(got, d.Message)
	}
	slices.Sort(got)
	kept := []string{}
	for i, err := range errs {
		if err == nil {
			kept = append(kept, fmt.Sprint(i))
		}
	}
	if errs[0] == nil {
		t.Error("who lost the connection was told that its decision is kept")
	}
	equal(t, "kept", kept, got)
}

// TestDecisionsInTime has a caller whose time is over while the database hangs.
func TestDecisionsInTime(t *testing.T) {
	t.Parallel()
	store := open(t)
	pr := pullRequest(link(t, store, repository(name)), 7)
	locked := lockDecisions(t, store)
	var first sync.WaitGroup
	first.Go(func() {
		if err := store.AddDecision(t.Context(), pr, postgres.Decision{Trigger: "on-merge", Code: "passed", Message: "first"}); err != nil {
			t.Error(err)
		}
	})
	awaitInsert(t, store, "decisions")
	ended, end := context.WithCancel(t.Context())
	end()
	if err := store.AddDecision(ended, pr, postgres.Decision{Trigger: "on-merge", Code: "passed", Message: "second"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller without time is told %v", err)
	}
	unlock(t, locked)
	first.Wait()
	list, err := store.Decisions(t.Context(), pr, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "decisions kept", 1, len(list))
}

// lockDecisions keeps decisions from being written until the transaction ends.
func lockDecisions(t *testing.T, store *postgres.Store) pgx.Tx {
	t.Helper()
	tx, err := store.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE decisions IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	return tx
}

func unlock(t *testing.T, tx pgx.Tx) {
	t.Helper()
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// awaitInsert returns once a row of a table waits to be written, and who writes it.
func awaitInsert(t *testing.T, store *postgres.Store, table string) (pid int) {
	t.Helper()
	for t.Context().Err() == nil {
		if pids := query[int](t, store, `SELECT pid FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO ' || $1 || ' %'`, table); len(pids) > 0 {
			return pids[0]
		}
	}
	t.Fatal("nothing is written")
	return 0
}
