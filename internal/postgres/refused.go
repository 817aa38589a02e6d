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
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		retried, err = s.retryRefused(ctx, tx, why, which)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("retry commit statuses: %w", err)
	}
	return retried, nil
}

func (s *Store) retryRefused(ctx context.Context, tx pgx.Tx, why Occasion, which Refused) (int, error) {
	where, args := which.where()
	args["atStart"], args["most"] = why == ServiceStarts, mostRetried
	args["spread"] = time.Duration(0)
	if why == ServiceStarts {
		args["spread"] = startSpread
	}
	// One that is being posted is posted once more: what it is posted with may be
	// older than the occasion. Rows that somebody else has locked are left to them.
	rows, err := tx.Query(ctx, `
		UPDATE commit_statuses SET outcome = 'pending', attempts = 0, updated_on = now(),
			wanted_version = wanted_version + CASE WHEN posted_version >= wanted_version OR leased_until > now() THEN 1 ELSE 0 END,
			pending_since = CASE WHEN outcome = 'pending' AND @atStart THEN pending_since ELSE now() END,
			next_attempt_on = now() + random() * @spread::interval
		WHERE id IN (
			SELECT id FROM commit_statuses WHERE `+where+`
				AND (outcome = 'pending' AND (next_attempt_on > now() + @spread::interval OR NOT @atStart AND attempts > 1 AND leased_until > now())
					OR `+givenUp[why]+`)
			ORDER BY id DESC LIMIT @most FOR UPDATE SKIP LOCKED)
		RETURNING `+statusColumns, args)
	list, err := all[CommitStatus](rows, err)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	jobs := make([]river.InsertManyParams, len(list))
	for i, status := range list {
		job := PublishStatus{StatusID: status.ID, Unfinished: status.State == mergecheck.StatusInProgress}
		opts := insertOpts(job)
		opts.ScheduledAt = *status.NextAttemptOn
		jobs[i] = river.InsertManyParams{Args: job, InsertOpts: opts}
	}
	_, err = s.jobs.InsertManyTx(ctx, tx, jobs)
	return len(list), err
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

// retryStatusOf has the commit status of a build retried that a webhook confirmed
// again.
func (s *Store) retryStatusOf(ctx context.Context, tx pgx.Tx, r Repository, b mergecheck.Build) error {
	if b.SourceCommit == "" || b.Project.ID == 0 {
		return nil
	}
	_, err := s.retryRefused(ctx, tx, WebhookRepeats, Refused{
		WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, Commit: b.SourceCommit, Key: mergecheck.StatusOf(b, nil).Key,
	})
	return err
}
