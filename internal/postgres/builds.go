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

// Known is a build as it is recorded.
type Known struct {
	Build mergecheck.Build
	// Found says that only a project's history told of it: its pull request may have been
	// closed years ago.
	Found bool
}

// LockBuild keeps others from recording the build, and Bitbucket's answer from naming its
// repository anew, until the transaction ends. It comes first, so that two recordings
// never wait for each other: repository name, build, project.
func (tx *Tx) LockBuild(ctx context.Context, b mergecheck.Build) error {
	if err := tx.lockName(ctx, b.Repository, shared); err != nil {
		return err
	}
	_, err := tx.db.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('build', $1))`, b.BuildID)
	return err
}

// PlaceOf finds the repository that b is recorded under, [ErrNotFound] where Bitbucket
// has not told of it, and b as recorded so far, nil where it isn't. A build stays in the
// repository it was first recorded under: a transfer starts fresh in the new workspace.
func (tx *Tx) PlaceOf(ctx context.Context, b mergecheck.Build) (Repository, *Known, error) {
	rows, err := tx.db.Query(ctx, `SELECT `+buildColumns+` FROM builds WHERE build_id = $1 FOR UPDATE`, b.BuildID)
	row, err := one[buildRow](rows, err)
	if errors.Is(err, ErrNotFound) {
		repository, err := tx.repositoryCalled(ctx, b.Repository)
		return repository, nil, err
	}
	if err != nil {
		return Repository{}, nil, err
	}
	repository, err := tx.Repository(ctx, row.WorkspaceUUID, row.RepositoryUUID)
	if repository.FullName == "" { // another repository has the name now
		repository.FullName = row.Repository
	}
	return repository, &Known{Build: row.build(), Found: row.ByHistory}, err
}

// SaveBuild keeps a build as it stands, found in a history alone or not, and returns its id.
func (tx *Tx) SaveBuild(ctx context.Context, r Repository, b mergecheck.Build, found bool) (id int64, err error) {
	args := buildArgs(r, b)
	args["by_history"] = found
	err = tx.db.QueryRow(ctx, `
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

// SaveProject keeps the project under its id. The newest build that names it
// decides what it is called, whatever order builds come in; AppVeyor's list of
// projects is newer than the builds there were when it was read. The row stays locked
// until the transaction ends, named anew or not: of two builds that are recorded
// at once, the second then sees the first when it tells which is the newest.
func (tx *Tx) SaveProject(ctx context.Context, r Repository, b mergecheck.Build) error {
	_, err := tx.db.Exec(ctx, `
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
	_, err = tx.db.Exec(ctx, `
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

// Repository returns a repository by its UUIDs; [ErrNotFound] where Bitbucket has not told
// of it.
func (tx *Tx) Repository(ctx context.Context, workspaceUUID, repositoryUUID string) (Repository, error) {
	return repositoryOf(ctx, tx.db, workspaceUUID, repositoryUUID)
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
	list, err := builds(rows, err)
	if err != nil {
		return nil, fmt.Errorf("list builds of %s: %w", r.FullName, err)
	}
	return list, nil
}

// builds reads every row as a build.
func builds(rows pgx.Rows, err error) ([]mergecheck.Build, error) {
	list, err := all[buildRow](rows, err)
	builds := make([]mergecheck.Build, len(list))
	for i, row := range list {
		builds[i] = row.build()
	}
	return builds, err
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
