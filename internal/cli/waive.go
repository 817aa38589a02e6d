package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"mergegate/api"
	"mergegate/internal/app"
	"mergegate/internal/client"
	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
	"mergegate/internal/terminal"
)

type waiveCommand struct {
	pullRequestArgs
	Reason    string `xor:"what" required:"" help:"Why; shown in the merge check"`
	List      bool   `xor:"what" required:"" help:"List the pull request's waivers, newest first"`
	Revoke    int64  `xor:"what" required:"" placeholder:"ID" help:"Revoke this waiver"`
	RevokeAll bool   `xor:"what" required:"" help:"Revoke every waiver of the pull request"`

	Project string `placeholder:"P" help:"Waive only this AppVeyor project: account/slug or id"`
	Commit  string `placeholder:"C" help:"Head that you reviewed; fails if the head has changed"`
	Expires string `placeholder:"4h" help:"How long it lasts; default 24h, or less if the policy allows less"`
	Name    string `placeholder:"NAME" help:"Who waives; a running service uses the token's name"`
	Owner   string `placeholder:"UUID" help:"Bitbucket user who waives; a running service uses the token's owner"`
	Limit   int    `default:"20" placeholder:"N" help:"With --list: how many to list at most"`
	remote
	jsonFlag
}

// Help shows examples.
func (waiveCommand) Help() string {
	return `Lets the head through as it is now, without a passing build. A waiver ends by its
expiry, by being revoked, with a new head and with another destination.

Examples:
  mergegate waive acme/widgets 7 --reason 'the build agents are down' --expires 4h
  mergegate waive acme/widgets 7 --reason 'known flaky' --project acme/nightly
  mergegate waive acme/widgets 7 --list
  mergegate waive acme/widgets 7 --revoke 12`
}

// Run gives, lists or revokes waivers.
func (w waiveCommand) Run(p *program) error {
	pr, err := w.named()
	if err != nil {
		return err
	}
	operator, err := w.operator(p)
	if err != nil {
		return err
	}
	return p.withAPI(w.remote, operator, func(c *client.Client) error {
		switch {
		case w.List:
			return w.unknown(w.list(p, c, pr))
		case w.Revoke != 0:
			if err := c.RevokeWaiver(p.ctx, pr, w.Revoke); err != nil {
				return unknown(err, fmt.Sprintf("pull request %d of %s has no waiver %d; mergegate waive --list shows those it has",
					w.PullRequest, terminal.Plain(w.Repository), w.Revoke))
			}
			_, err := fmt.Fprintf(p.stdout, "waiver %d is revoked\n", w.Revoke)
			return err
		case w.RevokeAll:
			if err := c.RevokeWaiver(p.ctx, pr, 0); err != nil {
				return w.unknown(err)
			}
			_, err := fmt.Fprintf(p.stdout, "every waiver of pull request %d is revoked\n", w.PullRequest)
			return err
		default:
			return w.unknown(w.give(p, c, pr))
		}
	})
}

// operator is who waives. To a running service that is who has the token, so that
// a name beside it would be a claim that nobody checks.
func (w waiveCommand) operator(p *program) (app.Operator, error) {
	base, _, err := w.resolve(p.environ)
	if err != nil {
		return app.Operator{}, err
	}
	if base != "" && (w.Name != "" || w.Owner != "") {
		return app.Operator{}, usageError{errors.New("--name and --owner are for the database: a running service takes those of the token")}
	}
	operator := app.Operator{Name: w.Name}
	if operator.Name == "" {
		operator.Name = p.operator()
	}
	if w.Owner != "" {
		owner, err := uuid.Parse(w.Owner)
		if err != nil {
			return operator, usageError{errors.New("--owner is not the UUID of a Bitbucket user")}
		}
		operator.Owner = owner.String()
	}
	if w.Expires != "" {
		if d, err := policy.ParseDuration(w.Expires); err != nil || d <= 0 {
			return operator, usageError{fmt.Errorf("--expires: %q is not a duration like 4h or 2d", w.Expires)}
		}
	}
	return operator, nil
}

func (w waiveCommand) list(p *program, c *client.Client, pr client.PullRequest) error {
	list, more, err := c.Waivers(p.ctx, pr, w.Limit)
	if err != nil {
		return err
	}
	columns := []string{"ID", "STATE", "HEAD", "TARGET", "PROJECT", "EXPIRES", "BY", "REASON"}
	return printList(p, w.JSON, list, more, columns, func(w api.Waiver) []any {
		project := "all"
		if w.Project != nil {
			project = w.Project.Slug
		}
		return []any{w.ID, w.State, terminal.Short(w.Commit), w.Destination, project, terminal.Time(&w.ExpiresOn, ""), w.By, w.Reason}
	})
}

func (w waiveCommand) give(p *program, c *client.Client, pr client.PullRequest) error {
	request := api.WaiverRequest{Reason: w.Reason}
	if w.Project != "" {
		request.Project, _ = json.Marshal(w.Project) // text always marshals
	}
	if w.Commit != "" {
		request.Commit = &w.Commit
	}
	if w.Expires != "" {
		request.Expires = &w.Expires
	}
	given, err := c.Waive(p.ctx, pr, request)
	switch {
	case err != nil:
		return err
	case w.JSON:
		return writeJSON(p.stdout, given)
	}
	_, err = fmt.Fprintf(p.stdout, "waiver %s is %s: %s of %s, until %s\n", terminal.Plain(given.ID), terminal.Plain(given.State),
		terminal.Short(terminal.Plain(given.Commit)), terminal.Plain(w.Repository), terminal.Time(&given.ExpiresOn, ""))
	if err == nil && given.State == string(mergecheck.WaiverWaiting) {
		_, err = fmt.Fprintln(p.stdout, "The policy asks for a second person: it lives once somebody else waives too.")
	}
	return err
}
