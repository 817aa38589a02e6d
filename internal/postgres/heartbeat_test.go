package postgres_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"

	"mergegate/internal/postgres"
)

// TestHeartbeat has a replica that lives, and one that is gone, at work.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	store := open(t)
	for _, id := range []string{"lives", "gone"} {
		insertRunning(t, store, id)
	}
	if _, err := store.Pool().Exec(t.Context(), `
		INSERT INTO river_leader (elected_at, expires_at, leader_id) VALUES (now(), now() + interval '1 hour', 'gone')`); err != nil {
		t.Fatal(err)
	}
	heartbeat(t, store, "lives")
	heartbeat(t, store, "newcomer")

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

// TestHeartbeatThatWasLost ends a replica's session: what it was given may not
// have reached it.
func TestHeartbeatThatWasLost(t *testing.T) {
	t.Parallel()
	store := open(t)
	heartbeat(t, store, "a")
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

// TestHeartbeatWithoutDatabase is what a failover looks like to a replica.
func TestHeartbeatWithoutDatabase(t *testing.T) {
	t.Parallel()
	store := open(t)
	store.Close()
	if _, err := store.StartHeartbeat(t.Context(), "a", slog.New(slog.DiscardHandler)); !postgres.IsUnavailable(err) {
		t.Errorf("error %v, want unavailable", err)
	}
}

func heartbeat(t *testing.T, store *postgres.Store, id string) {
	t.Helper()
	h, err := store.StartHeartbeat(t.Context(), id, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var group sync.WaitGroup
	group.Go(func() { h.Run(running) })
	t.Cleanup(func() { stop(); group.Wait(); h.Close() })
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

// TestRiverTables holds the tables of River's that a heartbeat changes to what its statements were written for.
func TestRiverTables(t *testing.T) {
	t.Parallel()
	store := open(t)
	for name, test := range map[string]struct {
		query string
		want  []string
	}{
		"jobs": {
			query: columnsOf("river_job"),
			want: []string{
				"args jsonb not null", "attempt smallint not null", "attempted_at timestamp with time zone", "attempted_by text[]",
				"created_at timestamp with time zone not null", "errors jsonb[]", "finalized_at timestamp with time zone", "id bigint not null",
				"kind text not null", "max_attempts smallint not null", "metadata jsonb not null", "priority smallint not null",
				"queue text not null", "scheduled_at timestamp with time zone not null", "state river_job_state not null",
				"tags character varying(255)[] not null", "unique_key bytea", "unique_states bit(8)",
			},
		},
		"leaders": {
			query: columnsOf("river_leader"),
			want: []string{
				"elected_at timestamp with time zone not null", "expires_at timestamp with time zone not null", "leader_id text not null",
				"name text not null",
			},
		},
		"states of a job": {
			query: `SELECT unnest(enum_range(NULL::river_job_state))::text`,
			want:  []string{"available", "cancelled", "completed", "discarded", "pending", "retryable", "running", "scheduled"},
		},
		"what a job has to be": {
			query: `SELECT conname FROM pg_constraint WHERE conrelid = 'river_job'::regclass AND contype = 'c' ORDER BY 1`,
			want:  []string{"finalized_or_finalized_at_null", "kind_length", "max_attempts_is_positive", "priority_in_range", "queue_length"},
		},
		"what acts on a change": {
			query: `SELECT tgname FROM pg_trigger WHERE tgrelid IN ('river_job'::regclass, 'river_leader'::regclass) AND NOT tgisinternal ORDER BY 1`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows, err := store.Pool().Query(t.Context(), test.query)
			if err != nil {
				t.Fatal(err)
			}
			got, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("River's tables have changed (-want +got):\n%s\nCheck in heartbeat.go that a job which is made available again is "+
					"still what River itself makes of one (its JobRetry and JobRescueMany), that a leader is still one row of river_leader, "+
					"and whether River has a way of its own by now; then have this test want what there is.", diff)
			}
		})
	}
}

func columnsOf(table string) string {
	return `SELECT attname || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' not null' ELSE '' END
		FROM pg_attribute WHERE attrelid = '` + table + `'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attname`
}
