// Package postgres keeps mergegate's facts in PostgreSQL, and the jobs that
// follow from them.
//
//	store, err := postgres.Open(ctx, url, postgres.Options{})
//	defer store.Close()
//	id, err := store.AddDelivery(ctx, delivery) // committed, with its job, when it returns
//
// It is the only package that speaks SQL. Jobs are inserted in the transaction
// that made them necessary, so that neither is ever there without the other.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// ErrNotFound is what looking for one row that isn't there returns.
var ErrNotFound = errors.New("not found")

// errURL stands for pgx's error, which leaves out the password but not the rest of the URL.
var errURL = errors.New("DATABASE_URL is not a PostgreSQL URL that pgx can read")

// Options tune a store. The zero value suits a service of one replica.
type Options struct {
	MaxConns int32 // 0: 16, or what the URL's pool_max_conns says
	// StatementTimeout is how long PostgreSQL works on one statement; 0: 10 s.
	StatementTimeout time.Duration
	// GenericPlans has PostgreSQL plan each statement once on each connection, whatever it is
	// asked with: for reads by whole keys, whose plans it would else make anew at each call
	// once tables are large. Lists want plans of their own.
	GenericPlans bool
	// OnWriteFailure is told of each statement that failed because the database takes
	// nothing; nil: nobody is.
	OnWriteFailure func(WriteFailure)
	// Describe returns what subscribers are told of an event, to be written as JSON;
	// nil: nothing but its type.
	Describe func(Event) any
}

// Store reads and writes facts. It is safe for concurrent use.
type Store struct {
	pool *pgxpool.Pool
	jobs *JobClient // inserts only

	describe func(Event) any

	decisions  group[keptDecision, struct{}]
	deliveries group[Delivery, int64]
}

// Open returns a store on a migrated database. It does not connect: a database
// that is down now is found when it is first asked, and again when it is back.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	cfg, err := poolConfig(url, opts)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s := &Store{pool: pool, describe: opts.Describe}
	if s.describe == nil {
		s.describe = func(Event) any { return struct{}{} }
	}
	s.deliveries.write, s.deliveries.size = s.addDeliveries, func(d Delivery) int { return len(d.Body) }
	s.decisions.write = func(ctx context.Context, list []keptDecision) ([]struct{}, error) {
		return make([]struct{}, len(list)), addDecisions(ctx, s.pool, list)
	}
	if s.jobs, err = s.JobClient(&river.Config{}); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}

func poolConfig(url string, opts Options) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errURL
	}
	if opts.MaxConns > 0 {
		cfg.MaxConns = opts.MaxConns
	} else if cfg.MaxConns < 16 {
		cfg.MaxConns = 16
	}
	if opts.StatementTimeout == 0 {
		opts.StatementTimeout = 10 * time.Second
	}
	params := cfg.ConnConfig.RuntimeParams
	params["application_name"] = "mergegate"
	params["timezone"] = "UTC"
	params["statement_timeout"] = fmt.Sprint(opts.StatementTimeout.Milliseconds())
	params["idle_in_transaction_session_timeout"] = "60000"
	if opts.GenericPlans {
		params["plan_cache_mode"] = "force_generic_plan"
	}
	if opts.OnWriteFailure != nil {
		cfg.ConnConfig.Tracer = writeWatch(opts.OnWriteFailure)
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	return cfg, nil
}

// MaxConns is the pool_max_conns that the URL gives, 0 where it gives none.
func MaxConns(url string) (int32, error) {
	plain, err := pgx.ParseConfig(url)
	if err != nil {
		return 0, errURL
	}
	if _, given := plain.RuntimeParams["pool_max_conns"]; !given {
		return 0, nil
	}
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return 0, errURL
	}
	return cfg.MaxConns, nil
}

// closeWithin is how long Close waits. A connection whose server hangs may not be
// given back before that; it ends with the process.
const closeWithin = 3 * time.Second

// Close waits for the store's connections to be given back and closes them. It
// returns after some seconds even when a server that hangs keeps one.
func (s *Store) Close() {
	closed := make(chan struct{})
	go func() {
		s.pool.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(closeWithin):
	}
}

// JobClient inserts and, when configured so, works jobs.
type JobClient = river.Client[pgx.Tx]

// JobClient returns a client of the job queue on the store's connections.
func (s *Store) JobClient(cfg *river.Config) (*JobClient, error) {
	client, err := river.NewClient(riverpgxv5.New(s.pool), cfg)
	if err != nil {
		return nil, fmt.Errorf("set up job queue: %w", err)
	}
	return client, nil
}

// Ping reports whether the database answers and is migrated.
func (s *Store) Ping(ctx context.Context) error {
	var migrated bool
	err := s.pool.QueryRow(ctx, `SELECT to_regclass('builds') IS NOT NULL AND to_regclass('river_job') IS NOT NULL`).Scan(&migrated)
	if err != nil {
		return fmt.Errorf("ask database: %w", err)
	}
	if !migrated {
		return errors.New("the database is not migrated: run mergegate migrate up")
	}
	return nil
}

// Now is the database's clock, the one that all recorded times are of.
func (s *Store) Now(ctx context.Context) (now time.Time, err error) {
	if err = s.pool.QueryRow(ctx, `SELECT now()`).Scan(&now); err != nil {
		return now, fmt.Errorf("ask database for the time: %w", err)
	}
	return now, nil
}

// below is the bound of a page: ids below before, or every id where that is 0.
// One condition for both keeps the index in use whatever plan is cached.
func below(before int64) int64 {
	if before == 0 {
		return math.MaxInt64
	}
	return before
}

// Tx is a transaction that the store lends to whoever decides what is written: all of it
// is committed together, or none. It is not safe for concurrent use.
type Tx struct {
	db    pgx.Tx
	store *Store
}

// InTx runs f in a transaction and commits it when f returns nil. An error of f is
// returned as it is.
func (s *Store) InTx(ctx context.Context, f func(*Tx) error) error {
	return pgx.BeginFunc(ctx, s.pool, func(db pgx.Tx) error { return f(&Tx{db: db, store: s}) })
}

// Enqueue is [Tx.Enqueue] for jobs alone.
func (s *Store) Enqueue(ctx context.Context, jobs ...Job) error {
	return s.InTx(ctx, func(tx *Tx) error { return tx.Enqueue(ctx, jobs...) })
}

// Now is when the transaction began, by the database's clock.
func (tx *Tx) Now(ctx context.Context) (now time.Time, err error) {
	err = tx.db.QueryRow(ctx, `SELECT now()`).Scan(&now)
	return now, err
}

// one reads a single row into T by column name, [ErrNotFound] when there is none.
func one[T any](rows pgx.Rows, err error) (T, error) {
	var none T
	if err != nil {
		return none, err
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[T])
	if errors.Is(err, pgx.ErrNoRows) {
		return none, ErrNotFound
	}
	return row, err
}

// all reads every row into T by column name.
func all[T any](rows pgx.Rows, err error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByNameLax[T])
}

// Reach connects to the database once.
func Reach(ctx context.Context, url string) error {
	cfg, err := poolConfig(url, Options{})
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	return conn.Close(ctx)
}
