package postgres_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"mergegate/internal/mergecheck"
	"mergegate/internal/notifications"
	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
)

func TestMigrateUpDownUp(t *testing.T) {
	t.Parallel()
	url := postgrestest.Empty(t)
	if pending := applied(t, url); len(pending) == 0 || pending[0] {
		t.Fatalf("a fresh database has these applied: %v, want none", pending)
	}
	up(t, url)
	schema := relations(t, url)
	fill(t, url)
	down(t, url)
	if diff := cmp.Diff([]string{"goose_db_version"}, relations(t, url)); diff != "" {
		t.Errorf("left after the last step down (-want +got):\n%s", diff)
	}
	up(t, url)
	if diff := cmp.Diff(schema, relations(t, url)); diff != "" {
		t.Errorf("schema after the second time up (-first +second):\n%s", diff)
	}
	fill(t, url)
	up(t, url) // nothing left to do
	store := openURL(t, url)
	for _, table := range tables {
		if n := query[int64](t, store, "SELECT count(*) FROM "+table)[0]; n == 0 {
			t.Errorf("no row is left in %s after a migration with nothing to do", table)
		}
	}
}

// tables are all that mergegate keeps something in.
var tables = []string{
	"repositories", "deliveries", "projects", "builds", "pull_request_heads", "commit_statuses", "decisions", "tokens", "river_job",
	"pull_requests", "branch_heads", "former_names", "repository_visits", "unlinked_builds", "delivery_requests", "looks", "waiver_endings", "app_tokens", "rebuilds",
	"subscriptions", "notifications", "notification_attempts", "pull_request_verdicts", "effects", "outbox", "result_reports", "policies", "waivers", "waiver_revocations", "commit_distances", "changed_paths", "write_probe",
}

// fill puts rows into every table.
func fill(t *testing.T, url string) {
	t.Helper()
	store := openURL(t, url)
	defer store.Close()
	r := link(t, store, repository("ws/before"))
	r.FullName = name
	link(t, store, r)
	addDelivery(t, store, postgres.Delivery{Source: "appveyor", Body: []byte("{}"), BuildID: 3, Outcome: postgres.Pending})
	addDelivery(t, store, postgres.Delivery{Source: "bitbucket", RequestID: "r", Body: []byte("{}"), Outcome: postgres.Processed})
	see(t, store, pullRequest(r, 7), head)
	record(t, store, build(1), build(2, in(mergecheck.Running)), build(3, reported(head[:12])), build(4, of("ws/unlinked")))
	apply(t, store, pushed(r, "feature", head, 0), told(r, 7, "OPEN", head[:12], 0))
	claim(t, store, statuses(t, store)[0].ID)
	addDecision(t, store, pullRequest(r, 7), postgres.Decision{Trigger: "on-merge", Code: "passed"}, true)
	if _, err := store.AddToken(t.Context(), postgres.Token{Name: "t", Scopes: []string{"report"}, Repository: "**", ReportProject: new(int64(1))}, []byte("h")); err != nil {
		t.Fatal(err)
	}
	rebuild := postgres.Rebuild{PullRequest: pullRequest(r, 7), ProjectID: 1, Head: head}
	if first, err := store.ClaimRebuild(t.Context(), rebuild); err != nil || !first {
		t.Fatal(first, err)
	}
	if err := store.SaveAppToken(t.Context(), r.WorkspaceUUID, []byte("sealed"), later); err != nil {
		t.Fatal(err)
	}
	if _, err := store.ApplyPolicy(t.Context(), r.WorkspaceUUID, "rules: []", "somebody"); err != nil {
		t.Fatal(err)
	}
	if err := store.NoteAsked(t.Context(), r.WorkspaceUUID, r.RepositoryUUID); err != nil {
		t.Fatal(err)
	}
	subscribe(t, store, r, postgres.NotificationEvents...)
	waive(t, store, pullRequest(r, 7), mergecheck.Waiver{})
	attempt(t, store, postgres.Failed)
	inTx(t, store, func(tx *postgres.Tx) error {
		return notifications.NotifyVerdict(t.Context(), tx, pullRequest(r, 7), mergecheck.Verdict{Code: mergecheck.Passed})
	})
	revoke(t, store, pullRequest(r, 7), 0)
	see(t, store, pullRequest(r, 7), other) // ends the waiver
	reported := build(9, func(b *mergecheck.Build) { b.ConfirmedBy = mergecheck.ConfirmedByReport })
	if _, _, err := store.RecordResultReport(t.Context(), r, postgres.ResultReport{Build: reported, Attempt: 1, TokenID: 1}); err != nil {
		t.Fatal(err)
	}
	if err := store.KeepDistance(t.Context(), r, mergecheck.Distance{Destination: other, Tested: head, Behind: 1}); err != nil {
		t.Fatal(err)
	}
	if err := store.KeepChanged(t.Context(), r, head, other, []string{"README.md"}); err != nil {
		t.Fatal(err)
	}
	wantEffects(t, store, pullRequest(r, 7))
	begin(t, store, claimEffects(t, store, pullRequest(r, 7)), postgres.Effect{Effect: "approve", Wanted: "approved"})
	for _, table := range tables {
		if n := query[int64](t, store, "SELECT count(*) FROM "+table)[0]; n == 0 {
			t.Errorf("%s has no row: fill it too", table)
		}
	}
	unknown := query[string](t, store, `SELECT tablename::text FROM pg_tables
		WHERE schemaname = 'public' AND tablename NOT LIKE 'river\_%' AND tablename <> 'goose_db_version' AND tablename NOT LIKE '%\_default' AND tablename <> ALL($1)`, tables)
	equal(t, "tables that are not filled", nil, unknown)
}

func TestMigrateUpAtOnce(t *testing.T) {
	t.Parallel()
	url := postgrestest.Empty(t)
	g, ctx := errgroup.WithContext(t.Context())
	for range 4 {
		g.Go(func() error { return postgres.MigrateUp(ctx, url) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for i, done := range applied(t, url) {
		if !done {
			t.Errorf("migration %d is still pending", i+1)
		}
	}
}

func TestMigrationStatus(t *testing.T) {
	t.Parallel()
	status, err := postgres.MigrationStatus(t.Context(), postgrestest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	last := int64(0)
	for i, m := range status {
		names = append(names, m.Name)
		if m.Version <= last || m.AppliedOn.IsZero() {
			t.Errorf("migration %d: version %d after %d, applied on %v", i+1, m.Version, last, m.AppliedOn)
		}
		last = m.Version
	}
	if diff := cmp.Diff([]string{"00001_job_queue.go", "00002_schema.sql"}, names[:2]); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestMigrateWithoutServer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, url string }{
		{name: "nobody listens", url: "postgres://u@/d?host=/nonexistent"},
		{name: "no URL", url: "postgres://%"},
	} {
		if err := postgres.MigrateUp(t.Context(), tt.url); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
	}
}

func TestMigrateEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := postgres.MigrateUp(ctx, postgrestest.Empty(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("MigrateUp: %v, want context.Canceled", err)
	}
}

func up(t *testing.T, url string) {
	t.Helper()
	if err := postgres.MigrateUp(t.Context(), url); err != nil {
		t.Fatal(err)
	}
}

// down takes back one migration after another until none is left.
func down(t *testing.T, url string) {
	t.Helper()
	for range applied(t, url) {
		if err := postgres.MigrateDown(t.Context(), url); err != nil {
			t.Fatal(err)
		}
	}
	if err := postgres.MigrateDown(t.Context(), url); !errors.Is(err, postgres.ErrNothingApplied) {
		t.Errorf("one step more: %v, want ErrNothingApplied", err)
	}
}

func applied(t *testing.T, url string) []bool {
	t.Helper()
	status, err := postgres.MigrationStatus(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	var done []bool
	for _, m := range status {
		done = append(done, !m.AppliedOn.IsZero())
	}
	return done
}

// relations returns the names of all tables, types and functions in the database.
func relations(t *testing.T, url string) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), `
		select tablename::text from pg_tables where schemaname = 'public'
		union
		select typname::text from pg_type where typnamespace = 'public'::regnamespace and typtype in ('e', 'd')
		union
		select proname::text from pg_proc where pronamespace = 'public'::regnamespace
		order by 1`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	return names
}

func TestNextDownTellsWhatIsLost(t *testing.T) {
	t.Parallel()
	url := postgrestest.Empty(t)
	if _, err := postgres.NextDown(t.Context(), url); !errors.Is(err, postgres.ErrNothingApplied) {
		t.Errorf("nothing is applied: %v, want ErrNothingApplied", err)
	}
	up(t, url)
	fill(t, url)
	for _, want := range []string{"00002_schema.sql", "00001_job_queue.go"} {
		next, err := postgres.NextDown(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, next.Migration); diff != "" {
			t.Errorf("migration (-want +got):\n%s", diff)
		}
		before := relations(t, url)
		if err := postgres.MigrateDown(t.Context(), url); err != nil {
			t.Fatal(err)
		}
		for _, table := range next.Tables {
			if !slices.Contains(before, table.Name) || slices.Contains(relations(t, url), table.Name) {
				t.Errorf("%s: %+v is not what was dropped", want, table)
			}
			if slices.Contains(tables, table.Name) && table.Rows == 0 && table.Name != "write_probe" {
				t.Errorf("%s: %s had rows", want, table.Name)
			}
		}
	}
}

// TestNextDownNamesEveryTable holds what is read of the statements to what they do.
func TestNextDownNamesEveryTable(t *testing.T) {
	t.Parallel()
	url := postgrestest.New(t)
	next, err := postgres.NextDown(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	ours := func(name string) bool { return !strings.HasPrefix(name, "river_") && name != "goose_db_version" }
	var named []string
	for _, table := range next.Tables {
		named = append(named, table.Name)
	}
	var there []string
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), `SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if ours(name) {
			there = append(there, name)
		}
	}
	if diff := cmp.Diff(there, named); diff != "" {
		t.Errorf("tables (-there +named):\n%s", diff)
	}
}

// TestNewerSchemasAreRefused has a migration be applied that no mergegate knows.
func TestNewerSchemasAreRefused(t *testing.T) {
	t.Parallel()
	url := postgrestest.New(t)
	postgrestest.Exec(t, url, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)`)
	for name, run := range map[string]func() error{
		"up":     func() error { return postgres.MigrateUp(t.Context(), url) },
		"down":   func() error { return postgres.MigrateDown(t.Context(), url) },
		"next":   func() error { _, err := postgres.NextDown(t.Context(), url); return err },
		"status": func() error { _, err := postgres.MigrationStatus(t.Context(), url); return err },
	} {
		var newer *postgres.NewerSchemaError
		if err := run(); !errors.As(err, &newer) || newer.Database != 99 || newer.Program < 2 || newer.Program >= 99 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
