package cli

import (
	"fmt"
	"io"
	"time"

	"mergegate/api"
	"mergegate/internal/client"
	"mergegate/internal/simulation"
	"mergegate/internal/terminal"
)

type buildsCommand struct {
	List buildsList `cmd:"" help:"List a repository's pull request builds, newest first"`
	Show buildsShow `cmd:"" help:"Show one build with its jobs"`
}

type buildsList struct {
	Repository  string `arg:"" name:"workspace/repo" help:"Repository, by slugs or UUIDs"`
	PullRequest int64  `name:"pullrequest" placeholder:"N" help:"Only builds of this pull request"`
	Commit      string `placeholder:"C" help:"Only builds of this head: 7 characters or more"`
	Project     string `placeholder:"P" help:"Only builds of this AppVeyor project: account/slug or id"`
	State       string `placeholder:"S" enum:",queued,running,success,failed,cancelled" default:"" help:"Only builds in this state: queued, running, success, failed or cancelled"`
	Since       string `placeholder:"T" help:"Only builds created since then: 7d, or a time like 2026-01-31"`
	Until       string `placeholder:"T" help:"Only builds created before then"`
	Limit       int    `default:"20" placeholder:"N" help:"How many to list at most"`
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

// Run lists builds.
func (b buildsList) Run(p *program) error {
	filter := client.BuildFilter{PullRequest: b.PullRequest, Commit: b.Commit, Project: b.Project, State: b.State}
	var err error
	if filter.Since, err = instant("since", b.Since); err != nil {
		return err
	}
	if filter.Until, err = instant("until", b.Until); err != nil {
		return err
	}
	return p.withAPI(b.remote, command("builds list"), func(c *client.Client) error {
		list, more, err := c.Builds(p.ctx, b.Repository, filter, b.Limit)
		if err != nil {
			return unknownRepository(err, b.Repository)
		}
		columns := []string{"ID", "PROJECT", "VERSION", "STATE", "PR", "HEAD", "TESTS", "CREATED", "TITLE"}
		return printList(p, b.JSON, list, more, columns, func(b api.Build) []any {
			return []any{b.ID, b.Project.Slug, b.Version, b.State, b.PullRequest.ID, terminal.Short(text(b.Source.Commit)), tests(b.Tests), terminal.Time(b.CreatedOn, ""), b.PullRequest.Title}
		})
	})
}

// instant is a time that is given as such, or as how long ago it was; zero for "".
func instant(flag, value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	on, err := simulation.Since(value, time.Now().UTC())
	if err != nil {
		return on, usageError{fmt.Errorf("--%s: %w", flag, err)}
	}
	return on, nil
}

func tests(t api.Tests) string {
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
	ID string `arg:"" help:"Build id, from builds list"`
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
	return p.withAPI(b.remote, command("builds show"), func(c *client.Client) error {
		build, err := c.Build(p.ctx, b.ID)
		if err != nil {
			return unknown(err, fmt.Sprintf("there is no build with id %s, or the token does not cover its repository; ids are in the first column of mergegate builds list", terminal.Plain(b.ID)))
		}
		if b.JSON {
			return writeJSON(p.stdout, build)
		}
		return printBuild(p.stdout, build)
	})
}

func printBuild(w io.Writer, b api.Build) error {
	fmt.Fprintf(w, "%s  %s build %s of %s#%d: %s\n\n", b.State, terminal.Plain(b.Project.Slug), terminal.Plain(b.Version),
		orDash(terminal.Plain(text(b.Repository.FullName))), b.PullRequest.ID, terminal.Plain(b.PullRequest.Title))
	facts := newTable(w, "WHAT", "VALUE")
	facts.row("id", b.ID)
	facts.row("AppVeyor build id", b.BuildID)
	facts.row("head", fmt.Sprintf("%s on %s of %s", orDash(text(b.Source.Commit)), orDash(b.Source.Branch), orDash(b.Source.Repository)))
	facts.row("target branch", fmt.Sprintf("%s on %s", orDash(text(b.Destination.Commit)), orDash(b.Destination.Branch)))
	facts.row("created", terminal.Time(b.CreatedOn, ""))
	facts.row("started", terminal.Time(b.StartedOn, ""))
	facts.row("finished", terminal.Time(b.FinishedOn, ""))
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
