package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/mergecheck"
)

// NotifiedVerdict is what is kept of a verdict that subscribers were notified of.
type NotifiedVerdict struct {
	Head    string // "": it wasn't known
	Code    string
	Success bool
}

// ReplaceVerdict keeps a verdict on a pull request as the one that subscribers were last
// notified of, and returns the one before: the zero value where there is none. The pull
// request's is locked from then on.
func (tx *Tx) ReplaceVerdict(ctx context.Context, pr PullRequestKey, v mergecheck.Verdict) (before NotifiedVerdict, err error) {
	if err := tx.lockPullRequest(ctx, pr, exclusive); err != nil {
		return before, err
	}
	err = tx.db.QueryRow(ctx, `
		SELECT head, code, success FROM pull_request_verdicts
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID).Scan(&before.Head, &before.Code, &before.Success)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return before, err
	}
	_, err = tx.db.Exec(ctx, `
		INSERT INTO pull_request_verdicts AS v (workspace_uuid, repository_uuid, pull_request_id, head, code, success)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (workspace_uuid, repository_uuid, pull_request_id) DO UPDATE
			SET head = excluded.head, code = excluded.code, success = excluded.success, changed_on = now()
			WHERE (v.head, v.code) <> (excluded.head, excluded.code)`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, v.PullRequest.Head, string(v.Code), v.Success)
	return before, err
}
