package postgres_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
)

func TestScratchIsADatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	beside := postgrestest.Empty(t)
	s, err := postgres.NewScratch(t.Context(), beside)
	if err != nil {
		t.Fatal(err)
	}
	if err := postgres.MigrateUp(t.Context(), s.URL); err != nil {
		t.Error(err)
	}
	if names := databases(t, beside, s.Name); len(names) != 1 {
		t.Errorf("databases %q", names)
	}
	for range 2 {
		if err := s.Drop(); err != nil {
			t.Error(err)
		}
	}
	if names := databases(t, beside, s.Name); len(names) != 0 {
		t.Errorf("databases %q after dropping", names)
	}
}

func TestScratchIsRefusedWhereItWouldBeTheDatabaseItself(t *testing.T) {
	t.Parallel()
	_, err := postgres.NewScratch(t.Context(), "postgres://127.0.0.1:1/a?dbname=b")
	if err == nil || !strings.Contains(err.Error(), "DATABASE_URL") {
		t.Errorf("got %v", err)
	}
}

func databases(t *testing.T, url, name string) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // the test's own
	rows, err := conn.Query(t.Context(), "SELECT datname FROM pg_database WHERE datname = $1", name)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}
