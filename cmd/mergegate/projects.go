package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"mergegate/internal/postgres"
)

type projectsCommand struct {
	List   projectsList   `cmd:"" help:"List AppVeyor projects seen building pull requests."`
	Forget projectsForget `cmd:"" help:"Stop a project from being required, such as one that was deleted."`
}

type projectsList struct{}

// Run lists projects.
func (projectsList) Run(p *program) error {
	return p.withStore(func(ctx context.Context, store *postgres.Store) error {
		projects, err := store.Projects(ctx)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ID\tPROJECT\tREPOSITORY\tNEWEST BUILD\tREQUIRED")
		for _, project := range projects {
			required := "yes"
			if project.Forgotten {
				required = "no, forgotten"
			}
			fmt.Fprintf(table, "%d\t%s/%s\t%s\t%d\t%s\n", project.ProjectID, project.Account, project.Slug,
				orDash(project.Repository), project.NewestBuildID, required)
		}
		return table.Flush()
	})
}

type projectsForget struct {
	ID int64 `arg:"" help:"The id projects list shows."`
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
