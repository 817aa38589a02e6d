package cli

import (
	"errors"

	"mergegate/api"
	"mergegate/internal/client"
	"mergegate/internal/terminal"
)

type decisionsCommand struct {
	List decisionsList `cmd:"" help:"List the answers of merge checks, newest first"`
}

type decisionsList struct {
	Repository  string `arg:"" name:"workspace/repo" help:"Repository, by slugs or UUIDs"`
	PullRequest int64  `arg:"" optional:"" name:"pr" help:"Pull request number; default all of the repository's"`
	Limit       int    `default:"20" placeholder:"N" help:"How many to list at most"`
	remote
	jsonFlag
}

// Help shows examples.
func (decisionsList) Help() string {
	return `Each answer is kept with what it was decided from: see --json.

Examples:
  mergegate decisions list acme/widgets
  mergegate decisions list acme/widgets 7 --limit 100 --json`
}

// Run lists decisions.
func (d decisionsList) Run(p *program) error {
	if d.PullRequest < 0 {
		return usageError{errors.New("name the pull request by its number")}
	}
	return p.withAPI(d.remote, command("decisions list"), func(c *client.Client) error {
		list, more, err := c.Decisions(p.ctx, client.PullRequest{Repository: d.Repository, ID: d.PullRequest}, d.Limit)
		if err != nil {
			return unknownRepository(err, d.Repository)
		}
		columns := []string{"ID", "WHEN", "PR", "TRIGGER", "PASSED", "CODE", "HEAD", "MESSAGE"}
		return printList(p, d.JSON, list, more, columns, func(d api.Decision) []any {
			return []any{d.ID, terminal.Time(&d.CreatedOn, ""), d.PullRequest, d.Trigger, yesNo(d.Success), d.Code, terminal.Short(text(d.Head)), d.Message}
		})
	})
}
