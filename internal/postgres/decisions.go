package postgres

import (
	"context"
	"fmt"
	"time"

	"mergegate/internal/mergecheck"
)

// Decision is one answer to a merge check, with what it was decided from.
type Decision struct {
	ID            int64
	PullRequestID int64
	Trigger       string
	Success       bool
	Code          string
	Message       string
	Head          string
	Destination   string
	PolicyVersion *int64
	Builds        []int64
	Inputs        []byte // JSON, see [mergecheck.Facts.Inputs]; nil: there were none
	Checked       string // what AppVeyor said when it was checked again for a merge, "" where it wasn't
	DurationMs    int
	CreatedOn     time.Time
}

// AddDecision keeps d; it is committed when it returns.
func (s *Store) AddDecision(ctx context.Context, pr PullRequestKey, d Decision) error {
	return addDecision(ctx, s.pool, pr, d)
}

// AddDecision keeps d with what follows from it.
func (tx *Tx) AddDecision(ctx context.Context, pr PullRequestKey, d Decision) error {
	return addDecision(ctx, tx.db, pr, d)
}

func addDecision(ctx context.Context, db execer, pr PullRequestKey, d Decision) error {
	_, err := db.Exec(ctx, `
		INSERT INTO decisions (workspace_uuid, repository_uuid, pull_request_id, trigger, success, code, message,
			head, destination, policy_version, builds, inputs, checked, duration_ms)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, coalesce($11::bigint[], '{}'), $12, $13, $14)`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, d.Trigger, d.Success, d.Code, d.Message,
		d.Head, d.Destination, d.PolicyVersion, d.Builds, d.Inputs, d.Checked, d.DurationMs)
	if err != nil {
		return fmt.Errorf("keep decision on pull request %d: %w", pr.PullRequestID, err)
	}
	return nil
}

const decisionColumns = `id, pull_request_id, trigger, success, code, message, head, destination, policy_version, builds,
	inputs, checked, duration_ms, created_on`

// Decisions lists the answers given for a pull request, or with id 0 for a whole
// repository, newest first, at most limit of those with an id below before (0: no
// bound).
func (s *Store) Decisions(ctx context.Context, pr PullRequestKey, before int64, limit int) ([]Decision, error) {
	where, args := ``, []any{pr.WorkspaceUUID, pr.RepositoryUUID, below(before), limit}
	if pr.PullRequestID != 0 {
		where, args = ` AND pull_request_id = $5`, append(args, pr.PullRequestID)
	}
	rows, err := s.pool.Query(ctx, `SELECT `+decisionColumns+` FROM decisions
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND id < $3`+where+` ORDER BY id DESC LIMIT $4`, args...)
	list, err := all[Decision](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list decisions on pull request %d: %w", pr.PullRequestID, err)
	}
	return list, nil
}

// MergeDecision is the answer to somebody who wanted to merge, with what it was
// decided from.
type MergeDecision struct {
	ID             int64
	RepositoryUUID string
	FullName       string // "" while Bitbucket has not told it
	PullRequestID  int64
	Success        bool
	Code           string
	Inputs         []byte // nil: none were recorded
	CreatedOn      time.Time
}

// Only a check on merging stops a merge; others inform.
const onMerging = `workspace_uuid = $1 AND trigger = '` + mergecheck.TriggerOnMerge + `' AND created_on >= $2`

// MergeDecisions lists a workspace's decisions on merging since a time, oldest
// first, at most limit of those after one of them (zero: from the first).
func (s *Store) MergeDecisions(ctx context.Context, workspaceUUID string, since time.Time, after MergeDecision, limit int) ([]MergeDecision, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT id, d.repository_uuid, coalesce(full_name, '') AS full_name, pull_request_id, success, code, inputs, d.created_on
		FROM (SELECT * FROM decisions WHERE `+onMerging+` AND (created_on, id) > ($3, $4)
			ORDER BY created_on, id LIMIT $5) d
		LEFT JOIN repositories r USING (workspace_uuid, repository_uuid)
		ORDER BY d.created_on, id`, workspaceUUID, since, after.CreatedOn, after.ID, limit)
	list, err := all[MergeDecision](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list decisions of workspace %s: %w", workspaceUUID, err)
	}
	return list, nil
}

// CountMergeDecisions is how many there are since a time.
func (s *Store) CountMergeDecisions(ctx context.Context, workspaceUUID string, since time.Time) (n int, err error) {
	err = s.pool.QueryRow(ctx, `SELECT count(*) FROM decisions WHERE `+onMerging, workspaceUUID, since).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count decisions of workspace %s: %w", workspaceUUID, err)
	}
	return n, nil
}
