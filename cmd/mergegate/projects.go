package main

import (
	"context"
	"errors"
	"fmt"

	"mergegate/internal/postgres"
)

type projectsCommand struct {
	List   projectsList   `cmd:"" help:"List AppVeyor projects seen building pull requests."`
	Forget projectsForget `cmd:"" help:"Stop a project from being required, such as one that was deleted."`
}

type projectsList struct{ jsonFlag }

// Help shows examples.
func (projectsList) Help() string {
	return `Examples:
  mergegate projects list
  mergegate projects list --json`
}

// shownProject is a project as programs read it.
type shownProject struct {
	ID            int64   `json:"id"`
	Slug          string  `json:"slug"`
	Repository    *string `json:"repository"`
	NewestBuildID int64   `json:"newest_build_id"`
	Forgotten     bool    `json:"forgotten"`
}

// Run lists projects.
func (l projectsList) Run(p *program) error {
	return p.withStore(func(ctx context.Context, store *postgres.Store) error {
		projects, err := store.Projects(ctx)
		if err != nil {
			return err
		}
		list := make([]shownProject, len(projects))
		for i, project := range projects {
			list[i] = shownProject{
				ID: project.ProjectID, Slug: project.Account + "/" + project.Slug, NewestBuildID: project.NewestBuildID, Forgotten: project.Forgotten,
			}
			if project.Repository != "" {
				list[i].Repository = &project.Repository
			}
		}
		if l.JSON {
			return writeJSON(p.stdout, list)
		}
		t := newTable(p.stdout, "ID", "PROJECT", "REPOSITORY", "NEWEST BUILD", "REQUIRED")
		for i, project := range list {
			required := "yes"
			if project.Forgotten {
				required = "no, forgotten"
			}
			t.row(project.ID, project.Slug, projects[i].Repository, project.NewestBuildID, required)
		}
		return t.flush()
	})
}

type projectsForget struct {
	ID int64 `arg:"" help:"The id projects list shows."`
}

// Help shows an example.
func (projectsForget) Help() string {
	return `It stays forgotten, whatever it builds later.

Example:
  mergegate projects forget 12064`
}

// Run forgets a project.
func (f projectsForget) Run(p *program) error {
	return p.withStore(func(ctx context.Context, store *postgres.Store) error {
		err := store.ForgetProject(ctx, f.ID)
		if errors.Is(err, postgres.ErrNotFound) {
			return fmt.Errorf("no project with id %d was seen; see mergegate projects list", f.ID)
		}
		return err
	})
}
