package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"mergegate/internal/mergecheck"
)

// CommitStatus is what Bitbucket is to show on a commit and what it was told.
type CommitStatus struct {
	ID               int64
	WorkspaceUUID    string
	RepositoryUUID   string
	Commit           string
	Key              string
	Repository       string // "workspace/repo" to post to
	SourceRepository string // the fork to try when that has not the commit; may be the same
	BuildID          int64
	State            string
	Name             string
	Description      string
	URL              string
	Refname          string

	WantedVersion int64
	PostedVersion int64
	PostedState   string
	Delivery      StatusDelivery
	HTTPStatus    *int
	Reason        string
	Attempts      int
	PendingSince  time.Time
	NextAttemptOn *time.Time
	UpdatedOn     time.Time
}

// StatusDelivery is how far a commit status has come.
type StatusDelivery string

// How far a commit status can come.
const (
	StatusPending     StatusDelivery = "pending"
	StatusPosted      StatusDelivery = "posted"
	StatusFailed      StatusDelivery = "failed"
	StatusNotPostable StatusDelivery = "not_postable"
)

// maxPerRepository is how many statuses of one repository are posted at a time:
// one whose requests hang must not take every worker.
const maxPerRepository = 4

const statusColumns = `id, workspace_uuid, repository_uuid, commit, key, repository, source_repository, build_id, state,
	name, description, url, refname, wanted_version, posted_version, posted_state, delivery, http_status, reason,
	attempts, pending_since, next_attempt_on, updated_on`

// wantStatus makes the commit status of b's project, pull request and head that
// of the newest build there is for them, and queues its posting when that
// changed anything.
func (s *Store) wantStatus(ctx context.Context, tx pgx.Tx, r Repository, b mergecheck.Build) error {
	if b.SourceCommit == "" {
		return nil
	}
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('status ' || $1 || ' ' || $2, $3))`,
		r.WorkspaceUUID, mergecheck.StatusKey(b.Project.ID, b.PullRequestID), b.PullRequestID)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `
		SELECT `+buildColumns+` FROM builds
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND project_id = $4 AND source_commit = $5
		ORDER BY build_id DESC LIMIT 1`, r.WorkspaceUUID, r.RepositoryUUID, b.PullRequestID, b.Project.ID, b.SourceCommit)
	newest, err := one[buildRow](rows, err)
	if err != nil {
		return err
	}
	changed, err := upsertStatus(ctx, tx, r, newest.build())
	if err != nil || changed == 0 {
		return err
	}
	return s.enqueue(ctx, tx, PublishStatus{StatusID: changed})
}

// upsertStatus returns the id of the status when what is wanted changed, else 0.
func upsertStatus(ctx context.Context, tx pgx.Tx, r Repository, b mergecheck.Build) (changed int64, err error) {
	status := mergecheck.StatusOf(b)
	rows, err := tx.Query(ctx, `
		INSERT INTO commit_statuses AS s (workspace_uuid, repository_uuid, commit, key, repository, source_repository,
			build_id, state, name, description, url, refname)
		VALUES (@workspace_uuid, @repository_uuid, @commit, @key, @repository, @source_repository,
			@build_id, @state, @name, @description, @url, @refname)
		ON CONFLICT (workspace_uuid, repository_uuid, commit, key) DO UPDATE SET
			repository = excluded.repository, source_repository = excluded.source_repository,
			build_id = excluded.build_id, state = excluded.state, name = excluded.name,
			description = excluded.description, url = excluded.url, refname = excluded.refname,
			wanted_version = s.wanted_version + 1, delivery = 'pending', http_status = NULL, reason = '', attempts = 0,
			pending_since = now(), next_attempt_on = NULL, updated_on = now()
		WHERE (s.state, s.name, s.description, s.url, s.refname, s.source_repository)
			IS DISTINCT FROM (excluded.state, excluded.name, excluded.description, excluded.url, excluded.refname, excluded.source_repository)
		RETURNING id`, pgx.NamedArgs{
		"workspace_uuid": r.WorkspaceUUID, "repository_uuid": r.RepositoryUUID, "commit": b.SourceCommit, "key": status.Key,
		"repository": b.Repository, "source_repository": b.SourceRepository, "build_id": b.BuildID,
		"state": status.State, "name": status.Name, "description": status.Description, "url": status.URL, "refname": status.Refname,
	})
	if err != nil {
		return 0, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return ids[0], nil
}

func followUps(r Repository, b mergecheck.Build) []river.JobArgs {
	var jobs []river.JobArgs
	if !b.State.Finished() {
		jobs = append(jobs, WatchBuild{Account: b.Project.Account, Slug: b.Project.Slug, BuildID: b.BuildID, Version: b.Version})
	}
	if !r.Linked() {
		jobs = append(jobs, LearnRepository{FullName: r.FullName})
	}
	return jobs
}

// ClaimStatus leases a commit status that is not settled, for lease. Nothing is
// claimed, and claimed is false, when there is nothing to post (settled) or
// another worker or too many of the same repository are at it (busy).
func (s *Store) ClaimStatus(ctx context.Context, id int64, lease time.Duration) (status CommitStatus, claimed, busy bool, err error) {
	rows, err := s.pool.Query(ctx, `
		UPDATE commit_statuses c SET leased_until = now() + $2, attempts = attempts + 1
		WHERE id = $1 AND posted_version < wanted_version AND coalesce(leased_until <= now(), true)
			AND (SELECT count(*) FROM commit_statuses o WHERE o.workspace_uuid = c.workspace_uuid
				AND o.repository_uuid = c.repository_uuid AND o.leased_until > now()) < $3
		RETURNING `+statusColumns, id, lease, maxPerRepository)
	list, err := all[CommitStatus](rows, err)
	if err != nil {
		return status, false, false, fmt.Errorf("claim commit status %d: %w", id, err)
	}
	if len(list) == 1 {
		return list[0], true, false, nil
	}
	err = s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM commit_statuses WHERE id = $1 AND posted_version < wanted_version)`, id).Scan(&busy)
	if err != nil {
		return status, false, false, fmt.Errorf("look at commit status %d: %w", id, err)
	}
	return status, false, busy, nil
}

// StatusResult is how an attempt to post a commit status ended.
type StatusResult struct {
	Delivery   StatusDelivery // StatusPending: try again after RetryIn
	HTTPStatus int            // 0 where there was no answer
	Reason     string
	RetryIn    time.Duration
}

// SettleStatus records how posting status ended and gives the lease back. Where
// another state became wanted meanwhile it queues the next posting in the same
// transaction, so that an update during a post is never lost.
func (s *Store) SettleStatus(ctx context.Context, status CommitStatus, result StatusResult) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		var wanted int64
		err := tx.QueryRow(ctx, `SELECT wanted_version FROM commit_statuses WHERE id = $1 FOR UPDATE`, status.ID).Scan(&wanted)
		if err != nil {
			return err
		}
		superseded := wanted > status.WantedVersion
		settled := result.Delivery != StatusPending
		_, err = tx.Exec(ctx, `
			UPDATE commit_statuses SET leased_until = NULL,
				posted_version = CASE WHEN @settled THEN @version ELSE posted_version END,
				posted_state = CASE WHEN @delivery = 'posted' THEN @state ELSE posted_state END,
				delivery = CASE WHEN @superseded THEN delivery ELSE @delivery END,
				http_status = CASE WHEN @superseded THEN http_status ELSE @http_status END,
				reason = CASE WHEN @superseded THEN reason ELSE @reason END,
				next_attempt_on = CASE WHEN @superseded OR @settled THEN NULL ELSE now() + @retry_in END,
				updated_on = now()
			WHERE id = @id`, pgx.NamedArgs{
			"id": status.ID, "settled": settled, "superseded": superseded, "version": status.WantedVersion,
			"state": status.State, "delivery": result.Delivery, "http_status": nullInt(result.HTTPStatus),
			"reason": result.Reason, "retry_in": result.RetryIn,
		})
		if err != nil || !superseded {
			return err
		}
		return s.enqueue(ctx, tx, PublishStatus{StatusID: status.ID})
	})
	if err != nil {
		return fmt.Errorf("settle commit status %d: %w", status.ID, err)
	}
	return nil
}

func nullInt(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

// CommitStatuses lists commit statuses by how far they have come ("" for all),
// newest first, at most limit of those with an id below before (0: no bound).
func (s *Store) CommitStatuses(ctx context.Context, delivery StatusDelivery, before int64, limit int) ([]CommitStatus, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT `+statusColumns+` FROM commit_statuses
		WHERE ($1 = '' OR delivery = $1) AND ($2 = 0 OR id < $2) ORDER BY id DESC LIMIT $3`, delivery, before, limit)
	list, err := all[CommitStatus](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list commit statuses: %w", err)
	}
	return list, nil
}

// RetryStatus makes a settled commit status wanted anew and queues its posting.
func (s *Store) RetryStatus(ctx context.Context, id int64) (CommitStatus, error) {
	var status CommitStatus
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			UPDATE commit_statuses SET wanted_version = wanted_version + 1, delivery = 'pending', reason = '',
				http_status = NULL, attempts = 0, pending_since = now(), next_attempt_on = NULL, updated_on = now()
			WHERE id = $1 RETURNING `+statusColumns, id)
		if status, err = one[CommitStatus](rows, err); err != nil {
			return err
		}
		return s.enqueue(ctx, tx, PublishStatus{StatusID: id})
	})
	if err != nil {
		return status, fmt.Errorf("retry commit status %d: %w", id, err)
	}
	return status, nil
}
