package postgres

import (
	"context"
	"fmt"
	"time"
)

// deleteBatch is how many rows one statement deletes, so that none runs into the
// statement time-out or locks much at once.
const deleteBatch = 2000

// olderThan deletes at most $2 rows of each table that are older than $1, and
// that nothing still needs. Deliveries and decisions are dropped with their partitions
// before that; what is left of them are rows that came when none was made. Branch heads are Bitbucket's events like deliveries;
// the newest of each branch stays for as long as pull requests go to it, or an
// open one comes from it. What Bitbucket told of commits can be asked again.
// Policies and waivers are kept for good. What belongs to a pull request goes with its
// builds, once it is not open.
var olderThan = map[string][]string{
	"deliveries": {
		`DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries
			WHERE received_on < now() - $1::interval AND outcome <> 'pending' ORDER BY received_on LIMIT $2)`,
		`DELETE FROM branch_heads h WHERE (workspace_uuid, repository_uuid, branch, pushed_on, commit) IN (
			SELECT o.workspace_uuid, o.repository_uuid, o.branch, o.pushed_on, o.commit FROM branch_heads o
			WHERE o.pushed_on < now() - $1::interval AND (EXISTS (SELECT FROM branch_heads n
					WHERE (n.workspace_uuid, n.repository_uuid, n.branch) = (o.workspace_uuid, o.repository_uuid, o.branch)
					AND n.pushed_on > o.pushed_on)
				OR NOT EXISTS (SELECT FROM pull_requests p WHERE p.workspace_uuid = o.workspace_uuid
					AND (p.repository_uuid = o.repository_uuid AND p.destination_branch = o.branch
						OR p.source_repository = o.repository_uuid AND p.source_branch = o.branch AND p.state = 'OPEN')))
			ORDER BY o.pushed_on LIMIT $2)`,
		`DELETE FROM delivery_requests WHERE (source, request_id) IN (
			SELECT source, request_id FROM delivery_requests WHERE received_on < now() - $1::interval ORDER BY received_on LIMIT $2)`,
		`DELETE FROM unlinked_builds WHERE build_id IN (
			SELECT build_id FROM unlinked_builds WHERE recorded_on < now() - least($1::interval, interval '30 days') ORDER BY recorded_on LIMIT $2)`,
		`DELETE FROM looks WHERE (kind, subject) IN (
			SELECT kind, subject FROM looks WHERE wanted_on < now() - $1::interval AND NOT live ORDER BY wanted_on LIMIT $2)`,
		`DELETE FROM commit_distances WHERE (workspace_uuid, repository_uuid, destination, tested) IN (
			SELECT workspace_uuid, repository_uuid, destination, tested FROM commit_distances
			WHERE read_on < now() - $1::interval ORDER BY read_on LIMIT $2)`,
		`DELETE FROM changed_paths WHERE (workspace_uuid, repository_uuid, head, destination) IN (
			SELECT workspace_uuid, repository_uuid, head, destination FROM changed_paths
			WHERE read_on < now() - $1::interval ORDER BY read_on LIMIT $2)`,
	},
	"decisions": {
		`DELETE FROM rebuilds WHERE (workspace_uuid, repository_uuid, pull_request_id, project_id, head, destination) IN (
			SELECT workspace_uuid, repository_uuid, pull_request_id, project_id, head, destination FROM rebuilds
			WHERE requested_on < now() - $1::interval LIMIT $2)`,
		`DELETE FROM outbox WHERE id IN (SELECT id FROM outbox JOIN notifications USING (id)
			WHERE created_on < now() - $1::interval AND outcome <> 'pending' ORDER BY created_on LIMIT $2)`,
		`DELETE FROM pull_request_verdicts WHERE (workspace_uuid, repository_uuid, pull_request_id) IN (
			SELECT workspace_uuid, repository_uuid, pull_request_id FROM pull_request_verdicts
			WHERE changed_on < now() - $1::interval ORDER BY changed_on LIMIT $2)`,
		`DELETE FROM decisions WHERE (workspace_uuid, repository_uuid, pull_request_id, id, created_on) IN (
			SELECT workspace_uuid, repository_uuid, pull_request_id, id, created_on FROM decisions
			WHERE created_on < now() - $1::interval - interval '31 days' ORDER BY created_on LIMIT $2)`,
	},
	"builds": {
		`DELETE FROM outbox WHERE id IN (SELECT o.id FROM outbox o JOIN commit_statuses c USING (id) JOIN builds b ON b.build_id = c.build_id
			WHERE b.recorded_on < now() - $1::interval AND o.updated_on < now() - $1::interval AND o.outcome <> 'pending' LIMIT $2)`,
		`DELETE FROM builds WHERE id IN (SELECT b.id FROM builds b
			WHERE b.recorded_on < now() - $1::interval AND NOT EXISTS (SELECT FROM commit_statuses c WHERE c.build_id = b.build_id)
			AND NOT EXISTS (SELECT FROM pull_requests p WHERE (p.workspace_uuid, p.repository_uuid, p.pull_request_id)
				= (b.workspace_uuid, b.repository_uuid, b.pull_request_id) AND p.state = 'OPEN')
			ORDER BY b.recorded_on LIMIT $2)`,
		`DELETE FROM result_reports WHERE id IN (SELECT b.id FROM result_reports b
			WHERE b.recorded_on < now() - $1::interval
			AND NOT EXISTS (SELECT FROM pull_requests p WHERE (p.workspace_uuid, p.repository_uuid, p.pull_request_id)
				= (b.workspace_uuid, b.repository_uuid, b.pull_request_id) AND p.state = 'OPEN') LIMIT $2)`,
		`DELETE FROM pull_request_heads WHERE (workspace_uuid, repository_uuid, pull_request_id, first_seen_on, commit) IN (
			SELECT h.workspace_uuid, h.repository_uuid, h.pull_request_id, h.first_seen_on, h.commit FROM pull_request_heads h
			WHERE h.last_seen_on < now() - $1::interval AND NOT EXISTS (SELECT FROM builds b
				WHERE (b.workspace_uuid, b.repository_uuid, b.pull_request_id) = (h.workspace_uuid, h.repository_uuid, h.pull_request_id))
			LIMIT $2)`,
		`DELETE FROM effects WHERE (workspace_uuid, repository_uuid, pull_request_id, effect) IN (
			SELECT e.workspace_uuid, e.repository_uuid, e.pull_request_id, e.effect FROM effects e
			WHERE e.updated_on < now() - $1::interval AND NOT EXISTS (SELECT FROM pull_requests p
				WHERE (p.workspace_uuid, p.repository_uuid, p.pull_request_id)
					= (e.workspace_uuid, e.repository_uuid, e.pull_request_id) AND p.state = 'OPEN')
			LIMIT $2)`,
		`DELETE FROM outbox WHERE id IN (SELECT o.id FROM outbox o
			WHERE o.kind = 'effects' AND o.wanted_on < now() - $1::interval AND NOT EXISTS (SELECT FROM effects e
				WHERE (e.workspace_uuid, e.repository_uuid, e.pull_request_id)
					= (o.workspace_uuid, o.repository_uuid, o.pull_request_id))
			LIMIT $2)`,
		`DELETE FROM pull_requests WHERE (workspace_uuid, repository_uuid, pull_request_id) IN (
			SELECT workspace_uuid, repository_uuid, pull_request_id FROM pull_requests
			WHERE state <> 'OPEN' AND told_on < now() - $1::interval LIMIT $2)`,
	},
}

// DeleteOlder deletes what of a kind (deliveries, decisions or builds) is older
// than kept, and returns how many rows that were, those of whole partitions not counted.
// What is pending stays.
func (s *Store) DeleteOlder(ctx context.Context, kind string, kept time.Duration) (deleted int64, err error) {
	if err := s.dropPartitions(ctx, kind, kept); err != nil {
		return 0, err
	}
	for _, statement := range olderThan[kind] {
		for {
			tag, err := s.pool.Exec(ctx, statement, kept, deleteBatch)
			if err != nil {
				return deleted, fmt.Errorf("delete old %s: %w", kind, err)
			}
			deleted += tag.RowsAffected()
			if tag.RowsAffected() < deleteBatch {
				break
			}
		}
	}
	return deleted, nil
}
