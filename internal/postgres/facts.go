package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

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
	Seen        []mergecheck.Project
	Unconfirmed []mergecheck.Unconfirmed
	Policy      Policy
	Waivers     []mergecheck.Waiver
	Distances   []mergecheck.Distance // from the destination's commit
	Changed     []string              // between head and destination's commit; nil: not known
	Author      string                // UUID, "" while it isn't known
	NewHead     bool                  // the head was never seen before
	Told        bool                  // somebody is told of verdicts that change
	Now         time.Time             // the database's clock
}

// Asked is what facts are asked about, as Bitbucket tells it at this moment.
type Asked struct {
	PullRequest       PullRequestKey
	Head              string // 40 hex characters, or what is known of it
	DestinationBranch string
	DestinationCommit string // 40 or 12 hex characters, "" when it isn't known
	// Seen has commits of 40 characters recorded as seen now.
	Seen bool
}

// Facts reads, in one round trip, all that a verdict depends on.
func (s *Store) Facts(ctx context.Context, asked Asked) (Facts, error) {
	batch := &pgx.Batch{}
	pr := asked.PullRequest
	key := []any{pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID}
	var f Facts
	if asked.Seen {
		queueSeen(batch, asked, &f)
	}
	queueBuilds(batch, asked, &f)
	batch.Queue(`SELECT d.build_id, d.reason FROM deliveries d
		JOIN repositories r ON lower(d.hinted_repository) = lower(r.full_name)
		WHERE r.workspace_uuid = $1 AND r.repository_uuid = $2 AND d.hinted_pull_request = $3
			AND d.outcome IN ('pending', 'failed')
			AND NOT EXISTS (SELECT FROM builds b WHERE b.build_id = d.build_id)
		ORDER BY d.id DESC LIMIT $4`, append(key[:3:3], maxUnconfirmed)...).Query(into(&f.Unconfirmed))
	queuePolicy(batch, asked, &f)
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return Facts{}, fmt.Errorf("read facts of pull request %d: %w", pr.PullRequestID, err)
	}
	return f, nil
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

func queueSeen(batch *pgx.Batch, asked Asked, f *Facts) {
	pr := asked.PullRequest
	if mergecheck.IsFullCommit(asked.Head) {
		batch.Queue(recordHead, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, asked.Head).
			QueryRow(func(row pgx.Row) error { return row.Scan(&f.NewHead) })
	}
	if mergecheck.IsFullCommit(asked.DestinationCommit) && asked.DestinationBranch != "" {
		batch.Queue(recordDestination, pr.WorkspaceUUID, pr.RepositoryUUID, asked.DestinationBranch, asked.DestinationCommit)
	}
}

// recordDestination notes where a branch is now, if nobody told of that. It was
// there before: builds since then seem to have merged into an older commit, and
// never into a newer one.
const recordDestination = `
	INSERT INTO branch_heads (workspace_uuid, repository_uuid, branch, pushed_on, commit)
	SELECT $1, $2, $3, now(), $4 WHERE $4 IS DISTINCT FROM (
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
	batch.Queue(selectHeads, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID).Query(into(&f.Heads))
	const ofPullRequest = ` WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3`
	batch.Queue(`(SELECT `+buildColumns+` FROM builds`+ofPullRequest+`
			AND (reported_commit = $4 OR length(reported_commit) < 40 AND starts_with($4, reported_commit))
		ORDER BY build_id DESC)
		UNION ALL (SELECT `+buildColumns+` FROM reports AS builds`+ofPullRequest+` AND source_commit = $4`+unconfirmed+`)`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, asked.Head).
		Query(func(rows pgx.Rows) error {
			list, err := all[buildRow](rows, nil)
			for _, row := range list {
				f.Builds = append(f.Builds, row.build())
			}
			return err
		})
	// A project that another one replaced is required no more; the other one is.
	batch.Queue(`SELECT project_id AS id, account, slug, reports_only, coalesce((SELECT max(o.project_id) FROM projects o
			WHERE o.workspace_uuid = $1 AND o.repository_uuid = $2 AND o.replaced_by = p.project_id), 0) AS replaces
		FROM projects p
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND forgotten_on IS NULL AND replaced_by IS NULL ORDER BY project_id`,
		pr.WorkspaceUUID, pr.RepositoryUUID).Query(into(&f.Seen))
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
			`+isTold,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, asked.Head, asked.DestinationCommit).
		QueryRow(func(row pgx.Row) error { return row.Scan(&f.Author, &f.Changed, &f.Told) })
}

// Decision is one answer to a merge check, with what it was decided from.
type Decision struct {
	ID            int64
	PullRequestID int64
	Trigger       string
	Success       bool
	Code          string
	Message       string
	Head          string
	Destination   string
	PolicyVersion *int64
	Builds        []int64
	Inputs        []byte // JSON, see [mergecheck.Facts.Inputs]; nil: there were none
	DurationMs    int
	CreatedOn     time.Time
}

// FollowUps are what a decision makes necessary.
type FollowUps struct {
	// SettleHeads has it told anew which head the pull request's builds are of, and
	// what its waivers waive.
	SettleHeads bool
	// Rebuild has AppVeyor asked to build; nil: nothing.
	Rebuild *RebuildPullRequest
	// Effects has Bitbucket show the verdict besides, as the policy asks for.
	Effects bool
	// Verdict is one to tell of if it is another than before; nil: nobody wants to know.
	Verdict *mergecheck.Verdict
}

// AddDecision keeps d and queues what follows from it. All of it is committed
// when it returns.
func (s *Store) AddDecision(ctx context.Context, pr PullRequestKey, d Decision, follow FollowUps) error {
	insert := func(db execer) error {
		_, err := db.Exec(ctx, `
			INSERT INTO decisions (workspace_uuid, repository_uuid, pull_request_id, trigger, success, code, message,
				head, destination, policy_version, builds, inputs, duration_ms)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, coalesce($11::bigint[], '{}'), $12, $13)`,
			pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, d.Trigger, d.Success, d.Code, d.Message,
			d.Head, d.Destination, d.PolicyVersion, d.Builds, d.Inputs, d.DurationMs)
		return err
	}
	var jobs []river.JobArgs
	if follow.SettleHeads {
		jobs = append(jobs, SettleHeads(pr))
	}
	if follow.Rebuild != nil {
		jobs = append(jobs, *follow.Rebuild)
	}
	var err error
	if len(jobs) == 0 && follow.Verdict == nil && !follow.Effects {
		err = insert(s.pool)
	} else {
		err = s.inTx(ctx, func(tx pgx.Tx) error {
			if err := insert(tx); err != nil {
				return err
			}
			if follow.Verdict != nil {
				if err := s.noteVerdict(ctx, tx, pr, *follow.Verdict); err != nil {
					return err
				}
			}
			if err := s.enqueue(ctx, tx, jobs...); err != nil || !follow.Effects {
				return err
			}
			return s.wantEffects(ctx, tx, pr)
		})
	}
	if err != nil {
		return fmt.Errorf("keep decision on pull request %d: %w", pr.PullRequestID, err)
	}
	return nil
}

const decisionColumns = `id, pull_request_id, trigger, success, code, message, head, destination, policy_version, builds,
	inputs, duration_ms, created_on`

// Decisions lists the answers given for a pull request, or with id 0 for a whole
// repository, newest first, at most limit of those with an id below before (0: no
// bound).
func (s *Store) Decisions(ctx context.Context, pr PullRequestKey, before int64, limit int) ([]Decision, error) {
	where, args := ``, []any{pr.WorkspaceUUID, pr.RepositoryUUID, below(before), limit}
	if pr.PullRequestID != 0 {
		where, args = ` AND pull_request_id = $5`, append(args, pr.PullRequestID)
	}
	rows, err := s.pool.Query(ctx, `SELECT `+decisionColumns+` FROM decisions
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND id < $3`+where+` ORDER BY id DESC LIMIT $4`, args...)
	list, err := all[Decision](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list decisions on pull request %d: %w", pr.PullRequestID, err)
	}
	return list, nil
}
