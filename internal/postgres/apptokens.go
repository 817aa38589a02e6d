package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// SaveAppToken keeps a workspace's Forge app system token, encrypted by the
// caller. Of two, the one that expires later stays.
func (s *Store) SaveAppToken(ctx context.Context, workspaceUUID string, sealed []byte, expiresOn time.Time) error {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO app_tokens AS t (workspace_uuid, sealed, expires_on) VALUES ($1, $2, $3)
		ON CONFLICT (workspace_uuid) DO UPDATE SET sealed = excluded.sealed, expires_on = excluded.expires_on, updated_on = now()
		WHERE t.expires_on <= excluded.expires_on`, workspaceUUID, sealed, expiresOn)
	if err != nil {
		return fmt.Errorf("save app token: %w", err)
	}
	return nil
}

// AppToken returns the workspace's token as it was saved, if it has not expired.
func (s *Store) AppToken(ctx context.Context, workspaceUUID string) (sealed []byte, err error) {
	err = s.pool.QueryRow(ctx, `SELECT sealed FROM app_tokens WHERE workspace_uuid = $1 AND expires_on > now()`, workspaceUUID).Scan(&sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read app token: %w", err)
	}
	return sealed, nil
}

// DeleteAppToken deletes the workspace's token: the one that was saved as sealed,
// or with nil whichever it is.
func (s *Store) DeleteAppToken(ctx context.Context, workspaceUUID string, sealed []byte) error {
	_, err := s.pool.Exec(ctx, `
		DELETE FROM app_tokens WHERE workspace_uuid = $1 AND ($2::bytea IS NULL OR sealed = $2)`, workspaceUUID, sealed)
	if err != nil {
		return fmt.Errorf("delete app token: %w", err)
	}
	return nil
}

// Workspace is one of Bitbucket that the store knows of.
type Workspace struct {
	WorkspaceUUID string
	Slug          string     // "" when it isn't known
	AppTokenUntil *time.Time // when the stored token expires; nil: there is none that is valid
}

// Workspaces lists the workspaces that have a repository or a stored token.
func (s *Store) Workspaces(ctx context.Context) ([]Workspace, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT workspace_uuid, coalesce(max(split_part(r.full_name, '/', 1)), '') AS slug, max(t.expires_on) AS app_token_until
		FROM repositories r
			FULL JOIN (SELECT workspace_uuid, expires_on FROM app_tokens WHERE expires_on > now()) t USING (workspace_uuid)
		WHERE workspace_uuid <> $1
		GROUP BY workspace_uuid ORDER BY slug, workspace_uuid`, uuid.Nil.String())
	list, err := all[Workspace](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list workspaces: %w", err)
	}
	return list, nil
}
