package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"time"
)

type statsCommand struct {
	Repository string `arg:"" name:"workspace/repo" help:"The repository, by slugs or UUIDs."`
	Since      string `placeholder:"T" help:"From then on: 90d, or a time like 2026-01-31; 30 days without."`
	Until      string `placeholder:"T" help:"Until then; until now without."`
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
	path, err := repositoryPath(s.Repository)
	if err != nil {
		return err
	}
	query, now := url.Values{}, time.Now()
	if err := setInstant(query, "since", s.Since, now); err != nil {
		return err
	}
	if err := setInstant(query, "until", s.Until, now); err != nil {
		return err
	}
	return p.withAPI(s.remote, p.token("stats"), func(ctx context.Context, api *apiClient) error {
		var raw json.RawMessage
		if err := api.get(ctx, path+"/stats", query, &raw); err != nil {
			return unknownRepository(err, s.Repository)
		}
		if s.JSON {
			return writeJSON(p.stdout, raw)
		}
		var stats statistics
		if err := json.Unmarshal(raw, &stats); err != nil {
			return err
		}
		return stats.print(p.stdout)
	})
}

// statistics are those of the API.
type statistics struct {
	Since, Until time.Time
	Builds       struct {
		Total   int64
		ByState map[string]int64 `json:"by_state"`
	}
	PassRate *float64     `json:"pass_rate"`
	Duration *percentiles `json:"duration_seconds"`
	Verdict  *percentiles `json:"push_to_verdict_seconds"`
	Merges   struct {
		Passed, Blocked int64
		ByCode          map[string]int64 `json:"blocked_by_code"`
	} `json:"merge_checks"`
}

type percentiles struct{ P50, P90, P99, Max float64 }

func (s statistics) print(w io.Writer) error {
	fmt.Fprintf(w, "From %s to %s\n\n", when(&s.Since, ""), when(&s.Until, ""))
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
	times.row(s.Duration.cells("build")...)
	times.row(s.Verdict.cells("push to verdict")...)
	return times.flush()
}

func (p *percentiles) cells(name string) []any {
	cells := []any{name}
	if p == nil {
		return append(cells, "", "", "", "")
	}
	for _, seconds := range []float64{p.P50, p.P90, p.P99, p.Max} {
		cells = append(cells, (time.Duration(seconds) * time.Second).String())
	}
	return cells
}
