package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// beatEvery is how often replicas look for jobs of one that is gone.
const beatEvery = 2 * time.Second

// Heartbeat is how a replica shows that it lives: an advisory lock that its
// session holds, which PostgreSQL gives back the moment the session ends, by a
// kill too. Jobs that are running by somebody whose lock is free are made
// available again, and the leadership of the queue is taken from it, long before
// the queue itself would find out by time.
//
// A replica that lives can lose its session, when PostgreSQL crashes or fails
// over, and then its jobs; it gives up those it had itself, since it can't know
// which it was given without having heard of it. That is safe: every job may be
// worked twice, at once too, since it only makes what is there what it should be.
//
// It changes two tables of River's, for River has no way of its own: its client retries no job
// that is running, and asks a leader to resign who can't hear it. TestRiverTables says when they
// are others.
type Heartbeat struct {
	pool *pgxpool.Pool
	id   string
	log  *slog.Logger
	conn *pgxpool.Conn // nil while there is no session
	lost bool          // there was a session, and it was lost
}

// StartHeartbeat shows that the job client with this id lives, and takes over from those
// that don't. It has to be called before the client works its first job.
func (s *Store) StartHeartbeat(ctx context.Context, id string, log *slog.Logger) (*Heartbeat, error) {
	h := &Heartbeat{pool: s.pool, id: id, log: log}
	err := h.beat(ctx)
	return h, err
}

// Run goes on until ctx ends.
func (h *Heartbeat) Run(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := h.beat(ctx); err != nil && ctx.Err() == nil {
			h.log.WarnContext(ctx, "can't look for jobs of replicas that are gone", "error", err)
		}
	}
}

// Close ends the session. It is called after the client stopped working.
func (h *Heartbeat) Close() {
	if h.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = h.conn.Conn().Close(ctx) // the lock goes with it
	h.conn.Release()
	h.conn = nil
}

// beat takes over what others left, on the session that holds the lock, so
// that a session which is lost is noticed and made anew.
func (h *Heartbeat) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if h.conn == nil {
		conn, err := h.pool.Acquire(ctx)
		if err != nil {
			return fmt.Errorf("heartbeat: %w", err)
		}
		h.conn = conn
		if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock(hashtextextended('heartbeat ' || $1, 0))`, h.id); err != nil {
			h.Close()
			return fmt.Errorf("heartbeat: %w", err)
		}
	}
	taken, err := h.takeOver(ctx)
	if err != nil {
		h.Close()
		h.lost = true
		return fmt.Errorf("take over jobs: %w", err)
	}
	h.lost = false
	if taken > 0 {
		h.log.InfoContext(ctx, "took over jobs of replicas that are gone", "jobs", taken)
	}
	return nil
}

// takeOver asks for the locks of all who are said to be at work. Whoever's it
// gets is gone, and stays so until the transaction ends: the lock is held.
func (h *Heartbeat) takeOver(ctx context.Context) (taken int64, err error) {
	err = pgx.BeginFunc(ctx, h.conn, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			WITH working AS (
				SELECT DISTINCT attempted_by[array_upper(attempted_by, 1)] AS id FROM river_job WHERE state = 'running'
				UNION SELECT leader_id FROM river_leader)
			SELECT id FROM working WHERE id <> $1 ORDER BY id`, h.id)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if h.lost {
			if taken, err = release(ctx, tx, h.id); err != nil {
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
	err = tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock(hashtextextended('heartbeat ' || $1, 0))`, id).Scan(&gone)
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
