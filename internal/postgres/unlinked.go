package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/mergecheck"
)

// A confirmed build of a repository whose UUIDs Bitbucket has not told yet waits in
// unlinked_builds, with everything that was observed of it. The tables of facts have linked
// repositories alone, so that nothing in them ever moves.

// mostUnlinked is how many builds of one name wait: the newest. They do for 30 days: see
// retention.go.
const mostUnlinked = 1000

// unlinkedBuild is a row of the table.
type unlinkedBuild struct {
	Document mergecheck.Build
	Found    bool
}

// TakeUnlinked takes what waits of a build, nil where nothing does.
func (tx *Tx) TakeUnlinked(ctx context.Context, buildID int64) (*Known, error) {
	rows, err := tx.db.Query(ctx, `DELETE FROM unlinked_builds WHERE build_id = $1 RETURNING document, found`, buildID)
	waiting, err := one[unlinkedBuild](rows, err)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return &Known{Build: waiting.Document, Found: waiting.Found}, err
}

// KeepUnlinked has a build wait, and drops those of the name that are too many.
func (tx *Tx) KeepUnlinked(ctx context.Context, b mergecheck.Build, found bool) error {
	for _, statement := range []string{
		`INSERT INTO unlinked_builds (build_id, name, document, found) VALUES (@build_id, lower(@name), @document, @found)`,
		`DELETE FROM unlinked_builds WHERE name = lower(@name) AND build_id <= (
			SELECT build_id FROM unlinked_builds WHERE name = lower(@name) ORDER BY build_id DESC OFFSET @most LIMIT 1)`,
	} {
		_, err := tx.db.Exec(ctx, statement, pgx.NamedArgs{"build_id": b.BuildID, "name": b.Repository, "document": b, "found": found, "most": mostUnlinked})
		if err != nil {
			return err
		}
	}
	return nil
}

// ofNames are the builds that wait under the name that repository $1, $2 has, or had.
const ofNames = ` FROM unlinked_builds WHERE name IN (
	SELECT lower(full_name) FROM repositories WHERE workspace_uuid = $1 AND repository_uuid = $2
	UNION SELECT name FROM former_names WHERE workspace_uuid = $1 AND repository_uuid = $2)`

// QueueUnlinked queues recording what waits for repositories that are linked: their job may
// have been given up.
func (s *Store) QueueUnlinked(ctx context.Context) error {
	rows, err := s.pool.Query(ctx, `
		SELECT DISTINCT workspace_uuid, repository_uuid FROM unlinked_builds JOIN (
			SELECT lower(full_name) AS name, workspace_uuid, repository_uuid FROM repositories
			UNION ALL SELECT name, workspace_uuid, repository_uuid FROM former_names) AS named USING (name)`)
	list, err := all[Repository](rows, err)
	if err != nil {
		return fmt.Errorf("list repositories that builds wait for: %w", err)
	}
	for _, r := range list {
		if err := s.Enqueue(ctx, RecordUnlinked{WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID}); err != nil {
			return err
		}
	}
	return nil
}

// Unlinked are the newest builds that wait for a repository, of one pull request (0: of
// all), at most limit (0: all).
func (s *Store) Unlinked(ctx context.Context, pr PullRequestKey, limit int) ([]Known, error) {
	rows, err := s.pool.Query(ctx, `SELECT document, found`+ofNames+`
		AND ($3::bigint = 0 OR (document->>'pull_request_id')::bigint = $3) ORDER BY build_id DESC LIMIT nullif($4::bigint, 0)`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, limit)
	list, err := all[unlinkedBuild](rows, err)
	if err != nil {
		return nil, fmt.Errorf("read builds that wait for repository %s: %w", pr.RepositoryUUID, err)
	}
	known := make([]Known, len(list))
	for i, waiting := range list {
		known[i] = Known{Build: waiting.Document, Found: waiting.Found}
	}
	return known, nil
}
