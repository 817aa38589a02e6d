package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is what a database server tells of itself, as far as it matters here.
type Server struct {
	Version     string
	Old         bool // older than the schema works with
	Standby     bool // it only repeats another server
	ReadOnly    bool // transactions may not write
	MayMigrate  bool // this user may make tables
	Fsync       bool
	FullPages   bool
	Synchronous bool          // a commit that is answered is on disk
	Ahead       time.Duration // its clock of this machine's
	// Pooled says that connections share sessions, as behind a pooler in transaction
	// mode: advisory locks and notifications don't work there.
	Pooled bool
}

// Examine asks the server at url about itself, migrated or not.
func Examine(ctx context.Context, url string) (s Server, err error) {
	cfg, err := poolConfig(url, Options{})
	if err != nil {
		return s, err
	}
	// A prepared statement belongs to a session, of which there may be none.
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		return s, fmt.Errorf("connect to the database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var number int
	var clock time.Time
	asked := time.Now()
	err = conn.QueryRow(ctx, `
		SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(),
			current_setting('transaction_read_only')::bool, coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
			current_setting('fsync')::bool, current_setting('full_page_writes')::bool,
			current_setting('synchronous_commit') <> 'off', clock_timestamp()`).
		Scan(&number, &s.Version, &s.Standby, &s.ReadOnly, &s.MayMigrate, &s.Fsync, &s.FullPages, &s.Synchronous, &clock)
	if err != nil {
		return s, fmt.Errorf("ask database about itself: %w", err)
	}
	answered := time.Now()
	s.Old = number < oldestServer
	s.Ahead = clock.Sub(asked.Add(answered.Sub(asked) / 2))
	s.Pooled, err = pooled(ctx, conn, cfg.ConnConfig)
	return s, err
}

// pooled reports whether a second connection is given the session of the first,
// which is idle but not closed.
func pooled(ctx context.Context, first *pgx.Conn, cfg *pgx.ConnConfig) (bool, error) {
	second, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return false, fmt.Errorf("connect to the database twice: %w", err)
	}
	defer func() { _ = second.Close(context.WithoutCancel(ctx)) }()
	var sessions [2]int64
	for i, conn := range []*pgx.Conn{first, second} {
		if err := conn.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&sessions[i]); err != nil {
			return false, fmt.Errorf("ask database for its session: %w", err)
		}
	}
	return sessions[0] == sessions[1], nil
}
