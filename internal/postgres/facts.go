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
	queueOnce(batch, asked, &f)
	queueBuilds(batch, asked, &f)
	queueLists(batch, asked, &f)
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

// factsRow is what there is once of a pull request, or not at all.
type factsRow struct {
	Now               time.Time
	WorkspaceUUID     string
	RepositoryUUID    string
	FullName          string
	Waiting           bool
	State             string
	Head              string
	DestinationBranch string
	ToldOn            *time.Time
	Author            string
	Destination       string
	PushedOn          *time.Time
	Untimed           bool
	Version           int64
	Document          string
	AppliedBy         string
	AppliedOn         *time.Time
	Paths             []string
	Subscribed        bool
}

// selectFacts reads a factsRow of the pull request $1 to $3, whose look is $4; $5 is the
// destination branch, $6 the head and $7 the destination's commit. Each statement costs as
// much again as reading a row by its key, so that all of these are read by one.
const selectFacts = `
	SELECT now(), coalesce(r.workspace_uuid::text, '') AS workspace_uuid, coalesce(r.repository_uuid::text, '') AS repository_uuid,
		coalesce(r.full_name, '') AS full_name, (` + selectWaiting + `) AS waiting,
		coalesce(p.state, '') AS state, coalesce(p.source_commit, '') AS head, coalesce(p.destination_branch, '') AS destination_branch, p.told_on,
		coalesce(p.author, '') AS author,
		coalesce(d.commit, '') AS destination, d.pushed_on, coalesce(d.untimed, false) AS untimed,
		coalesce(policy.version, 0) AS version, coalesce(policy.document, '') AS document, coalesce(policy.applied_by, '') AS applied_by, policy.applied_on,
		(SELECT paths FROM changed_paths WHERE workspace_uuid = $1 AND repository_uuid = $2 AND head = $6 AND destination = $7) AS paths,
		` + isSubscribed + ` AS subscribed
	FROM (SELECT 1) one
	LEFT JOIN repositories r ON r.workspace_uuid = $1 AND r.repository_uuid = $2
	LEFT JOIN pull_requests p ON p.workspace_uuid = $1 AND p.repository_uuid = $2 AND p.pull_request_id = $3
	LEFT JOIN LATERAL (SELECT commit, pushed_on, untimed FROM branch_heads
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND branch = $5 ORDER BY pushed_on DESC LIMIT 1) d ON true
	LEFT JOIN LATERAL (` + selectPolicy + `) policy ON true`

// queueOnce reads what there is once of the pull request.
func queueOnce(batch *pgx.Batch, asked Asked, f *Facts) {
	pr := asked.PullRequest
	batch.Queue(selectFacts, append(waitingArgs(pr), asked.DestinationBranch, asked.Head, asked.DestinationCommit)...).Query(func(rows pgx.Rows) error {
		row, err := one[factsRow](rows, nil)
		if err != nil {
			return err
		}
		f.Now, f.Author, f.Changed, f.Subscribed = row.Now, row.Author, row.Paths, row.Subscribed
		f.Repository = Repository{WorkspaceUUID: row.WorkspaceUUID, RepositoryUUID: row.RepositoryUUID, FullName: row.FullName}
		f.Recorded.Waiting = row.Waiting
		f.Recorded.Newest = mergecheck.Told{State: row.State, Head: row.Head, DestinationBranch: row.DestinationBranch, On: timeOf(row.ToldOn)}
		f.Recorded.Destination = mergecheck.Head{Commit: row.Destination, FirstSeenOn: timeOf(row.PushedOn), LastSeenOn: timeOf(row.PushedOn), Untimed: row.Untimed}
		f.Policy = Policy{Version: row.Version, Document: row.Document, AppliedBy: row.AppliedBy, AppliedOn: timeOf(row.AppliedOn)}
		return nil
	})
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

// queueLists reads what there is any number of beside builds.
func queueLists(batch *pgx.Batch, asked Asked, f *Facts) {
	pr := asked.PullRequest
	batch.Queue(selectHeads, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, asked.SourceRepository, asked.SourceBranch, asked.Head).
		Query(into(&f.Recorded.Heads))
	batch.Queue(selectWaivers+` ORDER BY id DESC LIMIT $4`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, maxWaivers).
		Query(func(rows pgx.Rows) (err error) {
			f.Waivers, err = waivers(rows, nil)
			return err
		})
	batch.Queue(selectDistances, pr.WorkspaceUUID, pr.RepositoryUUID, asked.DestinationCommit).Query(into(&f.Distances))
}
