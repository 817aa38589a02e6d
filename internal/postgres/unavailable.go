package postgres

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
)

// IsUnavailable reports whether err means that the database can't be used now:
// it could not be reached, did not answer in time, or is starting, stopping, out
// of resources or read-only. The same statement may work later.
func IsUnavailable(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return isUnavailableCode(pg.Code)
	}
	var connect *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) {
		return true
	}
	for _, known := range []error{
		context.DeadlineExceeded, context.Canceled, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, puddle.ErrClosedPool,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// Cause is what went wrong with a database in one clause, without the chain of what it went
// wrong for: the network's words, else the server's.
func Cause(err error) string {
	var network *net.OpError
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		return pg.Message
	case errors.As(err, &network):
		return network.Error()
	default:
		return err.Error()
	}
}

// IsTooSlow reports whether PostgreSQL gave a statement up because of the time it took.
func IsTooSlow(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "57014"
}

// isUnavailableCode goes by PostgreSQL's error classes:
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func isUnavailableCode(code string) bool {
	switch code {
	case "25006", "40001", "40P01", // read-only, serialization failure, deadlock
		"25P03", "25P04": // ended for idling in a transaction, for the transaction's length
		return true
	}
	if len(code) != 5 {
		return false
	}
	switch code[:2] {
	case "08", "53", "55", "57", "58": // connection, resources, object state, operator intervention, system
		return true
	}
	return false
}
