package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"mergegate/migrations"
)

const (
	// oldestServer is the first PostgreSQL that the schema works with, as server_version_num.
	oldestServer = 140000
	// migrateTimeout bounds a migration that nobody else bounds, waiting for another's included.
	migrateTimeout = 15 * time.Minute
	// jobQueueVersion is the version of River's schema that migration 1 makes. A River that needs
	// a newer one gets a migration of its own, since databases have applied this one.
	jobQueueVersion = 8
	jobQueueName    = "00001_job_queue.go"
)

// ErrNothingApplied says that there is no migration left to take back.
var ErrNothingApplied = errors.New("no migration is applied")

// NewerSchemaError says that a newer mergegate has migrated the database: this one doesn't
// know what the schema means, and writing to it could destroy data.
type NewerSchemaError struct {
	Database, Program int64 // versions: of the schema that is there, and of the newest known
}

// Error names both versions, and what to do.
func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("the database has schema version %d, and this mergegate knows versions up to %d; "+
		"run the newer mergegate, or restore a backup from before the upgrade", e.Database, e.Program)
}

// Migration is one step of the schema.
type Migration struct {
	Version   int64
	Name      string    // the file's, such as 00002_schema.sql
	AppliedOn time.Time // zero while it is pending
}

// MigrateUp applies every pending migration, the job queue's included. Several processes may call
// it at once: an advisory lock lets one work and the others find nothing left to do. It refuses
// servers older than PostgreSQL 14, and with a *[NewerSchemaError] a schema that it doesn't know.
func MigrateUp(ctx context.Context, url string) error {
	return withProvider(ctx, url, func(ctx context.Context, _ *sql.DB, p *goose.Provider) error {
		_, err := p.Up(ctx)
		return err
	})
}

// MigrateDown takes the newest applied migration back, with what it stored: see [NextDown]. It
// fails with ErrNothingApplied when there is none.
func MigrateDown(ctx context.Context, url string) error {
	return withProvider(ctx, url, func(ctx context.Context, _ *sql.DB, p *goose.Provider) error {
		_, err := p.Down(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			return ErrNothingApplied
		}
		return err
	})
}

// MigrationStatus returns every known migration by version.
func MigrationStatus(ctx context.Context, url string) ([]Migration, error) {
	var status []Migration
	err := withProvider(ctx, url, func(ctx context.Context, _ *sql.DB, p *goose.Provider) error {
		known, err := p.Status(ctx)
		for _, m := range known {
			status = append(status, Migration{Version: m.Source.Version, Name: nameOf(m.Source), AppliedOn: m.AppliedAt})
		}
		return err
	})
	return status, err
}

// nameOf names a step: migrations in Go have no path.
func nameOf(source *goose.Source) string {
	if source.Version == 1 {
		return jobQueueName
	}
	return path.Base(source.Path)
}

// withProvider lets do work on the database and closes every connection after it.
func withProvider(ctx context.Context, url string, do func(context.Context, *sql.DB, *goose.Provider) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("migrate the database: %w", err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*config)
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := requireVersion(ctx, db); err != nil {
		return err
	}
	provider, err := newProvider(db, url)
	if err != nil {
		return err
	}
	if err := refuseNewer(ctx, db, provider); err != nil {
		return err
	}
	return do(ctx, db, provider)
}

// refuseNewer fails with a *NewerSchemaError where a newer mergegate has migrated the database.
func refuseNewer(ctx context.Context, db *sql.DB, p *goose.Provider) error {
	known := p.ListSources()
	applied, err := newestApplied(ctx, db)
	if newest := known[len(known)-1].Version; err == nil && applied > newest {
		err = &NewerSchemaError{Database: applied, Program: newest}
	}
	return err
}

// newestApplied is the version of the newest applied migration, 0 where none is. goose would
// make its table to tell, which several processes can't do at once without its lock.
func newestApplied(ctx context.Context, db *sql.DB) (version int64, err error) {
	var migrated bool
	if err := db.QueryRowContext(ctx, "select to_regclass('goose_db_version') is not null").Scan(&migrated); err != nil || !migrated {
		return 0, err
	}
	err = db.QueryRowContext(ctx, "select coalesce(max(version_id), 0) from goose_db_version where is_applied").Scan(&version)
	return version, err
}

func newProvider(db *sql.DB, url string) (*goose.Provider, error) {
	// Asked every second: goose tries rather than waits, since a waiting lock would hold up
	// create index concurrently.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, uint64(migrateTimeout/time.Second)))
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, migrations.FS,
		goose.WithSessionLocker(locker), goose.WithGoMigrations(jobQueueMigration(url)))
}

// requireVersion turns a syntax error in the middle of a migration into a sentence before it.
func requireVersion(ctx context.Context, db *sql.DB) error {
	var number int
	var name string
	err := db.QueryRowContext(ctx, "select current_setting('server_version_num')::int, current_setting('server_version')").
		Scan(&number, &name)
	if err != nil {
		return err
	}
	return checkVersion(number, name)
}

func checkVersion(number int, name string) error {
	if number < oldestServer {
		return fmt.Errorf("PostgreSQL %d or newer is needed, the server is %s", oldestServer/10000, name)
	}
	return nil
}

// jobQueueMigration makes River's schema a step of ours. River's migrator wants a pgx pool, so it
// works beside goose's connection, which meanwhile holds the lock.
func jobQueueMigration(url string) *goose.Migration {
	step := func(direction rivermigrate.Direction, target int) *goose.GoFunc {
		return &goose.GoFunc{RunDB: func(ctx context.Context, _ *sql.DB) error {
			return migrateJobQueue(ctx, url, direction, target)
		}}
	}
	return goose.NewGoMigration(1, step(rivermigrate.DirectionUp, jobQueueVersion), step(rivermigrate.DirectionDown, -1))
}

func migrateJobQueue(ctx context.Context, url string, direction rivermigrate.Direction, target int) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, direction, &rivermigrate.MigrateOpts{TargetVersion: target})
	return err
}
