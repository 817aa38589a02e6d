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

// The effects that a policy can ask for.
const (
	EffectApprove        = "approve"
	EffectRequestChanges = "request_changes"
	EffectComment        = "comment"
	EffectTask           = "task"
	EffectReport         = "report"
)

// Effect is something that Bitbucket is to show of a pull request's verdict, and
// what it was told.
type Effect struct {
	Effect        string
	Wanted        string // "": it is to be gone
	WantedContent string // a hash of what it is to say
	Made          string // as Bitbucket shows it, "" where nothing of ours is there
	MadeContent   string
	RemoteID      string
	Mark          string // "": it was never begun to be made
	BegunOn       *time.Time
	Head          string // the commit that it is of
	Outcome       Outcome
	HTTPStatus    *int
	Reason        string
	Attempts      int
	PendingSince  time.Time
	NextAttemptOn *time.Time
	UpdatedOn     time.Time
}

const effectColumns = `effect, wanted, wanted_content, made, made_content, remote_id, mark, begun_on, head, outcome,
	http_status, reason, attempts, pending_since, next_attempt_on, updated_on`

// leastUUID comes before every other.
const leastUUID = "00000000-0000-0000-0000-000000000000"

// spreadBatch is how many pull requests one [SpreadEffects] has looked at.
const spreadBatch = 200

// lostAfter is when a queued job that has not begun is taken for lost.
const lostAfter = time.Hour

// wantEffects notes that the verdict of a pull request may have changed, and
// queues showing it unless a job that will see this waits to begin. Where the
// workspace has no policy, nothing was ever made, and nobody is told of verdicts,
// it does nothing. It comes
// last in a transaction: nobody then waits for another lock with this one.
func (s *Store) wantEffects(ctx context.Context, tx pgx.Tx, pr PullRequestKey) error {
	if pr.PullRequestID == 0 {
		return nil
	}
	var wanted, turn int64
	err := tx.QueryRow(ctx, `
		INSERT INTO effect_runs AS r (workspace_uuid, repository_uuid, pull_request_id)
		SELECT $1, $2, $3 WHERE EXISTS (SELECT FROM policies WHERE workspace_uuid = $1)
			OR EXISTS (SELECT FROM effects WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3)
			OR `+isTold+`
		ON CONFLICT (workspace_uuid, repository_uuid, pull_request_id) DO UPDATE SET
			wanted = r.wanted + 1, wanted_on = now(),
			turn = CASE WHEN r.seen >= r.turn OR r.wanted_on < now() - $4::interval THEN r.wanted + 1 ELSE r.turn END
		RETURNING wanted, turn`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, lostAfter).Scan(&wanted, &turn)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("want effects: %w", err)
	}
	if turn != wanted {
		return nil
	}
	return s.enqueue(ctx, tx, SyncEffects{PullRequestKey: pr, Turn: turn})
}

// WantEffects is for what has changed by itself, with time.
func (s *Store) WantEffects(ctx context.Context, pr PullRequestKey) error {
	return s.inTx(ctx, func(tx pgx.Tx) error { return s.wantEffects(ctx, tx, pr) })
}

// WakeEffectsOn queues a [WakeEffects]. The same one is queued once.
func (s *Store) WakeEffectsOn(ctx context.Context, pr PullRequestKey, on time.Time) error {
	return s.inTx(ctx, func(tx pgx.Tx) error { return s.enqueue(ctx, tx, WakeEffects{PullRequestKey: pr, On: on}) })
}

// SpreadEffects works a job of that kind, and queues the next where there is more.
func (s *Store) SpreadEffects(ctx context.Context, job SpreadEffects) error {
	rows, err := s.pool.Query(ctx, `
		SELECT $1::uuid::text AS workspace_uuid, repository_uuid::text, pull_request_id FROM (
			SELECT repository_uuid, pull_request_id FROM pull_requests WHERE workspace_uuid = $1 AND state = 'OPEN'
			UNION SELECT repository_uuid, pull_request_id FROM effects WHERE workspace_uuid = $1
		) known WHERE (repository_uuid, pull_request_id) > (coalesce(nullif($2, '')::uuid, '`+leastUUID+`'::uuid), $3)
		ORDER BY repository_uuid, pull_request_id LIMIT $4`, job.WorkspaceUUID, job.AfterRepository, job.AfterID, spreadBatch)
	list, err := all[PullRequestKey](rows, err)
	if err != nil {
		return fmt.Errorf("list pull requests of workspace %s: %w", job.WorkspaceUUID, err)
	}
	for _, pr := range list {
		if err := s.WantEffects(ctx, pr); err != nil {
			return err
		}
	}
	if len(list) < spreadBatch {
		return nil
	}
	last := list[len(list)-1]
	next := SpreadEffects{WorkspaceUUID: job.WorkspaceUUID, AfterRepository: last.RepositoryUUID, AfterID: last.PullRequestID}
	return s.inTx(ctx, func(tx pgx.Tx) error { return s.enqueue(ctx, tx, next) })
}

// EffectRun is the right to make the effects of a pull request, until its lease
// runs out. It is not safe for concurrent use.
type EffectRun struct {
	PullRequestKey
	lease       time.Duration
	leasedUntil time.Time
}

// ClaimEffects leases a pull request's effects. Nothing is claimed, and claimed is
// false, where job's turn is over, or another job is at it (busy).
func (s *Store) ClaimEffects(ctx context.Context, job SyncEffects, lease time.Duration) (run *EffectRun, claimed, busy bool, err error) {
	run = &EffectRun{PullRequestKey: job.PullRequestKey, lease: lease}
	err = s.pool.QueryRow(ctx, `
		UPDATE effect_runs SET seen = wanted, leased_until = now() + $5::interval
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND turn = $4
			AND coalesce(leased_until <= now(), true)
		RETURNING leased_until`, job.WorkspaceUUID, job.RepositoryUUID, job.PullRequestID, job.Turn, lease).Scan(&run.leasedUntil)
	if err == nil {
		return run, true, false, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return nil, false, false, fmt.Errorf("claim effects of pull request %d: %w", job.PullRequestID, err)
	}
	err = s.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM effect_runs WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND turn = $4)`,
		job.WorkspaceUUID, job.RepositoryUUID, job.PullRequestID, job.Turn).Scan(&busy)
	if err != nil {
		return nil, false, false, fmt.Errorf("look at effects of pull request %d: %w", job.PullRequestID, err)
	}
	return nil, false, busy, nil
}

// ReleaseEffects gives the lease back.
func (s *Store) ReleaseEffects(ctx context.Context, run *EffectRun) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE effect_runs SET leased_until = NULL
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND leased_until = $4`,
		run.WorkspaceUUID, run.RepositoryUUID, run.PullRequestID, run.leasedUntil)
	if err != nil {
		return fmt.Errorf("release effects of pull request %d: %w", run.PullRequestID, err)
	}
	return nil
}

// hold lengthens the lease in a transaction, or fails with [ErrLeaseLost].
func (run *EffectRun) hold(ctx context.Context, tx pgx.Tx) (until time.Time, err error) {
	err = tx.QueryRow(ctx, `
		UPDATE effect_runs SET leased_until = now() + $5::interval
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND leased_until = $4
		RETURNING leased_until`, run.WorkspaceUUID, run.RepositoryUUID, run.PullRequestID, run.leasedUntil, run.lease).Scan(&until)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrLeaseLost
	}
	return until, err
}

// whileHeld runs f in a transaction in which the lease is held, and lengthened.
func (s *Store) whileHeld(ctx context.Context, run *EffectRun, what string, f func(pgx.Tx) error) error {
	until := run.leasedUntil
	err := s.inTx(ctx, func(tx pgx.Tx) (err error) {
		if until, err = run.hold(ctx, tx); err != nil {
			return err
		}
		return f(tx)
	})
	if err != nil {
		return fmt.Errorf("%s of pull request %d: %w", what, run.PullRequestID, err)
	}
	run.leasedUntil = until
	return nil
}

// EffectFacts are what is to be known before Bitbucket is asked for anything.
type EffectFacts struct {
	Repository Repository
	Policy     Policy
	Branch     string // the destination, as it was last told; "" where it wasn't
	Closed     bool   // as it was last told
	Told       bool   // somebody is told of verdicts that change
	Effects    []Effect
}

// EffectFacts reads them in one round trip.
func (s *Store) EffectFacts(ctx context.Context, pr PullRequestKey) (EffectFacts, error) {
	var f EffectFacts
	var policies []Policy
	key := []any{pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID}
	batch := &pgx.Batch{}
	batch.Queue(selectPolicy, pr.WorkspaceUUID).Query(into(&policies))
	batch.Queue(`SELECT coalesce((SELECT full_name FROM repositories WHERE workspace_uuid = $1 AND repository_uuid = $2), ''),
		coalesce((SELECT nullif(destination_branch, '') FROM pull_requests WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3),
			(SELECT destination_branch FROM builds WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3
				ORDER BY build_id DESC LIMIT 1), ''),
		EXISTS (SELECT FROM pull_requests WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3
			AND state NOT IN ('OPEN', '')), `+isTold, key...).
		QueryRow(func(row pgx.Row) error { return row.Scan(&f.Repository.FullName, &f.Branch, &f.Closed, &f.Told) })
	batch.Queue(selectEffects, key...).Query(into(&f.Effects))
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return EffectFacts{}, fmt.Errorf("read effects of pull request %d: %w", pr.PullRequestID, err)
	}
	f.Repository.WorkspaceUUID, f.Repository.RepositoryUUID = pr.WorkspaceUUID, pr.RepositoryUUID
	for _, p := range policies {
		f.Policy = p
	}
	return f, nil
}

const selectEffects = `SELECT ` + effectColumns + ` FROM effects
	WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 ORDER BY effect`

// Effects lists what Bitbucket is to show of a pull request, and was told.
func (s *Store) Effects(ctx context.Context, pr PullRequestKey) ([]Effect, error) {
	rows, err := s.pool.Query(ctx, selectEffects, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID)
	list, err := all[Effect](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list effects of pull request %d: %w", pr.PullRequestID, err)
	}
	return list, nil
}

// BeginEffect notes what is wanted, and that it is about to be made: with e's
// mark, and of e's head, where it has none yet. It returns the effect as it is then.
func (s *Store) BeginEffect(ctx context.Context, run *EffectRun, e Effect) (Effect, error) {
	var begun Effect
	err := s.whileHeld(ctx, run, "begin effect "+e.Effect, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			INSERT INTO effects AS e (workspace_uuid, repository_uuid, pull_request_id, effect, wanted, wanted_content, mark, begun_on, head, attempts)
			VALUES (@workspace, @repository, @id, @effect, @wanted, @wanted_content, @mark, CASE WHEN @mark <> '' THEN now() END, @head, 1)
			ON CONFLICT (workspace_uuid, repository_uuid, pull_request_id, effect) DO UPDATE SET
				wanted = excluded.wanted, wanted_content = excluded.wanted_content,
				mark = CASE WHEN e.mark = '' THEN excluded.mark ELSE e.mark END,
				begun_on = CASE WHEN e.mark = '' THEN excluded.begun_on ELSE e.begun_on END,
				head = CASE WHEN e.head = '' THEN excluded.head ELSE e.head END,
				attempts = CASE WHEN `+sameWanted+` THEN e.attempts + 1 ELSE 1 END,
				pending_since = CASE WHEN `+sameWanted+` AND e.outcome = 'pending' THEN e.pending_since ELSE now() END,
				http_status = CASE WHEN `+sameWanted+` THEN e.http_status END,
				reason = CASE WHEN `+sameWanted+` THEN e.reason ELSE '' END,
				outcome = 'pending', next_attempt_on = NULL, updated_on = now()
			RETURNING `+effectColumns, pgx.NamedArgs{
			"workspace": run.WorkspaceUUID, "repository": run.RepositoryUUID, "id": run.PullRequestID, "effect": e.Effect,
			"wanted": e.Wanted, "wanted_content": e.WantedContent, "mark": e.Mark, "head": e.Head,
		})
		begun, err = one[Effect](rows, err)
		return err
	})
	return begun, err
}

const sameWanted = `(e.wanted, e.wanted_content) = (excluded.wanted, excluded.wanted_content)`

// NoteEffect keeps where making an effect has got to: its remote id, mark and head.
func (s *Store) NoteEffect(ctx context.Context, run *EffectRun, e Effect) error {
	return s.whileHeld(ctx, run, "note effect "+e.Effect, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE effects SET remote_id = $5, begun_on = CASE WHEN mark = $6 AND $5 <> '' THEN begun_on ELSE now() END, mark = $6, head = $7
			WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND effect = $4`,
			run.WorkspaceUUID, run.RepositoryUUID, run.PullRequestID, e.Effect, e.RemoteID, e.Mark, e.Head)
		return err
	})
}

// SettleEffect records what e is now, and how the attempt ended. What is gone as
// it is wanted to be is forgotten. With [ErrLeaseLost] nothing is recorded, and
// what was made is looked for: another job may have made it a second time.
func (s *Store) SettleEffect(ctx context.Context, run *EffectRun, e Effect, result Attempt) error {
	err := s.whileHeld(ctx, run, "settle effect "+e.Effect, func(tx pgx.Tx) error {
		if result.Outcome == Posted && e.Wanted == "" && e.Made == "" {
			_, err := tx.Exec(ctx, `DELETE FROM effects
				WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND effect = $4`,
				run.WorkspaceUUID, run.RepositoryUUID, run.PullRequestID, e.Effect)
			return err
		}
		_, err := tx.Exec(ctx, `
			UPDATE effects SET made = @made, made_content = @made_content, remote_id = @remote_id, mark = @mark, head = @head,
				outcome = @outcome, http_status = @http_status, reason = @reason,
				next_attempt_on = CASE WHEN @outcome = 'pending' THEN now() + @retry_in::interval END, updated_on = now()
			WHERE workspace_uuid = @workspace AND repository_uuid = @repository AND pull_request_id = @id AND effect = @effect`,
			pgx.NamedArgs{
				"workspace": run.WorkspaceUUID, "repository": run.RepositoryUUID, "id": run.PullRequestID, "effect": e.Effect,
				"made": e.Made, "made_content": e.MadeContent, "remote_id": e.RemoteID, "mark": e.Mark, "head": e.Head,
				"outcome": result.Outcome, "http_status": nullInt(result.HTTPStatus), "reason": result.Reason, "retry_in": result.RetryIn,
			})
		return err
	})
	if !errors.Is(err, ErrLeaseLost) {
		return err
	}
	return errors.Join(err, s.doubtEffect(ctx, run.PullRequestKey, e.Effect))
}

// doubtEffect has an effect looked for by its mark and made as it is wanted.
func (s *Store) doubtEffect(ctx context.Context, pr PullRequestKey, effect string) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE effects SET remote_id = '', outcome = 'pending', next_attempt_on = NULL
			WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND effect = $4`,
			pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, effect)
		if err != nil {
			return err
		}
		return s.wantEffects(ctx, tx, pr)
	})
}

// HoldEffects records why effects can't be made now, for those that are not made
// yet or may have to change, and returns since when that has lasted at most.
func (s *Store) HoldEffects(ctx context.Context, run *EffectRun, effects []string, result Attempt) (since time.Time, err error) {
	err = s.whileHeld(ctx, run, "hold effects", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO effects AS e (workspace_uuid, repository_uuid, pull_request_id, effect, outcome, http_status, reason)
			SELECT $1, $2, $3, unnest($4::text[]), $5, $6, $7
			ON CONFLICT (workspace_uuid, repository_uuid, pull_request_id, effect) DO UPDATE SET
				pending_since = CASE WHEN e.outcome = 'pending' THEN e.pending_since ELSE now() END,
				outcome = excluded.outcome, http_status = excluded.http_status, reason = excluded.reason, updated_on = now()`,
			run.WorkspaceUUID, run.RepositoryUUID, run.PullRequestID, effects, result.Outcome, nullInt(result.HTTPStatus), result.Reason)
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT coalesce(min(pending_since), now()) FROM effects
			WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND effect = ANY($4)`,
			run.WorkspaceUUID, run.RepositoryUUID, run.PullRequestID, effects).Scan(&since)
	})
	return since, err
}

// RetryEffects has effects that failed tried again, and returns all of them.
func (s *Store) RetryEffects(ctx context.Context, pr PullRequestKey) ([]Effect, error) {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE effects SET outcome = 'pending', http_status = NULL, reason = '', attempts = 0, pending_since = now(),
				next_attempt_on = NULL, updated_on = now()
			WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND outcome = 'failed'`,
			pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID)
		if err != nil {
			return err
		}
		return s.wantEffects(ctx, tx, pr)
	})
	if err != nil {
		return nil, fmt.Errorf("retry effects of pull request %d: %w", pr.PullRequestID, err)
	}
	return s.Effects(ctx, pr)
}
