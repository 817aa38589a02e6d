package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"mergegate/internal/mergecheck"
)

// CommitStatus is what Bitbucket is to show on a commit and what it was told.
type CommitStatus struct {
	ID             int64
	WorkspaceUUID  string
	RepositoryUUID string
	Commit         string
	Key            string
	Repository     string // "workspace/repo", "" while another repository has its name
	Fork           string // "workspace/repo" to try when that has not the commit; "": the pull request is from no fork
	BuildID        int64
	State          string
	Name           string
	Description    string
	URL            string
	Refname        string

	WantedVersion int64
	PostedVersion int64
	PostedState   string
	Outcome       Outcome
	HTTPStatus    *int
	Reason        string
	Attempts      int
	PendingSince  time.Time
	NextAttemptOn *time.Time
	LeasedUntil   *time.Time // while it is being posted
	UpdatedOn     time.Time
}

// maxPerRepository is how many statuses of one repository are posted at a time:
// one whose requests hang must not take every worker.
const maxPerRepository = 4

const statusColumns = `id, workspace_uuid, repository_uuid, commit, key, fork, build_id, state,
	coalesce((SELECT r.full_name FROM repositories r WHERE r.workspace_uuid = commit_statuses.workspace_uuid
		AND r.repository_uuid = commit_statuses.repository_uuid), '') AS repository,
	name, description, url, refname, wanted_version, posted_version, posted_state, outcome, http_status, reason,
	attempts, pending_since, next_attempt_on, leased_until, updated_on`

// wantStatuses makes the commit status of b's project, pull request and head that
// of the newest build there is for them, and so for the head that b was taken to
// be of before. It queues the posting of what that changed.
func (s *Store) wantStatuses(ctx context.Context, tx pgx.Tx, r Repository, b mergecheck.Build, before *mergecheck.Build, unsettled string) error {
	if b.SourceCommit != "" {
		if err := s.wantStatus(ctx, tx, r, b); err != nil {
			return err
		}
	}
	if before == nil || before.Project.ID == 0 || before.SourceCommit == "" || before.SourceCommit == b.SourceCommit {
		return nil
	}
	withdrawn := b
	withdrawn.SourceCommit = before.SourceCommit
	return s.wantWithdrawn(ctx, tx, r, withdrawn, unsettled)
}

func (s *Store) wantStatus(ctx context.Context, tx pgx.Tx, r Repository, b mergecheck.Build) error {
	newest, err := newestOf(ctx, tx, r, b)
	if err != nil {
		return err
	}
	return s.wantNewest(ctx, tx, r, newest)
}

// wantNewest wants the commit status of the newest build of its project, pull
// request and head, waived if it is.
func (s *Store) wantNewest(ctx context.Context, tx pgx.Tx, r Repository, newest mergecheck.Build) error {
	waiver, err := waiverFor(ctx, tx, r, newest)
	if err != nil {
		return err
	}
	return s.want(ctx, tx, r, newest, mergecheck.StatusOf(newest, waiver))
}

// wantWithdrawn is for a commit that b turned out not to be of, or not surely. A
// status can't be taken back from Bitbucket: without another build it is stopped.
func (s *Store) wantWithdrawn(ctx context.Context, tx pgx.Tx, r Repository, b mergecheck.Build, unsettled string) error {
	newest, err := newestOf(ctx, tx, r, b)
	if err == nil {
		return s.wantNewest(ctx, tx, r, newest)
	}
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	status := mergecheck.StatusOf(b, nil)
	status.State, status.Description = mergecheck.StatusStopped, unsettled
	if unsettled == "" {
		status.Description = fmt.Sprintf("AppVeyor build %d is of another commit", b.BuildID)
	}
	return s.want(ctx, tx, r, b, status)
}

// newestOf returns the newest build of b's project, pull request and head.
func newestOf(ctx context.Context, tx pgx.Tx, r Repository, b mergecheck.Build) (mergecheck.Build, error) {
	rows, err := tx.Query(ctx, `
		SELECT `+buildColumns+` FROM builds
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND project_id = $4 AND source_commit = $5
		ORDER BY build_id DESC LIMIT 1`, r.WorkspaceUUID, r.RepositoryUUID, b.PullRequestID, b.Project.ID, b.SourceCommit)
	newest, err := one[buildRow](rows, err)
	return newest.build(), err
}

func (s *Store) want(ctx context.Context, tx pgx.Tx, r Repository, b mergecheck.Build, status mergecheck.CommitStatus) error {
	status, err := stoppedIfOver(ctx, tx, PullRequestKey{r.WorkspaceUUID, r.RepositoryUUID, b.PullRequestID}, b, status)
	if err != nil {
		return err
	}
	changed, err := upsertStatus(ctx, tx, r, b, status)
	if err != nil || changed == 0 {
		return err
	}
	return s.enqueue(ctx, tx, PublishStatus{StatusID: changed, Unfinished: status.State == mergecheck.StatusInProgress})
}

// upsertStatus returns the id of the status when what is wanted changed, else 0.
func upsertStatus(ctx context.Context, tx pgx.Tx, r Repository, b mergecheck.Build, status mergecheck.CommitStatus) (changed int64, err error) {
	fork := b.SourceRepository
	if strings.EqualFold(fork, b.Repository) || strings.EqualFold(fork, r.FullName) {
		fork = ""
	}
	rows, err := tx.Query(ctx, `
		INSERT INTO commit_statuses AS s (workspace_uuid, repository_uuid, commit, key, fork,
			build_id, state, name, description, url, refname)
		VALUES (@workspace_uuid, @repository_uuid, @commit, @key, @fork,
			@build_id, @state, @name, @description, @url, @refname)
		ON CONFLICT (workspace_uuid, repository_uuid, commit, key) DO UPDATE SET
			fork = excluded.fork,
			build_id = excluded.build_id, state = excluded.state, name = excluded.name,
			description = excluded.description, url = excluded.url, refname = excluded.refname,
			wanted_version = s.wanted_version + 1, outcome = 'pending', http_status = NULL, reason = '', attempts = 0,
			wanted_on = now(), pending_since = now(), next_attempt_on = NULL, updated_on = now()
		WHERE (s.state, s.name, s.description, s.url, s.refname, s.fork)
			IS DISTINCT FROM (excluded.state, excluded.name, excluded.description, excluded.url, excluded.refname, excluded.fork)
		RETURNING id`, pgx.NamedArgs{
		"workspace_uuid": r.WorkspaceUUID, "repository_uuid": r.RepositoryUUID, "commit": b.SourceCommit, "key": status.Key,
		"fork": fork, "build_id": b.BuildID,
		"state": status.State, "name": status.Name, "description": status.Description, "url": status.URL, "refname": status.Refname,
	})
	if err != nil {
		return 0, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return ids[0], nil
}

// watched is the job that looks at a build again, where it has not ended.
func watched(b mergecheck.Build) []river.JobArgs {
	if b.State.Finished() {
		return nil
	}
	return []river.JobArgs{WatchBuild{Account: b.Project.Account, Slug: b.Project.Slug, BuildID: b.BuildID, Version: b.Version}}
}

// ClaimStatus leases a commit status that is not settled and due, for lease.
// Nothing is claimed, and claimed is false, when there is nothing to post
// (settled), or it is not due, or another worker or too many of the same
// repository are at it (busy).
func (s *Store) ClaimStatus(ctx context.Context, id int64, lease time.Duration) (status CommitStatus, claimed, busy bool, err error) {
	var list []CommitStatus
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		// One claim of a repository at a time, or several see the same free place.
		_, err := tx.Exec(ctx, `
			SELECT pg_advisory_xact_lock(hashtextextended('claim ' || workspace_uuid || ' ' || repository_uuid, 0))
			FROM commit_statuses WHERE id = $1`, id)
		if err != nil {
			return err
		}
		// A status can have several jobs. The first that comes when it is due claims
		// it, and clocks differ a little.
		rows, err := tx.Query(ctx, `
			UPDATE commit_statuses SET leased_until = now() + $2, attempts = attempts + 1
			WHERE id = $1 AND posted_version < wanted_version AND coalesce(leased_until <= now(), true)
				AND coalesce(next_attempt_on <= now() + interval '500 ms', true)
				AND (SELECT count(*) FROM commit_statuses o WHERE o.workspace_uuid = commit_statuses.workspace_uuid
					AND o.repository_uuid = commit_statuses.repository_uuid AND o.leased_until > now()) < $3
			RETURNING `+statusColumns, id, lease, maxPerRepository)
		list, err = all[CommitStatus](rows, err)
		return err
	})
	if err != nil {
		return status, false, false, fmt.Errorf("claim commit status %d: %w", id, err)
	}
	if len(list) == 1 {
		return list[0], true, false, nil
	}
	rows, err := s.pool.Query(ctx, `SELECT `+statusColumns+` FROM commit_statuses WHERE id = $1 AND posted_version < wanted_version`, id)
	if list, err = all[CommitStatus](rows, err); err != nil {
		return status, false, false, fmt.Errorf("look at commit status %d: %w", id, err)
	}
	if len(list) == 0 {
		return status, false, false, nil
	}
	return list[0], false, true, nil
}

// SettleStatus records how posting status ended and gives the lease back. Where
// another state became wanted meanwhile it queues the next posting in the same
// transaction, so that an update during a post is never lost.
func (s *Store) SettleStatus(ctx context.Context, status CommitStatus, result Attempt) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		var wanted int64
		var leased bool
		err := tx.QueryRow(ctx, `
			SELECT wanted_version, leased_until IS NOT DISTINCT FROM $2 FROM commit_statuses WHERE id = $1 FOR UPDATE`,
			status.ID, status.LeasedUntil).Scan(&wanted, &leased)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // deleted with its build
		}
		if err != nil {
			return err
		}
		if !leased {
			// The lease ran out and somebody else posted, or is at it. Which of the
			// two Bitbucket shows isn't known, so it is posted once more.
			_, err := s.wantAgain(ctx, tx, status.ID)
			return err
		}
		superseded := wanted > status.WantedVersion
		if err := settleStatus(ctx, tx, status, result, superseded); err != nil {
			return err
		}
		if !superseded {
			return s.notifyRefusal(ctx, tx, status, result)
		}
		return s.enqueue(ctx, tx, PublishStatus{StatusID: status.ID})
	})
	if err != nil {
		return fmt.Errorf("settle commit status %d: %w", status.ID, err)
	}
	return nil
}

// notifyRefusal tells of a status that Bitbucket doesn't take, unless that is what
// was told before.
func (s *Store) notifyRefusal(ctx context.Context, tx pgx.Tx, status CommitStatus, result Attempt) error {
	if result.Outcome != Failed && result.Outcome != NotPostable || status.Reason == result.Reason {
		return nil
	}
	status.Outcome, status.HTTPStatus, status.Reason, status.NextAttemptOn = result.Outcome, nullInt(result.HTTPStatus), result.Reason, nil
	return s.notify(ctx, tx, status.WorkspaceUUID, Event{Type: EventStatusRefused, Status: &status})
}

func settleStatus(ctx context.Context, tx pgx.Tx, status CommitStatus, result Attempt, superseded bool) error {
	_, err := tx.Exec(ctx, `
		UPDATE commit_statuses SET leased_until = NULL, attempts = greatest(attempts - CASE WHEN @unasked THEN 1 ELSE 0 END, 0),
			posted_version = CASE WHEN @settled THEN @version ELSE posted_version END,
			posted_state = CASE WHEN @outcome = 'posted' THEN @state ELSE posted_state END,
			outcome = CASE WHEN @superseded THEN outcome ELSE @outcome END,
			http_status = CASE WHEN @superseded THEN http_status ELSE @http_status END,
			reason = CASE WHEN @superseded THEN reason ELSE @reason END,
			next_attempt_on = CASE WHEN @superseded OR @settled THEN NULL ELSE now() + @retry_in END,
			updated_on = now()
		WHERE id = @id`, pgx.NamedArgs{
		"id": status.ID, "settled": result.Outcome != Pending, "superseded": superseded, "version": status.WantedVersion,
		"state": status.State, "outcome": result.Outcome, "http_status": nullInt(result.HTTPStatus),
		"reason": result.Reason, "retry_in": result.RetryIn, "unasked": result.Unasked,
	})
	return err
}

func nullInt(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

// CommitStatuses lists commit statuses that are covered, by how far they have come (""
// for all), newest first, at most limit of those with an id below before (0: no bound).
func (s *Store) CommitStatuses(ctx context.Context, cover Cover, outcome Outcome, before int64, limit int) ([]CommitStatus, error) {
	where, args := `id < $1`, []any{below(before), limit}
	if outcome != "" {
		where, args = where+` AND outcome = $3`, append(args, outcome)
	}
	if !cover.everything {
		args = append(args, cover.repositories)
		where += fmt.Sprintf(` AND (workspace_uuid::text || repository_uuid::text) = ANY($%d)`, len(args))
	}
	rows, err := s.pool.Query(ctx, `
		SELECT `+statusColumns+` FROM commit_statuses WHERE `+where+` ORDER BY id DESC LIMIT $2`, args...)
	list, err := all[CommitStatus](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list commit statuses: %w", err)
	}
	return list, nil
}

// RetryStatus makes a settled commit status wanted anew and queues its posting.
func (s *Store) RetryStatus(ctx context.Context, id int64) (CommitStatus, error) {
	var status CommitStatus
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		var err error
		status, err = s.wantAgain(ctx, tx, id)
		return err
	})
	if err != nil {
		return status, fmt.Errorf("retry commit status %d: %w", id, err)
	}
	return status, nil
}

// wantAgain makes a status wanted anew, as it is, and queues its posting.
func (s *Store) wantAgain(ctx context.Context, tx pgx.Tx, id int64) (CommitStatus, error) {
	rows, err := tx.Query(ctx, `
		UPDATE commit_statuses SET wanted_version = wanted_version + 1, outcome = 'pending', reason = '',
			http_status = NULL, attempts = 0, pending_since = now(), next_attempt_on = NULL, updated_on = now()
		WHERE id = $1 RETURNING `+statusColumns, id)
	status, err := one[CommitStatus](rows, err)
	if err != nil {
		return status, err
	}
	return status, s.enqueue(ctx, tx, PublishStatus{StatusID: id})
}
