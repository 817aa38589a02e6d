package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Rows counts the rows of every table of a database.
func Rows(t testing.TB, address string) map[string]int64 {
	t.Helper()
	rows := map[string]int64{}
	onEachTable(t, address, func(ctx context.Context, conn *pgx.Conn, table string) error {
		var n int64
		err := conn.QueryRow(ctx, "select count(*) from "+table).Scan(&n)
		rows[table] = n
		return err
	})
	return rows
}

// Age moves every time in a database into the past, of rows too that a trigger
// keeps from being changed.
func Age(t testing.TB, address string, by time.Duration) {
	t.Helper()
	onEachTable(t, address, func(ctx context.Context, conn *pgx.Conn, table string) error {
		rows, err := conn.Query(ctx, `
			select quote_ident(attname) from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped
				and atttypid = 'timestamptz'::regtype`, table)
		if err != nil {
			return err
		}
		columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, "alter table "+table+" disable trigger user"); err != nil {
			return err
		}
		for _, column := range columns {
			_, updateErr := conn.Exec(ctx, fmt.Sprintf("update %s set %s = %[2]s - $1::interval", table, column), by)
			err = errors.Join(err, updateErr)
		}
		_, enableErr := conn.Exec(ctx, "alter table "+table+" enable trigger user")
		return errors.Join(err, enableErr)
	})
}

func onEachTable(t testing.TB, address string, do func(ctx context.Context, conn *pgx.Conn, table string) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing can be lost
	rows, err := conn.Query(ctx, `
		select quote_ident(relname) from pg_class
		where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition order by 1`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, table := range tables {
		err = errors.Join(err, do(ctx, conn, table))
	}
	if err != nil {
		t.Fatal(err)
	}
}
