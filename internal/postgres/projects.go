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
	OldestBuildID  int64 // of those recorded
	// ReconciledTo is the newest build at the last whole look through the history,
	// 0 before the first one.
	ReconciledTo int64
	Forgotten    bool
}

const selectProjects = `
		SELECT p.workspace_uuid, p.repository_uuid, coalesce(r.full_name, '') AS repository, p.project_id, p.account, p.slug,
			p.named_by AS newest_build_id, p.forgotten_on IS NOT NULL AS forgotten,
			p.reconciled_to, coalesce((SELECT min(build_id) FROM builds b WHERE b.workspace_uuid = p.workspace_uuid
				AND b.repository_uuid = p.repository_uuid AND b.project_id = p.project_id), 0) AS oldest_build_id
		FROM projects p LEFT JOIN repositories r USING (workspace_uuid, repository_uuid)`

const inOrder = ` ORDER BY repository, p.account, p.slug`

// ProjectsOf lists the projects of one repository that are not forgotten.
func (s *Store) ProjectsOf(ctx context.Context, workspaceUUID, repositoryUUID string) ([]SeenProject, error) {
	rows, err := s.pool.Query(ctx, selectProjects+`
		WHERE p.workspace_uuid = $1 AND p.repository_uuid = $2 AND p.forgotten_on IS NULL AND NOT p.reports_only`+inOrder, workspaceUUID, repositoryUUID)
	list, err := all[SeenProject](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list projects of repository %s: %w", repositoryUUID, err)
	}
	return list, nil
}

// Projects lists every project seen, forgotten ones too.
func (s *Store) Projects(ctx context.Context) ([]SeenProject, error) {
	rows, err := s.pool.Query(ctx, selectProjects+inOrder)
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

// NoteReconciled records that the project's history was looked through, from the
// build with this id back.
func (s *Store) NoteReconciled(ctx context.Context, projectID, buildID int64) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE projects SET reconciled_to = $2 WHERE project_id = $1 AND reconciled_to < $2`, projectID, buildID)
	if err != nil {
		return fmt.Errorf("note how far project %d is reconciled: %w", projectID, err)
	}
	return nil
}
