package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

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

// WantEffects notes that the verdict of a pull request may have changed, and queues
// showing it. Where the workspace has no policy, nothing was ever made, and nobody is told
// of verdicts, it does nothing. It comes last in a transaction: nobody then waits for
// another lock with this one.
func (tx *Tx) WantEffects(ctx context.Context, pr PullRequestKey) error {
	if pr.PullRequestID == 0 {
		return nil
	}
	id, due, err := tx.wantEntry(ctx, place{kind: EffectsEntry, pr: pr, subject: pr.subject(), lane: pr.subject()}, `(EXISTS (
			SELECT FROM policies WHERE workspace_uuid = $1)
		OR EXISTS (SELECT FROM effects WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3)
		OR `+isSubscribed+`)`)
	if err != nil {
		return fmt.Errorf("want effects: %w", err)
	}
	if !due {
		return nil
	}
	return tx.Enqueue(ctx, Publish{EntryID: id, EntryKind: EffectsEntry})
}

// WantEffects is for what has changed by itself, with time.
func (s *Store) WantEffects(ctx context.Context, pr PullRequestKey) error {
	return s.InTx(ctx, func(tx *Tx) error { return tx.WantEffects(ctx, pr) })
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
	return s.Enqueue(ctx, next)
}

// EffectFacts are what is to be known before Bitbucket is asked for anything.
type EffectFacts struct {
	Repository Repository
	Policy     Policy
	Branch     string // the destination, as it was last told; "" where it wasn't
	Closed     bool   // as it was last told
	Subscribed bool   // somebody is notified of verdicts that change
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
			AND state NOT IN ('OPEN', '')), `+isSubscribed, key...).
		QueryRow(func(row pgx.Row) error { return row.Scan(&f.Repository.FullName, &f.Branch, &f.Closed, &f.Subscribed) })
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
func (tx *Tx) BeginEffect(ctx context.Context, pr PullRequestKey, e Effect) (Effect, error) {
	rows, err := tx.db.Query(ctx, `
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
		"workspace": pr.WorkspaceUUID, "repository": pr.RepositoryUUID, "id": pr.PullRequestID, "effect": e.Effect,
		"wanted": e.Wanted, "wanted_content": e.WantedContent, "mark": e.Mark, "head": e.Head,
	})
	return one[Effect](rows, err)
}

const sameWanted = `(e.wanted, e.wanted_content) = (excluded.wanted, excluded.wanted_content)`

// NoteEffect keeps where making an effect has got to: its remote id, mark and head.
func (tx *Tx) NoteEffect(ctx context.Context, pr PullRequestKey, e Effect) error {
	_, err := tx.db.Exec(ctx, `
		UPDATE effects SET remote_id = $5, begun_on = CASE WHEN mark = $6 AND $5 <> '' THEN begun_on ELSE now() END, mark = $6, head = $7
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND effect = $4`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, e.Effect, e.RemoteID, e.Mark, e.Head)
	return err
}

// SettleEffect records what e is now, and how the attempt ended. What is gone as
// it is wanted to be is forgotten.
func (tx *Tx) SettleEffect(ctx context.Context, pr PullRequestKey, e Effect, a Attempt) error {
	if a.Outcome == Posted && e.Wanted == "" && e.Made == "" {
		_, err := tx.db.Exec(ctx, `DELETE FROM effects
			WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND effect = $4`,
			pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, e.Effect)
		return err
	}
	_, err := tx.db.Exec(ctx, `
		UPDATE effects SET made = @made, made_content = @made_content, remote_id = @remote_id, mark = @mark, head = @head,
			outcome = @outcome, http_status = @http_status, reason = @reason,
			next_attempt_on = CASE WHEN @outcome = 'pending' THEN now() + @retry_in::interval END, updated_on = now()
		WHERE workspace_uuid = @workspace AND repository_uuid = @repository AND pull_request_id = @id AND effect = @effect`,
		pgx.NamedArgs{
			"workspace": pr.WorkspaceUUID, "repository": pr.RepositoryUUID, "id": pr.PullRequestID, "effect": e.Effect,
			"made": e.Made, "made_content": e.MadeContent, "remote_id": e.RemoteID, "mark": e.Mark, "head": e.Head,
			"outcome": a.Outcome, "http_status": nullInt(a.HTTPStatus), "reason": a.Reason, "retry_in": a.RetryIn,
		})
	return err
}

// DoubtEffect has an effect looked for by its mark and made as it is wanted.
func (tx *Tx) DoubtEffect(ctx context.Context, pr PullRequestKey, effect string) error {
	_, err := tx.db.Exec(ctx, `
		UPDATE effects SET remote_id = '', outcome = 'pending', next_attempt_on = NULL
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND effect = $4`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, effect)
	if err != nil {
		return err
	}
	return tx.WantEffects(ctx, pr)
}

// HoldEffects records why effects can't be made now, for those that are not made
// yet or may have to change, and returns since when that has lasted at most.
func (tx *Tx) HoldEffects(ctx context.Context, pr PullRequestKey, effects []string, a Attempt) (since time.Time, err error) {
	_, err = tx.db.Exec(ctx, `
		INSERT INTO effects AS e (workspace_uuid, repository_uuid, pull_request_id, effect, outcome, http_status, reason)
		SELECT $1, $2, $3, unnest($4::text[]), $5, $6, $7
		ON CONFLICT (workspace_uuid, repository_uuid, pull_request_id, effect) DO UPDATE SET
			pending_since = CASE WHEN e.outcome = 'pending' THEN e.pending_since ELSE now() END,
			outcome = excluded.outcome, http_status = excluded.http_status, reason = excluded.reason, updated_on = now()`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, effects, a.Outcome, nullInt(a.HTTPStatus), a.Reason)
	if err != nil {
		return since, err
	}
	err = tx.db.QueryRow(ctx, `SELECT coalesce(min(pending_since), now()) FROM effects
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND effect = ANY($4)`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, effects).Scan(&since)
	return since, err
}

// RetryEffects has effects that failed tried again, and returns all of them.
func (s *Store) RetryEffects(ctx context.Context, pr PullRequestKey) ([]Effect, error) {
	err := s.InTx(ctx, func(tx *Tx) error {
		_, err := tx.db.Exec(ctx, `
			UPDATE effects SET outcome = 'pending', http_status = NULL, reason = '', attempts = 0, pending_since = now(),
				next_attempt_on = NULL, updated_on = now()
			WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND outcome = 'failed'`,
			pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID)
		if err != nil {
			return err
		}
		return tx.WantEffects(ctx, pr)
	})
	if err != nil {
		return nil, fmt.Errorf("retry effects of pull request %d: %w", pr.PullRequestID, err)
	}
	return s.Effects(ctx, pr)
}
