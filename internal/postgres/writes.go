package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// WriteFailure is why the database takes nothing although it answers, "" for every
// other error. It lasts until somebody does something about it.
type WriteFailure string

// Why nothing can be written.
const (
	DiskFull    WriteFailure = "disk_full"
	OutOfMemory WriteFailure = "out_of_memory"
	ReadOnly    WriteFailure = "read_only"
)

// WriteFailureOf goes by the error's SQLSTATE:
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func WriteFailureOf(err error) WriteFailure {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return ""
	}
	switch pg.Code {
	case "53100":
		return DiskFull
	case "53200":
		return OutOfMemory
	case "25006":
		return ReadOnly
	}
	return ""
}

// String says it to people.
func (f WriteFailure) String() string {
	switch f {
	case DiskFull:
		return "the database's disk is full"
	case OutOfMemory:
		return "the database is out of memory"
	case ReadOnly:
		return "the database is read-only"
	default:
		return "the database can't be written to"
	}
}

// writeWatch tells of statements that failed for a [WriteFailure].
type writeWatch func(WriteFailure)

func (w writeWatch) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (w writeWatch) TraceQueryEnd(_ context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	if failure := WriteFailureOf(data.Err); failure != "" {
		w(failure)
	}
}

// probeSize is what a delivery of the usual size takes, and more than fits in beside
// others without space on the disk.
const probeSize = 16 << 10

// ProbeWrite stores a delivery and takes it back, and commits a row: whether a webhook
// could be stored now.
func (s *Store) ProbeWrite(ctx context.Context) error {
	body := make([]byte, probeSize)
	_, _ = rand.Read(body) // never fails; nothing that could be compressed
	err := s.InTx(ctx, func(tx *Tx) error {
		undone := errors.New("undone")
		err := pgx.BeginFunc(ctx, tx.db, func(db pgx.Tx) error { // a savepoint
			if _, _, err := (&Tx{db: db, store: s}).AddDelivery(ctx, Delivery{Source: "appveyor", Body: body, Outcome: Ignored}); err != nil {
				return err
			}
			return undone
		})
		if !errors.Is(err, undone) {
			return err
		}
		_, err = tx.db.Exec(ctx, `UPDATE write_probe SET written_on = now()`)
		return err
	})
	if err != nil {
		return fmt.Errorf("probe whether the database can be written to: %w", err)
	}
	return nil
}
