package postgres_test

import (
	"context"
	"log/slog"
	"testing"

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
	newcomer := attend(t, store, "newcomer")

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

	newcomer.Close() // once more: nothing happens
	newcomer.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	newcomer.Run(ended)
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

func attend(t *testing.T, store *postgres.Store, id string) *postgres.Attendance {
	t.Helper()
	a, err := store.Attend(t.Context(), id, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
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
