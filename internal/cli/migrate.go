package cli

import (
	"errors"
	"fmt"
	"strings"

	"mergegate/internal/app"
	"mergegate/internal/config"
	"mergegate/internal/postgres"
	"mergegate/internal/terminal"
)

type migrateCommand struct {
	Up     migrateUp     `cmd:"" help:"Apply every pending migration; serve does this too"`
	Down   migrateDown   `cmd:"" help:"Roll back the newest migration. Deletes its data"`
	Status migrateStatus `cmd:"" help:"List migrations and when they were applied"`
}

type (
	migrateUp   struct{}
	migrateDown struct {
		Yes bool `help:"Roll back and delete the data; without it, nothing is changed"`
	}
	migrateStatus struct{}
)

// Run applies every pending migration.
func (migrateUp) Run(p *program) error {
	return p.withDatabase(func(url string) error { return postgres.MigrateUp(p.ctx, url) })
}

// Help says what is lost.
func (migrateDown) Help() string {
	return `Without --yes it only names the tables that would be dropped, and how many rows they
hold. Back up the database first: nothing brings the data back.

Examples:
  mergegate migrate down
  mergegate migrate down --yes`
}

// Run rolls one migration back, where that was asked for.
func (d migrateDown) Run(p *program) error {
	return p.withDatabase(func(url string) error {
		next, err := postgres.NextDown(p.ctx, url)
		switch {
		case errors.Is(err, postgres.ErrNothingApplied):
			return errors.New("there is nothing to roll back: no migration is applied")
		case err != nil:
			return err
		case !d.Yes:
			return usageError{fmt.Errorf("this would roll back %s, which drops %s. %s.\nBack up the database, then add --yes", next.Migration, terminal.Counted(len(next.Tables), "table"), losses(next))}
		}
		if err := postgres.MigrateDown(p.ctx, url); err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.stdout, "rolled back %s and dropped %s. %s.\n", next.Migration, terminal.Counted(len(next.Tables), "table"), losses(next))
		return err
	})
}

// losses names the tables that aren't empty.
func losses(r postgres.Rollback) string {
	var list []string
	for _, table := range r.Tables {
		switch rows := terminal.Counted(int(table.Rows), "row"); {
		case table.Rows == 0:
		case table.More:
			list = append(list, fmt.Sprintf("%s (more than %s)", table.Name, rows))
		default:
			list = append(list, fmt.Sprintf("%s (%s)", table.Name, rows))
		}
	}
	if len(list) == 0 {
		return "No data is lost: they are empty"
	}
	return "Lost with them: " + strings.Join(list, ", ")
}

// Run lists migrations.
func (migrateStatus) Run(p *program) error {
	return p.withDatabase(func(url string) error {
		migrations, err := postgres.MigrationStatus(p.ctx, url)
		if err != nil {
			return err
		}
		table := newTable(p.stdout, "MIGRATION", "APPLIED")
		for _, m := range migrations {
			applied := "pending"
			if !m.AppliedOn.IsZero() {
				applied = terminal.Time(&m.AppliedOn, "")
			}
			table.row(m.Name, applied)
		}
		return table.flush()
	})
}

// withDatabase gives a command the database as it is, migrated or not.
func (p *program) withDatabase(f func(url string) error) error {
	cfg, err := config.Load(p.environ)
	if err != nil {
		return err
	}
	url, err := app.CommandDatabase(p.ctx, cfg)
	if err != nil {
		return err
	}
	return app.DatabaseFault(f(url))
}
