package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

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

// AppTokenExpiries returns when the stored tokens expire that are valid, by
// workspace.
func (s *Store) AppTokenExpiries(ctx context.Context) (map[string]time.Time, error) {
	type row struct {
		Workspace string
		ExpiresOn time.Time
	}
	rows, err := s.pool.Query(ctx, `SELECT workspace_uuid::text AS workspace, expires_on FROM app_tokens WHERE expires_on > now()`)
	list, err := all[row](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list app tokens: %w", err)
	}
	expiries := make(map[string]time.Time, len(list))
	for _, r := range list {
		expiries[r.Workspace] = r.ExpiresOn
	}
	return expiries, nil
}
