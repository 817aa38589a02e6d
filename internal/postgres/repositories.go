package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Repository is a Bitbucket repository. Its identity is the pair of UUIDs;
// FullName, "workspace/slug", is an alias that a rename changes.
type Repository struct {
	WorkspaceUUID  string
	RepositoryUUID string
	FullName       string // "" when it isn't known, or another repository has it now
}

// Linked reports whether Bitbucket has told the repository's UUIDs.
func (r Repository) Linked() bool { return r.WorkspaceUUID != uuid.Nil.String() }

// unlinked is the place of a repository that so far only AppVeyor has named.
func unlinked(fullName string) Repository {
	id := uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://bitbucket.org/"+strings.ToLower(fullName)))
	return Repository{WorkspaceUUID: uuid.Nil.String(), RepositoryUUID: id.String(), FullName: fullName}
}

const repositoryColumns = `workspace_uuid, repository_uuid, coalesce(full_name, '') AS full_name`

// RepositoryByName returns the repository that has this name now, linked or not.
func (s *Store) RepositoryByName(ctx context.Context, fullName string) (Repository, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+repositoryColumns+` FROM repositories WHERE lower(full_name) = lower($1)`, fullName)
	r, err := one[Repository](rows, err)
	if err != nil {
		return r, fmt.Errorf("find repository %s: %w", fullName, err)
	}
	return r, nil
}

// RepositoryByPath finds the repository behind an API path: workspace and
// repository each by slug or by UUID, braces or not.
func (s *Store) RepositoryByPath(ctx context.Context, workspace, repository string) (Repository, error) {
	workspaceUUID, repositoryUUID := pathUUID(workspace), pathUUID(repository)
	if workspaceUUID == nil && repositoryUUID == nil {
		return s.RepositoryByName(ctx, workspace+"/"+repository)
	}
	rows, err := s.pool.Query(ctx, `
		SELECT `+repositoryColumns+` FROM repositories
		WHERE CASE WHEN @workspace_uuid::uuid IS NULL THEN lower(split_part(full_name, '/', 1)) = lower(@workspace)
			ELSE workspace_uuid = @workspace_uuid END
		AND CASE WHEN @repository_uuid::uuid IS NULL THEN lower(split_part(full_name, '/', 2)) = lower(@repository)
			ELSE repository_uuid = @repository_uuid END
		LIMIT 1`, pgx.NamedArgs{
		"workspace": workspace, "workspace_uuid": workspaceUUID, "repository": repository, "repository_uuid": repositoryUUID,
	})
	r, err := one[Repository](rows, err)
	if err != nil {
		return r, fmt.Errorf("find repository %s/%s: %w", workspace, repository, err)
	}
	return r, nil
}

func pathUUID(s string) *string {
	id, err := uuid.Parse(s)
	if err != nil || id == uuid.Nil {
		return nil
	}
	return new(id.String())
}

// WorkspaceUUID returns the UUID of the workspace that has this slug, learnt
// from its repositories, or "".
func (s *Store) WorkspaceUUID(ctx context.Context, slug string) (string, error) {
	var id string
	err := s.pool.QueryRow(ctx, `
		SELECT workspace_uuid FROM repositories
		WHERE lower(split_part(full_name, '/', 1)) = lower($1) AND workspace_uuid <> $2 LIMIT 1`, slug, uuid.Nil.String()).Scan(&id)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("find workspace %s: %w", slug, err)
	}
	return id, nil
}

// LinkRepository records what Bitbucket told of a repository: its UUIDs and its
// name now. Builds, projects and commit statuses kept under the name alone move
// to it; another repository that had the name loses it.
func (s *Store) LinkRepository(ctx context.Context, r Repository) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := lockName(ctx, tx, r.FullName, exclusive); err != nil {
			return err
		}
		from := unlinked(r.FullName)
		for _, statement := range []string{
			`DELETE FROM repositories WHERE workspace_uuid = @from_workspace AND repository_uuid = @from_repository`,
			`UPDATE repositories SET full_name = NULL WHERE lower(full_name) = lower(@full_name)
				AND (workspace_uuid, repository_uuid) <> (@workspace::uuid, @repository::uuid)`,
			`INSERT INTO repositories (workspace_uuid, repository_uuid, full_name) VALUES (@workspace, @repository, @full_name)
				ON CONFLICT (workspace_uuid, repository_uuid) DO UPDATE SET full_name = excluded.full_name`,
			`UPDATE builds SET workspace_uuid = @workspace, repository_uuid = @repository
				WHERE workspace_uuid = @from_workspace AND repository_uuid = @from_repository`,
			`UPDATE commit_statuses SET workspace_uuid = @workspace, repository_uuid = @repository
				WHERE workspace_uuid = @from_workspace AND repository_uuid = @from_repository`,
			`INSERT INTO projects (workspace_uuid, repository_uuid, project_id, account, slug, named_by, first_seen_on)
				SELECT @workspace, @repository, project_id, account, slug, named_by, first_seen_on FROM projects
				WHERE workspace_uuid = @from_workspace AND repository_uuid = @from_repository ON CONFLICT DO NOTHING`,
			`DELETE FROM projects WHERE workspace_uuid = @from_workspace AND repository_uuid = @from_repository`,
		} {
			if _, err := tx.Exec(ctx, statement, pgx.NamedArgs{
				"workspace": r.WorkspaceUUID, "repository": r.RepositoryUUID, "full_name": r.FullName,
				"from_workspace": from.WorkspaceUUID, "from_repository": from.RepositoryUUID,
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("link repository %s: %w", r.FullName, err)
	}
	return nil
}

type lockMode string

const (
	shared    lockMode = "pg_advisory_xact_lock_shared"
	exclusive lockMode = "pg_advisory_xact_lock"
)

// lockName keeps a repository from being linked while a build is recorded under
// its name, or the build would stay behind. It is held until tx ends.
func lockName(ctx context.Context, tx pgx.Tx, fullName string, mode lockMode) error {
	_, err := tx.Exec(ctx, `SELECT `+string(mode)+`(hashtextextended('repository ' || lower($1), 0))`, fullName)
	return err
}

// ensureRepository returns the repository with this name, making an unlinked one
// where there is none.
func ensureRepository(ctx context.Context, tx pgx.Tx, fullName string) (Repository, error) {
	place := unlinked(fullName)
	_, err := tx.Exec(ctx, `
		INSERT INTO repositories (workspace_uuid, repository_uuid, full_name) VALUES ($1, $2, $3)
		ON CONFLICT DO NOTHING`, place.WorkspaceUUID, place.RepositoryUUID, fullName)
	if err != nil {
		return Repository{}, err
	}
	rows, err := tx.Query(ctx, `SELECT `+repositoryColumns+` FROM repositories WHERE lower(full_name) = lower($1)`, fullName)
	return one[Repository](rows, err)
}
