package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// scratchPrefix starts the names of scratch databases.
const scratchPrefix = "mergegate_demo_"

// Scratch is an empty database beside another one, on the same server.
type Scratch struct {
	URL  string
	Name string
	url  string // of the database it is beside, to drop it from
}

// NewScratch makes a scratch database on the server of url, whose own database is
// only connected to. The user needs the right to create databases.
func NewScratch(ctx context.Context, url string) (*Scratch, error) {
	s := &Scratch{Name: scratchPrefix + strings.ToLower(rand.Text()[:8]), url: url}
	s.URL = WithDatabase(url, s.Name)
	cfg, err := poolConfig(s.URL, Options{})
	if err != nil {
		return nil, err
	}
	// A parameter dbname in the URL wins over its path.
	if cfg.ConnConfig.Database != s.Name {
		return nil, errors.New("DATABASE_URL names its database in a way that can't be changed to another; write it as postgres://user@host/database")
	}
	if err := s.execute(ctx, "CREATE DATABASE "+s.Name); err != nil {
		return nil, fmt.Errorf("make the database %s: %w", s.Name, err)
	}
	return s, nil
}

// Drop removes the database with whoever is still connected. Dropping twice is fine.
func (s *Scratch) Drop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.execute(ctx, "DROP DATABASE IF EXISTS "+s.Name+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop the database %s: %w", s.Name, err)
	}
	return nil
}

func (s *Scratch) execute(ctx context.Context, statement string) error {
	cfg, err := poolConfig(s.url, Options{})
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// WithDatabase names another database of the same server. It doesn't parse the
// URL: one with several hosts is none to net/url.
func WithDatabase(address, name string) string {
	scheme, rest, isURL := strings.Cut(address, "://")
	if !isURL {
		return address + " dbname=" + name // keywords and values, of which the last counts
	}
	rest, query, hasQuery := strings.Cut(rest, "?")
	authority, _, _ := strings.Cut(rest, "/")
	changed := scheme + "://" + authority + "/" + name
	if hasQuery {
		changed += "?" + query
	}
	return changed
}
