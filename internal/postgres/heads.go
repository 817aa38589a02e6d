package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"mergegate/internal/mergecheck"
)

// querier is what a pool and a transaction have in common.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// selectHeads reads the heads of the pull request $1 to $3. What was pushed to its
// source branch was its head too, told of before or after the pull request was: $4
// and $5 are that branch where the pull request wasn't told of. Of many pushes only
// the newest are read, and those that begin like $6, which may be taken for each other.
const selectHeads = `
	WITH source AS (
		SELECT source_repository, source_branch FROM pull_requests
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3
		UNION SELECT nullif($4, '')::uuid, $5
	), pushes AS (
		SELECT h.commit, h.pushed_on, h.untimed FROM source JOIN branch_heads h ON h.workspace_uuid = $1
			AND h.repository_uuid = source.source_repository AND h.branch = source.source_branch
	)
	SELECT commit, first_seen_on, last_seen_on, untimed FROM pull_request_heads
	WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3
	UNION (SELECT commit, pushed_on, pushed_on, untimed FROM pushes ORDER BY pushed_on DESC LIMIT 5000)
	UNION SELECT commit, pushed_on, pushed_on, untimed FROM pushes WHERE $6 <> '' AND starts_with(commit, left($6, 10))
	ORDER BY first_seen_on, commit`

// selectWaiting tells whether Bitbucket has yet to be read after it told, abbreviated,
// of a head of the pull request $1 to $3, whose look is $4.
const selectWaiting = `SELECT EXISTS (SELECT FROM pull_requests
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND source_commit <> '')
	AND EXISTS (SELECT FROM looks WHERE kind = '` + lookPullRequest + `' AND subject = $4 AND live)`

func waitingArgs(pr PullRequestKey) []any {
	return []any{pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, pr.subject()}
}

// HeadUnread reports whether Bitbucket told of a head of the pull request that has yet
// to be read in full.
func (s *Store) HeadUnread(ctx context.Context, pr PullRequestKey) (unread bool, err error) {
	if err := s.pool.QueryRow(ctx, selectWaiting, waitingArgs(pr)...).Scan(&unread); err != nil {
		return false, fmt.Errorf("read whether the head of pull request %d is unread: %w", pr.PullRequestID, err)
	}
	return unread, nil
}

// HistoryOf reads what is recorded of the heads of b's pull request.
func (tx *Tx) HistoryOf(ctx context.Context, r Repository, b mergecheck.Build) (h mergecheck.History, err error) {
	source := ""
	if strings.EqualFold(b.SourceRepository, b.Repository) {
		source = r.RepositoryUUID
	}
	rows, err := tx.db.Query(ctx, selectHeads, r.WorkspaceUUID, r.RepositoryUUID, b.PullRequestID, source, b.SourceBranch, b.ReportedCommit)
	if h.Heads, err = all[mergecheck.Head](rows, err); err != nil {
		return h, err
	}
	rows, err = tx.db.Query(ctx, selectWaiting, waitingArgs(PullRequestKey{r.WorkspaceUUID, r.RepositoryUUID, b.PullRequestID})...)
	if err != nil {
		return h, err
	}
	h.Waiting, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[bool])
	return h, err
}

// recordHead notes that $4 was the head at $5, which is a time of arrival where $6 is
// set: it lengthens the stretch of that commit that was going on then, else it
// begins one. Nothing is written where that is recorded already. It returns whether
// the head is one never seen before on this pull request.
const recordHead = `
	WITH before AS (
		SELECT commit, first_seen_on FROM pull_request_heads
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND first_seen_on <= $5 AND (NOT untimed OR $6)
		ORDER BY first_seen_on DESC, last_seen_on DESC LIMIT 1
	), known AS (
		SELECT FROM pull_request_heads
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND commit = $4 LIMIT 1
	), lengthened AS (
		UPDATE pull_request_heads h SET last_seen_on = $5 FROM before
		WHERE h.workspace_uuid = $1 AND h.repository_uuid = $2 AND h.pull_request_id = $3
			AND h.first_seen_on = before.first_seen_on AND h.commit = before.commit AND before.commit = $4
			AND h.last_seen_on < $5 AND NOT h.untimed AND NOT $6
		RETURNING 1
	), begun AS (
		INSERT INTO pull_request_heads AS h (workspace_uuid, repository_uuid, pull_request_id, first_seen_on, commit, last_seen_on, untimed)
		SELECT $1, $2, $3, $5, $4, $5, $6 WHERE NOT EXISTS (SELECT FROM before WHERE commit = $4)
		ON CONFLICT (workspace_uuid, repository_uuid, pull_request_id, first_seen_on, commit)
			DO UPDATE SET untimed = h.untimed AND excluded.untimed
		RETURNING 1
	)
	SELECT NOT EXISTS (SELECT FROM known) AND EXISTS (SELECT FROM begun)`

// AbbreviatedBuilds are a pull request's builds whose head AppVeyor doesn't name in full,
// by their ids.
func (s *Store) AbbreviatedBuilds(ctx context.Context, pr PullRequestKey) ([]Known, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT `+buildColumns+` FROM builds
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND length(reported_commit) < 40
		ORDER BY build_id`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID)
	list, err := all[buildRow](rows, err)
	if err != nil {
		return nil, fmt.Errorf("read builds to settle: %w", err)
	}
	known := make([]Known, len(list))
	for i, row := range list {
		known[i] = Known{Build: row.build(), Found: row.ByHistory}
	}
	return known, nil
}

// NoteShown records that the pull request's builds whose head is known are not only found
// any more.
func (tx *Tx) NoteShown(ctx context.Context, pr PullRequestKey) error {
	_, err := tx.db.Exec(ctx, `
		UPDATE builds SET by_history = false
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND `+string(FoundOnly),
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID)
	return err
}

// IsOpen reports whether the pull request is known to be open.
func (tx *Tx) IsOpen(ctx context.Context, pr PullRequestKey) (open bool, err error) {
	err = tx.db.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pull_requests
			WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND state = 'OPEN')`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID).Scan(&open)
	return open, err
}
