package postgres

import (
	"context"
	"errors"
	"fmt"

	"mergegate/internal/mergecheck"
)

// ErrOtherPlace says that a token was made for another project.
var ErrOtherPlace = errors.New("the token was made to report for another AppVeyor project")

// ResultReport is a build as its script reported it.
type ResultReport struct {
	Build   mergecheck.Build
	Attempt int
	TokenID int64
	// Named says that AppVeyor itself calls the project what the report calls it.
	Named bool
}

// RecordResultReport records a report. The build's number is its script's word: it names one
// of the project that the token was made for, and no other project's. Reports of one
// build are told apart by attempt: the highest stays, and the same again changes
// nothing. It returns the report that stays, and whether it is this one, new. What the
// script calls its project is kept as the project's name only where AppVeyor says the
// same: policies go by names.
func (s *Store) RecordResultReport(ctx context.Context, r Repository, report ResultReport) (stays mergecheck.Build, isNew bool, err error) {
	b := report.Build
	err = s.InTx(ctx, func(tx *Tx) error {
		if err := tx.madeFor(ctx, report.TokenID, b.Project.ID); err != nil {
			return err
		}
		if isNew, err = tx.upsertReport(ctx, r, b, report.Attempt); err != nil {
			return err
		}
		rows, err := tx.db.Query(ctx, `SELECT `+buildColumns+` FROM result_reports AS builds
			WHERE workspace_uuid = $1 AND repository_uuid = $2 AND project_id = $3 AND build_id = $4`,
			r.WorkspaceUUID, r.RepositoryUUID, b.Project.ID, b.BuildID)
		row, err := one[buildRow](rows, err)
		if err != nil {
			return err
		}
		stays = row.build()
		_, err = tx.db.Exec(ctx, `
			INSERT INTO projects AS p (workspace_uuid, repository_uuid, project_id, account, slug, reports_only)
			VALUES ($1, $2, $3, CASE WHEN $6 THEN $4 ELSE '' END, CASE WHEN $6 THEN $5 ELSE '' END, true)
			ON CONFLICT (workspace_uuid, repository_uuid, project_id) DO UPDATE SET account = excluded.account, slug = excluded.slug
				WHERE p.reports_only AND $6`,
			r.WorkspaceUUID, r.RepositoryUUID, b.Project.ID, b.Project.Account, b.Project.Slug, report.Named)
		if err != nil || !isNew {
			return err
		}
		return tx.WantEffects(ctx, PullRequestKey{r.WorkspaceUUID, r.RepositoryUUID, b.PullRequestID})
	})
	if err != nil {
		return stays, false, fmt.Errorf("record report of build %d: %w", b.BuildID, err)
	}
	return stays, isNew, nil
}

// madeFor checks that a token was made to report for a project.
func (tx *Tx) madeFor(ctx context.Context, tokenID, projectID int64) error {
	var is bool
	err := tx.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM tokens WHERE id = $1 AND report_project = $2)`, tokenID, projectID).Scan(&is)
	if err == nil && !is {
		err = ErrOtherPlace
	}
	return err
}

func (tx *Tx) upsertReport(ctx context.Context, r Repository, b mergecheck.Build, attempt int) (isNew bool, err error) {
	args := buildArgs(r, b)
	args["attempt"] = attempt
	tag, err := tx.db.Exec(ctx, `
		INSERT INTO result_reports AS p (workspace_uuid, repository_uuid, build_id, project_id, account, slug, repository,
			pull_request_id, pull_request_title, version, state, reported_commit, source_commit, source_branch,
			source_repository, destination_branch, commit_id, url, jobs, jobs_updated_on, jobs_state, created_on,
			started_on, finished_on, updated_on, confirmed_by, attempt)
		VALUES (@workspace_uuid, @repository_uuid, @build_id, @project_id, @account, @slug, @repository,
			@pull_request_id, @pull_request_title, @version, @state, @reported_commit, @source_commit, @source_branch,
			@source_repository, @destination_branch, @commit_id, @url, @jobs, @jobs_updated_on, @jobs_state,
			coalesce(@created_on, now()), @started_on, @finished_on, coalesce(@updated_on, now()), @confirmed_by, @attempt)
		ON CONFLICT (workspace_uuid, repository_uuid, project_id, build_id) DO UPDATE SET
			account = excluded.account, slug = excluded.slug, pull_request_id = excluded.pull_request_id,
			pull_request_title = excluded.pull_request_title, version = excluded.version, state = excluded.state,
			reported_commit = excluded.reported_commit, source_commit = excluded.source_commit,
			source_branch = excluded.source_branch, source_repository = excluded.source_repository,
			destination_branch = excluded.destination_branch, url = excluded.url, jobs = excluded.jobs,
			jobs_updated_on = excluded.jobs_updated_on, jobs_state = excluded.jobs_state, started_on = excluded.started_on,
			finished_on = excluded.finished_on, updated_on = excluded.updated_on, attempt = excluded.attempt
		WHERE p.attempt < excluded.attempt`, args)
	return err == nil && tag.RowsAffected() == 1, err
}
