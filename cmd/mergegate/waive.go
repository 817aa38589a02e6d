package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/google/uuid"

	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
	"mergegate/internal/postgres"
)

type waiveCommand struct {
	pullRequestArgs
	Reason    string `xor:"what" required:"" help:"Why; people read it at the merge check."`
	List      bool   `xor:"what" required:"" help:"List the pull request's waivers instead, newest first."`
	Revoke    int64  `xor:"what" required:"" placeholder:"ID" help:"End this waiver."`
	RevokeAll bool   `xor:"what" required:"" help:"End every waiver of the pull request."`

	Project string `placeholder:"P" help:"For this AppVeyor project alone: account/slug or its id."`
	Commit  string `placeholder:"C" help:"The head that was looked at; refused when it is not the head any more."`
	Expires string `placeholder:"4h" help:"How long it lasts; 24h without, or less where the policy allows less."`
	Name    string `placeholder:"NAME" help:"Who waives; a running service takes the token's name instead."`
	Owner   string `placeholder:"UUID" help:"The Bitbucket user who waives; a running service takes the token's."`
	Limit   int    `default:"20" placeholder:"N" help:"With --list: at most so many."`
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
	path, err := w.path()
	if err != nil {
		return err
	}
	operator, err := w.operator(p)
	if err != nil {
		return err
	}
	return p.withAPI(w.remote, operator, func(ctx context.Context, api *apiClient) error {
		path += "/waivers"
		switch {
		case w.List:
			return w.unknown(w.list(ctx, p, api, path))
		case w.Revoke != 0:
			if err := api.delete(ctx, fmt.Sprintf("%s/%d", path, w.Revoke)); err != nil {
				return unknown(err, fmt.Sprintf("pull request %d of %s has no waiver %d; mergegate waive --list shows those it has",
					w.PullRequest, plain(w.Repository), w.Revoke))
			}
			_, err := fmt.Fprintf(p.stdout, "waiver %d is revoked\n", w.Revoke)
			return err
		case w.RevokeAll:
			if err := api.delete(ctx, path); err != nil {
				return w.unknown(err)
			}
			_, err := fmt.Fprintf(p.stdout, "every waiver of pull request %d is revoked\n", w.PullRequest)
			return err
		default:
			return w.unknown(w.give(ctx, p, api, path))
		}
	})
}

// operator is who waives. To a running service that is who has the token, so that
// a name beside it would be a claim that nobody checks.
func (w waiveCommand) operator(p *program) (postgres.Token, error) {
	base, _, err := w.resolve(p.getenv)
	if err != nil {
		return postgres.Token{}, err
	}
	if base != "" && (w.Name != "" || w.Owner != "") {
		return postgres.Token{}, usageError{errors.New("--name and --owner are for the database: a running service takes those of the token")}
	}
	operator := postgres.Token{Name: w.Name}
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

// wantedWaiver is a waiver of the API, as far as people are told.
type wantedWaiver struct {
	ID, State, Commit, Destination, Reason, By string
	Project                                    *struct{ Slug string }
	ExpiresOn                                  time.Time `json:"expires_on"`
}

func (w waiveCommand) list(ctx context.Context, p *program, api *apiClient, path string) error {
	list, err := api.list(ctx, path, url.Values{}, w.Limit)
	if err != nil {
		return err
	}
	columns := []string{"ID", "STATE", "COMMIT", "INTO", "PROJECT", "EXPIRES", "BY", "REASON"}
	return printDocuments(p, w.JSON, list, columns, func(w wantedWaiver) []any {
		project := "all"
		if w.Project != nil {
			project = w.Project.Slug
		}
		return []any{w.ID, w.State, short(w.Commit), w.Destination, project, when(&w.ExpiresOn, ""), w.By, w.Reason}
	})
}

func (w waiveCommand) give(ctx context.Context, p *program, api *apiClient, path string) error {
	body := map[string]string{"reason": w.Reason}
	for name, value := range map[string]string{"project": w.Project, "commit": w.Commit, "expires": w.Expires} {
		if value != "" {
			body[name] = value
		}
	}
	var raw json.RawMessage
	if err := api.post(ctx, path, body, &raw); err != nil {
		return err
	}
	if w.JSON {
		return writeJSON(p.stdout, raw)
	}
	var given wantedWaiver
	if err := json.Unmarshal(raw, &given); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p.stdout, "waiver %s is %s: %s of %s, until %s\n", plain(given.ID), plain(given.State),
		short(plain(given.Commit)), plain(w.Repository), when(&given.ExpiresOn, ""))
	if err == nil && given.State == string(mergecheck.WaiverWaiting) {
		_, err = fmt.Fprintln(p.stdout, "The policy asks for a second person: it lives once somebody else waives too.")
	}
	return err
}
