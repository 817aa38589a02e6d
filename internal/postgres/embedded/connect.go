package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	userName     = "mergegate"
	databaseName = "mergegate"

	// attachTimeout bounds how long Attach waits for a server that is just starting or stopping.
	attachTimeout = 10 * time.Second

	// SQLSTATE codes.
	undefinedDatabase = "3D000"
	cannotConnectNow  = "57P03"
)

// Attach returns the URL of the server that another process runs on dir. It fails with
// ErrNotRunning when there is none.
func Attach(ctx context.Context, dir string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	at, err := findFolder(dir)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	address := connectionURL(at.socketFolder(), databaseName)
	err = retry(ctx, nil, isStarting, func() error { return ping(ctx, address) })
	switch {
	case err == nil:
		return address, nil
	case isAbsent(err):
		return "", fmt.Errorf("%w: %s", ErrNotRunning, at.root)
	}
	return "", fmt.Errorf("attach to the embedded PostgreSQL: %w", err)
}

// connectionURL says everything there is to say, so that no PG* variable changes it.
func connectionURL(socket, database string) string {
	query := url.Values{"host": {socket}, "port": {"5432"}, "sslmode": {"disable"}}
	address := url.URL{Scheme: "postgres", User: url.User(userName), Path: "/" + database, RawQuery: query.Encode()}
	return address.String()
}

// awaitDatabase waits until the server answers, and makes sure of the database.
func awaitDatabase(ctx context.Context, socket string, ended <-chan struct{}) error {
	notYet := func(err error) bool { return isStarting(err) || isAbsent(err) }
	return retry(ctx, ended, notYet, func() error { return createDatabase(ctx, socket) })
}

// createDatabase looks first: an attempt that fails would stand in PostgreSQL's log at every start.
func createDatabase(ctx context.Context, socket string) error {
	conn, err := pgx.Connect(ctx, connectionURL(socket, "postgres"))
	if err != nil {
		return err
	}
	var exists bool
	err = conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", databaseName).Scan(&exists)
	if err == nil && !exists {
		_, err = conn.Exec(ctx, "create database "+databaseName)
	}
	return errors.Join(err, conn.Close(ctx))
}

func ping(ctx context.Context, address string) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// retry repeats try for as long as its errors are passing ones and nothing has ended.
func retry(ctx context.Context, ended <-chan struct{}, passing func(error) bool, try func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil || !passing(err) {
			return err
		}
		select {
		case <-ended:
			return errors.New("it ended before it answered")
		case <-ctx.Done():
			return fmt.Errorf("it did not answer in time: %w", err)
		case <-tick.C:
		}
	}
}

// isStarting reports that the server is there and not open yet, or not for us: a new one makes
// the database last.
func isStarting(err error) bool {
	return hasCode(err, cannotConnectNow) || hasCode(err, undefinedDatabase)
}

// isAbsent reports that nobody listens on the socket.
func isAbsent(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)
}

func hasCode(err error, code string) bool {
	var fault *pgconn.PgError
	return errors.As(err, &fault) && fault.Code == code
}
