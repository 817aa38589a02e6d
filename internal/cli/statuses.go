package cli

import (
	"fmt"

	"mergegate/api"
	"mergegate/internal/client"
	"mergegate/internal/terminal"
)

type statusesCommand struct {
	List  statusesList  `cmd:"" help:"List commit statuses with their outcome, newest first"`
	Retry statusesRetry `cmd:"" help:"Retry a commit status that Bitbucket refused"`
}

type statusesList struct {
	Outcome string `placeholder:"O" enum:",pending,posted,failed,not_postable" default:"" help:"Only with this outcome: pending, posted, failed or not_postable"`
	Limit   int    `default:"20" placeholder:"N" help:"How many to list at most"`
	remote
	jsonFlag
}

// Help shows examples.
func (statusesList) Help() string {
	return `A running service wants a token with scope admin.

Examples:
  mergegate statuses list --outcome failed
  mergegate statuses list --limit 100 --json`
}

// Run lists commit statuses.
func (s statusesList) Run(p *program) error {
	return p.withAPI(s.remote, command("statuses list"), func(c *client.Client) error {
		list, more, err := c.CommitStatuses(p.ctx, s.Outcome, s.Limit)
		if err != nil {
			return err
		}
		columns := []string{"ID", "REPOSITORY", "COMMIT", "KEY", "STATE", "OUTCOME", "HTTP", "ATTEMPTS", "UPDATED", "REASON"}
		return printList(p, s.JSON, list, more, columns, func(s api.CommitStatus) []any {
			code := ""
			if s.HTTPStatus != nil {
				code = fmt.Sprint(*s.HTTPStatus)
			}
			return []any{s.ID, text(s.Repository.FullName), terminal.Short(s.Commit), s.Key, s.State, s.Outcome, code, s.Attempts, terminal.Time(&s.UpdatedOn, ""), text(s.Reason)}
		})
	})
}

type statusesRetry struct {
	ID string `arg:"" help:"Commit status id, from statuses list"`
	remote
	jsonFlag
}

// Help shows an example.
func (statusesRetry) Help() string {
	return `Example:
  mergegate statuses retry 12`
}

// Run queues a commit status again.
func (s statusesRetry) Run(p *program) error {
	return p.withAPI(s.remote, command("statuses retry"), func(c *client.Client) error {
		status, err := c.RetryCommitStatus(p.ctx, s.ID)
		switch {
		case err != nil:
			return unknown(err, fmt.Sprintf("there is no commit status %s; see mergegate statuses list", terminal.Plain(s.ID)))
		case s.JSON:
			return writeJSON(p.stdout, status)
		}
		_, err = fmt.Fprintf(p.stdout, "commit status %s is queued\n", terminal.Plain(status.ID))
		return err
	})
}
