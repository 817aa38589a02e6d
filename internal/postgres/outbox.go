package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrLeaseLost says that another job may be working on the same by now.
var ErrLeaseLost = errors.New("the lease ran out")

// EntryKind says what an entry of the outbox is.
type EntryKind string

// The kinds of entries.
const (
	StatusEntry       EntryKind = "commit_status" // a [CommitStatus]
	EffectsEntry      EntryKind = "effects"       // the [Effect]s of one pull request
	NotificationEntry EntryKind = "notification"  // a [Notification]
)

// Entry is something that Bitbucket or a subscriber is to be shown, and how far that has
// come.
type Entry struct {
	ID             int64
	Kind           EntryKind
	WorkspaceUUID  string
	RepositoryUUID string // "" of a notification
	PullRequestID  int64  // of effects alone
	Wanted         int64  // counts its changes
	Settled        int64  // the change that was made, or refused for good
	Outcome        Outcome
	HTTPStatus     *int
	Reason         string
	Attempts       int
	PendingSince   time.Time // from when on it is tried
	NextAttemptOn  *time.Time
	LeasedUntil    *time.Time // while it is being made
	UpdatedOn      time.Time
}

// PullRequest is the pull request that effects are of.
func (e Entry) PullRequest() PullRequestKey {
	return PullRequestKey{e.WorkspaceUUID, e.RepositoryUUID, e.PullRequestID}
}

const entryColumns = `id, kind, workspace_uuid, coalesce(repository_uuid::text, '') AS repository_uuid,
	coalesce(pull_request_id, 0) AS pull_request_id, wanted, settled, outcome, http_status, reason, attempts, pending_since,
	next_attempt_on, leased_until, updated_on`

// lostAfter is when a queued job that has not begun is taken for lost.
const lostAfter = time.Hour

// wantedAnew has an entry made from the beginning. It is for statements that update outbox,
// which each want another thing, or the same once more.
const wantedAnew = `wanted = outbox.wanted + 1, wanted_on = now(), pending_since = now(), outcome = 'pending', http_status = NULL,
	reason = '', attempts = 0, next_attempt_on = NULL, updated_on = now()`

// place is which entry of its kind one is, and which others it shares a bound with.
type place struct {
	kind          EntryKind
	pr            PullRequestKey // the pull request's id is kept of effects alone
	subject, lane string
}

// wantEntry counts a change of what is wanted, where a condition on pr ($1 to $3) holds,
// else it does nothing and returns 0. due says that a job is to be queued: none is waiting
// to begin.
func (tx *Tx) wantEntry(ctx context.Context, p place, condition string) (id int64, due bool, err error) {
	err = tx.db.QueryRow(ctx, `
		INSERT INTO outbox (workspace_uuid, repository_uuid, pull_request_id, kind, subject, lane)
		SELECT $1::uuid, $2::uuid, nullif($3::bigint, 0), $4::text, $5::text, $6::text WHERE `+condition+`
		ON CONFLICT (kind, subject) DO UPDATE SET
			queued = CASE WHEN outbox.begun >= outbox.queued OR outbox.wanted_on < now() - $7::interval THEN outbox.wanted + 1 ELSE outbox.queued END,
			`+wantedAnew+`
		RETURNING id, queued = wanted`, p.pr.WorkspaceUUID, p.pr.RepositoryUUID, p.pr.PullRequestID, p.kind, p.subject, p.lane, lostAfter).
		Scan(&id, &due)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	return id, due, err
}

// WantAgain has an entry made once more as it is wanted, and queues that. One that isn't
// there is [ErrNotFound].
func (tx *Tx) WantAgain(ctx context.Context, id int64) error {
	rows, err := tx.db.Query(ctx, `UPDATE outbox SET queued = wanted + 1, `+wantedAnew+` WHERE id = $1 RETURNING `+entryColumns, id)
	e, err := one[Entry](rows, err)
	if err != nil {
		return err
	}
	return tx.Enqueue(ctx, Publish{EntryID: id, EntryKind: e.Kind})
}

// Claim is what became of claiming an entry.
type Claim int

// What can become of it.
const (
	Over    Claim = iota // it is settled, or deleted
	Busy                 // it is not due, or another job, or too many of its lane, are at it
	Claimed              // it is leased
)

// ClaimEntry leases an entry that is not settled and due, for lease, unless most of its
// lane are leased. The entry is as it is then; the zero value where it is over.
func (s *Store) ClaimEntry(ctx context.Context, id int64, lease time.Duration, most int) (e Entry, c Claim, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		// One claim of a lane at a time, or several see the same free place.
		_, err := tx.db.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('claim ' || kind || ' ' || lane, 0)) FROM outbox WHERE id = $1`, id)
		if err != nil {
			return err
		}
		// An entry can have several jobs. The first that comes when it is due claims
		// it, and clocks differ a little.
		rows, err := tx.db.Query(ctx, `
			UPDATE outbox SET leased_until = now() + $2::interval, attempts = attempts + 1, begun = wanted
			WHERE id = $1 AND settled < wanted AND coalesce(leased_until <= now(), true)
				AND coalesce(next_attempt_on <= now() + interval '500 ms', true)
				AND (SELECT count(*) FROM outbox o WHERE (o.kind, o.lane) = (outbox.kind, outbox.lane) AND o.leased_until > now()) < $3
			RETURNING `+entryColumns, id, lease, most)
		if e, err = one[Entry](rows, err); err == nil {
			c = Claimed
			return nil
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		rows, err = tx.db.Query(ctx, `SELECT `+entryColumns+` FROM outbox WHERE id = $1 AND settled < wanted`, id)
		if e, err = one[Entry](rows, err); err == nil {
			c = Busy
		}
		return ignoreNotFound(err)
	})
	if err != nil {
		return Entry{}, Over, fmt.Errorf("claim entry %d of the outbox: %w", id, err)
	}
	return e, c, nil
}

// WhileHeld runs f in a transaction in which e is leased, for lease from now on. It fails
// with [ErrLeaseLost] where the lease has run out.
func (s *Store) WhileHeld(ctx context.Context, e *Entry, lease time.Duration, f func(*Tx) error) error {
	until := e.LeasedUntil
	err := s.InTx(ctx, func(tx *Tx) error {
		err := tx.db.QueryRow(ctx, `UPDATE outbox SET leased_until = now() + $3::interval WHERE id = $1 AND leased_until = $2 RETURNING leased_until`,
			e.ID, e.LeasedUntil, lease).Scan(&until)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrLeaseLost
		}
		if err != nil {
			return err
		}
		return f(tx)
	})
	if err == nil {
		e.LeasedUntil = until
	}
	return err
}

// ReleaseEntry gives a lease back without having settled anything.
func (s *Store) ReleaseEntry(ctx context.Context, e Entry) error {
	_, err := s.pool.Exec(ctx, `UPDATE outbox SET leased_until = NULL WHERE id = $1 AND leased_until = $2`, e.ID, e.LeasedUntil)
	if err != nil {
		return fmt.Errorf("release entry %d of the outbox: %w", e.ID, err)
	}
	return nil
}

// Settling is what became of recording an attempt.
type Settling int

// What can become of it.
const (
	// Settled: it is recorded.
	Settled Settling = iota
	// Superseded: more was wanted meanwhile, and the next attempt is queued, so that a
	// change while something is being made is never lost.
	Superseded
	// LeaseLost: nothing is recorded. Somebody else made it, or is at it.
	LeaseLost
	// Gone: it was deleted meanwhile.
	Gone
)

// SettleEntry records how an attempt at e ended and gives the lease back.
func (tx *Tx) SettleEntry(ctx context.Context, e Entry, a Attempt) (how Settling, err error) {
	var wanted int64
	var leased bool
	err = tx.db.QueryRow(ctx, `SELECT wanted, leased_until IS NOT DISTINCT FROM $2 FROM outbox WHERE id = $1 FOR UPDATE`,
		e.ID, e.LeasedUntil).Scan(&wanted, &leased)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Gone, nil
	case err != nil:
		return Gone, err
	case !leased:
		return LeaseLost, nil
	}
	superseded := wanted > e.Wanted
	_, err = tx.db.Exec(ctx, `
		UPDATE outbox SET leased_until = NULL, attempts = greatest(attempts - CASE WHEN @unasked THEN 1 ELSE 0 END, 0),
			settled = CASE WHEN @outcome = 'pending' THEN settled ELSE @version END,
			outcome = CASE WHEN @superseded THEN outcome ELSE @outcome END,
			http_status = CASE WHEN @superseded THEN http_status ELSE @http_status END,
			reason = CASE WHEN @superseded THEN reason ELSE @reason END,
			next_attempt_on = CASE WHEN NOT @superseded AND @outcome = 'pending' THEN now() + @retry_in::interval END,
			updated_on = now()
		WHERE id = @id`, pgx.NamedArgs{
		"id": e.ID, "outcome": a.Outcome, "superseded": superseded, "version": e.Wanted, "http_status": nullInt(a.HTTPStatus),
		"reason": a.Reason, "retry_in": a.RetryIn, "unasked": a.Unasked,
	})
	if err != nil || !superseded {
		return Settled, err
	}
	return Superseded, tx.Enqueue(ctx, Publish{EntryID: e.ID, EntryKind: e.Kind})
}

func nullInt(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}
