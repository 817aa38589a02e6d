package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/mergecheck"
)

// Moment is when something was the case.
type Moment struct {
	On      time.Time
	Untimed bool // On is when a message arrived: Bitbucket gave no time
}

// Sighting is a pull request as it was read from Bitbucket, by us or by whoever
// brought it along.
type Sighting struct {
	mergecheck.Told
	// Latest is when it was so at the latest: what was read ends a waiver that was
	// given before. It is not before On.
	Latest           time.Time
	SourceRepository string // UUID, "" where it wasn't told
	SourceBranch     string
}

// IsNamedOtherwise reports whether a repository that is known is stored under another name.
func (tx *Tx) IsNamedOtherwise(ctx context.Context, workspaceUUID, repositoryUUID, fullName string) (other bool, err error) {
	err = tx.db.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM repositories WHERE workspace_uuid = $1 AND repository_uuid = $2
			AND lower(full_name) IS DISTINCT FROM lower($3))`, workspaceUUID, repositoryUUID, fullName).Scan(&other)
	return other, err
}

// LockBranch keeps a push and an event of its pull request, which come at the
// same time, from each missing what the other tells.
func (tx *Tx) LockBranch(ctx context.Context, workspaceUUID, repositoryUUID, branch string) error {
	_, err := tx.db.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('branch ' || $1 || ' ' || $2 || ' ' || $3, 0))`,
		workspaceUUID, repositoryUUID, branch)
	return err
}

// AddBranchHead records a branch's head.
func (tx *Tx) AddBranchHead(ctx context.Context, workspaceUUID, repositoryUUID string, head mergecheck.BranchHead, at Moment) error {
	_, err := tx.db.Exec(ctx, `
		INSERT INTO branch_heads (workspace_uuid, repository_uuid, branch, pushed_on, commit, untimed)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`, workspaceUUID, repositoryUUID, head.Branch, at.On, head.Commit, at.Untimed)
	return err
}

// AddDestination records the head of a branch that a pull request goes to, as of now,
// where it isn't known to be.
func (tx *Tx) AddDestination(ctx context.Context, pr PullRequestKey, branch, commit string) error {
	_, err := tx.db.Exec(ctx, recordDestination, pr.WorkspaceUUID, pr.RepositoryUUID, branch, commit)
	return err
}

// PullRequestsFrom are those that come from a branch and were not closed by then: the
// closing may be heard of first.
func (tx *Tx) PullRequestsFrom(ctx context.Context, workspaceUUID, repositoryUUID, branch string, by time.Time) ([]PullRequestKey, error) {
	rows, err := tx.db.Query(ctx, `
		SELECT workspace_uuid, repository_uuid, pull_request_id FROM pull_requests
		WHERE workspace_uuid = $1 AND source_repository = $2 AND source_branch = $3
			AND (state = 'OPEN' OR told_on > $4)
		ORDER BY pull_request_id`, workspaceUUID, repositoryUUID, branch, by)
	return all[PullRequestKey](rows, err)
}

// AddHead records that commit was the pull request's head at a time that may be long past,
// and reports whether it is one never seen before.
func (tx *Tx) AddHead(ctx context.Context, pr PullRequestKey, commit string, at Moment) (isNew bool, err error) {
	err = tx.db.QueryRow(ctx, recordHead, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, commit, at.On, at.Untimed).Scan(&isNew)
	return isNew, err
}

// IsToldInFull reports whether the pull request was read in full as it was at that
// very time, with a head of these characters.
func (tx *Tx) IsToldInFull(ctx context.Context, pr PullRequestKey, commit string, on time.Time) (known bool, err error) {
	err = tx.db.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pull_request_heads WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3
			AND NOT untimed AND starts_with(commit, $4) AND (first_seen_on = $5 OR last_seen_on = $5))`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, commit, on).Scan(&known)
	return known, err
}

// lockPullRequest keeps a status of the pull request from being wanted by what
// it was before it closed.
func (tx *Tx) lockPullRequest(ctx context.Context, pr PullRequestKey, mode lockMode) error {
	_, err := tx.db.Exec(ctx, `SELECT `+string(mode)+`(hashtextextended('pull request ' || $1 || ' ' || $2, $3))`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID)
	return err
}

// SavePullRequest keeps the newest telling of a pull request; of two at the same
// time the one that closed it. A head that is told in full isn't kept here, but among the
// heads. The pull request is locked from then on.
func (tx *Tx) SavePullRequest(ctx context.Context, key PullRequestKey, pr mergecheck.PullRequestEvent, on time.Time) error {
	if err := tx.lockPullRequest(ctx, key, exclusive); err != nil {
		return err
	}
	abbreviated := pr.SourceCommit
	if mergecheck.IsFullCommit(abbreviated) {
		abbreviated = ""
	}
	_, err := tx.db.Exec(ctx, `
		INSERT INTO pull_requests AS p (workspace_uuid, repository_uuid, pull_request_id, state, source_repository,
			source_branch, source_commit, destination_branch, told_on)
		VALUES (@workspace, @repository, @id, @state, coalesce(nullif(@source, '')::uuid, @repository), @source_branch, @source_commit,
			@destination_branch, @on)
		ON CONFLICT (workspace_uuid, repository_uuid, pull_request_id) DO UPDATE SET
			state = excluded.state, source_branch = excluded.source_branch, source_commit = excluded.source_commit,
			destination_branch = excluded.destination_branch,
			source_repository = CASE WHEN @source = '' THEN p.source_repository ELSE excluded.source_repository END,
			told_on = excluded.told_on, looked_on = now()
		WHERE p.told_on < excluded.told_on OR p.told_on = excluded.told_on AND p.state = 'OPEN'`, pgx.NamedArgs{
		"source_commit": abbreviated,
		"workspace":     key.WorkspaceUUID, "repository": key.RepositoryUUID, "id": key.PullRequestID, "state": pr.State,
		"source": pr.SourceRepository, "source_branch": pr.SourceBranch, "destination_branch": pr.DestinationBranch, "on": on,
	})
	return err
}

// HasFound reports whether some of the pull request's builds were only found in a history.
func (tx *Tx) HasFound(ctx context.Context, pr PullRequestKey) (found bool, err error) {
	err = tx.db.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM builds WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND by_history)`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID).Scan(&found)
	return found, err
}

// IsToldOf reports whether Bitbucket told of the pull request, or was asked lately to.
func (tx *Tx) IsToldOf(ctx context.Context, pr PullRequestKey, lately time.Duration) (known bool, err error) {
	err = tx.db.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pull_requests WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3)
			OR EXISTS (SELECT FROM looks WHERE kind = $4 AND subject = $5 AND wanted_on > now() - $6::interval)`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, lookPullRequest, pr.subject(), lately).Scan(&known)
	return known, err
}

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
