package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"mergegate/internal/config"
	"mergegate/internal/postgres"
	"mergegate/internal/postgres/embedded"
	"mergegate/internal/server"
)

// connectFor is how long a database that starts beside the service is waited for.
const connectFor = 60 * time.Second

// serveDatabase returns the database to serve from: the configured one, else one
// of our own, which nobody else may be serving from. ended is closed if ours
// ends by itself; it is nil otherwise.
func serveDatabase(ctx context.Context, cfg config.Config, log *slog.Logger) (url string, ended <-chan struct{}, stop func(), err error) {
	if cfg.DatabaseURL != "" {
		return cfg.DatabaseURL, nil, func() {}, waitForDatabase(ctx, cfg.DatabaseURL, log)
	}
	server, err := embedded.Start(ctx, cfg.DataDir, embedded.Options{Log: log})
	if err != nil {
		return "", nil, nil, databaseFault(cfg, err)
	}
	return server.URL(), server.Done(), func() {
		if err := server.Stop(); err != nil {
			log.Error("embedded PostgreSQL did not stop in order", "error", err)
		}
	}, nil
}

// ErrNoDatabase says that a command has no database to work on: only serve and the demo
// make one. A command that made its own would work on one that nothing serves.
var ErrNoDatabase = errors.New("there is no database to work on")

// CommandDatabase is the database that commands beside the service work on: the configured
// one, else the one that a running service made. Its error wraps [ErrNoDatabase] and is of
// the configuration where there is neither.
func CommandDatabase(ctx context.Context, cfg config.Config) (url string, err error) {
	if cfg.DatabaseURL != "" {
		return cfg.DatabaseURL, nil
	}
	url, err = embedded.Attach(ctx, cfg.DataDir)
	if errors.Is(err, embedded.ErrNotRunning) {
		return "", config.NewError(fmt.Errorf("%w: no mergegate serve is running on %s. Set MERGEGATE_URL and MERGEGATE_TOKEN to ask a running service, "+
			"set DATABASE_URL to the database it uses, or start mergegate serve first", ErrNoDatabase, cfg.DataDir))
	}
	return url, err
}

// migrate applies every pending migration.
func migrate(ctx context.Context, url string) error {
	return DatabaseFault(postgres.MigrateUp(ctx, url))
}

// DatabaseFault says what to do about a database that can't be used. A schema that is newer
// than the program is a fault of the configuration: it takes another program or database.
func DatabaseFault(err error) error {
	var newer *postgres.NewerSchemaError
	switch {
	case errors.As(err, &newer):
		return config.NewError(newer)
	case err != nil && postgres.IsUnavailable(err) && !errors.Is(err, context.Canceled):
		return fmt.Errorf("can't use the database: %s; see that it runs, and that DATABASE_URL has its host, port, user and password", postgres.Cause(err))
	}
	return err
}

func databaseFault(cfg config.Config, err error) error {
	var missing *embedded.NoBinariesError
	var folder *fs.PathError
	switch {
	case errors.As(err, &missing):
		return config.NewError(err)
	case errors.As(err, &folder):
		return config.NewError(fmt.Errorf("MERGEGATE_DATA_DIR: can't make %q: %w; choose a folder that this user can write to, or set DATABASE_URL", folder.Path, folder.Err))
	case errors.Is(err, embedded.ErrInUse):
		return fmt.Errorf("another mergegate serves from %s: stop it, or set MERGEGATE_DATA_DIR or DATABASE_URL: %w", cfg.DataDir, err)
	default:
		return err
	}
}

func waitForDatabase(ctx context.Context, url string, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, connectFor)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for said := false; ; said = true {
		err := postgres.Reach(ctx, url)
		if err == nil || !postgres.IsUnavailable(err) {
			return DatabaseFault(err)
		}
		if !said {
			log.Warn("waiting for the database", "error", postgres.Cause(err))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %s: %w", connectFor, DatabaseFault(err))
		case <-tick.C:
		}
	}
}

// WithStore opens the database for a command, migrated: the first token is made before the
// first serve as often as after it.
func WithStore(ctx context.Context, cfg config.Config, f func(store *postgres.Store) error) error {
	url, err := CommandDatabase(ctx, cfg)
	if err != nil {
		return err
	}
	if err := migrate(ctx, url); err != nil {
		return err
	}
	store, err := postgres.Open(ctx, url, postgres.Options{MaxConns: 2, Describe: server.Describe})
	if err != nil {
		return config.NewError(err)
	}
	defer store.Close()
	return f(store)
}
