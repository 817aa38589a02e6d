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

const repositoryColumns = `workspace_uuid, repository_uuid, coalesce(full_name, '') AS full_name`

// RepositoryByName returns the repository that has this name now.
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
	if workspaceUUID == "" && repositoryUUID == "" {
		return s.RepositoryByName(ctx, workspace+"/"+repository)
	}
	// Written for what is asked, so that a UUID is looked up in the primary key.
	where, args := "workspace_uuid = $1", []any{workspaceUUID}
	if workspaceUUID == "" {
		where, args = "lower(split_part(full_name, '/', 1)) = lower($1)", []any{workspace}
	}
	if repositoryUUID == "" {
		where, args = where+" AND lower(split_part(full_name, '/', 2)) = lower($2)", append(args, repository)
	} else {
		where, args = where+" AND repository_uuid = $2", append(args, repositoryUUID)
	}
	rows, err := s.pool.Query(ctx, `SELECT `+repositoryColumns+` FROM repositories WHERE `+where+` LIMIT 1`, args...)
	r, err := one[Repository](rows, err)
	if err != nil {
		return r, fmt.Errorf("find repository %s/%s: %w", workspace, repository, err)
	}
	return r, nil
}

// pathUUID returns s in PostgreSQL's spelling when it is a UUID as Bitbucket
// writes them, else "". A slug may be 32 hex digits, and is none.
func pathUUID(s string) string {
	if inner, ok := strings.CutPrefix(s, "{"); ok {
		if s, ok = strings.CutSuffix(inner, "}"); !ok {
			return ""
		}
	}
	id, err := uuid.Parse(s)
	if err != nil || len(s) != len(uuid.Nil.String()) || id == uuid.Nil {
		return ""
	}
	return id.String()
}

// WorkspaceUUID returns the UUID of the workspace that has this slug, learnt
// from its repositories, or "".
func (s *Store) WorkspaceUUID(ctx context.Context, slug string) (string, error) {
	var id string
	err := s.pool.QueryRow(ctx, `
		SELECT workspace_uuid FROM repositories
		WHERE lower(split_part(full_name, '/', 1)) = lower($1) LIMIT 1`, slug).Scan(&id)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("find workspace %s: %w", slug, err)
	}
	return id, nil
}

type lockMode string

const (
	shared    lockMode = "pg_advisory_xact_lock_shared"
	exclusive lockMode = "pg_advisory_xact_lock"
)

// lockName keeps a repository from being linked while a build is recorded under its name,
// or the build would go on waiting. It is held until tx ends.
func (tx *Tx) lockName(ctx context.Context, fullName string, mode lockMode) error {
	_, err := tx.db.Exec(ctx, `SELECT `+string(mode)+`(hashtextextended('repository ' || lower($1), 0))`, fullName)
	return err
}

const formerly = `SELECT ` + repositoryColumns + ` FROM former_names JOIN repositories USING (workspace_uuid, repository_uuid) WHERE name = lower($1)`

// RepositoryFormerly returns the repository that had this name last, where none has it
// now as far as Bitbucket has told.
func (s *Store) RepositoryFormerly(ctx context.Context, fullName string) (Repository, error) {
	rows, err := s.pool.Query(ctx, formerly, fullName)
	r, err := one[Repository](rows, err)
	if err != nil {
		return r, fmt.Errorf("find what was called %s: %w", fullName, err)
	}
	return r, nil
}

// repositoryCalled returns the repository with this name, or that had it last.
func (tx *Tx) repositoryCalled(ctx context.Context, fullName string) (Repository, error) {
	rows, err := tx.db.Query(ctx, formerly, fullName)
	if former, err := one[Repository](rows, err); !errors.Is(err, ErrNotFound) {
		return former, err
	}
	rows, err = tx.db.Query(ctx, `SELECT `+repositoryColumns+` FROM repositories WHERE lower(full_name) = lower($1)`, fullName)
	return one[Repository](rows, err)
}
