package postgres_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"mergegate/internal/postgres"
)

// TestAttendance has a replica that lives, and one that is gone, at work.
func TestAttendance(t *testing.T) {
	t.Parallel()
	store := open(t)
	for _, id := range []string{"lives", "gone"} {
		insertRunning(t, store, id)
	}
	if _, err := store.Pool().Exec(t.Context(), `
		INSERT INTO river_leader (elected_at, expires_at, leader_id) VALUES (now(), now() + interval '1 hour', 'gone')`); err != nil {
		t.Fatal(err)
	}
	attend(t, store, "lives")
	attend(t, store, "newcomer")

	type job struct {
		By      string
		State   string
		Attempt int
	}
	jobs := func() []job {
		rows, err := store.Pool().Query(t.Context(), `
			SELECT attempted_by[array_upper(attempted_by, 1)] AS by, state::text AS state, attempt FROM river_job ORDER BY by`)
		if err != nil {
			t.Fatal(err)
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByName[job])
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	want := []job{{By: "gone", State: "available", Attempt: 0}, {By: "lives", State: "running", Attempt: 1}}
	if diff := cmp.Diff(want, jobs()); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
	var leaders int
	if err := store.Pool().QueryRow(t.Context(), `SELECT count(*) FROM river_leader`).Scan(&leaders); err != nil || leaders != 0 {
		t.Errorf("%d leaders, error %v; the one that is gone is none", leaders, err)
	}
}

// TestAttendanceThatWasLost ends a replica's session: what it was given may not
// have reached it.
func TestAttendanceThatWasLost(t *testing.T) {
	t.Parallel()
	store := open(t)
	attend(t, store, "a")
	insertRunning(t, store, "a")
	if _, err := store.Pool().Exec(t.Context(), `
		SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for running := 1; running > 0; {
		if err := store.Pool().QueryRow(ctx, `SELECT count(*) FROM river_job WHERE state = 'running'`).Scan(&running); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAttendanceWithoutDatabase is what a failover looks like to a replica.
func TestAttendanceWithoutDatabase(t *testing.T) {
	t.Parallel()
	store := open(t)
	store.Close()
	if _, err := store.Attend(t.Context(), "a", slog.New(slog.DiscardHandler)); !postgres.IsUnavailable(err) {
		t.Errorf("error %v, want unavailable", err)
	}
}

func attend(t *testing.T, store *postgres.Store, id string) {
	t.Helper()
	a, err := store.Attend(t.Context(), id, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var group sync.WaitGroup
	group.Go(func() { a.Run(running) })
	t.Cleanup(func() { stop(); group.Wait(); a.Close() })
}

func insertRunning(t *testing.T, store *postgres.Store, by string) {
	t.Helper()
	_, err := store.Pool().Exec(t.Context(), `
		INSERT INTO river_job (args, kind, max_attempts, state, attempt, attempted_at, attempted_by)
		VALUES ('{}', 'test', 1, 'running', 1, now(), ARRAY['someone before', $1])`, by)
	if err != nil {
		t.Fatal(err)
	}
}
