package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// LinkRepository records what Bitbucket told of a repository: its UUIDs and its name now,
// and names that it had before. Another repository that had the name loses it. Builds that
// waited under any of its names are recorded by a job.
func (s *Store) LinkRepository(ctx context.Context, r Repository, formerly ...string) error {
	err := s.InTx(ctx, func(tx *Tx) error {
		if err := tx.lockLinks(ctx); err != nil {
			return err
		}
		for _, name := range append(formerly, r.FullName) {
			if err := tx.lockName(ctx, name, exclusive); err != nil {
				return err
			}
			if err := tx.call(ctx, Repository{WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, FullName: name}); err != nil {
				return err
			}
		}
		var waits bool
		if err := tx.db.QueryRow(ctx, `SELECT EXISTS (SELECT`+ofNames+`)`, r.WorkspaceUUID, r.RepositoryUUID).Scan(&waits); err != nil || !waits {
			return err
		}
		return tx.Enqueue(ctx, RecordUnlinked{WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID})
	})
	if err != nil {
		return fmt.Errorf("link repository %s: %w", r.FullName, err)
	}
	return nil
}

// lockLinks lets one repository be linked at a time: two that swap their names
// would wait for each other.
func (tx *Tx) lockLinks(ctx context.Context) error {
	_, err := tx.db.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('link repositories', 0))`)
	return err
}

// call has the repository be called so from now on.
func (tx *Tx) call(ctx context.Context, r Repository) error {
	args := pgx.NamedArgs{"workspace": r.WorkspaceUUID, "repository": r.RepositoryUUID, "full_name": r.FullName}
	var renamed bool
	err := tx.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM repositories WHERE workspace_uuid = @workspace AND repository_uuid = @repository
		AND full_name IS DISTINCT FROM @full_name)`, args).Scan(&renamed)
	if err != nil {
		return err
	}
	for _, statement := range []string{
		`UPDATE repositories SET full_name = NULL WHERE lower(full_name) = lower(@full_name)
			AND (workspace_uuid, repository_uuid) <> (@workspace::uuid, @repository::uuid)`,
		`INSERT INTO former_names (name, workspace_uuid, repository_uuid)
			SELECT lower(full_name), workspace_uuid, repository_uuid FROM repositories
			WHERE workspace_uuid = @workspace AND repository_uuid = @repository AND lower(full_name) <> lower(@full_name)
			ON CONFLICT (name) DO UPDATE SET workspace_uuid = excluded.workspace_uuid, repository_uuid = excluded.repository_uuid`,
		`DELETE FROM former_names WHERE name = lower(@full_name)`,
		`INSERT INTO repositories (workspace_uuid, repository_uuid, full_name) VALUES (@workspace, @repository, @full_name)
			ON CONFLICT (workspace_uuid, repository_uuid) DO UPDATE SET full_name = excluded.full_name`,
	} {
		if _, err := tx.db.Exec(ctx, statement, args); err != nil {
			return err
		}
	}
	if !renamed {
		return nil
	}
	_, err = tx.RetryRefused(ctx, NameChanges, Refused{WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID})
	return err
}
