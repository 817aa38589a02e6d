package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
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
}

// Help shows examples.
func (tokenCreate) Help() string {
	return `Examples:
  mergegate token create --name dashboard --scope read
  mergegate token create --name ops --scope admin --expires 90d
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
	if !doublestar.ValidatePattern(t.Repository) {
		wrong = append(wrong, fmt.Errorf("--repository: %q is not a glob like acme/*", t.Repository))
	}
	if t.Expires != "" {
		valid, err := policy.ParseDuration(t.Expires)
		if err != nil || valid <= 0 {
			wrong = append(wrong, fmt.Errorf("--expires: %q is not a duration like 90d or 12h", t.Expires))
		}
		token.ExpiresOn = new(now.Add(valid))
	}
	return token, errors.Join(wrong...)
}

type tokenList struct{}

// Run lists tokens.
func (tokenList) Run(p *program) error {
	return p.withStore(func(ctx context.Context, store *postgres.Store) error {
		tokens, err := store.Tokens(ctx)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ID\tNAME\tSCOPES\tREPOSITORIES\tOWNER\tEXPIRES\tLAST USED\tSTATE")
		for _, t := range tokens {
			fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, strings.Join(t.Scopes, ","), t.Repository,
				orDash(t.Owner), when(t.ExpiresOn, "never"), when(t.LastUsedOn, "never"), tokenState(t, time.Now()))
		}
		return table.Flush()
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
