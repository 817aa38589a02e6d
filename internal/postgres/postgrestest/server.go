package postgrestest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/postgres"
)

const (
	// prefix starts the names of all databases made here; the time of making follows.
	prefix = "mergegate_test_"
	// oldAge is when what is left of a killed test run may go.
	oldAge = 24 * time.Hour
)

// server makes databases, all of whose names are this test binary's own.
type server struct {
	url      string // of a database to send commands from
	template string
	prefix   string
	shutdown func() error

	// mu is held while the template is copied: PostgreSQL refuses a second copy at the same time.
	mu   sync.Mutex
	last int
}

func newServer(ctx context.Context, url string, shutdown func() error) (*server, error) {
	s := &server{
		url:      url,
		shutdown: shutdown,
		prefix:   fmt.Sprintf("%s%d_%s_", prefix, time.Now().Unix(), strings.ToLower(rand.Text()[:8])),
	}
	if err := s.sweep(ctx); err != nil {
		return nil, err
	}
	template, err := s.create(ctx, "template1")
	if err != nil {
		return nil, err
	}
	s.template = template
	if err := postgres.MigrateUp(ctx, postgres.WithDatabase(url, template)); err != nil {
		return nil, errors.Join(err, s.drop(template))
	}
	return s, nil
}

func (s *server) stop() error { return errors.Join(s.drop(s.template), s.shutdown()) }

func (s *server) copyTemplate(ctx context.Context) (string, error) { return s.create(ctx, s.template) }

// create makes a database from a template and returns its name.
func (s *server) create(ctx context.Context, template string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	name := s.prefix + strconv.Itoa(s.last)
	return name, s.execute(ctx, "create database "+name+" template "+template)
}

// drop removes a database with whoever is still connected; tests may leave connections behind.
func (s *server) drop(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.execute(ctx, "drop database if exists "+name+" with (force)")
}

func (s *server) execute(ctx context.Context, statement string) error {
	return s.connected(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, statement)
		return err
	})
}

func (s *server) connected(ctx context.Context, do func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return err
	}
	return errors.Join(do(conn), conn.Close(ctx))
}

// sweep drops what test runs that were killed left behind.
func (s *server) sweep(ctx context.Context) error {
	return s.connected(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, "select datname from pg_database where starts_with(datname, $1)", prefix)
		if err != nil {
			return err
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, name := range names {
			if madeBefore(name, time.Now().Add(-oldAge)) {
				_, dropErr := conn.Exec(ctx, "drop database if exists "+name+" with (force)")
				err = errors.Join(err, dropErr)
			}
		}
		return err
	})
}

// madeBefore reads the time in a database's name.
func madeBefore(name string, limit time.Time) bool {
	seconds, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "_")
	made, err := strconv.ParseInt(seconds, 10, 64)
	return err == nil && time.Unix(made, 0).Before(limit)
}
