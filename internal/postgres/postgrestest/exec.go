package postgrestest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Exec runs statements in a database, for tests of packages that speak no SQL.
func Exec(t testing.TB, address, statements string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing can be lost
	if _, err := conn.Exec(ctx, statements); err != nil {
		t.Fatal(err)
	}
}
