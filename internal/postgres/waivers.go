package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/mergecheck"
)

// maxWaivers is how many of a pull request's waivers are looked at, the newest.
const maxWaivers = 100

// selectWaivers reads the waivers of a pull request, $1 to $3.
const selectWaivers = `
	SELECT w.id, w.head, w.destination, w.project_id, w.project_name, w.reason, w.by, w.owner, w.author, w.two_person,
		w.created_on, w.expires_on, r.revoked_on, coalesce(r.by, '') AS revoked_by,
		coalesce(e.ended_by, '') AS ended_by, e.ended_on
	FROM waivers w LEFT JOIN waiver_revocations r ON r.waiver_id = w.id LEFT JOIN waiver_endings e ON e.waiver_id = w.id
	WHERE w.workspace_uuid = $1 AND w.repository_uuid = $2 AND w.pull_request_id = $3`

// waiverRow is a waiver with its revocation and its end, if there are any.
type waiverRow struct {
	mergecheck.Waiver
	RevokedOn *time.Time
	EndedOn   *time.Time
}

func waivers(rows pgx.Rows, err error) ([]mergecheck.Waiver, error) {
	list, err := all[waiverRow](rows, err)
	var waivers []mergecheck.Waiver
	for _, row := range list {
		w := row.Waiver
		w.RevokedOn, w.EndedOn = timeOf(row.RevokedOn), timeOf(row.EndedOn)
		waivers = append(waivers, w)
	}
	return waivers, err
}

// Waivers lists a pull request's waivers, newest first, at most limit of those
// with an id below before (0: no bound).
func (s *Store) Waivers(ctx context.Context, pr PullRequestKey, before int64, limit int) ([]mergecheck.Waiver, error) {
	rows, err := s.pool.Query(ctx, selectWaivers+` AND w.id < $4 ORDER BY w.id DESC LIMIT $5`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, below(before), limit)
	list, err := waivers(rows, err)
	if err != nil {
		return nil, fmt.Errorf("list waivers of pull request %d: %w", pr.PullRequestID, err)
	}
	return list, nil
}

// AddWaiver keeps a waiver that is valid for life from now, and returns it as kept.
func (tx *Tx) AddWaiver(ctx context.Context, pr PullRequestKey, w mergecheck.Waiver, life time.Duration) (mergecheck.Waiver, error) {
	err := tx.db.QueryRow(ctx, `
		INSERT INTO waivers (workspace_uuid, repository_uuid, pull_request_id, head, destination, project_id, project_name,
			reason, by, owner, author, two_person, expires_on)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now() + $13::interval)
		RETURNING id, created_on, expires_on`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, w.Head, w.Destination, w.ProjectID, w.ProjectName,
		w.Reason, w.By, w.Owner, w.Author, w.TwoPerson, life).Scan(&w.ID, &w.CreatedOn, &w.ExpiresOn)
	return w, err
}

// RevokeWaivers ends a pull request's waiver, or with id 0 all of them, and
// returns how many it ended now. One that isn't there is [ErrNotFound].
func (s *Store) RevokeWaivers(ctx context.Context, pr PullRequestKey, id int64, by string) (ended int64, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		rows, err := tx.db.Query(ctx, `
			SELECT id FROM waivers WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3
				AND (id = $4 OR $4 = 0 AND expires_on > now())`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, id)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return err
		}
		if id != 0 && len(ids) == 0 {
			return ErrNotFound
		}
		tag, err := tx.db.Exec(ctx, `
			INSERT INTO waiver_revocations (waiver_id, by) SELECT unnest($1::bigint[]), $2 ON CONFLICT DO NOTHING`, ids, by)
		if err != nil {
			return err
		}
		ended = tag.RowsAffected()
		return tx.Enqueue(ctx, SettleWaivers{PullRequestKey: pr})
	})
	if err != nil {
		return 0, fmt.Errorf("revoke waivers of pull request %d: %w", pr.PullRequestID, err)
	}
	return ended, nil
}

// NewestWaivers are a pull request's waivers that are looked at, newest first.
func (tx *Tx) NewestWaivers(ctx context.Context, pr PullRequestKey) ([]mergecheck.Waiver, error) {
	rows, err := tx.db.Query(ctx, selectWaivers+` ORDER BY id DESC LIMIT $4`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, maxWaivers)
	return waivers(rows, err)
}

// UnexpiredWaivers are those of a head, oldest first.
func (tx *Tx) UnexpiredWaivers(ctx context.Context, pr PullRequestKey, head string) ([]mergecheck.Waiver, error) {
	rows, err := tx.db.Query(ctx, selectWaivers+` AND w.head = $4 AND w.expires_on > now() ORDER BY w.id`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, head)
	return waivers(rows, err)
}

// UnendedWaivers are those that were given before a time and that no fact has ended.
func (tx *Tx) UnendedWaivers(ctx context.Context, pr PullRequestKey, before time.Time) ([]mergecheck.Waiver, error) {
	rows, err := tx.db.Query(ctx, selectWaivers+` AND w.created_on < $4 AND e.ended_by IS NULL`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, before)
	return waivers(rows, err)
}

// EndWaiver ends a waiver for good by a fact of that time.
func (tx *Tx) EndWaiver(ctx context.Context, id int64, by string, on time.Time) error {
	_, err := tx.db.Exec(ctx, `INSERT INTO waiver_endings (waiver_id, ended_by, ended_on) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, id, by, on)
	return err
}

// IsWaived reports whether the pull request has ever had a waiver.
func (tx *Tx) IsWaived(ctx context.Context, pr PullRequestKey) (waived bool, err error) {
	err = tx.db.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM waivers WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3)`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID).Scan(&waived)
	return waived, err
}

// LastKnown is otherwise with the head and destination that the pull request had last, as
// far as they are known.
func (tx *Tx) LastKnown(ctx context.Context, pr PullRequestKey, otherwise mergecheck.PullRequest) (mergecheck.PullRequest, error) {
	err := tx.db.QueryRow(ctx, `
		SELECT coalesce((SELECT commit FROM pull_request_heads
				WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3
				ORDER BY last_seen_on DESC, first_seen_on DESC LIMIT 1), $4),
			coalesce((SELECT nullif(destination_branch, '') FROM pull_requests
				WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3), $5)`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, otherwise.Head, otherwise.DestinationBranch).
		Scan(&otherwise.Head, &otherwise.DestinationBranch)
	return otherwise, err
}
