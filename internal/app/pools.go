package app

import (
	"context"
	"fmt"
	"time"

	"mergegate/internal/config"
	"mergegate/internal/postgres"
	"mergegate/internal/server"
)

// Connections to the database are shared out, so that no kind of work waits for
// another's: a merge check is answered whatever is read, received or worked on.
//
//	                 connections  a statement takes at most
//	merge checks               8  3 s
//	webhooks, events           6  4 s
//	API, pages, streams        6  4 s, statistics 8 s on one core
//	jobs                      10  10 s
//	the job queue's listener   1
//
// These are 31 for each replica: three replicas fit into PostgreSQL's default of
// max_connections=100, of which it keeps 3. pool_max_conns in DATABASE_URL is the sum
// of them all, shared out alike.
const (
	defaultConns  = 31
	leastConns    = config.LeastConns
	listenerConns = 1
)

// pools are the stores that share the database.
type pools struct {
	checks    *postgres.Store // merge checks, and /readyz
	receiving *postgres.Store // webhooks and events
	reading   *postgres.Store // API, pages and streams
	jobs      *postgres.Store
}

// share is how many connections each of them has.
type share struct{ checks, receiving, reading, jobs int32 }

// shareOut shares a number of connections out.
func shareOut(conns int32) share {
	n := conns - listenerConns
	s := share{checks: max(2, n*8/30), receiving: max(1, n*6/30), reading: max(2, n*6/30)}
	s.jobs = n - s.checks - s.receiving - s.reading
	return s
}

// connsOf is how many connections a replica may have by its URL.
func connsOf(url string) (int32, error) {
	given, err := postgres.MaxConns(url)
	switch {
	case err != nil:
		return 0, config.NewError(err)
	case given == 0:
		return defaultConns, nil
	case given < leastConns:
		return 0, config.NewError(fmt.Errorf("DATABASE_URL: pool_max_conns=%d is too small; mergegate needs %d connections or more, and takes %d without it",
			given, leastConns, defaultConns))
	}
	return given, nil
}

// openPools opens them. failed is told of what can't be written.
func openPools(ctx context.Context, url string, failed func(postgres.WriteFailure)) (p pools, err error) {
	conns, err := connsOf(url)
	if err != nil {
		return p, err
	}
	s := shareOut(conns)
	for _, pool := range []struct {
		store   **postgres.Store
		conns   int32
		timeout time.Duration
		byKey   bool // its statements read and write by whole keys
	}{
		{store: &p.checks, conns: s.checks, timeout: 3 * time.Second, byKey: true},
		{store: &p.receiving, conns: s.receiving, timeout: 4 * time.Second, byKey: true},
		{store: &p.reading, conns: s.reading, timeout: 4 * time.Second},
		{store: &p.jobs, conns: s.jobs, timeout: 10 * time.Second},
	} {
		*pool.store, err = postgres.Open(ctx, url, postgres.Options{
			Describe: server.Describe,
			MaxConns: pool.conns, StatementTimeout: pool.timeout, GenericPlans: pool.byKey, OnWriteFailure: failed,
		})
		if err != nil {
			p.close()
			return p, config.NewError(err)
		}
	}
	return p, nil
}

func (p pools) close() {
	for _, store := range []*postgres.Store{p.checks, p.receiving, p.reading, p.jobs} {
		if store != nil {
			store.Close()
		}
	}
}
