package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"mergegate/internal/postgres"
	"mergegate/internal/postgres/embedded"
	"mergegate/internal/postgres/postgrestest"
)

func TestIsUnavailable(t *testing.T) {
	t.Parallel()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancelLate := context.WithDeadline(t.Context(), time.Unix(1, 0))
	t.Cleanup(cancelLate)
	tests := []struct {
		name string
		err  func(t *testing.T, store *postgres.Store) error
		want bool
	}{
		{name: "nobody listens", want: true, err: func(t *testing.T, _ *postgres.Store) error {
			return openURL(t, "postgres://u@/d?host=/nonexistent").Ping(t.Context())
		}},
		{name: "no such host", want: true, err: func(t *testing.T, _ *postgres.Store) error {
			return openURL(t, "postgres://u@database.invalid/d").Ping(t.Context())
		}},
		{name: "silent host", want: true, err: func(t *testing.T, _ *postgres.Store) error { return openURL(t, silent(t)).Ping(t.Context()) }},
		{name: "cancelled", want: true, err: func(_ *testing.T, store *postgres.Store) error { return store.Ping(cancelled) }},
		{name: "too late", want: true, err: func(_ *testing.T, store *postgres.Store) error { return store.Ping(late) }},
		{name: "closed pool", want: true, err: func(t *testing.T, store *postgres.Store) error { store.Close(); return store.Ping(t.Context()) }},
		{name: "statement timeout", want: true, err: func(t *testing.T, store *postgres.Store) error {
			_, err := store.Pool().Exec(t.Context(), `SET statement_timeout = 1; SELECT pg_sleep(60)`)
			return err
		}},
		{name: "ended by the administrator", want: true, err: func(t *testing.T, store *postgres.Store) error {
			_, err := store.Pool().Exec(t.Context(), `SELECT pg_terminate_backend(pg_backend_pid())`)
			return err
		}},
		{name: "read-only", want: true, err: func(t *testing.T, store *postgres.Store) error {
			_, err := store.Pool().Exec(t.Context(), `SET transaction_read_only = on; INSERT INTO repositories VALUES (gen_random_uuid(), gen_random_uuid())`)
			return err
		}},
		{name: "not migrated", err: func(t *testing.T, _ *postgres.Store) error {
			return openURL(t, postgrestest.Empty(t)).Ping(t.Context())
		}},
		{name: "unique violation", err: func(t *testing.T, store *postgres.Store) error {
			for range 2 {
				if _, err := store.AddToken(t.Context(), postgres.Token{Scopes: []string{"read"}, Repository: "**"}, []byte("h")); err != nil {
					return err
				}
			}
			return nil
		}},
		{name: "NUL", err: func(t *testing.T, store *postgres.Store) error {
			_, err := store.RepositoryByName(t.Context(), "ws/a\x00b")
			return err
		}},
		{name: "invalid UTF-8", err: func(t *testing.T, store *postgres.Store) error {
			_, err := store.RepositoryByName(t.Context(), "ws/\xff")
			return err
		}},
		{name: "not found", err: func(t *testing.T, store *postgres.Store) error { _, err := store.Delivery(t.Context(), 1); return err }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.err(t, open(t))
			if err == nil {
				t.Fatal("no error")
			}
			equal(t, err.Error(), tt.want, postgres.IsUnavailable(err))
		})
	}
}

func TestIsUnavailableByCode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, code string
		want       bool
	}{
		{name: "connection failure", code: "08006", want: true},
		{name: "serialization failure", code: "40001", want: true},
		{name: "deadlock", code: "40P01", want: true},
		{name: "too many connections", code: "53300", want: true},
		{name: "disk full", code: "53100", want: true},
		{name: "lock not available", code: "55P03", want: true},
		{name: "starting", code: "57P03", want: true},
		{name: "I/O error", code: "58030", want: true},
		{name: "idle in a transaction", code: "25P03", want: true},
		{name: "read-only transaction", code: "25006", want: true},
		{name: "failed transaction", code: "25P02"},
		{name: "wrong password", code: "28P01"},
		{name: "no such database", code: "3D000"},
		{name: "no such table", code: "42P01"},
		{name: "check violation", code: "23514"},
		{name: "corrupted", code: "XX001"},
		{name: "none"},
	} {
		err := fmt.Errorf("ask: %w", &pgconn.PgError{Code: tt.code})
		equal(t, tt.name, tt.want, postgres.IsUnavailable(err))
	}
	for _, err := range []error{nil, errors.New("something else"), postgres.ErrNotFound} {
		equal(t, fmt.Sprint(err), false, postgres.IsUnavailable(err))
	}
}

// TestServerThatStops asks a server before, while and after it is down.
func TestServerThatStops(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := func() *embedded.Server {
		server, err := embedded.Start(t.Context(), dir, embedded.Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		return server
	}
	server := start()
	if err := postgres.MigrateUp(t.Context(), server.URL()); err != nil {
		t.Fatal(err)
	}
	store := openURL(t, server.URL())
	if err := store.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := store.Deliveries(t.Context(), postgres.Everything, 0, 1)
		if !postgres.IsUnavailable(err) {
			t.Errorf("while it is stopped: %v, want unavailable", err)
		}
	}
	server = start()
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := store.Ping(t.Context()); err != nil {
		t.Errorf("after it is back: %v", err)
	}
}

// silent accepts connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return "postgres://u:p@" + listener.Addr().String() + "/d?sslmode=disable&connect_timeout=1"
}
