// Package postgrestest gives every test a PostgreSQL database of its own:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }
//
//	func TestStore(t *testing.T) {
//		t.Parallel()
//		store, err := postgres.Open(t.Context(), postgrestest.New(t))
//		…
//	}
//
// A test binary shares one server: the one that TEST_DATABASE_URL names, where its user may create
// databases; else a container, when a container engine answers; else a child process made from
// the PostgreSQL that is installed. Where there is none, tests fail and say what to install. The
// migrations run once, into a template, and a test's database is a copy of that (about 50 ms).
package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"mergegate/internal/postgres"
)

// shared is the server of this test binary, started by the first test that needs it.
var shared struct {
	once   sync.Once
	server *server
	err    error
}

// New returns the URL of a fresh database with the whole schema, dropped when the test ends.
func New(t testing.TB) string {
	t.Helper()
	return provide(t, func(ctx context.Context, s *server) (string, error) { return s.copyTemplate(ctx) })
}

// Empty returns the URL of a fresh database without any schema, dropped when the test ends.
func Empty(t testing.TB) string {
	t.Helper()
	return provide(t, func(ctx context.Context, s *server) (string, error) { return s.create(ctx, "template1") })
}

func provide(t testing.TB, create func(context.Context, *server) (string, error)) string {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = startServer() })
	if shared.err != nil {
		t.Fatalf("no PostgreSQL for tests (TEST_DATABASE_URL may name one): %v", shared.err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	name, err := create(ctx, shared.server)
	if err != nil {
		t.Fatalf("make the test's database: %v", err)
	}
	t.Cleanup(func() {
		if err := shared.server.drop(name); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return postgres.WithDatabase(shared.server.url, name)
}

// Suite is a test binary's tests, and the end of the server they shared.
type Suite struct{ tests *testing.M }

// Main is for a package's TestMain: it stops the shared server after the last test. Without it
// the server ends with the test binary all the same, but leaves its files for a day, or its
// template on the server of TEST_DATABASE_URL.
func Main(m *testing.M) *Suite { return &Suite{tests: m} }

// Run runs the tests and returns the exit code; it starts no server that no test needs.
func (s *Suite) Run() int {
	code := s.tests.Run()
	if shared.server == nil {
		return code
	}
	if err := shared.server.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "postgrestest:", err)
		return max(code, 1)
	}
	return code
}

// startServer takes the first source that has a server.
func startServer() (*server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if url := os.Getenv("TEST_DATABASE_URL"); url != "" {
		return newServer(ctx, url, func() error { return nil })
	}
	url, stop, containerErr := startContainer(ctx)
	if containerErr != nil {
		var err error
		if url, stop, err = startLocal(ctx); err != nil {
			return nil, errors.Join(err, containerErr)
		}
	}
	s, err := newServer(ctx, url, stop)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return s, nil
}
