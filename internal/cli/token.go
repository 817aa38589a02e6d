package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"mergegate/api"
	"mergegate/internal/client"
	"mergegate/internal/config"
	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
	"mergegate/internal/terminal"
)

type tokenCommand struct {
	Create tokenCreate `cmd:"" help:"Create a token. It is shown once"`
	List   tokenList   `cmd:"" help:"List tokens, without their secrets"`
	Revoke tokenRevoke `cmd:"" help:"Revoke a token, effective at once"`
}

type tokenCreate struct {
	Name       string `required:"" help:"Name: what the token is for"`
	Scope      string `required:"" help:"Scopes, separated by commas: read, report, waive, admin (includes read)"`
	Owner      string `placeholder:"UUID" help:"Bitbucket user that the token acts for"`
	Repository string `default:"**" placeholder:"GLOB" help:"Repositories it covers, as a glob of workspace/repo; default ** (all)"`
	Expires    string `placeholder:"90d" help:"How long it is valid, such as 90d or 12h; default forever"`
	Project    int64  `placeholder:"ID" help:"AppVeyor project id, required with scope report; APPVEYOR_PROJECT_ID in its builds"`
	remote
}

// Help shows examples.
func (tokenCreate) Help() string {
	return `Examples:
  mergegate token create --name dashboard --scope read
  mergegate token create --name ops --scope admin --expires 90d
  mergegate token create --name widgets-ci --scope report --repository acme/widgets --project 12064
  mergegate token create --name release --scope read,waive --repository 'acme/*' --owner '{5c7c7b1a-0b79-4b7c-8e33-eca2646a1cb2}'`
}

// Run makes a token.
func (t tokenCreate) Run(p *program) error {
	request, err := t.request(time.Now())
	if err != nil {
		return usageError{err}
	}
	return p.withAPI(t.remote, command("token create"), func(c *client.Client) error {
		token, err := c.CreateToken(p.ctx, request)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(p.stdout, token.Secret)
		return err
	})
}

// request is what is asked for. What is wrong with it is told by flag, all at once.
func (t tokenCreate) request(now time.Time) (api.TokenRequest, error) {
	var wrong []error
	r := api.TokenRequest{Name: strings.TrimSpace(t.Name), Repository: t.Repository, Scopes: config.List(t.Scope), Owner: t.Owner}
	if t.Project != 0 {
		r.ProjectID = &t.Project
	}
	if r.Name == "" {
		wrong = append(wrong, errors.New("--name is empty"))
	}
	for _, scope := range r.Scopes {
		if !slices.Contains(api.Scopes, scope) {
			wrong = append(wrong, fmt.Errorf("--scope: %q is not one of %s", scope, strings.Join(api.Scopes, ", ")))
		}
	}
	if len(r.Scopes) == 0 {
		wrong = append(wrong, errors.New("--scope is empty"))
	}
	if t.Owner != "" && mergecheck.BareUUID(t.Owner) == "" {
		wrong = append(wrong, errors.New("--owner is not the UUID of a Bitbucket user"))
	}
	if strings.TrimSpace(t.Repository) == "" {
		wrong = append(wrong, errors.New("--repository is empty: give a glob like acme/*, or ** for every repository"))
	} else if !doublestar.ValidatePattern(t.Repository) {
		wrong = append(wrong, fmt.Errorf("--repository: %q is not a glob like acme/*", t.Repository))
	}
	if t.Expires != "" {
		valid, err := policy.ParseDuration(t.Expires)
		if err != nil || valid <= 0 {
			wrong = append(wrong, fmt.Errorf("--expires: %q is not a duration like 90d or 12h", t.Expires))
		}
		r.ExpiresOn = new(now.Add(valid))
	}
	return r, errors.Join(append(wrong, t.wrongProject(slices.Contains(r.Scopes, api.ScopeReport)))...)
}

func (t tokenCreate) wrongProject(reports bool) error {
	switch {
	case t.Project < 0:
		return fmt.Errorf("--project: %d is not the id of an AppVeyor project", t.Project)
	case t.Project > 0 && !reports:
		return errors.New("--project is for tokens with scope report")
	case t.Project == 0 && reports:
		return errors.New("--project is missing: give the id of the AppVeyor project that the token reports for. " +
			"mergegate projects list shows ids, and APPVEYOR_PROJECT_ID is its own in each build")
	}
	return nil
}

type tokenList struct {
	remote
	jsonFlag
}

// Help explains what is shown.
func (tokenList) Help() string {
	return `A token with scope report reports for the project that it was made for, in the
repositories that its glob covers.

To replace a token without a gap, make another with the same scopes, have whoever uses
it use that, and revoke the old one once its last use stays where it is.

Examples:
  mergegate token list
  mergegate token list --json`
}

// Run lists tokens.
func (l tokenList) Run(p *program) error {
	return p.withAPI(l.remote, command("token list"), func(c *client.Client) error {
		list, err := c.Tokens(p.ctx)
		if err != nil {
			return err
		}
		columns := []string{"ID", "NAME", "SCOPES", "REPOSITORIES", "REPORTS FOR", "OWNER", "EXPIRES", "LAST USED", "STATE"}
		return printList(p, l.JSON, list, false, columns, func(t api.Token) []any {
			return []any{
				t.ID, t.Name, strings.Join(t.Scopes, ","), t.Repository, reportsFor(t), text(t.Owner),
				terminal.Time(t.ExpiresOn, "never"), terminal.Time(t.LastUsedOn, "never"), t.State,
			}
		})
	})
}

func reportsFor(t api.Token) string {
	switch {
	case t.ReportsFor == nil:
		return ""
	case t.ReportsFor.Project != nil:
		return *t.ReportsFor.Project
	default:
		return fmt.Sprint(t.ReportsFor.ProjectID)
	}
}

type tokenRevoke struct {
	ID string `arg:"" help:"Token id, from token list"`
	remote
}

// Run revokes a token.
func (t tokenRevoke) Run(p *program) error {
	return p.withAPI(t.remote, command("token revoke"), func(c *client.Client) error {
		return unknown(c.RevokeToken(p.ctx, t.ID), fmt.Sprintf("there is no token %s; see mergegate token list", terminal.Plain(t.ID)))
	})
}
