package postgres

import (
	"context"
	"fmt"
)

// SeenProject is an AppVeyor project seen building a repository's pull requests.
type SeenProject struct {
	WorkspaceUUID  string
	RepositoryUUID string
	Repository     string // "workspace/repo", or "" when unknown
	ProjectID      int64
	Account        string
	Slug           string
	NewestBuildID  int64
	Forgotten      bool
}

// Projects lists every project seen, forgotten ones too.
func (s *Store) Projects(ctx context.Context) ([]SeenProject, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT p.workspace_uuid, p.repository_uuid, coalesce(r.full_name, '') AS repository, p.project_id, p.account, p.slug,
			p.named_by AS newest_build_id, p.forgotten_on IS NOT NULL AS forgotten
		FROM projects p LEFT JOIN repositories r USING (workspace_uuid, repository_uuid)
		ORDER BY repository, p.account, p.slug`)
	list, err := all[SeenProject](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list projects: %w", err)
	}
	return list, nil
}

// ForgetProject stops a project from being required, wherever it was seen.
func (s *Store) ForgetProject(ctx context.Context, projectID int64) error {
	tag, err := s.pool.Exec(ctx, `UPDATE projects SET forgotten_on = coalesce(forgotten_on, now()) WHERE project_id = $1`, projectID)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("forget project %d: %w", projectID, err)
	}
	return nil
}
