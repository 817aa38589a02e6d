package postgrestest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/postgres/postgrestest"
)

// TestPair writes to the primary and reads it from the standby once that is one.
func TestPair(t *testing.T) {
	t.Parallel()
	pair := postgrestest.NewPair(t)
	execute := func(statement string) error {
		conn, err := pgx.Connect(t.Context(), pair.URL)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(t.Context()) }()
		_, err = conn.Exec(t.Context(), statement)
		return err
	}
	if err := execute("create table kept (); insert into kept default values"); err != nil {
		t.Fatal(err)
	}
	if err := pair.Lose(); err != nil {
		t.Fatal(err)
	}
	if err := execute("select 1"); err == nil {
		t.Error("something takes writes after the primary was lost")
	}
	if err := pair.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := execute("do $$ begin if (select count(*) from kept) <> 1 then raise 'lost'; end if; end $$; insert into kept default values"); err != nil {
		t.Error(err)
	}
}
