package cli

import (
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"mergegate/internal/app"
	"mergegate/internal/config"
	"mergegate/internal/postgres"
)

type migrateCommand struct {
	Up     migrateUp     `cmd:"" help:"Apply every pending migration. serve does this too."`
	Down   migrateDown   `cmd:"" help:"Take the newest migration back, with the data it holds."`
	Status migrateStatus `cmd:"" help:"List migrations and when they were applied."`
}

type (
	migrateUp     struct{}
	migrateDown   struct{}
	migrateStatus struct{}
)

// Run applies every pending migration.
func (migrateUp) Run(p *program) error {
	return p.withDatabase(func(url string) error { return postgres.MigrateUp(p.ctx, url) })
}

// Run takes one migration back.
func (migrateDown) Run(p *program) error {
	return p.withDatabase(func(url string) error { return postgres.MigrateDown(p.ctx, url) })
}

// Run lists migrations.
func (migrateStatus) Run(p *program) error {
	return p.withDatabase(func(url string) error {
		migrations, err := postgres.MigrationStatus(p.ctx, url)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "MIGRATION\tAPPLIED")
		for _, m := range migrations {
			applied := "pending"
			if !m.AppliedOn.IsZero() {
				applied = m.AppliedOn.UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(table, "%s\t%s\n", m.Name, applied)
		}
		return table.Flush()
	})
}

// withDatabase gives a command the database as it is, migrated or not.
func (p *program) withDatabase(f func(url string) error) error {
	cfg, err := config.Load(p.environ)
	if err != nil {
		return err
	}
	url, stop, err := app.CommandDatabase(p.ctx, cfg, app.NewLogger(cfg, p.stderr, slog.LevelWarn))
	if err != nil {
		return err
	}
	defer stop()
	return f(url)
}
