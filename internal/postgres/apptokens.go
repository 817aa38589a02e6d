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
