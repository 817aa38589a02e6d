package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/mergecheck"
)

// CommitStatus is what Bitbucket is to show on a commit and what it was told.
type CommitStatus struct {
	Entry
	Repository string // "workspace/repo", "" while another repository has its name
	Commit     string
	Fork       string // "workspace/repo" to try when the repository has not the commit; "": the pull request is from no fork
	BuildID    int64
	mergecheck.CommitStatus
	PostedState string // as Bitbucket shows it, "" where nothing was posted
}

const (
	statusColumns = entryColumns + `, commit, key, fork, build_id, state, name, description, url, refname, posted_state,
	coalesce((SELECT r.full_name FROM repositories r WHERE r.workspace_uuid = outbox.workspace_uuid
		AND r.repository_uuid = outbox.repository_uuid), '') AS repository`
	fromStatuses = ` FROM outbox JOIN commit_statuses USING (id) `
)

// WantStatus has Bitbucket show a status of a build, on the build's source commit, and
// queues posting it where that is another than before. fork is "workspace/repo", or "".
func (tx *Tx) WantStatus(ctx context.Context, r Repository, b mergecheck.Build, fork string, status mergecheck.CommitStatus) error {
	repository := r.WorkspaceUUID + "/" + r.RepositoryUUID
	p := place{
		kind: StatusEntry, pr: PullRequestKey{WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID},
		subject: repository + "/" + b.SourceCommit + "/" + status.Key, lane: repository,
	}
	rows, err := tx.db.Query(ctx, `SELECT `+statusColumns+fromStatuses+`WHERE kind = $1 AND subject = $2`, p.kind, p.subject)
	before, err := one[CommitStatus](rows, err)
	if err == nil && before.CommitStatus == status && before.Fork == fork {
		return nil
	}
	if err := ignoreNotFound(err); err != nil {
		return err
	}
	id, due, err := tx.wantEntry(ctx, p, `true`)
	if err != nil {
		return err
	}
	_, err = tx.db.Exec(ctx, `
		INSERT INTO commit_statuses (id, commit, key, fork, build_id, state, name, description, url, refname)
		VALUES (@id, @commit, @key, @fork, @build_id, @state, @name, @description, @url, @refname)
		ON CONFLICT (id) DO UPDATE SET fork = excluded.fork, build_id = excluded.build_id, state = excluded.state,
			name = excluded.name, description = excluded.description, url = excluded.url, refname = excluded.refname`, pgx.NamedArgs{
		"id": id, "commit": b.SourceCommit, "key": status.Key, "fork": fork, "build_id": b.BuildID,
		"state": status.State, "name": status.Name, "description": status.Description, "url": status.URL, "refname": status.Refname,
	})
	unfinished := status.State == mergecheck.StatusInProgress
	if err != nil || !due && unfinished {
		return err
	}
	return tx.Enqueue(ctx, Publish{EntryID: id, EntryKind: StatusEntry, Unfinished: unfinished}) // a result waits behind no job for less
}

// Stopping says of which builds, b, the commit statuses are stopped.
type Stopping struct {
	condition string
	args      []any
}

// OfClosed are those of a pull request, where it is closed as far as is known.
func OfClosed(pr PullRequestKey) Stopping {
	return Stopping{`b.workspace_uuid = $1 AND b.repository_uuid = $2 AND b.pull_request_id = $3
		AND EXISTS (SELECT FROM pull_requests p WHERE p.workspace_uuid = $1 AND p.repository_uuid = $2 AND p.pull_request_id = $3
			AND p.state NOT IN ('OPEN', ''))`, []any{pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID}}
}

// OfProject are those of an AppVeyor project.
func OfProject(projectID int64) Stopping {
	return Stopping{`b.project_id = $1`, []any{projectID}}
}

// StopStatuses ends the commit statuses in progress of some builds, and says why.
func (tx *Tx) StopStatuses(ctx context.Context, of Stopping, why string) error {
	rows, err := tx.db.Query(ctx, `
		SELECT outbox.id`+fromStatuses+`JOIN builds b ON b.build_id = commit_statuses.build_id
			AND b.workspace_uuid = outbox.workspace_uuid AND b.repository_uuid = outbox.repository_uuid
		WHERE commit_statuses.state = 'INPROGRESS' AND `+of.condition+` ORDER BY outbox.id FOR UPDATE OF outbox`, of.args...)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for _, id := range ids {
		_, err := tx.db.Exec(ctx, `UPDATE commit_statuses SET state = $2, description = $3 WHERE id = $1`, id, mergecheck.StatusStopped, why)
		if err != nil {
			return err
		}
		if err := tx.WantAgain(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// NotePosted keeps the state that Bitbucket shows now.
func (tx *Tx) NotePosted(ctx context.Context, id int64, state string) error {
	_, err := tx.db.Exec(ctx, `UPDATE commit_statuses SET posted_state = $2 WHERE id = $1`, id, state)
	return err
}

// CommitStatus returns one commit status; [ErrNotFound] where it was deleted.
func (s *Store) CommitStatus(ctx context.Context, id int64) (CommitStatus, error) {
	return commitStatus(ctx, s.pool, id)
}

// CommitStatus is [Store.CommitStatus] as the transaction has it.
func (tx *Tx) CommitStatus(ctx context.Context, id int64) (CommitStatus, error) {
	return commitStatus(ctx, tx.db, id)
}

func commitStatus(ctx context.Context, db querier, id int64) (CommitStatus, error) {
	rows, err := db.Query(ctx, `SELECT `+statusColumns+fromStatuses+`WHERE id = $1`, id)
	status, err := one[CommitStatus](rows, err)
	if err != nil {
		return status, fmt.Errorf("read commit status %d: %w", id, err)
	}
	return status, nil
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
		SELECT `+statusColumns+fromStatuses+`WHERE kind = 'commit_status' AND `+where+` ORDER BY id DESC LIMIT $2`, args...)
	list, err := all[CommitStatus](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list commit statuses: %w", err)
	}
	return list, nil
}

// RetryStatus has a commit status posted anew, and returns it as it is then.
func (s *Store) RetryStatus(ctx context.Context, id int64) (CommitStatus, error) {
	before, err := s.CommitStatus(ctx, id)
	if err != nil {
		return before, err
	}
	if err := s.InTx(ctx, func(tx *Tx) error { return tx.WantAgain(ctx, id) }); err != nil {
		return before, fmt.Errorf("retry commit status %d: %w", id, err)
	}
	return s.CommitStatus(ctx, id)
}

// NewestOf returns the newest build of b's project, pull request and head;
// [ErrNotFound] where there is none.
func (tx *Tx) NewestOf(ctx context.Context, r Repository, b mergecheck.Build) (mergecheck.Build, error) {
	rows, err := tx.db.Query(ctx, `
		SELECT `+buildColumns+` FROM builds
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND project_id = $4 AND source_commit = $5
		ORDER BY build_id DESC LIMIT 1`, r.WorkspaceUUID, r.RepositoryUUID, b.PullRequestID, b.Project.ID, b.SourceCommit)
	newest, err := one[buildRow](rows, err)
	return newest.build(), err
}

// OfBuilds says which builds of a pull request are meant.
type OfBuilds string

// The builds that have a commit status of their own to be shown anew.
const (
	// OfWaivedHeads are those of heads that were ever waived.
	OfWaivedHeads OfBuilds = `source_commit IN (
		SELECT head FROM waivers WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3)`
	// FoundOnly are those that only a project's history told of, and whose head is known.
	FoundOnly OfBuilds = `by_history AND source_commit <> ''`
)

// NewestBuilds are a pull request's newest builds of those, for each project and head.
func (tx *Tx) NewestBuilds(ctx context.Context, pr PullRequestKey, which OfBuilds) ([]mergecheck.Build, error) {
	rows, err := tx.db.Query(ctx, `
		SELECT DISTINCT ON (project_id, source_commit) `+buildColumns+` FROM builds
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND project_id <> 0 AND `+string(which)+`
		ORDER BY project_id, source_commit, build_id DESC`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID)
	return builds(rows, err)
}

// Ended says why nothing would end a status in progress any more.
type Ended struct{ Closed, Forgotten bool }

// Ended reports whether b's pull request is closed, as far as is known, and whether its
// project is forgotten. No pull request closes from then on until the transaction ends.
func (tx *Tx) Ended(ctx context.Context, r Repository, b mergecheck.Build) (e Ended, err error) {
	pr := PullRequestKey{r.WorkspaceUUID, r.RepositoryUUID, b.PullRequestID}
	if err := tx.lockPullRequest(ctx, pr, shared); err != nil {
		return e, err
	}
	err = tx.db.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pull_requests
				WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND state NOT IN ('OPEN', '')),
			EXISTS (SELECT FROM projects
				WHERE workspace_uuid = $1 AND repository_uuid = $2 AND project_id = $4 AND forgotten_on IS NOT NULL)`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, b.Project.ID).Scan(&e.Closed, &e.Forgotten)
	return e, err
}

func ignoreNotFound(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
