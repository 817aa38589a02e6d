package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"mergegate/api"
	"mergegate/internal/client"
	"mergegate/internal/terminal"
)

type statsCommand struct {
	Repository string `arg:"" name:"workspace/repo" help:"Repository, by slugs or UUIDs"`
	Since      string `placeholder:"T" help:"From then on: 90d, or a time like 2026-01-31; default 30d"`
	Until      string `placeholder:"T" help:"Until then; default now"`
	remote
	jsonFlag
}

// Help shows examples.
func (statsCommand) Help() string {
	return `Examples:
  mergegate stats acme/widgets
  mergegate stats acme/widgets --since 90d --json`
}

// Run shows statistics.
func (s statsCommand) Run(p *program) error {
	since, err := instant("since", s.Since)
	if err != nil {
		return err
	}
	until, err := instant("until", s.Until)
	if err != nil {
		return err
	}
	return p.withAPI(s.remote, command("stats"), func(c *client.Client) error {
		stats, err := c.Stats(p.ctx, s.Repository, since, until)
		switch {
		case err != nil:
			return unknownRepository(err, s.Repository)
		case s.JSON:
			return writeJSON(p.stdout, stats)
		}
		return printStats(p.stdout, stats)
	})
}

func printStats(w io.Writer, s api.Stats) error {
	fmt.Fprintf(w, "From %s to %s\n\n", terminal.Time(&s.Since, ""), terminal.Time(&s.Until, ""))
	counts := newTable(w, "WHAT", "NUMBER")
	counts.row("builds", s.Builds.Total)
	for _, state := range slices.Sorted(maps.Keys(s.Builds.ByState)) {
		counts.row("builds "+state, s.Builds.ByState[state])
	}
	if s.PassRate != nil {
		counts.row("pass rate", fmt.Sprintf("%.1f %%", 100*(*s.PassRate)))
	}
	counts.row("heads let through", s.Merges.Passed)
	counts.row("heads blocked", s.Merges.Blocked)
	for _, code := range slices.Sorted(maps.Keys(s.Merges.ByCode)) {
		counts.row("blocked by "+code, s.Merges.ByCode[code])
	}
	if err := counts.flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	times := newTable(w, "TIME", "MEDIAN", "90 %", "99 %", "MOST")
	times.row(cells("build", s.Duration)...)
	times.row(cells("push to verdict", s.ToVerdict)...)
	return times.flush()
}

func cells(name string, d *api.Distribution) []any {
	row := []any{name}
	if d == nil {
		return append(row, "", "", "", "")
	}
	for _, seconds := range []float64{d.P50, d.P90, d.P99, d.Max} {
		row = append(row, (time.Duration(seconds) * time.Second).String())
	}
	return row
}
