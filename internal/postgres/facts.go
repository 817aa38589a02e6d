package postgres

import (
	"context"
	"fmt"
	"slices"
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
	Repository Repository // FullName is "" while Bitbucket has not told it
	Recorded   mergecheck.Recorded
	Builds     []mergecheck.Build
	Seen       []mergecheck.Project
	Looks      []mergecheck.Look // at the projects seen
	Policy     Policy
	Waivers    []mergecheck.Waiver
	Distances  []mergecheck.Distance // from the destination's commit
	Changed    []string              // between head and destination's commit; nil: not known
	Author     string                // UUID, "" while it isn't known
	Subscribed bool                  // somebody is notified of verdicts that change
	Now        time.Time             // the database's clock
}

// Asked is what facts are asked about, as Bitbucket told it last.
type Asked struct {
	PullRequest PullRequestKey
	mergecheck.Told
	SourceRepository string // UUID, "" where it wasn't told
	SourceBranch     string
}

// Facts reads, in one round trip, what a verdict depends on, but for [Store.Unconfirmed],
// which matters only where there is no build. It writes nothing.
func (s *Store) Facts(ctx context.Context, asked Asked) (Facts, error) {
	batch := &pgx.Batch{}
	pr := asked.PullRequest
	var f Facts
	queueRecorded(batch, asked, &f)
	queueBuilds(batch, asked, &f)
	queuePolicy(batch, asked, &f)
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return Facts{}, fmt.Errorf("read facts of pull request %d: %w", pr.PullRequestID, err)
	}
	return f, nil
}

// Unconfirmed reads the newest deliveries, 20 at most, that seem to be of the pull request and
// that AppVeyor hasn't confirmed: pending ones, failed ones and those of an account that may
// not speak for the workspace. Only the last three days count.
func (s *Store) Unconfirmed(ctx context.Context, pr PullRequestKey) ([]mergecheck.Unconfirmed, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT d.build_id, CASE WHEN d.outcome = 'ignored' THEN '' ELSE d.reason END AS reason, d.outcome = 'failed' AS failed,
			CASE WHEN d.outcome = 'ignored' THEN d.account ELSE '' END AS untrusted FROM deliveries d
		JOIN (SELECT lower(full_name) AS name FROM repositories WHERE workspace_uuid = $1 AND repository_uuid = $2
			UNION ALL SELECT name FROM former_names WHERE workspace_uuid = $1 AND repository_uuid = $2) n ON lower(d.hinted_repository) = n.name
		WHERE d.id >= (extract(epoch FROM now())::bigint / 86400 - 3) << 32 AND d.hinted_pull_request = $3
			AND (d.outcome IN ('pending', 'failed') OR d.reason = 'untrusted_account')
			AND NOT EXISTS (SELECT FROM builds b WHERE b.build_id = d.build_id)
			AND NOT EXISTS (SELECT FROM unlinked_builds u WHERE u.build_id = d.build_id)
		ORDER BY d.id DESC LIMIT $4`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, maxUnconfirmed)
	list, err := all[mergecheck.Unconfirmed](rows, err)
	if err != nil {
		return nil, fmt.Errorf("read deliveries of pull request %d: %w", pr.PullRequestID, err)
	}
	return list, nil
}

// into reads every row of a batch's query into list.
func into[T any](list *[]T) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*list, err = all[T](rows, nil)
		if len(*list) == 0 {
			*list = nil
		}
		return err
	}
}

// IsNews reports whether recording seen would change what is recorded: what hasn't
// changed is not written again.
func (f Facts) IsNews(seen Sighting) bool {
	r := f.Recorded
	if !mergecheck.IsFullCommit(seen.Head) {
		return false
	}
	if seen.On.IsZero() {
		return r.Head() != seen.Head
	}
	if r.Newest.On.Before(seen.On) || !hasHead(r.Heads, seen) {
		return true
	}
	return slices.ContainsFunc(f.Waivers, func(w mergecheck.Waiver) bool {
		return w.EndedBy == "" && w.EndedByFact(seen.Head, seen.DestinationBranch, seen.Latest) != ""
	})
}

func hasHead(heads []mergecheck.Head, seen Sighting) bool {
	return slices.ContainsFunc(heads, func(h mergecheck.Head) bool {
		return h.Commit == seen.Head && !h.Untimed && !h.FirstSeenOn.After(seen.On) && !h.LastSeenOn.Before(seen.On)
	})
}

// queueRecorded reads what is recorded of the pull request itself.
func queueRecorded(batch *pgx.Batch, asked Asked, f *Facts) {
	pr, r := asked.PullRequest, &f.Recorded
	batch.Queue(selectHeads, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, asked.SourceRepository, asked.SourceBranch, asked.Head).
		Query(into(&r.Heads))
	batch.Queue(selectWaiting, waitingArgs(pr)...).QueryRow(func(row pgx.Row) error { return row.Scan(&r.Waiting) })
	batch.Queue(`SELECT state, source_commit AS head, destination_branch, told_on AS "on" FROM pull_requests
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID).
		Query(lastInto(&r.Newest))
	batch.Queue(`SELECT commit, pushed_on AS first_seen_on, pushed_on AS last_seen_on, untimed FROM branch_heads
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND branch = $3 ORDER BY pushed_on DESC LIMIT 1`,
		pr.WorkspaceUUID, pr.RepositoryUUID, asked.DestinationBranch).Query(lastInto(&r.Destination))
}

// lastInto reads the last row of a batch's query into row, if there is one.
func lastInto[T any](row *T) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		list, err := all[T](rows, nil)
		if len(list) > 0 {
			*row = list[len(list)-1]
		}
		return err
	}
}

// recordDestination notes that a branch is at $4 now, if nobody told of that. It was
// there before: builds since then seem to have merged into an older commit, and never
// into a newer one. When the pull request last changed says nothing of the branch.
const recordDestination = `
	INSERT INTO branch_heads (workspace_uuid, repository_uuid, branch, pushed_on, commit, untimed)
	SELECT $1, $2, $3, now(), $4, true WHERE $4 IS DISTINCT FROM (
		SELECT commit FROM branch_heads WHERE workspace_uuid = $1 AND repository_uuid = $2 AND branch = $3
		ORDER BY pushed_on DESC LIMIT 1)
	ON CONFLICT DO NOTHING`

func queueBuilds(batch *pgx.Batch, asked Asked, f *Facts) {
	pr := asked.PullRequest
	batch.Queue(`SELECT now(), workspace_uuid::text, repository_uuid::text, coalesce(full_name, '') FROM (SELECT 1) one
		LEFT JOIN repositories ON workspace_uuid = $1 AND repository_uuid = $2`, pr.WorkspaceUUID, pr.RepositoryUUID).
		QueryRow(func(row pgx.Row) error {
			var workspace, repository *string
			err := row.Scan(&f.Now, &workspace, &repository, &f.Repository.FullName)
			if err == nil && workspace != nil && repository != nil {
				f.Repository.WorkspaceUUID, f.Repository.RepositoryUUID = *workspace, *repository
			}
			return err
		})
	const ofPullRequest = ` WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3`
	batch.Queue(`(SELECT `+buildColumns+` FROM builds`+ofPullRequest+`
			AND (reported_commit = $4 OR length(reported_commit) < 40 AND starts_with($4, reported_commit))
		ORDER BY build_id DESC)
		UNION ALL (SELECT `+buildColumns+` FROM result_reports AS builds`+ofPullRequest+` AND source_commit = $4`+unconfirmed+`)`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, asked.Head).
		Query(func(rows pgx.Rows) error {
			list, err := all[buildRow](rows, nil)
			for _, row := range list {
				f.Builds = append(f.Builds, row.build())
			}
			return err
		})
	// A project that another one replaced is required no more; the other one is.
	batch.Queue(`SELECT project_id AS id, account, slug, reports_only, looked_on AS "on", coalesce((SELECT max(o.project_id) FROM projects o
			WHERE o.workspace_uuid = $1 AND o.repository_uuid = $2 AND o.replaced_by = p.project_id), 0) AS replaces
		FROM projects p
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND forgotten_on IS NULL AND replaced_by IS NULL ORDER BY project_id`,
		pr.WorkspaceUUID, pr.RepositoryUUID).Query(func(rows pgx.Rows) error {
		list, err := all[struct {
			mergecheck.Project
			On *time.Time
		}](rows, nil)
		for _, row := range list {
			f.Seen = append(f.Seen, row.Project)
			f.Looks = append(f.Looks, mergecheck.Look{ProjectID: row.ID, On: timeOf(row.On)})
		}
		return err
	})
}

const selectPolicy = `
	SELECT version, document, applied_by, applied_on FROM policies
	WHERE workspace_uuid = $1 ORDER BY version DESC LIMIT 1`

// queuePolicy reads what decides beside builds.
func queuePolicy(batch *pgx.Batch, asked Asked, f *Facts) {
	pr := asked.PullRequest
	batch.Queue(selectPolicy, pr.WorkspaceUUID).Query(func(rows pgx.Rows) error {
		list, err := all[Policy](rows, nil)
		for _, policy := range list {
			f.Policy = policy
		}
		return err
	})
	batch.Queue(selectWaivers+` ORDER BY id DESC LIMIT $4`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, maxWaivers).
		Query(func(rows pgx.Rows) (err error) {
			f.Waivers, err = waivers(rows, nil)
			return err
		})
	batch.Queue(selectDistances, pr.WorkspaceUUID, pr.RepositoryUUID, asked.DestinationCommit).Query(into(&f.Distances))
	batch.Queue(`
		SELECT coalesce((SELECT author FROM pull_requests
				WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3), ''),
			(SELECT paths FROM changed_paths
				WHERE workspace_uuid = $1 AND repository_uuid = $2 AND head = $4 AND destination = $5),
			`+isSubscribed,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, asked.Head, asked.DestinationCommit).
		QueryRow(func(row pgx.Row) error { return row.Scan(&f.Author, &f.Changed, &f.Subscribed) })
}
