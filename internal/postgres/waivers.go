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

// AddWaiver keeps a waiver that is valid for life from now, and queues what
// follows from it and from its end. It returns the waiver as kept.
func (s *Store) AddWaiver(ctx context.Context, pr PullRequestKey, w mergecheck.Waiver, life time.Duration) (mergecheck.Waiver, error) {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			INSERT INTO waivers (workspace_uuid, repository_uuid, pull_request_id, head, destination, project_id, project_name,
				reason, by, owner, author, two_person, expires_on)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now() + $13::interval)
			RETURNING id, created_on, expires_on`,
			pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, w.Head, w.Destination, w.ProjectID, w.ProjectName,
			w.Reason, w.By, w.Owner, w.Author, w.TwoPerson, life).Scan(&w.ID, &w.CreatedOn, &w.ExpiresOn)
		if err != nil {
			return err
		}
		r, err := repositoryOf(ctx, tx, pr.WorkspaceUUID, pr.RepositoryUUID)
		if err != nil {
			return err
		}
		given, err := judgedAsGiven(ctx, tx, pr, w)
		if err != nil {
			return err
		}
		if err := s.notify(ctx, tx, pr.WorkspaceUUID, Event{Type: EventWaiverGiven, Repository: r, PullRequestID: pr.PullRequestID, Waiver: &given}); err != nil {
			return err
		}
		return s.enqueue(ctx, tx, SettleWaivers{PullRequestKey: pr}, SettleWaivers{PullRequestKey: pr, ExpiresOn: w.ExpiresOn})
	})
	if err != nil {
		return w, fmt.Errorf("add waiver on pull request %d: %w", pr.PullRequestID, err)
	}
	return w, nil
}

// RevokeWaivers ends a pull request's waiver, or with id 0 all of them, and
// returns how many it ended now. One that isn't there is [ErrNotFound].
func (s *Store) RevokeWaivers(ctx context.Context, pr PullRequestKey, id int64, by string) (ended int64, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
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
		tag, err := tx.Exec(ctx, `
			INSERT INTO waiver_revocations (waiver_id, by) SELECT unnest($1::bigint[]), $2 ON CONFLICT DO NOTHING`, ids, by)
		if err != nil {
			return err
		}
		ended = tag.RowsAffected()
		return s.enqueue(ctx, tx, SettleWaivers{PullRequestKey: pr})
	})
	if err != nil {
		return 0, fmt.Errorf("revoke waivers of pull request %d: %w", pr.PullRequestID, err)
	}
	return ended, nil
}

// SettleWaivers makes the commit statuses of waived heads what they are with the
// waivers that are live now. It returns how long job comes too early for the end
// of its waiver, by the database's clock.
func (s *Store) SettleWaivers(ctx context.Context, job SettleWaivers) (early time.Duration, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		var now time.Time
		if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&now); err != nil {
			return err
		}
		if early = job.ExpiresOn.Sub(now); early > 0 && !job.ExpiresOn.IsZero() {
			return nil
		}
		early = 0
		if err := s.wantWaived(ctx, tx, job.PullRequestKey); err != nil {
			return err
		}
		return s.wantEffects(ctx, tx, job.PullRequestKey)
	})
	if err != nil {
		return 0, fmt.Errorf("settle waivers of pull request %d: %w", job.PullRequestID, err)
	}
	return early, nil
}

// wantWaived wants the commit statuses of heads that were ever waived anew.
func (s *Store) wantWaived(ctx context.Context, tx pgx.Tx, pr PullRequestKey) error {
	return s.wantBuilds(ctx, tx, pr, `source_commit IN (
		SELECT head FROM waivers WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3)`)
}

// wantBuilds wants the commit statuses of the pull request's newest builds, for each
// project and head, of which a condition holds.
func (s *Store) wantBuilds(ctx context.Context, tx pgx.Tx, pr PullRequestKey, condition string) error {
	rows, err := tx.Query(ctx, `
		SELECT DISTINCT ON (project_id, source_commit) `+buildColumns+` FROM builds
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND project_id <> 0 AND `+condition+`
		ORDER BY project_id, source_commit, build_id DESC`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID)
	list, err := all[buildRow](rows, err)
	if err != nil || len(list) == 0 {
		return err
	}
	repository, err := repositoryOf(ctx, tx, pr.WorkspaceUUID, pr.RepositoryUUID)
	if err != nil {
		return err
	}
	for _, row := range list {
		if err := s.wantStatus(ctx, tx, repository, row.build()); err != nil {
			return err
		}
	}
	return nil
}

// settleIfWaived queues settling the waivers of a pull request that has any.
func (s *Store) settleIfWaived(ctx context.Context, tx pgx.Tx, pr PullRequestKey) error {
	var waived bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM waivers WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3)`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID).Scan(&waived)
	if err != nil || !waived {
		return err
	}
	return s.enqueue(ctx, tx, SettleWaivers{PullRequestKey: pr})
}

// judgedAsGiven is a waiver as it is the moment it is given: of the pull request's head and
// destination, and waiting where it needs a second person.
func judgedAsGiven(ctx context.Context, tx pgx.Tx, pr PullRequestKey, w mergecheck.Waiver) (mergecheck.WaiverVerdict, error) {
	rows, err := tx.Query(ctx, selectWaivers+` ORDER BY id DESC LIMIT $4`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, maxWaivers)
	list, err := waivers(rows, err)
	if err != nil {
		return mergecheck.WaiverVerdict{}, err
	}
	then := mergecheck.PullRequest{Head: w.Head, DestinationBranch: w.Destination}
	for _, judged := range mergecheck.JudgeWaivers(list, then, mergecheck.WaiverRules{}, w.CreatedOn) {
		if judged.ID == w.ID {
			return judged, nil
		}
	}
	return mergecheck.WaiverVerdict{Waiver: w, State: mergecheck.WaiverUnknown}, nil // never: it was just inserted
}

// waiverFor is the waiver that is live now for b's project and head, nil where
// none is. What isn't known of the pull request, its head or its destination now,
// ends no waiver here: a commit status is a display.
func waiverFor(ctx context.Context, tx pgx.Tx, r Repository, b mergecheck.Build) (*mergecheck.Waiver, error) {
	rows, err := tx.Query(ctx, selectWaivers+` AND w.head = $4 AND w.expires_on > now() ORDER BY w.id`,
		r.WorkspaceUUID, r.RepositoryUUID, b.PullRequestID, b.SourceCommit)
	list, err := waivers(rows, err)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	pr := mergecheck.PullRequest{Head: b.SourceCommit, DestinationBranch: b.DestinationBranch}
	var now time.Time
	err = tx.QueryRow(ctx, `
		SELECT now(), coalesce((SELECT commit FROM pull_request_heads
				WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3
				ORDER BY last_seen_on DESC, first_seen_on DESC LIMIT 1), $4),
			coalesce((SELECT nullif(destination_branch, '') FROM pull_requests
				WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3), $5)`,
		r.WorkspaceUUID, r.RepositoryUUID, b.PullRequestID, pr.Head, pr.DestinationBranch).Scan(&now, &pr.Head, &pr.DestinationBranch)
	if err != nil {
		return nil, err
	}
	return mergecheck.LiveWaiver(mergecheck.JudgeWaivers(list, pr, mergecheck.WaiverRules{}, now), b.Project.ID), nil
}
