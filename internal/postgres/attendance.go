package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// attendEvery is how often replicas look for jobs of one that is gone.
const attendEvery = 2 * time.Second

// Attendance is how a replica shows that it lives: an advisory lock that its
// session holds, which PostgreSQL gives back the moment the session ends, by a
// kill too. Jobs that are running by somebody whose lock is free are made
// available again, and the leadership of the queue is taken from it, long before
// the queue itself would find out by time.
//
// A replica that lives can lose its session, when PostgreSQL crashes or fails
// over, and then its jobs; it gives up those it had itself, since it can't know
// which it was given without having heard of it. That is safe: every job may be
// worked twice, at once too, since it only makes what is there what it should be.
type Attendance struct {
	pool *pgxpool.Pool
	id   string
	log  *slog.Logger
	conn *pgxpool.Conn // nil while there is no session
	lost bool          // there was a session, and it was lost
}

// Attend shows that the job client with this id lives, and takes over from those
// that don't. It has to be called before the client works its first job.
func (s *Store) Attend(ctx context.Context, id string, log *slog.Logger) (*Attendance, error) {
	a := &Attendance{pool: s.pool, id: id, log: log}
	err := a.round(ctx)
	return a, err
}

// Run goes on until ctx ends.
func (a *Attendance) Run(ctx context.Context) {
	tick := time.NewTicker(attendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := a.round(ctx); err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "can't look for jobs of replicas that are gone", "error", err)
		}
	}
}

// Close ends the session. It is called after the client stopped working.
func (a *Attendance) Close() {
	if a.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = a.conn.Conn().Close(ctx) // the lock goes with it
	a.conn.Release()
	a.conn = nil
}

// round takes over what others left, on the session that holds the lock, so
// that a session which is lost is noticed and made anew.
func (a *Attendance) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if a.conn == nil {
		conn, err := a.pool.Acquire(ctx)
		if err != nil {
			return fmt.Errorf("attend: %w", err)
		}
		a.conn = conn
		if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock(hashtextextended('attends ' || $1, 0))`, a.id); err != nil {
			a.Close()
			return fmt.Errorf("attend: %w", err)
		}
	}
	taken, err := a.takeOver(ctx)
	if err != nil {
		a.Close()
		a.lost = true
		return fmt.Errorf("take over jobs: %w", err)
	}
	a.lost = false
	if taken > 0 {
		a.log.InfoContext(ctx, "took over jobs of replicas that are gone", "jobs", taken)
	}
	return nil
}

// takeOver asks for the locks of all who are said to be at work. Whoever's it
// gets is gone, and stays so until the transaction ends: the lock is held.
func (a *Attendance) takeOver(ctx context.Context) (taken int64, err error) {
	err = pgx.BeginFunc(ctx, a.conn, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			WITH working AS (
				SELECT DISTINCT attempted_by[array_upper(attempted_by, 1)] AS id FROM river_job WHERE state = 'running'
				UNION SELECT leader_id FROM river_leader)
			SELECT id FROM working WHERE id <> $1 ORDER BY id`, a.id)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if a.lost {
			if taken, err = release(ctx, tx, a.id); err != nil {
				return err
			}
		}
		for _, id := range ids {
			n, err := takeOverFrom(ctx, tx, id)
			if err != nil {
				return err
			}
			taken += n
		}
		return nil
	})
	return taken, err
}

func takeOverFrom(ctx context.Context, tx pgx.Tx, id string) (taken int64, err error) {
	var gone bool
	err = tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock(hashtextextended('attends ' || $1, 0))`, id).Scan(&gone)
	if err != nil || !gone {
		return 0, err
	}
	if taken, err = release(ctx, tx, id); err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, `DELETE FROM river_leader WHERE leader_id = $1`, id)
	return taken, err
}

// release makes a replica's jobs available. Their attempt didn't end, so it
// doesn't count.
func release(ctx context.Context, tx pgx.Tx, id string) (released int64, err error) {
	tag, err := tx.Exec(ctx, `
		UPDATE river_job SET state = 'available', attempt = greatest(attempt - 1, 0), scheduled_at = now()
		WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] = $1`, id)
	return tag.RowsAffected(), err
}
