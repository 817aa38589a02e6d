package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/mergecheck"
)

// buildRow is a row of the table builds.
type buildRow struct {
	WorkspaceUUID     string
	RepositoryUUID    string
	ID                int64
	BuildID           int64
	ProjectID         int64
	Account           string
	Slug              string
	Repository        string
	PullRequestID     int64
	PullRequestTitle  string
	Version           string
	State             string
	ReportedCommit    string
	SourceCommit      string
	SourceBranch      string
	SourceRepository  string
	DestinationBranch string
	DestinationCommit *string
	CommitID          string
	URL               string
	Jobs              []mergecheck.Job
	JobsUpdatedOn     *time.Time
	JobsState         string
	CreatedOn         *time.Time
	StartedOn         *time.Time
	FinishedOn        *time.Time
	UpdatedOn         *time.Time
	DeletedOn         *time.Time
	ConfirmedBy       string
	ByHistory         bool // only a project's history told of it
}

const buildColumns = `workspace_uuid, repository_uuid, id, build_id, project_id, account, slug, repository,
	pull_request_id, pull_request_title, version, state, reported_commit, source_commit, source_branch,
	source_repository, destination_branch, commit_id, url, jobs, jobs_updated_on, jobs_state, created_on,
	started_on, finished_on, updated_on, deleted_on, confirmed_by, by_history, ` + destinationCommit

// destinationCommit is the commit that a build merged into: the one its
// destination branch was at a minute before the build started, by Bitbucket's
// times of pushes. An older one than the real one at worst, since AppVeyor merges
// when it starts and clocks differ by less.
const destinationCommit = `(SELECT h.commit FROM branch_heads h
	WHERE h.workspace_uuid = builds.workspace_uuid AND h.repository_uuid = builds.repository_uuid
		AND h.branch = builds.destination_branch AND h.pushed_on <= builds.started_on - interval '60 seconds'
	ORDER BY h.pushed_on DESC LIMIT 1) AS destination_commit`

func (r buildRow) build() mergecheck.Build {
	return mergecheck.Build{
		ID: r.ID, BuildID: r.BuildID,
		Project:    mergecheck.Project{ID: r.ProjectID, Account: r.Account, Slug: r.Slug},
		Repository: r.Repository, PullRequestID: r.PullRequestID, PullRequestTitle: r.PullRequestTitle,
		Version: r.Version, State: mergecheck.State(r.State),
		ReportedCommit: r.ReportedCommit, SourceCommit: r.SourceCommit, SourceBranch: r.SourceBranch,
		SourceRepository: r.SourceRepository, DestinationBranch: r.DestinationBranch, DestinationCommit: textOf(r.DestinationCommit), CommitID: r.CommitID, URL: r.URL,
		Jobs: r.Jobs, JobsUpdatedOn: timeOf(r.JobsUpdatedOn), JobsState: mergecheck.State(r.JobsState),
		CreatedOn: timeOf(r.CreatedOn), StartedOn: timeOf(r.StartedOn), FinishedOn: timeOf(r.FinishedOn),
		UpdatedOn: timeOf(r.UpdatedOn), DeletedOn: timeOf(r.DeletedOn), ConfirmedBy: r.ConfirmedBy,
	}
}

func buildArgs(r Repository, b mergecheck.Build) pgx.NamedArgs {
	if b.Jobs == nil {
		b.Jobs = []mergecheck.Job{}
	}
	return pgx.NamedArgs{
		"workspace_uuid": r.WorkspaceUUID, "repository_uuid": r.RepositoryUUID,
		"build_id": b.BuildID, "project_id": b.Project.ID, "account": b.Project.Account, "slug": b.Project.Slug,
		"repository": b.Repository, "pull_request_id": b.PullRequestID, "pull_request_title": b.PullRequestTitle,
		"version": b.Version, "state": b.State, "reported_commit": b.ReportedCommit, "source_commit": b.SourceCommit,
		"source_branch": b.SourceBranch, "source_repository": b.SourceRepository,
		"destination_branch": b.DestinationBranch, "commit_id": b.CommitID, "url": b.URL,
		"jobs": b.Jobs, "jobs_updated_on": nullTime(b.JobsUpdatedOn), "jobs_state": b.JobsState,
		"created_on": nullTime(b.CreatedOn), "started_on": nullTime(b.StartedOn),
		"finished_on": nullTime(b.FinishedOn), "updated_on": nullTime(b.UpdatedOn), "deleted_on": nullTime(b.DeletedOn), "confirmed_by": b.ConfirmedBy,
	}
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Recorded is what recording a build led to.
type Recorded struct {
	Build      mergecheck.Build // as it stands now, after every observation of it
	Repository Repository
	// Unsettled says why the build's head can't be told, "" when it can.
	Unsettled string
}

// Unlinked reports whether the build waits for its repository to be linked.
func (r Recorded) Unlinked() bool { return r.Repository.RepositoryUUID == "" }

// RecordBuild records one observation of a build that AppVeyor confirmed, by the
// order of [mergecheck.Build.Merge], together with the commit status it makes
// wanted and the jobs that publish it and look at an unfinished build again. One of a
// repository that Bitbucket has not told of yet waits until it has. With a delivery it
// also gives that delivery its outcome. All of it is committed, or none.
func (s *Store) RecordBuild(ctx context.Context, b mergecheck.Build, delivery int64) (rec Recorded, err error) {
	return s.record(ctx, b, delivery, false)
}

// RecordFound is [Store.RecordBuild] for a build that was found by reading a
// project's history. Its pull request may have been closed years ago: such builds
// get a commit status only while it is open.
func (s *Store) RecordFound(ctx context.Context, b mergecheck.Build) (Recorded, error) {
	return s.record(ctx, b, 0, true)
}

func (s *Store) record(ctx context.Context, b mergecheck.Build, delivery int64, found bool) (rec Recorded, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		if rec, err = s.recordBuild(ctx, tx, b, found); err != nil {
			return err
		}
		if delivery == 0 {
			return nil
		}
		if rec.Unlinked() {
			return settleDelivery(ctx, tx, delivery, Processed, rec.Unsettled)
		}
		if err := s.retryStatusOf(ctx, tx, rec.Repository, rec.Build); err != nil {
			return err
		}
		return settleDelivery(ctx, tx, delivery, Processed, rec.Unsettled)
	})
	if err != nil {
		return Recorded{}, fmt.Errorf("record build %d: %w", b.BuildID, err)
	}
	return rec, nil
}

func (s *Store) recordBuild(ctx context.Context, tx pgx.Tx, b mergecheck.Build, found bool) (Recorded, error) {
	// Always in this order, so that two recordings never wait for each other:
	// repository name, build, project.
	if err := lockName(ctx, tx, b.Repository, shared); err != nil {
		return Recorded{}, err
	}
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('build', $1))`, b.BuildID); err != nil {
		return Recorded{}, err
	}
	repository, known, err := s.placeOf(ctx, tx, b, &found)
	if errors.Is(err, ErrNotFound) {
		return s.keepUnlinked(ctx, tx, b, found)
	}
	if err != nil {
		return Recorded{}, err
	}
	if known != nil {
		b = known.Merge(b)
		b.Repository = known.Repository
	} else if waiting, err := takeUnlinked(ctx, tx, b.BuildID); err != nil {
		return Recorded{}, err
	} else if waiting != nil {
		b, found = waiting.Document.Merge(b), found && waiting.Found
	}
	history, err := historyOf(ctx, tx, repository, b)
	if err != nil {
		return Recorded{}, err
	}
	rec := Recorded{Repository: repository}
	b.SourceCommit, rec.Unsettled = mergecheck.Attribute(b, history)
	if b.ID, err = upsertBuild(ctx, tx, repository, b, found); err != nil {
		return Recorded{}, err
	}
	rec.Build = b
	if b.Project.ID != 0 { // nobody can be told of a build whose project isn't known yet
		if err := upsertProject(ctx, tx, repository, b); err != nil {
			return Recorded{}, err
		}
		shown := !found
		if found {
			if shown, err = isOpen(ctx, tx, PullRequestKey{repository.WorkspaceUUID, repository.RepositoryUUID, b.PullRequestID}); err != nil {
				return Recorded{}, err
			}
		}
		if shown {
			if err := s.wantStatuses(ctx, tx, repository, b, known, rec.Unsettled); err != nil {
				return Recorded{}, err
			}
		}
		if known == nil || known.State != b.State || known.Project.ID == 0 {
			if err := s.notify(ctx, tx, repository.WorkspaceUUID, Event{Type: EventBuildConfirmed, Repository: repository, PullRequestID: b.PullRequestID, Build: &b}); err != nil {
				return Recorded{}, err
			}
		}
	}
	if err := s.lookAtUntold(ctx, tx, repository, b, found); err != nil {
		return Recorded{}, err
	}
	if err := s.enqueue(ctx, tx, watched(b)...); err != nil {
		return Recorded{}, err
	}
	return rec, s.wantEffects(ctx, tx, PullRequestKey{repository.WorkspaceUUID, repository.RepositoryUUID, b.PullRequestID})
}

// placeOf finds the repository that b is recorded under, [ErrNotFound] where Bitbucket
// has not told of it, and b as recorded so far. A build stays in the repository it was first recorded under: a transfer
// starts fresh in the new workspace. What anything
// but history told of before is no longer only found.
func (s *Store) placeOf(ctx context.Context, tx pgx.Tx, b mergecheck.Build, found *bool) (Repository, *mergecheck.Build, error) {
	rows, err := tx.Query(ctx, `SELECT `+buildColumns+` FROM builds WHERE build_id = $1 FOR UPDATE`, b.BuildID)
	row, err := one[buildRow](rows, err)
	if errors.Is(err, ErrNotFound) {
		repository, err := repositoryCalled(ctx, tx, b.Repository)
		return repository, nil, err
	}
	if err != nil {
		return Repository{}, nil, err
	}
	*found = *found && row.ByHistory
	repository, err := repositoryOf(ctx, tx, row.WorkspaceUUID, row.RepositoryUUID)
	if repository.FullName == "" { // another repository has the name now
		repository.FullName = row.Repository
	}
	return repository, new(row.build()), err
}

func upsertBuild(ctx context.Context, tx pgx.Tx, r Repository, b mergecheck.Build, found bool) (id int64, err error) {
	args := buildArgs(r, b)
	args["by_history"] = found
	err = tx.QueryRow(ctx, `
		INSERT INTO builds (workspace_uuid, repository_uuid, build_id, project_id, account, slug, repository,
			pull_request_id, pull_request_title, version, state, reported_commit, source_commit, source_branch,
			source_repository, destination_branch, commit_id, url, jobs, jobs_updated_on, jobs_state, created_on,
			started_on, finished_on, updated_on, deleted_on, confirmed_by, by_history)
		VALUES (@workspace_uuid, @repository_uuid, @build_id, @project_id, @account, @slug, @repository,
			@pull_request_id, @pull_request_title, @version, @state, @reported_commit, @source_commit, @source_branch,
			@source_repository, @destination_branch, @commit_id, @url, @jobs, @jobs_updated_on, @jobs_state, @created_on,
			@started_on, @finished_on, @updated_on, @deleted_on, @confirmed_by, @by_history)
		ON CONFLICT (workspace_uuid, build_id) DO UPDATE SET
			project_id = excluded.project_id, account = excluded.account, slug = excluded.slug,
			pull_request_id = excluded.pull_request_id, pull_request_title = excluded.pull_request_title,
			version = excluded.version, state = excluded.state, reported_commit = excluded.reported_commit,
			source_commit = excluded.source_commit, source_branch = excluded.source_branch,
			source_repository = excluded.source_repository, destination_branch = excluded.destination_branch,
			commit_id = excluded.commit_id, url = excluded.url, jobs = excluded.jobs,
			jobs_updated_on = excluded.jobs_updated_on, jobs_state = excluded.jobs_state,
			created_on = excluded.created_on, started_on = excluded.started_on,
			finished_on = excluded.finished_on, updated_on = excluded.updated_on, deleted_on = excluded.deleted_on, confirmed_by = excluded.confirmed_by,
			by_history = excluded.by_history
		RETURNING id`, args).Scan(&id)
	return id, err
}

// upsertProject keeps the project under its id. The newest build that names it
// decides what it is called, whatever order builds come in; AppVeyor's list of
// projects is newer than the builds there were when it was read. The row stays locked
// until the transaction ends, named anew or not: of two builds that are recorded
// at once, the second then sees the first when it tells which is the newest.
func upsertProject(ctx context.Context, tx pgx.Tx, r Repository, b mergecheck.Build) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO projects AS p (workspace_uuid, repository_uuid, project_id, account, slug, named_by)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (workspace_uuid, repository_uuid, project_id) DO UPDATE
			SET account = excluded.account, slug = excluded.slug, named_by = excluded.named_by, listed_on = NULL, reports_only = false
			WHERE p.named_by < excluded.named_by OR p.reports_only
				OR p.named_by = excluded.named_by AND p.listed_on IS NULL AND (p.account, p.slug) <> (excluded.account, excluded.slug)`,
		r.WorkspaceUUID, r.RepositoryUUID, b.Project.ID, b.Project.Account, b.Project.Slug, b.BuildID)
	if err != nil {
		return err
	}
	// A name that AppVeyor builds under is no longer that of a project it only named.
	_, err = tx.Exec(ctx, `
		UPDATE projects SET account = '', slug = ''
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND project_id <> $3 AND reports_only
			AND lower(account) = lower($4) AND lower(slug) = lower($5)`,
		r.WorkspaceUUID, r.RepositoryUUID, b.Project.ID, b.Project.Account, b.Project.Slug)
	return err
}

// BuildID names a row: a confirmed build's, or a report's.
type BuildID struct {
	WorkspaceUUID string
	ID            int64
	Reported      bool
}

// Build returns one build, confirmed or reported.
func (s *Store) Build(ctx context.Context, id BuildID) (mergecheck.Build, Repository, error) {
	table := `builds`
	if id.Reported {
		table = `result_reports AS builds`
	}
	rows, err := s.pool.Query(ctx, `SELECT `+buildColumns+` FROM `+table+` WHERE workspace_uuid = $1 AND id = $2`, id.WorkspaceUUID, id.ID)
	row, err := one[buildRow](rows, err)
	if err != nil {
		return mergecheck.Build{}, Repository{}, fmt.Errorf("read build %d: %w", id.ID, err)
	}
	repository, err := repositoryOf(ctx, s.pool, row.WorkspaceUUID, row.RepositoryUUID)
	return row.build(), repository, err
}

func repositoryOf(ctx context.Context, db querier, workspaceUUID, repositoryUUID string) (Repository, error) {
	rows, err := db.Query(ctx, `
		SELECT `+repositoryColumns+` FROM repositories WHERE workspace_uuid = $1 AND repository_uuid = $2`, workspaceUUID, repositoryUUID)
	r, err := one[Repository](rows, err)
	if err != nil {
		return r, fmt.Errorf("read repository %s: %w", repositoryUUID, err)
	}
	return r, nil
}

// BuildFilter narrows a list of builds. Zero fields don't.
type BuildFilter struct {
	PullRequestID int64
	Commit        string // a prefix of the source commit
	Project       string // "account/slug", or a project id in digits
	State         mergecheck.State
	Since         time.Time // created at or after
	Until         time.Time // created before
	Before        int64     // build ids below this one: where the page starts
	Limit         int
}

// Builds lists a repository's builds, newest build id first: those that AppVeyor
// confirmed, and those reported that it didn't.
func (s *Store) Builds(ctx context.Context, r Repository, f BuildFilter) ([]mergecheck.Build, error) {
	sql, args := f.query(r)
	// Planned for these very values: a plan for any would go through all builds for
	// those of a day long ago.
	rows, err := s.pool.Query(ctx, sql, pgx.QueryExecModeCacheDescribe, args)
	list, err := all[buildRow](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list builds of %s: %w", r.FullName, err)
	}
	builds := make([]mergecheck.Build, len(list))
	for i, row := range list {
		builds[i] = row.build()
	}
	return builds, nil
}

// query lists from builds and reports in the same order, and from each no more
// than is asked for.
func (f BuildFilter) query(r Repository) (sql string, args pgx.NamedArgs) {
	where, args := f.where()
	args["workspace_uuid"], args["repository_uuid"], args["limit"] = r.WorkspaceUUID, r.RepositoryUUID, f.Limit
	const newest = ` ORDER BY build_id DESC LIMIT @limit`
	return `
		(SELECT ` + buildColumns + ` FROM builds WHERE ` + ofRepository + where + f.bounds() + newest + `)
		UNION ALL
		(SELECT ` + buildColumns + ` FROM result_reports AS builds WHERE ` + ofRepository + where + unconfirmed + newest + `)` + newest, args
}

const ofRepository = `workspace_uuid = @workspace_uuid AND repository_uuid = @repository_uuid`

// bounds tells between which ids the builds of a time are, so that a list in the
// order of ids begins and ends there. AppVeyor numbers builds as it creates them;
// a day is more than its clocks can differ.
func (f BuildFilter) bounds() (sql string) {
	if !f.Until.IsZero() {
		sql += ` AND build_id <= coalesce((SELECT build_id FROM builds WHERE ` + ofRepository + `
			AND created_on >= @until::timestamptz + interval '1 day' ORDER BY created_on LIMIT 1), 9223372036854775807)`
	}
	if !f.Since.IsZero() {
		sql += ` AND build_id >= coalesce((SELECT build_id FROM builds WHERE ` + ofRepository + `
			AND created_on < @since::timestamptz - interval '1 day' ORDER BY created_on DESC LIMIT 1), 0)`
	}
	return sql
}

// unconfirmed leaves out reports of builds that AppVeyor has confirmed.
const unconfirmed = `
	AND NOT EXISTS (SELECT FROM builds c WHERE c.workspace_uuid = builds.workspace_uuid
		AND c.repository_uuid = builds.repository_uuid AND c.build_id = builds.build_id AND c.project_id = builds.project_id)`

// where writes only the conditions that are asked for, so that each combination
// gets the plan of its own index.
func (f BuildFilter) where() (sql string, args pgx.NamedArgs) {
	args = pgx.NamedArgs{}
	add := func(condition, name string, value any) {
		sql += " AND " + condition
		args[name] = value
	}
	if f.PullRequestID != 0 {
		add("pull_request_id = @pull_request_id", "pull_request_id", f.PullRequestID)
	}
	if f.Commit != "" {
		// A range, in the index's order, where LIKE takes a plan for this very text;
		// "g" comes after every hex digit.
		add("source_commit ~>=~ @commit AND source_commit ~<~ (@commit::text || 'g')", "commit", f.Commit)
	}
	if id, err := strconv.ParseInt(f.Project, 10, 64); err == nil {
		add("project_id = @project", "project", id)
	} else if f.Project != "" {
		add("lower(account || '/' || slug) = lower(@project)", "project", f.Project)
	}
	if f.State != "" {
		add("state = @state", "state", f.State)
	}
	if !f.Since.IsZero() {
		add("created_on >= @since", "since", f.Since)
	}
	if !f.Until.IsZero() {
		add("created_on < @until", "until", f.Until)
	}
	if f.Before != 0 {
		add("build_id < @before", "before", f.Before)
	}
	return sql, args
}

// UpdatedOn returns, for those of the AppVeyor builds that are recorded, when
// AppVeyor last changed them.
func (s *Store) UpdatedOn(ctx context.Context, buildIDs []int64) (map[int64]time.Time, error) {
	rows, err := s.pool.Query(ctx, `SELECT build_id, updated_on FROM builds WHERE build_id = ANY($1)
		UNION ALL SELECT build_id, (document->>'updated_on')::timestamptz FROM unlinked_builds WHERE build_id = ANY($1)`, buildIDs)
	updated := make(map[int64]time.Time, len(buildIDs))
	if err == nil {
		var id int64
		var on *time.Time
		_, err = pgx.ForEachRow(rows, []any{&id, &on}, func() error { updated[id] = timeOf(on); return nil })
	}
	if err != nil {
		return nil, fmt.Errorf("read when builds changed: %w", err)
	}
	return updated, nil
}
