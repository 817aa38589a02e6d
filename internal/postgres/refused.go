package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"mergegate/internal/mergecheck"
)

// Occasion is why commit statuses that Bitbucket refused may be accepted now.
type Occasion string

// The occasions.
const (
	ServiceStarts     Occasion = "the service starts" // perhaps with another credential
	CredentialArrives Occasion = "a credential arrives"
	NameChanges       Occasion = "the repository's name changes"
	HeadAppears       Occasion = "the commit became a head"
	WebhookRepeats    Occasion = "a webhook says so again"
)

// Refused names commit statuses, by those of its fields that are set.
type Refused struct {
	WorkspaceUUID, RepositoryUUID, Commit, Key string
}

const (
	// mostRetried bounds what one occasion retries: the newest.
	mostRetried = 1000
	// startSpread is the time over which a start spreads what it retries.
	startSpread = time.Minute
)

// givenUp is which statuses that are refused for good an occasion retries, besides
// those that wait for their next attempt. What Bitbucket doesn't take for what it
// is, such as a key that is too long, is retried only by who says so. Occasions
// that concern many retry those of the last week: somebody may look at them yet.
var givenUp = map[Occasion]string{
	ServiceStarts:     lately + ` AND outcome = 'failed' AND coalesce(http_status, 401) = 401`,
	CredentialArrives: lately + ` AND (` + mendedByTime + `)`,
	NameChanges:       lately + ` AND (` + mendedByTime + `)`,
	HeadAppears:       mendedByTime,
	WebhookRepeats:    `outcome IN ('failed', 'not_postable')`,
}

const (
	lately       = `wanted_on > now() - interval '7 days'`
	mendedByTime = `outcome = 'not_postable' OR outcome = 'failed'
		AND (http_status IS NULL OR http_status IN (401, 404, 408, 409, 423, 429) OR http_status >= 500)`
)

// RetryRefused makes commit statuses that Bitbucket didn't take due now, and
// returns how many. A start spreads them over a minute.
func (s *Store) RetryRefused(ctx context.Context, why Occasion, which Refused) (retried int, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		retried, err = tx.RetryRefused(ctx, why, which)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("retry commit statuses: %w", err)
	}
	return retried, nil
}

// RetryRefused is [Store.RetryRefused] in a transaction.
func (tx *Tx) RetryRefused(ctx context.Context, why Occasion, which Refused) (int, error) {
	where, args := which.where()
	args["atStart"], args["most"] = why == ServiceStarts, mostRetried
	args["spread"] = time.Duration(0)
	if why == ServiceStarts {
		args["spread"] = startSpread
	}
	// One that is being posted is posted once more: what it is posted with may be
	// older than the occasion. Rows that somebody else has locked are left to them.
	rows, err := tx.db.Query(ctx, `
		UPDATE outbox SET outcome = 'pending', attempts = 0, updated_on = now(),
			wanted = wanted + CASE WHEN settled >= wanted OR leased_until > now() THEN 1 ELSE 0 END,
			pending_since = CASE WHEN outcome = 'pending' AND @atStart THEN pending_since ELSE now() END,
			next_attempt_on = now() + random() * @spread::interval
		FROM (SELECT id, state`+fromStatuses+`WHERE kind = 'commit_status' AND `+where+`
				AND (outcome = 'pending' AND (next_attempt_on > now() + @spread::interval OR NOT @atStart AND attempts > 1 AND leased_until > now())
					OR `+givenUp[why]+`)
			ORDER BY id DESC LIMIT @most FOR UPDATE OF outbox SKIP LOCKED) refused
		WHERE outbox.id = refused.id
		RETURNING outbox.id, refused.state, next_attempt_on`, args)
	var jobs []river.InsertManyParams
	if err == nil {
		var id int64
		var state string
		var on time.Time
		_, err = pgx.ForEachRow(rows, []any{&id, &state, &on}, func() error {
			job := Publish{EntryID: id, EntryKind: StatusEntry, Unfinished: state == mergecheck.StatusInProgress}
			opts := insertOpts(job)
			opts.ScheduledAt = on
			jobs = append(jobs, river.InsertManyParams{Args: job, InsertOpts: opts})
			return nil
		})
	}
	if err != nil || len(jobs) == 0 {
		return 0, err
	}
	_, err = tx.store.jobs.InsertManyTx(ctx, tx.db, jobs)
	return len(jobs), err
}

func (r Refused) where() (sql string, args pgx.NamedArgs) {
	sql, args = `outcome IN ('pending', 'failed', 'not_postable')`, pgx.NamedArgs{}
	for column, value := range map[string]string{
		"workspace_uuid": r.WorkspaceUUID, "repository_uuid": r.RepositoryUUID, "commit": r.Commit, "key": r.Key,
	} {
		if value != "" {
			sql, args[column] = sql+` AND `+column+` = @`+column, value
		}
	}
	return sql, args
}
