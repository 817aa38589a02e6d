package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Token is an API token. The token itself is not kept, only its hash.
type Token struct {
	ID         int64
	Name       string
	Scopes     []string
	Owner      string // UUID of a Bitbucket user, or ""
	Repository string // glob over "workspace/repo"
	ExpiresOn  *time.Time
	CreatedOn  time.Time
	LastUsedOn *time.Time
	RevokedOn  *time.Time

	// ReportProject is the AppVeyor project whose results the token reports, nil for a
	// token without scope report. No report changes it.
	ReportProject     *int64
	ReportProjectName *string // account/slug; only in lists, once it was seen
}

// ErrUnbounded says that a token lacks a bound: repositories, or the project of a
// token that reports. Whoever means every repository says so with **.
var ErrUnbounded = errors.New("the token has an empty bound")

// scopeReport is the scope that needs a project.
const scopeReport = "report"

const tokenColumns = `id, name, scopes, owner, repository, expires_on, created_on, last_used_on, revoked_on, report_project`

// AddToken keeps a token under the hash of its text and returns its id.
func (s *Store) AddToken(ctx context.Context, t Token, hash []byte) (id int64, err error) {
	if strings.TrimSpace(t.Repository) == "" || slices.Contains(t.Scopes, scopeReport) && t.ReportProject == nil {
		return 0, fmt.Errorf("add token: %w", ErrUnbounded)
	}
	err = s.pool.QueryRow(ctx, `
		INSERT INTO tokens (name, hash, scopes, owner, repository, expires_on, report_project)
		VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id`,
		t.Name, hash, t.Scopes, t.Owner, t.Repository, t.ExpiresOn, t.ReportProject).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("add token: %w", err)
	}
	return id, nil
}

// TokenByHash returns the token with this hash if it is valid now: neither
// revoked nor expired. It notes the use, to the minute.
func (s *Store) TokenByHash(ctx context.Context, hash []byte) (Token, error) {
	rows, err := s.pool.Query(ctx, `
		WITH used AS (
			UPDATE tokens SET last_used_on = now()
			WHERE hash = $1 AND revoked_on IS NULL AND coalesce(expires_on > now(), true)
				AND coalesce(last_used_on < now() - interval '1 minute', true)
		)
		SELECT `+tokenColumns+` FROM tokens
		WHERE hash = $1 AND revoked_on IS NULL AND coalesce(expires_on > now(), true)`, hash)
	t, err := one[Token](rows, err)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return t, fmt.Errorf("find token: %w", err)
	}
	return t, err
}

// Tokens lists every token, oldest first.
func (s *Store) Tokens(ctx context.Context) ([]Token, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT `+tokenColumns+`,
			(SELECT account || '/' || slug FROM projects p WHERE p.project_id = t.report_project LIMIT 1) AS report_project_name
		FROM tokens t ORDER BY id`)
	list, err := all[Token](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	return list, nil
}

// RevokeToken makes a token invalid from now on. Revoking twice changes nothing.
func (s *Store) RevokeToken(ctx context.Context, id int64) error {
	tag, err := s.pool.Exec(ctx, `UPDATE tokens SET revoked_on = coalesce(revoked_on, now()) WHERE id = $1`, id)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("revoke token %d: %w", id, err)
	}
	return nil
}
