package postgres

import (
	"context"
	"fmt"
	"time"

	"mergegate/internal/mergecheck"
)

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
