package postgres

import (
	"context"
	"fmt"

	"mergegate/internal/mergecheck"
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
	// ReplacedBy is the project that took its place on AppVeyor, 0 for none.
	ReplacedBy int64
	Forgotten  bool
}

// Project is what is known of it by id and name.
func (p SeenProject) Project() mergecheck.Project {
	return mergecheck.Project{ID: p.ProjectID, Account: p.Account, Slug: p.Slug}
}

const selectProjects = `
		SELECT p.workspace_uuid, p.repository_uuid, coalesce(r.full_name, '') AS repository, p.project_id, p.account, p.slug,
			p.named_by AS newest_build_id, p.forgotten_on IS NOT NULL AS forgotten,
			p.reconciled_to, coalesce(p.replaced_by, 0) AS replaced_by, coalesce((SELECT min(build_id) FROM builds b WHERE b.workspace_uuid = p.workspace_uuid
				AND b.repository_uuid = p.repository_uuid AND b.project_id = p.project_id), 0) AS oldest_build_id
		FROM projects p LEFT JOIN repositories r USING (workspace_uuid, repository_uuid)`

const inOrder = ` ORDER BY repository, p.account, p.slug, p.project_id`

// ProjectsOf lists the projects of one repository that AppVeyor builds pull requests
// in, and that are neither forgotten nor replaced.
func (s *Store) ProjectsOf(ctx context.Context, workspaceUUID, repositoryUUID string) ([]SeenProject, error) {
	return s.projectsOf(ctx, workspaceUUID, repositoryUUID, `NOT p.reports_only`)
}

// NamedProjectsOf lists those too that AppVeyor has a name for, and that so far only
// reports are of.
func (s *Store) NamedProjectsOf(ctx context.Context, workspaceUUID, repositoryUUID string) ([]SeenProject, error) {
	return s.projectsOf(ctx, workspaceUUID, repositoryUUID, `p.slug <> ''`)
}

func (s *Store) projectsOf(ctx context.Context, workspaceUUID, repositoryUUID, condition string) ([]SeenProject, error) {
	rows, err := s.pool.Query(ctx, selectProjects+`
		WHERE p.workspace_uuid = $1 AND p.repository_uuid = $2 AND p.forgotten_on IS NULL AND p.replaced_by IS NULL AND `+condition+inOrder, workspaceUUID, repositoryUUID)
	list, err := all[SeenProject](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list projects of repository %s: %w", repositoryUUID, err)
	}
	return list, nil
}

// Projects lists every project seen, forgotten and replaced ones too.
func (s *Store) Projects(ctx context.Context) ([]SeenProject, error) {
	rows, err := s.pool.Query(ctx, selectProjects+inOrder)
	list, err := all[SeenProject](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list projects: %w", err)
	}
	return list, nil
}

// ForgetProject stops a project from being required, wherever it was seen; [ErrNotFound]
// where it never was.
func (tx *Tx) ForgetProject(ctx context.Context, projectID int64) error {
	tag, err := tx.db.Exec(ctx, `UPDATE projects SET forgotten_on = coalesce(forgotten_on, now()) WHERE project_id = $1`, projectID)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	return err
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

// NoteListed records what AppVeyor's list of an account's projects calls a project,
// wherever it was seen. That is newer than what the builds there are say. A project
// that is in the list is replaced by none.
func (s *Store) NoteListed(ctx context.Context, p mergecheck.Project) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE projects SET account = $2, slug = $3, listed_on = now(), replaced_by = NULL
		WHERE project_id = $1 AND lower(account) = lower($2) AND NOT reports_only
			AND ((account, slug) <> ($2, $3) OR replaced_by IS NOT NULL)`, p.ID, p.Account, p.Slug)
	if err != nil {
		return fmt.Errorf("note what project %d is called: %w", p.ID, err)
	}
	return nil
}

// NoteReplaced records that another project stands in the place of a repository's
// project p, and reports whether that is new: from now on it is the other one that
// is required. One that is forgotten takes nobody's place.
func (s *Store) NoteReplaced(ctx context.Context, p SeenProject, by mergecheck.Project) (replaced bool, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		// It may not have built anything yet.
		_, err := tx.db.Exec(ctx, `
			INSERT INTO projects (workspace_uuid, repository_uuid, project_id, account, slug, listed_on)
			VALUES ($1, $2, $3, $4, $5, now()) ON CONFLICT DO NOTHING`, p.WorkspaceUUID, p.RepositoryUUID, by.ID, by.Account, by.Slug)
		if err != nil {
			return err
		}
		tag, err := tx.db.Exec(ctx, `
			UPDATE projects SET replaced_by = $4
			WHERE workspace_uuid = $1 AND repository_uuid = $2 AND project_id = $3 AND project_id <> $4
				AND replaced_by IS DISTINCT FROM $4 AND NOT reports_only
				AND EXISTS (SELECT FROM projects n WHERE n.workspace_uuid = $1 AND n.repository_uuid = $2 AND n.project_id = $4
					AND n.forgotten_on IS NULL AND n.replaced_by IS NULL AND NOT n.reports_only)`,
			p.WorkspaceUUID, p.RepositoryUUID, p.ProjectID, by.ID)
		replaced = tag.RowsAffected() > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("note that project %d is replaced by %d: %w", p.ProjectID, by.ID, err)
	}
	return replaced, nil
}

// ProjectByID returns a project by AppVeyor's id, as it is called now; [ErrNotFound]
// where it was never seen.
func (s *Store) ProjectByID(ctx context.Context, projectID int64) (mergecheck.Project, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT project_id AS id, account, slug, reports_only, 0 AS replaces FROM projects WHERE project_id = $1
		ORDER BY reports_only, greatest(listed_on, first_seen_on) DESC LIMIT 1`, projectID)
	p, err := one[mergecheck.Project](rows, err)
	if err != nil {
		return p, fmt.Errorf("read project %d: %w", projectID, err)
	}
	return p, nil
}
