package postgres

import (
	"context"
	"fmt"

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

const selectHeads = `
	SELECT commit, first_seen_on, last_seen_on FROM pull_request_heads
	WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3
	ORDER BY first_seen_on, commit`

func headsOf(ctx context.Context, db querier, r Repository, pullRequestID int64) ([]mergecheck.Head, error) {
	rows, err := db.Query(ctx, selectHeads, r.WorkspaceUUID, r.RepositoryUUID, pullRequestID)
	return all[mergecheck.Head](rows, err)
}

// recordHead notes that $4 is the head now: it lengthens the newest stretch when
// that is of the same commit, else it begins one. It returns whether the head is
// one never seen before on this pull request.
const recordHead = `
	WITH newest AS (
		SELECT commit, first_seen_on FROM pull_request_heads
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3
		ORDER BY last_seen_on DESC, first_seen_on DESC LIMIT 1
	), known AS (
		SELECT FROM pull_request_heads
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND commit = $4 LIMIT 1
	), lengthened AS (
		UPDATE pull_request_heads h SET last_seen_on = greatest(h.last_seen_on, now()) FROM newest
		WHERE h.workspace_uuid = $1 AND h.repository_uuid = $2 AND h.pull_request_id = $3
			AND h.first_seen_on = newest.first_seen_on AND h.commit = newest.commit AND newest.commit = $4
		RETURNING 1
	), begun AS (
		INSERT INTO pull_request_heads (workspace_uuid, repository_uuid, pull_request_id, first_seen_on, commit, last_seen_on)
		SELECT $1, $2, $3, now(), $4, now() WHERE NOT EXISTS (SELECT FROM lengthened)
		ON CONFLICT DO NOTHING RETURNING 1
	)
	SELECT NOT EXISTS (SELECT FROM known) AND EXISTS (SELECT FROM begun)`

// SettleHeads tells again which heads a pull request's builds are of, and which
// of its waivers live. It records each build anew, in its own transaction, so that it can be repeated and stops
// nobody.
func (s *Store) SettleHeads(ctx context.Context, job SettleHeads) error {
	rows, err := s.pool.Query(ctx, `
		SELECT `+buildColumns+` FROM builds
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND length(reported_commit) < 40
		ORDER BY build_id`, job.WorkspaceUUID, job.RepositoryUUID, job.PullRequestID)
	list, err := all[buildRow](rows, err)
	if err != nil {
		return fmt.Errorf("read builds to settle: %w", err)
	}
	for _, row := range list {
		if _, err := s.RecordBuild(ctx, row.build(), 0); err != nil {
			return err
		}
	}
	_, err = s.SettleWaivers(ctx, SettleWaivers{PullRequestKey: PullRequestKey(job)})
	return err
}
