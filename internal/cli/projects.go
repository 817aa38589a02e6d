package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"mergegate/api"
	"mergegate/internal/client"
)

type projectsCommand struct {
	List     projectsList     `cmd:"" help:"List AppVeyor projects seen building pull requests"`
	Forget   projectsForget   `cmd:"" help:"Stop requiring a project, such as a deleted one"`
	Backfill projectsBackfill `cmd:"" help:"Import builds from a project's history on AppVeyor"`
}

type projectsList struct {
	remote
	jsonFlag
}

// Help shows examples.
func (projectsList) Help() string {
	return `Examples:
  mergegate projects list
  mergegate projects list --json`
}

// Run lists projects.
func (l projectsList) Run(p *program) error {
	return p.withAPI(l.remote, command("projects list"), func(c *client.Client) error {
		list, err := c.Projects(p.ctx)
		if err != nil {
			return err
		}
		columns := []string{"ID", "PROJECT", "REPOSITORY", "NEWEST APPVEYOR BUILD ID", "REQUIRED"}
		return printList(p, l.JSON, list, false, columns, func(project api.SeenProject) []any {
			required := "yes"
			if project.Forgotten {
				required = "no, forgotten"
			}
			return []any{project.ID, project.Slug, text(project.Repository), project.NewestBuildID, required}
		})
	})
}

type projectsForget struct {
	ID int64 `arg:"" help:"Project id, from projects list"`
	remote
}

// Help shows an example.
func (projectsForget) Help() string {
	return `It stays forgotten, whatever it builds later.

Example:
  mergegate projects forget 12064`
}

// Run forgets a project.
func (f projectsForget) Run(p *program) error {
	return p.withAPI(f.remote, command("projects forget"), func(c *client.Client) error {
		return unknown(c.ForgetProject(p.ctx, f.ID), fmt.Sprintf("no project with id %d was seen; see mergegate projects list", f.ID))
	})
}

type projectsBackfill struct {
	Project string `arg:"" name:"account/slug" help:"AppVeyor project"`
	Since   string `default:"30d" help:"How far back, default 30d"`
	remote
}

// Help shows an example.
func (projectsBackfill) Help() string {
	return `Reads the project's history and confirms the pull request builds in it, as webhooks would have.
What is recorded already is passed over, so it can be broken off and begun again.

Example:
  mergegate projects backfill acme/widgets --since 90d`
}

// Run imports builds from a project's history.
func (b projectsBackfill) Run(p *program) error {
	account, slug, found := strings.Cut(b.Project, "/")
	if !found || account == "" || slug == "" || strings.Contains(slug, "/") {
		return usageError{errors.New("name the project as ACCOUNT/SLUG")}
	}
	since, err := instant("since", b.Since)
	if err != nil {
		return err
	}
	return p.withAPI(b.remote, command("projects backfill"), func(c *client.Client) error {
		show, done := p.progress()
		last, err := c.Backfill(p.ctx, b.Project, since, func(progress api.Backfill) {
			line := fmt.Sprintf("%d builds looked at, %d confirmed", progress.Looked, progress.Confirmed)
			if progress.At != nil {
				line += ", back to " + progress.At.UTC().Format(time.DateOnly)
			}
			show(line)
		})
		done()
		if err != nil {
			return fmt.Errorf("backfill %s: %w", b.Project, err)
		}
		_, err = fmt.Fprintf(p.stdout, "%d builds looked at, %d confirmed\n", last.Looked, last.Confirmed)
		return err
	})
}
