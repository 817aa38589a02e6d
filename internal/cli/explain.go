package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"mergegate/api"
	"mergegate/internal/client"
	"mergegate/internal/mergecheck"
	"mergegate/internal/terminal"
)

// pullRequestArgs name a pull request.
type pullRequestArgs struct {
	Repository  string `arg:"" name:"workspace/repo" help:"Repository, by slugs or UUIDs"`
	PullRequest int64  `arg:"" name:"pr" help:"Pull request number"`
}

// named is the pull request as the API is asked for it.
func (a pullRequestArgs) named() (client.PullRequest, error) {
	if a.PullRequest <= 0 {
		return client.PullRequest{}, usageError{errors.New("name the pull request as WORKSPACE/REPO NUMBER")}
	}
	return client.PullRequest{Repository: a.Repository, ID: a.PullRequest}, nil
}

// unknown names the repository, where it is what isn't known.
func (a pullRequestArgs) unknown(err error) error { return unknownRepository(err, a.Repository) }

type explainCommand struct {
	pullRequestArgs
	remote
	jsonFlag
}

// Help shows an example.
func (explainCommand) Help() string {
	return `The exit code is 0 whatever the verdict is.

Examples:
  mergegate explain acme/widgets 7
  MERGEGATE_URL=https://mergegate.example.com MERGEGATE_TOKEN_FILE=token mergegate explain acme/widgets 7 --json`
}

// Run explains a pull request's verdict.
func (e explainCommand) Run(p *program) error {
	pr, err := e.named()
	if err != nil {
		return err
	}
	return p.withAPI(e.remote, command("explain"), func(c *client.Client) error {
		verdict, err := c.Verdict(p.ctx, pr)
		switch {
		case err != nil:
			return e.unknown(err)
		case e.JSON:
			return writeJSON(p.stdout, verdict)
		}
		return printVerdict(p.stdout, verdict)
	})
}

func printVerdict(w io.Writer, v api.Verdict) error {
	word := "BLOCKED"
	if v.Success {
		word = "OK"
	}
	fmt.Fprintf(w, "%s  %s  %s\n", word, v.Code, mergecheck.OneLine(v.Message, longestMessage))
	if v.NextStep != "" && !strings.Contains(v.Message, v.NextStep) {
		fmt.Fprintln(w, mergecheck.OneLine(v.NextStep, longestMessage))
	}
	policy := "none"
	if v.PolicyVersion != nil {
		policy = fmt.Sprintf("version %d", *v.PolicyVersion)
	}
	fmt.Fprintf(w, "\nhead %s (%s), into %s; policy %s\n\n",
		orDash(terminal.Plain(text(v.Head.Commit))), orDash(terminal.Plain(v.Head.Branch)), orDash(terminal.Plain(v.Destination.Branch)), policy)
	if err := printVerdictTables(w, v); err != nil {
		return err
	}
	if len(v.WouldChange) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nWhat would change it:")
	for _, change := range v.WouldChange {
		fmt.Fprintf(w, "  %s\n", mergecheck.OneLine(change, longestMessage))
	}
	return nil
}

// longestMessage is what a merge check's message may have, and what is said with it.
const longestMessage = 500

func printVerdictTables(w io.Writer, v api.Verdict) error {
	projects := newTable(w, "PROJECT", "REQUIRED", "CODE", "VERSION", "URL")
	for _, project := range v.Projects {
		var version, address string
		if project.Build != nil {
			version, address = project.Build.Version, project.Build.URL
		}
		projects.row(project.Project.Slug, yesNo(project.Required), project.Code, version, address)
	}
	if err := projects.flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	rules := newTable(w, "RULE", "MET", "DETAIL")
	for _, rule := range v.Rules {
		rules.row(rule.Rule, yesNo(rule.Met), rule.Detail)
	}
	return rules.flush()
}
