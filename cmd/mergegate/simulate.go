package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
	"mergegate/internal/postgres"
	"mergegate/internal/simulation"
)

type policySimulate struct {
	File  string `arg:"" help:"The document; - is standard input."`
	Since string `default:"30d" help:"How far back: 30d, or a time like 2026-01-31."`
	JSON  bool   `name:"json" help:"As the API has it."`
	workspaceFlag
}

// Help shows examples.
func (policySimulate) Help() string {
	return `Judges the workspace's past merges by the document, from what they were decided
from then, and tells which would have been blocked or allowed instead. Nothing
is changed.

Examples:
  mergegate policy simulate policy.yaml
  mergegate policy simulate policy.yaml --since 2026-01-31 --json`
}

type simulated struct {
	Since time.Time `json:"since"`
	policy.Simulation
}

// Run judges past merges by a document.
func (s policySimulate) Run(p *program) error {
	since, err := simulation.Since(s.Since, time.Now().UTC())
	if err != nil {
		return usageError{fmt.Errorf("--since: %w", err)}
	}
	text, err := p.readPolicy(s.File)
	if err != nil {
		return err
	}
	document, err := policy.Parse([]byte(text))
	if err != nil {
		return err
	}
	if s.asks(p) {
		return s.ask(p, func(ctx context.Context, api *apiClient, path string) error {
			var result simulated
			target := api.base + path + "/simulate?" + url.Values{"since": {s.Since}}.Encode()
			if err := api.do(ctx, http.MethodPost, target, map[string]string{"document": text}, &result); err != nil {
				return err
			}
			return s.print(p, result)
		})
	}
	return p.withStore(func(ctx context.Context, store *postgres.Store) error {
		workspace, err := s.choose(ctx, store)
		if err != nil {
			return err
		}
		progress, err := p.progress(ctx, store, workspace, since)
		if err != nil {
			return err
		}
		result, err := simulation.Run(ctx, store, workspace.UUID, document, since, progress)
		if err != nil {
			return err
		}
		return s.print(p, simulated{Since: since, Simulation: result})
	})
}

func (s policySimulate) print(p *program, result simulated) error {
	if s.JSON {
		return writeJSON(p.stdout, result)
	}
	return printSimulation(p.stdout, result.Since, result.Simulation)
}

// progress tells a terminal how far a simulation is, and nobody else.
func (p *program) progress(ctx context.Context, store *postgres.Store, w postgres.Workspace, since time.Time) (func(done int), error) {
	if !isTerminal(p.stderr) {
		return nil, nil
	}
	all, err := store.CountMergeDecisions(ctx, w.UUID, since)
	if err != nil || all == 0 {
		return nil, err
	}
	terminal := rawWriter(p.stderr)
	return func(done int) {
		fmt.Fprintf(terminal, "\r%d of %d", done, all)
		if done >= all {
			fmt.Fprint(terminal, "\r\033[K")
		}
	}, nil
}

func printSimulation(w io.Writer, since time.Time, s policy.Simulation) error {
	fmt.Fprintf(w, "%s on merging since %s, %d judged.\n", counted(s.Decisions, "decision"), when(&since, ""), s.Judged)
	for _, part := range []struct {
		title   string
		changes []policy.Change
	}{
		{title: "Newly blocked", changes: s.Blocked},
		{title: "Newly allowed", changes: s.Allowed},
	} {
		if err := printChanges(w, part.title, part.changes); err != nil {
			return err
		}
	}
	if len(s.Unjudged) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nNot judged:")
	for _, u := range s.Unjudged {
		fmt.Fprintf(w, "  %s: %s\n", counted(u.Decisions, "decision"), mergecheck.OneLine(u.Reason, longestMessage))
	}
	return nil
}

func printChanges(w io.Writer, title string, changes []policy.Change) error {
	if len(changes) == 0 {
		_, err := fmt.Fprintf(w, "\n%s: none.\n", title)
		return err
	}
	fmt.Fprintf(w, "\n%s:\n", title)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  REPOSITORY\tCODE\tDECISIONS\tPULL REQUESTS")
	for _, c := range changes {
		fmt.Fprintf(table, "  %s\t%s\t%d\t%s\n", plain(c.Repository), plain(string(c.Code)), c.Decisions, pullRequestNumbers(c))
	}
	return table.Flush()
}

// pullRequestNumbers names as many as a line holds.
func pullRequestNumbers(c policy.Change) string {
	const most = 10
	var numbers []string
	for _, id := range c.PullRequests[:min(most, len(c.PullRequests))] {
		numbers = append(numbers, fmt.Sprintf("#%d", id))
	}
	line := strings.Join(numbers, " ")
	switch {
	case c.More:
		line += " and many more"
	case len(c.PullRequests) > most:
		line += fmt.Sprintf(" and %d more", len(c.PullRequests)-most)
	}
	return line
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
