package postgrestest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"mergegate/internal/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(Main(m)) }

func TestDatabasesAreSeparate(t *testing.T) {
	t.Parallel()
	for range 3 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			address := New(t)
			run(t, address, "create table only_here ()")
			if got := query(t, address, "select count(*)::text from river_job"); got != "0" {
				t.Errorf("%s jobs in a fresh database, want 0", got)
			}
		})
	}
}

func TestDatabaseIsDroppedDespiteConnections(t *testing.T) {
	t.Parallel()
	var name string
	t.Run("user", func(t *testing.T) {
		address := Empty(t)
		name = query(t, address, "select current_database()::text")
		conn, err := pgx.Connect(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn // left open, as a test that failed would
	})
	if got := query(t, shared.server.url, "select count(*)::text from pg_database where datname = '"+name+"'"); got != "0" {
		t.Errorf("the database %s is still there", name)
	}
}

func TestEmptyHasNoSchema(t *testing.T) {
	t.Parallel()
	if got := query(t, Empty(t), "select count(*)::text from pg_tables where schemaname = 'public'"); got != "0" {
		t.Errorf("%s tables, want none", got)
	}
}

func TestSweepDropsOldDatabases(t *testing.T) {
	t.Parallel()
	Empty(t) // the server runs from here on
	old := prefix + "1000_killed_1"
	run(t, shared.server.url, "create database "+old)
	if err := shared.server.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query(t, shared.server.url, "select count(*)::text from pg_database where datname = '"+old+"'"); got != "0" {
		t.Errorf("the database %s is still there", old)
	}
}

func TestSweepFolders(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	now := time.Now()
	for name, age := range map[string]time.Duration{"mergegate-postgrestest-old": 2 * time.Hour, "mergegate-postgrestest-new": 0, "other-old": 2 * time.Hour} {
		dir := filepath.Join(parent, name)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chtimes(dir, now.Add(-age), now.Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	if err := sweepFolders(parent, now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(parent, "*"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(parent, "mergegate-postgrestest-new"), filepath.Join(parent, "other-old")}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func TestWithDatabase(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, address, want string }{
		{name: "plain", address: "postgres://u:p@h:5432/a", want: "postgres://u:p@h:5432/b"},
		{name: "no database", address: "postgres://h", want: "postgres://h/b"},
		{name: "query", address: "postgres://h/a?sslmode=disable&host=/run/x", want: "postgres://h/b?sslmode=disable&host=/run/x"},
		{name: "query without path", address: "postgres://u@?host=/run/x", want: "postgres://u@/b?host=/run/x"},
		{name: "several hosts", address: "postgresql://u@h1:1,h2:2/a?target_session_attrs=read-write", want: "postgresql://u@h1:1,h2:2/b?target_session_attrs=read-write"},
		{name: "keywords", address: "host=h dbname=a", want: "host=h dbname=a dbname=b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := postgres.WithDatabase(tt.address, "b")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			config, err := pgx.ParseConfig(got)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff("b", config.Database); diff != "" {
				t.Errorf("database (-want +got):\n%s", diff)
			}
		})
	}
}

func run(t *testing.T, address, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(t.Context(), statement)
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func query(t *testing.T, address, statement string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	var value string
	err = conn.QueryRow(t.Context(), statement).Scan(&value)
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	return value
}
