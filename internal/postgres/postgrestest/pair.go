package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/postgres/embedded"
)

// Pair is a primary and a standby that follows it synchronously: what the primary has committed,
// the standby has too. Both keep to the rules of durability.
type Pair struct {
	URL string // names both, for whoever wants the one that takes writes

	dir              string // of the primary
	primary, standby *embedded.Server
}

// NewPair starts a pair out of the PostgreSQL that is installed, which ends with the test.
func NewPair(t testing.TB) *Pair {
	t.Helper()
	dir, err := os.MkdirTemp("", "mg") //nolint:usetesting // short: a socket's path has to fit
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &Pair{dir: filepath.Join(dir, "a")}
	if p.primary, err = embedded.Start(t.Context(), p.dir, embedded.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.primary.Stop() })
	if err := copyServer(t.Context(), p.primary, p.dir, filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if p.standby, err = embedded.Start(t.Context(), filepath.Join(dir, "b"), embedded.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.standby.Stop() })
	if err := makeSynchronous(t.Context(), p.primary.URL()); err != nil {
		t.Fatal(err)
	}
	if p.URL, err = bothOf(p.primary.URL(), p.standby.URL()); err != nil {
		t.Fatal(err)
	}
	return p
}

// Lose crashes the primary. Until Promote nobody takes writes.
func (p *Pair) Lose() error { return Crash(p.primary, p.dir) }

// Promote makes the standby the primary, and returns when it is.
func (p *Pair) Promote(ctx context.Context) error {
	var done bool
	if err := ask(ctx, p.standby.URL(), "select pg_promote()", &done); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	if !done {
		return errors.New("promote: not within a minute")
	}
	return nil
}

// makeSynchronous has commits wait for the standby, and waits until it is there.
func makeSynchronous(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing can be lost
	for _, statement := range []string{"alter system set synchronous_standby_names = '*'", "select pg_reload_conf()"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var there bool
		err := conn.QueryRow(ctx, "select exists (select from pg_stat_replication where state = 'streaming' and sync_state = 'sync')").Scan(&there)
		if err != nil || there {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.New("the standby does not follow")
		case <-tick.C:
		}
	}
}

// bothOf makes one URL of two that differ in the socket's folder.
func bothOf(first, second string) (string, error) {
	a, errA := url.Parse(first)
	b, errB := url.Parse(second)
	if err := errors.Join(errA, errB); err != nil {
		return "", fmt.Errorf("read the pair's URLs: %w", err)
	}
	query := a.Query()
	query.Set("host", query.Get("host")+","+b.Query().Get("host"))
	query.Set("port", "5432,5432")
	query.Set("target_session_attrs", "read-write")
	a.RawQuery = query.Encode()
	return a.String(), nil
}
