package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/simulation"
)

type buildsCommand struct {
	List buildsList `cmd:"" help:"List a repository's pull request builds, newest first."`
	Show buildsShow `cmd:"" help:"Show one build with its jobs."`
}

type buildsList struct {
	Repository  string `arg:"" name:"workspace/repo" help:"The repository, by slugs or UUIDs."`
	PullRequest int64  `name:"pullrequest" placeholder:"N" help:"Of this pull request."`
	Commit      string `placeholder:"C" help:"Of this source commit: 7 characters or more."`
	Project     string `placeholder:"P" help:"Of this AppVeyor project: account/slug or its id."`
	State       string `placeholder:"S" enum:",queued,running,success,failed,cancelled" default:"" help:"In this state: queued, running, success, failed or cancelled."`
	Since       string `placeholder:"T" help:"Created then or later: 7d, or a time like 2026-01-31."`
	Until       string `placeholder:"T" help:"Created before then."`
	Limit       int    `default:"20" placeholder:"N" help:"At most so many."`
	remote
	jsonFlag
}

// Help shows examples.
func (buildsList) Help() string {
	return `Examples:
  mergegate builds list acme/widgets
  mergegate builds list acme/widgets --pullrequest 7 --state failed
  mergegate builds list acme/widgets --since 7d --limit 500 --json`
}

// wantedBuild is a build of the API, as far as people are told.
type wantedBuild struct {
	ID          string
	Project     struct{ Slug string }
	BuildID     int64 `json:"build_id"`
	Version     string
	State       string
	PullRequest struct {
		ID    int64
		Title string
	} `json:"pullrequest"`
	Repository struct {
		FullName string `json:"full_name"`
	}
	Source      struct{ Commit, Branch, Repository string }
	Destination struct{ Commit, Branch string }
	URL         string
	Tests       mergecheck.Tests
	Jobs        []mergecheck.Job
	CreatedOn   *time.Time `json:"created_on"`
	StartedOn   *time.Time `json:"started_on"`
	FinishedOn  *time.Time `json:"finished_on"`
	ConfirmedBy string     `json:"confirmed_by"`
}

// Run lists builds.
func (b buildsList) Run(p *program) error {
	path, err := repositoryPath(b.Repository)
	if err != nil {
		return err
	}
	query, err := b.query(time.Now())
	if err != nil {
		return err
	}
	return p.withAPI(b.remote, p.token("builds list"), func(ctx context.Context, api *apiClient) error {
		list, err := api.list(ctx, path+"/builds", query, b.Limit)
		if err != nil {
			return unknownRepository(err, b.Repository)
		}
		columns := []string{"ID", "PROJECT", "BUILD", "STATE", "PR", "COMMIT", "TESTS", "CREATED", "TITLE"}
		return printDocuments(p, b.JSON, list, columns, func(b wantedBuild) []any {
			return []any{b.ID, b.Project.Slug, b.Version, b.State, b.PullRequest.ID, short(b.Source.Commit), tests(b.Tests), when(b.CreatedOn, ""), b.PullRequest.Title}
		})
	})
}

func (b buildsList) query(now time.Time) (url.Values, error) {
	query := url.Values{}
	if b.PullRequest != 0 {
		query.Set("pullrequest", fmt.Sprint(b.PullRequest))
	}
	for name, value := range map[string]string{"commit": b.Commit, "project": b.Project, "state": b.State} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for name, value := range map[string]string{"since": b.Since, "until": b.Until} {
		if err := setInstant(query, name, value, now); err != nil {
			return nil, err
		}
	}
	return query, nil
}

// setInstant sets a parameter to a time that is given as such, or as how long ago
// it was; "" sets nothing.
func setInstant(query url.Values, name, value string, now time.Time) error {
	if value == "" {
		return nil
	}
	on, err := simulation.Since(value, now.UTC())
	if err != nil {
		return usageError{fmt.Errorf("--%s: %w", name, err)}
	}
	query.Set(name, on.Format(time.RFC3339Nano))
	return nil
}

// token is what commands do in the API is recorded as done by.
func (p *program) token(command string) postgres.Token {
	return postgres.Token{Name: "mergegate " + command}
}

// short is a commit as people read it; whoever needs all of it has --json.
func short(commit string) string { return commit[:min(len(commit), 12)] }

func tests(t mergecheck.Tests) string {
	switch {
	case t.Total == 0:
		return ""
	case t.Failed > 0:
		return fmt.Sprintf("%d of %d failed", t.Failed, t.Total)
	default:
		return fmt.Sprint(t.Total)
	}
}

type buildsShow struct {
	ID int64 `arg:"" help:"The id builds list shows."`
	remote
	jsonFlag
}

// Help shows an example.
func (buildsShow) Help() string {
	return `Example:
  mergegate builds show 4711`
}

// Run shows a build.
func (b buildsShow) Run(p *program) error {
	return p.withAPI(b.remote, p.token("builds show"), func(ctx context.Context, api *apiClient) error {
		var raw json.RawMessage
		if err := api.get(ctx, fmt.Sprintf("/api/v1/builds/%d", b.ID), nil, &raw); err != nil {
			return unknown(err, fmt.Sprintf("there is no build with id %d, or the token does not cover its repository; ids are in the first column of mergegate builds list", b.ID))
		}
		if b.JSON {
			return writeJSON(p.stdout, raw)
		}
		var build wantedBuild
		if err := json.Unmarshal(raw, &build); err != nil {
			return err
		}
		return build.print(p.stdout)
	})
}

func (b wantedBuild) print(w io.Writer) error {
	fmt.Fprintf(w, "%s  %s build %s (%d) of %s#%d: %s\n\n", b.State, plain(b.Project.Slug), plain(b.Version), b.BuildID,
		orDash(plain(b.Repository.FullName)), b.PullRequest.ID, plain(b.PullRequest.Title))
	facts := newTable(w, "WHAT", "VALUE")
	facts.row("source", fmt.Sprintf("%s on %s of %s", orDash(b.Source.Commit), orDash(b.Source.Branch), orDash(b.Source.Repository)))
	facts.row("destination", fmt.Sprintf("%s on %s", orDash(b.Destination.Commit), orDash(b.Destination.Branch)))
	facts.row("created", when(b.CreatedOn, ""))
	facts.row("started", when(b.StartedOn, ""))
	facts.row("finished", when(b.FinishedOn, ""))
	facts.row("confirmed by", b.ConfirmedBy)
	facts.row("url", b.URL)
	if err := facts.flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	jobs := newTable(w, "JOB", "STATE", "MAY FAIL", "TESTS", "NAME")
	for _, job := range b.Jobs {
		jobs.row(job.ID, job.State, yesNo(job.AllowFailure), tests(job.Tests), job.Name)
	}
	return jobs.flush()
}
