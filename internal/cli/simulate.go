package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"mergegate/api"
	"mergegate/internal/client"
	"mergegate/internal/mergecheck"
	"mergegate/internal/terminal"
)

type policySimulate struct {
	File  string `arg:"" help:"Policy document; - reads standard input"`
	Since string `default:"30d" help:"How far back: 30d, or a time like 2026-01-31"`
	JSON  bool   `name:"json" help:"Print JSON, as the API has it"`
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

// Run judges past merges by a document.
func (s policySimulate) Run(p *program) error {
	if _, err := instant("since", s.Since); err != nil {
		return err
	}
	document, err := p.readPolicy(s.File)
	if err != nil {
		return err
	}
	return p.withAPI(s.remote, command("policy simulate"), func(c *client.Client) error {
		workspace, err := s.choose(p.ctx, c)
		if err != nil {
			return err
		}
		result, err := c.SimulatePolicy(p.ctx, workspace, document, s.Since)
		switch {
		case err != nil:
			return s.unknown(err)
		case s.JSON:
			return writeJSON(p.stdout, result)
		}
		return printSimulation(p.stdout, result)
	})
}

func printSimulation(w io.Writer, s api.Simulation) error {
	fmt.Fprintf(w, "%s on merging since %s, %d judged.\n", terminal.Counted(s.Decisions, "decision"), terminal.Time(&s.Since, ""), s.Judged)
	for _, part := range []struct {
		title   string
		changes []api.Change
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
		fmt.Fprintf(w, "  %s: %s\n", terminal.Counted(u.Decisions, "decision"), mergecheck.OneLine(u.Reason, longestMessage))
	}
	return nil
}

func printChanges(w io.Writer, title string, changes []api.Change) error {
	if len(changes) == 0 {
		_, err := fmt.Fprintf(w, "\n%s: none.\n", title)
		return err
	}
	fmt.Fprintf(w, "\n%s:\n", title)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  REPOSITORY\tCODE\tDECISIONS\tPULL REQUESTS")
	for _, c := range changes {
		fmt.Fprintf(table, "  %s\t%s\t%d\t%s\n", terminal.Plain(c.Repository), terminal.Plain(c.Code), c.Decisions, pullRequestNumbers(c))
	}
	return table.Flush()
}

// pullRequestNumbers names as many as a line holds.
func pullRequestNumbers(c api.Change) string {
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
