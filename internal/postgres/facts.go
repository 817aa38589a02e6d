package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/mergecheck"
)

// maxUnconfirmed is how many deliveries are looked at to explain a missing build.
const maxUnconfirmed = 20

// PullRequestKey names a pull request.
type PullRequestKey struct {
	WorkspaceUUID  string
	RepositoryUUID string
	PullRequestID  int64
}

// Facts are what the store knows of a pull request.
type Facts struct {
	Repository  Repository // FullName is "" while Bitbucket has not told it
	Heads       []mergecheck.Head
	Builds      []mergecheck.Build
	Required    []mergecheck.Project
	Unconfirmed []mergecheck.Unconfirmed
	Now         time.Time // the database's clock
}

// Facts reads, in one round trip, all that a verdict on the pull request's head
// depends on. A head of 40 characters is recorded as seen now when seen is set.
func (s *Store) Facts(ctx context.Context, pr PullRequestKey, head string, seen bool) (Facts, error) {
	batch := &pgx.Batch{}
	key := []any{pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID}
	if seen = seen && mergecheck.IsFullCommit(head); seen {
		batch.Queue(recordHead, append(key[:3:3], head)...)
	}
	batch.Queue(`SELECT now(), `+repositoryColumns+` FROM (SELECT 1) one LEFT JOIN repositories
		ON workspace_uuid = $1 AND repository_uuid = $2`, key[:2]...)
	batch.Queue(selectHeads, key...)
	batch.Queue(`SELECT `+buildColumns+` FROM builds
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3
			AND (reported_commit = $4 OR length(reported_commit) < 40 AND starts_with($4, reported_commit))
		ORDER BY build_id DESC`, append(key[:3:3], head)...)
	batch.Queue(`SELECT project_id AS id, account, slug FROM projects
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND forgotten_on IS NULL ORDER BY project_id`, key[:2]...)
	batch.Queue(`SELECT d.build_id, d.reason FROM deliveries d
		JOIN repositories r ON lower(d.hinted_repository) = lower(r.full_name)
		WHERE r.workspace_uuid = $1 AND r.repository_uuid = $2 AND d.hinted_pull_request = $3
			AND d.outcome IN ('pending', 'failed')
			AND NOT EXISTS (SELECT FROM builds b WHERE b.build_id = d.build_id)
		ORDER BY d.id DESC LIMIT $4`, append(key[:3:3], maxUnconfirmed)...)

	results := s.pool.SendBatch(ctx, batch)
	facts, err := readFacts(results, seen)
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return Facts{}, fmt.Errorf("read facts of pull request %d: %w", pr.PullRequestID, err)
	}
	return facts, nil
}

func readFacts(results pgx.BatchResults, seen bool) (f Facts, err error) {
	if seen {
		if _, err := results.Exec(); err != nil {
			return f, err
		}
	}
	var workspace, repository *string
	if err := results.QueryRow().Scan(&f.Now, &workspace, &repository, &f.Repository.FullName); err != nil {
		return f, err
	}
	if workspace != nil && repository != nil {
		f.Repository.WorkspaceUUID, f.Repository.RepositoryUUID = *workspace, *repository
	}
	if f.Heads, err = all[mergecheck.Head](results.Query()); err != nil {
		return f, err
	}
	rows, err := all[buildRow](results.Query())
	if err != nil {
		return f, err
	}
	for _, row := range rows {
		f.Builds = append(f.Builds, row.build())
	}
	if f.Required, err = all[mergecheck.Project](results.Query()); err != nil {
		return f, err
	}
	f.Unconfirmed, err = all[mergecheck.Unconfirmed](results.Query())
	return f, err
}

// Decision is one answer to a merge check, with what it was decided from.
type Decision struct {
	ID            int64
	Trigger       string
	Success       bool
	Code          string
	Message       string
	Head          string
	Destination   string
	PolicyVersion *int64
	Builds        []int64
	DurationMs    int
	CreatedOn     time.Time
}

// AddDecision keeps d, and with settle queues telling the pull request's builds
// anew which head they are of. Both are committed when it returns.
func (s *Store) AddDecision(ctx context.Context, pr PullRequestKey, d Decision, settle bool) error {
	insert := func(db execer) error {
		_, err := db.Exec(ctx, `
			INSERT INTO decisions (workspace_uuid, repository_uuid, pull_request_id, trigger, success, code, message,
				head, destination, policy_version, builds, duration_ms)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, coalesce($11::bigint[], '{}'), $12)`,
			pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, d.Trigger, d.Success, d.Code, d.Message,
			d.Head, d.Destination, d.PolicyVersion, d.Builds, d.DurationMs)
		return err
	}
	var err error
	if settle {
		err = s.inTx(ctx, func(tx pgx.Tx) error {
			if err := insert(tx); err != nil {
				return err
			}
			return s.enqueue(ctx, tx, SettleHeads(pr))
		})
	} else {
		err = insert(s.pool)
	}
	if err != nil {
		return fmt.Errorf("keep decision on pull request %d: %w", pr.PullRequestID, err)
	}
	return nil
}

// Decisions lists the answers given for a pull request, newest first, at most
// limit of those with an id below before (0: no bound).
func (s *Store) Decisions(ctx context.Context, pr PullRequestKey, before int64, limit int) ([]Decision, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT id, trigger, success, code, message, head, destination, policy_version, builds, duration_ms, created_on
		FROM decisions
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND id < $4
		ORDER BY id DESC LIMIT $5`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, below(before), limit)
	list, err := all[Decision](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list decisions on pull request %d: %w", pr.PullRequestID, err)
	}
	return list, nil
}
