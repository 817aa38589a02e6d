package postgres

import (
	"context"
	"fmt"
)

// Rebuild is a pull request build that AppVeyor was asked for.
type Rebuild struct {
	PullRequest PullRequestKey
	ProjectID   int64
	Head        string // 40 hex characters
	Destination string // the destination's commit, as Bitbucket abbreviates it
}

// ClaimRebuild reports whether the rebuild is the first of its project, head and
// destination, and makes it so: AppVeyor is asked once for each.
func (s *Store) ClaimRebuild(ctx context.Context, r Rebuild) (first bool, err error) {
	tag, err := s.pool.Exec(ctx, `
		INSERT INTO rebuilds (workspace_uuid, repository_uuid, pull_request_id, project_id, head, destination)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`, r.args()...)
	if err != nil {
		return false, fmt.Errorf("claim rebuild: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

// GiveUpRebuild takes a claim back that AppVeyor did not follow.
func (s *Store) GiveUpRebuild(ctx context.Context, r Rebuild) error {
	_, err := s.pool.Exec(ctx, `
		DELETE FROM rebuilds WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3
			AND project_id = $4 AND head = $5 AND destination = $6`, r.args()...)
	if err != nil {
		return fmt.Errorf("give up rebuild: %w", err)
	}
	return nil
}

func (r Rebuild) args() []any {
	return []any{
		r.PullRequest.WorkspaceUUID, r.PullRequest.RepositoryUUID, r.PullRequest.PullRequestID, r.ProjectID, r.Head, r.Destination,
	}
}
