package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"mergegate/internal/mergecheck"
)

// ApplyEvent records what an event tells, and gives its delivery its outcome in
// the same transaction. It can be repeated and reordered: every part is kept by
// the time Bitbucket gives it. A repository the event doesn't name, or a
// workspace nobody linked, changes nothing.
func (s *Store) ApplyEvent(ctx context.Context, e mergecheck.Event, delivery int64) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := s.applyEvent(ctx, tx, e); err != nil {
			return err
		}
		return settleDelivery(ctx, tx, delivery, Processed, "")
	})
	if err != nil {
		return fmt.Errorf("apply event of delivery %d: %w", delivery, err)
	}
	return nil
}

func (s *Store) applyEvent(ctx context.Context, tx pgx.Tx, e mergecheck.Event) error {
	if e.WorkspaceUUID == "" || e.RepositoryUUID == "" {
		return nil
	}
	for _, head := range e.Branches {
		if err := s.applyPush(ctx, tx, e, head); err != nil {
			return err
		}
	}
	if e.PullRequest == nil {
		return nil
	}
	if err := s.applyPullRequest(ctx, tx, e); err != nil {
		return err
	}
	return s.wantEffects(ctx, tx, PullRequestKey{e.WorkspaceUUID, e.RepositoryUUID, e.PullRequest.ID})
}

// applyPush records a branch's head, which is the head of every pull request from
// that branch that was not closed by then: the closing may be heard of first.
func (s *Store) applyPush(ctx context.Context, tx pgx.Tx, e mergecheck.Event, head mergecheck.BranchHead) error {
	if err := lockBranch(ctx, tx, e, head.Branch); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO branch_heads (workspace_uuid, repository_uuid, branch, pushed_on, commit)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`, e.WorkspaceUUID, e.RepositoryUUID, head.Branch, e.On, head.Commit)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `
		SELECT workspace_uuid, repository_uuid, pull_request_id FROM pull_requests
		WHERE workspace_uuid = $1 AND source_repository = $2 AND source_branch = $3
			AND (state = 'OPEN' OR told_on > $4)
		ORDER BY pull_request_id`, e.WorkspaceUUID, e.RepositoryUUID, head.Branch, e.On)
	pullRequests, err := all[PullRequestKey](rows, err)
	if err != nil {
		return err
	}
	for _, pr := range pullRequests {
		if err := s.headSeen(ctx, tx, pr, head.Commit, e.On); err != nil {
			return err
		}
	}
	return nil
}

// headSeen records that commit was the pull request's head at a time that may
// be long past, and has its builds told anew which head they are of.
func (s *Store) headSeen(ctx context.Context, tx pgx.Tx, pr PullRequestKey, commit string, on time.Time) error {
	tag, err := tx.Exec(ctx, `
		INSERT INTO pull_request_heads (workspace_uuid, repository_uuid, pull_request_id, first_seen_on, commit, last_seen_on)
		VALUES ($1, $2, $3, $4, $5, $4) ON CONFLICT DO NOTHING`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, on, commit)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	return s.enqueue(ctx, tx, SettleHeads(pr))
}

// applyPullRequest records a pull request as it was at the event. Its commit has
// only 12 characters there: a push that was recorded has the others, else
// Bitbucket is asked.
func (s *Store) applyPullRequest(ctx context.Context, tx pgx.Tx, e mergecheck.Event) error {
	pr := e.PullRequest
	key := PullRequestKey{e.WorkspaceUUID, e.RepositoryUUID, pr.ID}
	if err := lockBranch(ctx, tx, e, pr.SourceBranch); err != nil {
		return err
	}
	if err := s.tellPullRequest(ctx, tx, key, *pr, e.On); err != nil {
		return err
	}
	if pr.Closed() || pr.SourceCommit == "" {
		return nil
	}
	commit, err := pushedCommit(ctx, tx, e)
	if errors.Is(err, ErrNotFound) {
		return s.enqueue(ctx, tx, LookAtPullRequest(key))
	}
	if err != nil {
		return err
	}
	return s.headSeen(ctx, tx, key, commit, e.On)
}

// pushedCommit finds the one commit pushed to the pull request's branch that its
// abbreviation fits; two that fit are none.
func pushedCommit(ctx context.Context, tx pgx.Tx, e mergecheck.Event) (string, error) {
	rows, err := tx.Query(ctx, `
		SELECT DISTINCT commit FROM branch_heads
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND branch = $3 AND starts_with(commit, $4) LIMIT 2`,
		e.WorkspaceUUID, e.RepositoryUUID, e.PullRequest.SourceBranch, e.PullRequest.SourceCommit)
	if err != nil {
		return "", err
	}
	commits, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(commits) != 1 {
		return "", errors.Join(err, ErrNotFound)
	}
	return commits[0], nil
}

// lockBranch keeps a push and an event of its pull request, which come at the
// same time, from each missing what the other tells.
func lockBranch(ctx context.Context, tx pgx.Tx, e mergecheck.Event, branch string) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('branch ' || $1 || ' ' || $2 || ' ' || $3, 0))`,
		e.WorkspaceUUID, e.RepositoryUUID, branch)
	return err
}

// lockPullRequest keeps a status of the pull request from being wanted by what
// it was before it closed.
func lockPullRequest(ctx context.Context, tx pgx.Tx, pr PullRequestKey, mode lockMode) error {
	_, err := tx.Exec(ctx, `SELECT `+string(mode)+`(hashtextextended('pull request ' || $1 || ' ' || $2, $3))`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID)
	return err
}

// tellPullRequest keeps the newest telling of a pull request; of two at the same
// time the one that closed it. Closing stops what is still in progress.
func (s *Store) tellPullRequest(ctx context.Context, tx pgx.Tx, key PullRequestKey, pr mergecheck.PullRequestEvent, on time.Time) error {
	if err := lockPullRequest(ctx, tx, key, exclusive); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO pull_requests AS p (workspace_uuid, repository_uuid, pull_request_id, state, source_repository,
			source_branch, destination_branch, told_on)
		VALUES (@workspace, @repository, @id, @state, coalesce(nullif(@source, '')::uuid, @repository), @source_branch, @destination_branch, @on)
		ON CONFLICT (workspace_uuid, repository_uuid, pull_request_id) DO UPDATE SET
			state = excluded.state, source_branch = excluded.source_branch, destination_branch = excluded.destination_branch,
			source_repository = CASE WHEN @source = '' THEN p.source_repository ELSE excluded.source_repository END,
			told_on = excluded.told_on, looked_on = now()
		WHERE p.told_on < excluded.told_on OR p.told_on = excluded.told_on AND p.state = 'OPEN'`, pgx.NamedArgs{
		"workspace": key.WorkspaceUUID, "repository": key.RepositoryUUID, "id": key.PullRequestID, "state": pr.State,
		"source": pr.SourceRepository, "source_branch": pr.SourceBranch, "destination_branch": pr.DestinationBranch, "on": on,
	})
	if err == nil {
		err = s.settleIfWaived(ctx, tx, key)
	}
	if err != nil || !pr.Closed() {
		return err
	}
	return s.stopStatuses(ctx, tx, key)
}

// closedDescription is what a status says that nobody waits for any more.
const closedDescription = "the pull request was closed before the build ended"

// stopStatuses ends what is in progress on a closed pull request: a status that
// stays in progress would block merges of the same commit for good.
func (s *Store) stopStatuses(ctx context.Context, tx pgx.Tx, pr PullRequestKey) error {
	rows, err := tx.Query(ctx, `
		UPDATE commit_statuses c SET state = $4, description = $5, wanted_version = wanted_version + 1, delivery = 'pending',
			http_status = NULL, reason = '', attempts = 0, pending_since = now(), next_attempt_on = NULL, updated_on = now()
		FROM builds b, pull_requests p
		WHERE b.build_id = c.build_id AND b.workspace_uuid = $1 AND b.repository_uuid = $2 AND b.pull_request_id = $3
			AND p.workspace_uuid = $1 AND p.repository_uuid = $2 AND p.pull_request_id = $3 AND p.state NOT IN ('OPEN', '')
			AND c.workspace_uuid = $1 AND c.repository_uuid = $2 AND c.state = 'INPROGRESS'
		RETURNING c.id`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, mergecheck.StatusStopped, closedDescription)
	if err != nil {
		return err
	}
	stopped, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for _, id := range stopped {
		if err := s.enqueue(ctx, tx, PublishStatus{StatusID: id}); err != nil {
			return err
		}
	}
	return nil
}

// stoppedIfClosed is the status to want of a build whose pull request may have
// been closed meanwhile.
func stoppedIfClosed(ctx context.Context, tx pgx.Tx, pr PullRequestKey, status mergecheck.CommitStatus) (mergecheck.CommitStatus, error) {
	if status.State != mergecheck.StatusInProgress {
		return status, nil
	}
	if err := lockPullRequest(ctx, tx, pr, shared); err != nil {
		return status, err
	}
	var closed bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pull_requests
			WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND state NOT IN ('OPEN', ''))`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID).Scan(&closed)
	if closed {
		status.State, status.Description = mergecheck.StatusStopped, closedDescription
	}
	return status, err
}

// Look records a pull request as Bitbucket told it on being asked, now. A head
// of 40 characters is recorded as seen now; "" is none.
func (s *Store) Look(ctx context.Context, key PullRequestKey, pr mergecheck.PullRequestEvent, head string) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := s.look(ctx, tx, key, pr, head); err != nil {
			return err
		}
		return s.wantEffects(ctx, tx, key)
	})
	if err != nil {
		return fmt.Errorf("record pull request %d: %w", key.PullRequestID, err)
	}
	return nil
}

func (s *Store) look(ctx context.Context, tx pgx.Tx, key PullRequestKey, pr mergecheck.PullRequestEvent, head string) error {
	var now time.Time
	if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&now); err != nil {
		return err
	}
	if err := s.tellPullRequest(ctx, tx, key, pr, now); err != nil || !mergecheck.IsFullCommit(head) {
		return err
	}
	var isNew bool
	err := tx.QueryRow(ctx, recordHead, key.WorkspaceUUID, key.RepositoryUUID, key.PullRequestID, head).Scan(&isNew)
	if err != nil || !isNew {
		return err
	}
	return s.enqueue(ctx, tx, SettleHeads(key))
}

// lookAtUntold asks Bitbucket for the pull request of a build in progress where no
// event told of it, so that the sweep knows of it and notices when it closes. A
// pull request that Bitbucket doesn't show is not asked for at every look at the
// build.
func (s *Store) lookAtUntold(ctx context.Context, tx pgx.Tx, r Repository, b mergecheck.Build) error {
	if b.State.Finished() || !r.Linked() {
		return nil
	}
	var told bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pull_requests WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3)`,
		r.WorkspaceUUID, r.RepositoryUUID, b.PullRequestID).Scan(&told)
	if err != nil || told {
		return err
	}
	job := LookAtPullRequest{r.WorkspaceUUID, r.RepositoryUUID, b.PullRequestID}
	opts := insertOpts(job)
	opts.UniqueOpts = river.UniqueOpts{ByArgs: true, ByPeriod: untoldEvery}
	if _, err := s.jobs.InsertTx(ctx, tx, job, opts); err != nil {
		return fmt.Errorf("insert job %s: %w", job.Kind(), err)
	}
	return nil
}

// untoldEvery is how often one pull request is asked for that nobody told of.
const untoldEvery = 10 * time.Minute

// OpenPullRequests returns pull requests that are open as far as is known and
// were not looked at for a while, those longest ago first.
func (s *Store) OpenPullRequests(ctx context.Context, notFor time.Duration, limit int) ([]PullRequestKey, error) {
	rows, err := s.pool.Query(ctx, `
		UPDATE pull_requests SET looked_on = now()
		WHERE (workspace_uuid, repository_uuid, pull_request_id) IN (
			SELECT workspace_uuid, repository_uuid, pull_request_id FROM pull_requests
			WHERE state = 'OPEN' AND looked_on < now() - $1::interval ORDER BY looked_on LIMIT $2 FOR UPDATE SKIP LOCKED)
		RETURNING workspace_uuid, repository_uuid, pull_request_id`, notFor, limit)
	list, err := all[PullRequestKey](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list open pull requests: %w", err)
	}
	return list, nil
}
