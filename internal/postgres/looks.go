package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/mergecheck"
)

// askedGap is how long asking again changes nothing: it was looked at often all
// the time.
const askedGap = 30 * time.Second

// NoteAsked records that a merge check asked about a repository and found no
// finished build, and queues looking at it again. One job does, whoever asks how
// often: an earlier one ends when it finds that it is not the latest.
func (s *Store) NoteAsked(ctx context.Context, workspaceUUID, repositoryUUID string) error {
	err := s.InTx(ctx, func(tx *Tx) error {
		var askedOn time.Time
		err := tx.db.QueryRow(ctx, `
			INSERT INTO repository_visits AS v (workspace_uuid, repository_uuid, asked_on) SELECT $1, $2, now()
				WHERE EXISTS (SELECT FROM repositories WHERE workspace_uuid = $1 AND repository_uuid = $2)
			ON CONFLICT (workspace_uuid, repository_uuid) DO UPDATE SET asked_on = now() WHERE v.asked_on < now() - $3::interval
			RETURNING asked_on`, workspaceUUID, repositoryUUID, askedGap).Scan(&askedOn)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return tx.Enqueue(ctx, LookAgain{WorkspaceUUID: workspaceUUID, RepositoryUUID: repositoryUUID, AskedOn: askedOn})
	})
	if err != nil {
		return fmt.Errorf("note that repository %s was asked about: %w", repositoryUUID, err)
	}
	return nil
}

// AskedOn returns when a merge check last noted a repository; zero: never.
func (s *Store) AskedOn(ctx context.Context, workspaceUUID, repositoryUUID string) (time.Time, error) {
	var askedOn time.Time
	err := s.pool.QueryRow(ctx, `SELECT asked_on FROM repository_visits WHERE workspace_uuid = $1 AND repository_uuid = $2`,
		workspaceUUID, repositoryUUID).Scan(&askedOn)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, fmt.Errorf("read when repository %s was asked about: %w", repositoryUUID, err)
	}
	return askedOn, nil
}

// ConfirmedBuild returns a build as it is recorded, by AppVeyor's id; [ErrNotFound]
// for one that isn't.
func (s *Store) ConfirmedBuild(ctx context.Context, buildID int64) (mergecheck.Build, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+buildColumns+` FROM builds WHERE build_id = $1`, buildID)
	row, err := one[buildRow](rows, err)
	if err != nil {
		return mergecheck.Build{}, fmt.Errorf("read build %d: %w", buildID, err)
	}
	return row.build(), nil
}

// Missing is how long AppVeyor has not shown an unfinished build.
type Missing struct {
	Looks int // in a row
	Since time.Time
	Now   time.Time // by the same clock
}

// NoteMissing records one more look in which AppVeyor didn't show an unfinished
// build; [ErrNotFound] where it has ended.
func (s *Store) NoteMissing(ctx context.Context, buildID int64) (Missing, error) {
	var m Missing
	err := s.pool.QueryRow(ctx, `
		UPDATE builds SET missing_looks = missing_looks + 1, missing_since = coalesce(missing_since, now())
		WHERE build_id = $1 AND state IN ('queued', 'running')
		RETURNING missing_looks, missing_since, now()`, buildID).Scan(&m.Looks, &m.Since, &m.Now)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return m, fmt.Errorf("note that build %d is missing: %w", buildID, err)
	}
	return m, nil
}

// NoteShown records that AppVeyor shows a build: looks that missed it don't count.
func (s *Store) NoteShown(ctx context.Context, buildID int64) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE builds SET missing_looks = 0, missing_since = NULL WHERE build_id = $1 AND missing_looks > 0`, buildID)
	if err != nil {
		return fmt.Errorf("note that build %d is shown: %w", buildID, err)
	}
	return nil
}

// Every is the schedule of a periodic job: never later than the interval after
// the last time, and up to a tenth sooner, so that what was started together
// doesn't stay together.
type Every time.Duration

// Next returns when it is due after it was at last.
func (e Every) Next(last time.Time) time.Time {
	interval := time.Duration(e)
	return last.Add(interval - time.Duration(rand.Int64N(int64(interval)/10+1))) //nolint:gosec // jitter, no secret
}
