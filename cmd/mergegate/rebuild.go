package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"mergegate/internal/apptokens"
	"mergegate/internal/builds"
	"mergegate/internal/gate"
	"mergegate/internal/postgres"
)

type rebuildCommand struct {
	Repository  string `arg:"" placeholder:"WORKSPACE/REPO" help:"The repository, by slugs or UUIDs."`
	PullRequest int64  `arg:"" help:"The pull request's number."`
}

// Help shows an example.
func (rebuildCommand) Help() string {
	return `Every project of the repository is asked once for a head and a destination head.

Example:
  mergegate rebuild acme/widgets 7`
}

// Run asks AppVeyor to build a pull request again.
func (r rebuildCommand) Run(p *program) error {
	workspace, slug, found := strings.Cut(r.Repository, "/")
	if !found || r.PullRequest <= 0 {
		return usageError{errors.New("name the pull request as WORKSPACE/REPO NUMBER")}
	}
	cfg, err := loadConfig(p.getenv)
	if err != nil {
		return err
	}
	log := newLogger(cfg, p.stderr, slog.LevelError)
	return p.withStore(func(ctx context.Context, store *postgres.Store) error {
		repository, err := store.RepositoryByPath(ctx, workspace, slug)
		if errors.Is(err, postgres.ErrNotFound) {
			return fmt.Errorf("repository %s is not known: nothing of it was built yet", r.Repository)
		}
		if err != nil {
			return err
		}
		remotes, err := newRemotes(cfg)
		if err != nil {
			return err
		}
		tokens, err := apptokens.New(store, cfg.secretKeys, log)
		if err != nil {
			return usageError{err}
		}
		pr := gate.New(store, remotes.bitbucket, tokens, gate.Options{Log: log}).Explain(ctx, repository, r.PullRequest).PullRequest
		if pr.Head == "" {
			return fmt.Errorf("the head of pull request %d is not known: %s", r.PullRequest, pr.HeadProblem)
		}
		service := builds.New(store, remotes.appveyor, remotes.bitbucket, cfg.accounts, builds.Options{Log: log})
		list, err := service.Rebuild(ctx, repository, pr)
		for _, one := range list {
			if one.BuildID != 0 {
				fmt.Fprintf(p.stdout, "%s: build %d\n", one.Project.Name(), one.BuildID)
			} else {
				fmt.Fprintf(p.stdout, "%s: no build: %s\n", one.Project.Name(), one.Reason)
			}
		}
		return err
	})
}
