package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/google/uuid"

	"mergegate/internal/policy"
	"mergegate/internal/postgres"
	"mergegate/internal/server"
)

type tokenCommand struct {
	Create tokenCreate `cmd:"" help:"Make a token and print it, this once and alone, on standard output."`
	List   tokenList   `cmd:"" help:"List tokens; the tokens themselves are not kept."`
	Revoke tokenRevoke `cmd:"" help:"Make a token invalid at once."`
}

type tokenCreate struct {
	Name       string `required:"" help:"What the token is for."`
	Scope      string `required:"" help:"read, report, waive or admin; several with commas. admin includes read."`
	Owner      string `placeholder:"UUID" help:"The Bitbucket user the token acts for."`
	Repository string `default:"**" placeholder:"GLOB" help:"Repositories it covers, as workspace/repo; ** is all."`
	Expires    string `placeholder:"90d" help:"How long it is valid; forever without."`
	Project    int64  `placeholder:"ID" help:"The AppVeyor project that a token with scope report reports for; APPVEYOR_PROJECT_ID in its builds."`
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
	token, err := t.token(time.Now())
	if err != nil {
		return usageError{err}
	}
	return p.withStore(func(ctx context.Context, store *postgres.Store) error {
		text := newToken()
		if _, err := store.AddToken(ctx, token, server.HashToken(text)); err != nil {
			return err
		}
		_, err := fmt.Fprintln(p.stdout, text)
		return err
	})
}

// newToken is 256 random bits with a prefix that secret scanners can look for.
func newToken() string {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails: crypto/rand ends the program instead
	return "mgt_" + base64.RawURLEncoding.EncodeToString(secret)
}

func (t tokenCreate) token(now time.Time) (postgres.Token, error) {
	var wrong []error
	token := postgres.Token{Name: strings.TrimSpace(t.Name), Repository: t.Repository, Scopes: list(t.Scope)}
	if token.Name == "" {
		wrong = append(wrong, errors.New("--name is empty"))
	}
	for _, scope := range token.Scopes {
		if !slices.Contains(server.Scopes, scope) {
			wrong = append(wrong, fmt.Errorf("--scope: %q is not one of %s", scope, strings.Join(server.Scopes, ", ")))
		}
	}
	if len(token.Scopes) == 0 {
		wrong = append(wrong, errors.New("--scope is empty"))
	}
	if t.Owner != "" {
		owner, err := uuid.Parse(t.Owner)
		if err != nil {
			wrong = append(wrong, errors.New("--owner is not the UUID of a Bitbucket user"))
		}
		token.Owner = owner.String()
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
		token.ExpiresOn = new(now.Add(valid))
	}
	reports := slices.Contains(token.Scopes, server.ScopeReport)
	switch {
	case t.Project < 0:
		wrong = append(wrong, fmt.Errorf("--project: %d is not the id of an AppVeyor project", t.Project))
	case t.Project > 0 && !reports:
		wrong = append(wrong, errors.New("--project is for tokens with scope report"))
	case t.Project == 0 && reports:
		wrong = append(wrong, errors.New("--project is missing: give the id of the AppVeyor project that the token reports for. "+
			"mergegate projects list shows ids, and APPVEYOR_PROJECT_ID is its own in each build"))
	case t.Project > 0:
		token.ReportProject = &t.Project
	}
	return token, errors.Join(wrong...)
}

type tokenList struct{ jsonFlag }

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

// shownToken is a token as programs read it.
type shownToken struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	State      string     `json:"state"`
	Scopes     []string   `json:"scopes"`
	Repository string     `json:"repository"`
	Owner      *string    `json:"owner"`
	ReportsFor *reportsOf `json:"reports_for"`
	CreatedOn  time.Time  `json:"created_on"`
	ExpiresOn  *time.Time `json:"expires_on"`
	LastUsedOn *time.Time `json:"last_used_on"`
	RevokedOn  *time.Time `json:"revoked_on"`
}

// reportsOf is what a token with scope report is for.
type reportsOf struct {
	ProjectID int64   `json:"project_id"`
	Project   *string `json:"project"` // account/slug, once it was seen
}

func shown(t postgres.Token, now time.Time) shownToken {
	s := shownToken{
		ID: fmt.Sprint(t.ID), Name: t.Name, State: tokenState(t, now), Scopes: t.Scopes, Repository: t.Repository,
		CreatedOn: t.CreatedOn, ExpiresOn: t.ExpiresOn, LastUsedOn: t.LastUsedOn, RevokedOn: t.RevokedOn,
	}
	if t.Owner != "" {
		s.Owner = new("{" + t.Owner + "}")
	}
	if t.ReportProject != nil {
		s.ReportsFor = &reportsOf{ProjectID: *t.ReportProject, Project: t.ReportProjectName}
	}
	return s
}

func (r *reportsOf) String() string {
	if r == nil {
		return ""
	}
	if r.Project != nil {
		return *r.Project
	}
	return fmt.Sprint(r.ProjectID)
}

// Run lists tokens.
func (l tokenList) Run(p *program) error {
	return p.withStore(func(ctx context.Context, store *postgres.Store) error {
		tokens, err := store.Tokens(ctx)
		if err != nil {
			return err
		}
		list := make([]shownToken, len(tokens))
		for i, t := range tokens {
			list[i] = shown(t, time.Now())
		}
		if l.JSON {
			return writeJSON(p.stdout, list)
		}
		t := newTable(p.stdout, "ID", "NAME", "SCOPES", "REPOSITORIES", "REPORTS FOR", "OWNER", "EXPIRES", "LAST USED", "STATE")
		for i, s := range list {
			t.row(s.ID, s.Name, strings.Join(s.Scopes, ","), s.Repository, s.ReportsFor.String(), tokens[i].Owner,
				when(s.ExpiresOn, "never"), when(s.LastUsedOn, "never"), s.State)
		}
		return t.flush()
	})
}

func tokenState(t postgres.Token, now time.Time) string {
	switch {
	case t.RevokedOn != nil:
		return "revoked"
	case t.ExpiresOn != nil && t.ExpiresOn.Before(now):
		return "expired"
	default:
		return "valid"
	}
}

func when(t *time.Time, otherwise string) string {
	if t == nil {
		return otherwise
	}
	return t.UTC().Format("2006-01-02 15:04")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

type tokenRevoke struct {
	ID int64 `arg:"" help:"The id token list shows."`
}

// Run revokes a token.
func (t tokenRevoke) Run(p *program) error {
	return p.withStore(func(ctx context.Context, store *postgres.Store) error {
		err := store.RevokeToken(ctx, t.ID)
		if errors.Is(err, postgres.ErrNotFound) {
			return fmt.Errorf("there is no token %d; see mergegate token list", t.ID)
		}
		return err
	})
}
