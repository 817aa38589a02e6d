package postgres

import (
	"context"
	"fmt"
	"time"

	"mergegate/internal/mergecheck"
)

// Distribution are the 50th, 90th and 99th percentile and the greatest of some
// seconds, or none where there was nothing to measure.
type Distribution []float64

// Stats are what happened to a repository's builds and merge checks in a time.
type Stats struct {
	Builds        map[mergecheck.State]int64
	Duration      Distribution     // from start to end of finished builds
	PushToVerdict Distribution     // from the head's first being seen to the end of its build
	Passed        int64            // heads that a merge check on merge let through
	Blocked       map[string]int64 // heads that it didn't, by code
}

// Stats adds up, in one query, what was created from since until until. Builds of
// AppVeyor count, not reports. A head that several checks asked about counts once
// for each code.
func (s *Store) Stats(ctx context.Context, r Repository, since, until time.Time) (Stats, error) {
	var stats Stats
	err := s.InTx(ctx, func(tx *Tx) error {
		// It may read a great deal: on one core, and not for long.
		_, err := tx.db.Exec(ctx, `SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = 8000; SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off`)
		if err != nil {
			return err
		}
		stats, err = tx.addUp(ctx, r, since, until)
		return err
	})
	if err != nil {
		return stats, fmt.Errorf("add up %s: %w", r.FullName, err)
	}
	return stats, nil
}

func (tx *Tx) addUp(ctx context.Context, r Repository, since, until time.Time) (stats Stats, err error) {
	err = tx.db.QueryRow(ctx, `
		WITH here AS (
			SELECT pull_request_id, source_commit, state, created_on, started_on, finished_on FROM builds
			WHERE workspace_uuid = $1 AND repository_uuid = $2 AND created_on >= $3 AND created_on < $4
		), states AS (
			SELECT state, count(*) AS n FROM here GROUP BY state
		), pushes AS (
			SELECT pull_request_id, commit, min(first_seen_on) AS seen_on FROM pull_request_heads
			WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id IN (SELECT pull_request_id FROM here)
			GROUP BY pull_request_id, commit
		), waits AS (
			SELECT extract(epoch FROM finished_on - seen_on) AS seconds
			FROM here JOIN pushes ON pushes.pull_request_id = here.pull_request_id AND commit = source_commit
			WHERE finished_on > seen_on
		), verdicts AS (
			SELECT CASE WHEN success THEN '' ELSE code END AS code, count(DISTINCT (pull_request_id, head)) AS n FROM decisions
			WHERE workspace_uuid = $1 AND repository_uuid = $2 AND created_on >= $3 AND created_on < $4 AND trigger = '`+mergecheck.TriggerOnMerge+`'
			GROUP BY 1
		)
		SELECT
			(SELECT coalesce(jsonb_object_agg(state, n), '{}') FROM states),
			(SELECT percentile_cont(ARRAY[0.5, 0.9, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM finished_on - started_on)::float8)
				FROM here WHERE finished_on >= started_on),
			(SELECT percentile_cont(ARRAY[0.5, 0.9, 0.99, 1]) WITHIN GROUP (ORDER BY seconds::float8) FROM waits),
			coalesce((SELECT n FROM verdicts WHERE code = ''), 0),
			(SELECT coalesce(jsonb_object_agg(code, n), '{}') FROM verdicts WHERE code <> '')`,
		r.WorkspaceUUID, r.RepositoryUUID, since, until).
		Scan(&stats.Builds, &stats.Duration, &stats.PushToVerdict, &stats.Passed, &stats.Blocked)
	return stats, err
}
