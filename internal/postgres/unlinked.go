package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/mergecheck"
)

// A confirmed build of a repository whose UUIDs Bitbucket has not told yet waits in
// unlinked_builds. The tables of facts have linked repositories alone, so that nothing in
// them ever moves.
const (
	// ReasonUnlinked is what a delivery says whose build waits.
	ReasonUnlinked = "repository not linked yet"
	// mostUnlinked is how many builds of one name wait: the newest. They do for 30 days: see
	// retention.go.
	mostUnlinked = 1000
)

// unlinkedBuild is a row of the table.
type unlinkedBuild struct {
	BuildID  int64
	Document mergecheck.Build
	Found    bool // only a project's history told of it
}

// takeUnlinked takes what waits of a build, nil where nothing does.
func takeUnlinked(ctx context.Context, tx pgx.Tx, buildID int64) (*unlinkedBuild, error) {
	rows, err := tx.Query(ctx, `DELETE FROM unlinked_builds WHERE build_id = $1 RETURNING build_id, document, found`, buildID)
	waiting, err := one[unlinkedBuild](rows, err)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return &waiting, err
}

// keepUnlinked has a build wait, as it stands after every observation of it, and its
// repository asked for.
func (s *Store) keepUnlinked(ctx context.Context, tx pgx.Tx, b mergecheck.Build, found bool) (Recorded, error) {
	waiting, err := takeUnlinked(ctx, tx, b.BuildID)
	if err != nil {
		return Recorded{}, err
	}
	if waiting != nil {
		b, found = waiting.Document.Merge(b), found && waiting.Found
		b.Repository = waiting.Document.Repository // the name it was first told under, as for a build that is recorded
	}
	for _, statement := range []string{
		`INSERT INTO unlinked_builds (build_id, name, document, found) VALUES (@build_id, lower(@name), @document, @found)`,
		`DELETE FROM unlinked_builds WHERE name = lower(@name) AND build_id <= (
			SELECT build_id FROM unlinked_builds WHERE name = lower(@name) ORDER BY build_id DESC OFFSET @most LIMIT 1)`,
	} {
		_, err := tx.Exec(ctx, statement, pgx.NamedArgs{"build_id": b.BuildID, "name": b.Repository, "document": b, "found": found, "most": mostUnlinked})
		if err != nil {
			return Recorded{}, err
		}
	}
	rec := Recorded{Build: b, Repository: Repository{FullName: b.Repository}, Unsettled: ReasonUnlinked}
	return rec, s.enqueue(ctx, tx, append(watched(b), LearnRepository{FullName: b.Repository})...)
}

// ofNames are the builds that wait under the name that repository $1, $2 has, or had.
const ofNames = ` FROM unlinked_builds WHERE name IN (
	SELECT lower(full_name) FROM repositories WHERE workspace_uuid = $1 AND repository_uuid = $2
	UNION SELECT name FROM former_names WHERE workspace_uuid = $1 AND repository_uuid = $2)`

// mostWaitedFor is how many builds of one pull request somebody waits to have recorded: the
// newest.
const mostWaitedFor = 50

// RecordWaiting records the builds that waited for the repository, by the ordinary path:
// the newest of one pull request, or all of them where it is 0.
func (s *Store) RecordWaiting(ctx context.Context, job RecordUnlinked, pullRequestID int64) error {
	rows, err := s.pool.Query(ctx, `SELECT build_id, document, found`+ofNames+`
		AND ($3::bigint = 0 OR (document->>'pull_request_id')::bigint = $3) ORDER BY build_id DESC LIMIT CASE WHEN $3 > 0 THEN $4::bigint END`,
		job.WorkspaceUUID, job.RepositoryUUID, pullRequestID, mostWaitedFor)
	list, err := all[unlinkedBuild](rows, err)
	if err != nil {
		return fmt.Errorf("read builds that wait for repository %s: %w", job.RepositoryUUID, err)
	}
	for _, waiting := range list {
		if _, err := s.record(ctx, waiting.Document, 0, waiting.Found); err != nil {
			return err
		}
	}
	return nil
}
