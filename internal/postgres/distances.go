package postgres

import (
	"context"
	"fmt"

	"mergegate/internal/mergecheck"
)

const selectDistances = `
	SELECT destination, tested, behind, complete FROM commit_distances
	WHERE workspace_uuid = $1 AND repository_uuid = $2 AND destination = $3 ORDER BY tested LIMIT 200`

// KeepDistance keeps what Bitbucket told of two commits, to spare asking again.
func (s *Store) KeepDistance(ctx context.Context, r Repository, d mergecheck.Distance) error {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO commit_distances (workspace_uuid, repository_uuid, destination, tested, behind, complete)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		r.WorkspaceUUID, r.RepositoryUUID, d.Destination, d.Tested, d.Behind, d.Complete)
	if err != nil {
		return fmt.Errorf("keep distance of %s: %w", d.Tested, err)
	}
	return nil
}

// KeepChanged keeps all the paths that differ between a head and a commit of its
// destination, to spare asking again.
func (s *Store) KeepChanged(ctx context.Context, r Repository, head, destination string, paths []string) error {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO changed_paths (workspace_uuid, repository_uuid, head, destination, paths)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`, r.WorkspaceUUID, r.RepositoryUUID, head, destination, paths)
	if err != nil {
		return fmt.Errorf("keep changed paths of %s: %w", head, err)
	}
	return nil
}

// KeepAuthor keeps who the author of a pull request is that was told of.
func (s *Store) KeepAuthor(ctx context.Context, pr PullRequestKey, author string) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE pull_requests SET author = $4 WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, author)
	if err != nil {
		return fmt.Errorf("keep author of pull request %d: %w", pr.PullRequestID, err)
	}
	return nil
}
