package postgres

import (
	"context"
	"fmt"
)

// PullRequestMark changes whenever something is recorded of a pull request that Bitbucket
// may have to be read for again: where it comes from and goes to, its heads, its newest
// builds, and its workspace's policy. When it was looked at last doesn't matter.
func (s *Store) PullRequestMark(ctx context.Context, pr PullRequestKey) (mark string, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT md5(concat_ws(' ', p.told, h.head, b.branch, n.builds, v.policy)) FROM (SELECT 1) AS always
		LEFT JOIN LATERAL (
			SELECT concat_ws(' ', state, source_repository, source_branch, destination_branch, told_on) AS told, source_repository, source_branch
			FROM pull_requests WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3) p ON true
		LEFT JOIN LATERAL (
			SELECT concat_ws(' ', commit, first_seen_on) AS head FROM pull_request_heads
			WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 ORDER BY first_seen_on DESC, commit LIMIT 1) h ON true
		LEFT JOIN LATERAL (
			SELECT concat_ws(' ', commit, pushed_on) AS branch FROM branch_heads
			WHERE workspace_uuid = $1 AND repository_uuid = p.source_repository AND branch = p.source_branch ORDER BY pushed_on DESC, commit LIMIT 1) b ON true
		LEFT JOIN LATERAL (
			SELECT string_agg(concat_ws(' ', build_id, state, source_commit, destination_branch, commit_id, updated_on), ',' ORDER BY build_id) AS builds FROM (
				SELECT * FROM builds WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3
				ORDER BY build_id DESC LIMIT 20) AS newest) n ON true
		LEFT JOIN LATERAL (SELECT max(version) AS policy FROM policies WHERE workspace_uuid = $1) v ON true`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID).Scan(&mark)
	if err != nil {
		return "", fmt.Errorf("read what is recorded of pull request %d: %w", pr.PullRequestID, err)
	}
	return mark, nil
}
