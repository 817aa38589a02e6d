package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"mergegate/internal/builds"
	"mergegate/internal/policy"
	"mergegate/internal/postgres"
)

type replayCommand struct {
	Delivery int64  `xor:"which" required:"" placeholder:"ID" help:"This delivery."`
	Since    string `xor:"which" required:"" placeholder:"2d" help:"Every delivery received in that time."`
}

// Help shows examples.
func (replayCommand) Help() string {
	return `What was decided on receipt is decided anew: a delivery that was ignored because its account
was not configured is confirmed now. The running service does the work; this queues it.

Examples:
  mergegate replay --delivery 4711
  mergegate replay --since 2d`
}

// Run queues deliveries to be processed again.
func (r replayCommand) Run(p *program) error {
	var since time.Duration
	if r.Since != "" {
		var err error
		if since, err = policy.ParseDuration(r.Since); err != nil {
			return usageError{fmt.Errorf("--since: %w", err)}
		}
	}
	return p.withStore(func(ctx context.Context, store *postgres.Store) error {
		ids := []int64{r.Delivery}
		if r.Since != "" {
			var err error
			if ids, err = store.DeliveriesSince(ctx, time.Now().Add(-since)); err != nil {
				return err
			}
		}
		bar := newProgressBar(p.stderr)
		for i, id := range ids {
			_, err := store.ReplayDelivery(ctx, postgres.Everything, id)
			if errors.Is(err, postgres.ErrNotFound) {
				return fmt.Errorf("there is no delivery %d", id)
			}
			if err != nil {
				return err
			}
			bar.show(fmt.Sprintf("%d of %d deliveries queued", i+1, len(ids)))
		}
		bar.done()
		_, err := fmt.Fprintf(p.stdout, "%d deliveries queued\n", len(ids))
		return err
	})
}

type backfillCommand struct {
	Project string `required:"" placeholder:"ACCOUNT/SLUG" help:"The AppVeyor project."`
	Since   string `default:"30d" help:"How far back."`
}

// Help shows an example.
func (backfillCommand) Help() string {
	return `Reads the project's history and confirms the pull request builds in it, as webhooks would have.
What is recorded already is passed over, so it can be broken off and begun again.

Example:
  mergegate backfill --project acme/widgets --since 90d`
}

// Run recovers builds from a project's history.
func (b backfillCommand) Run(p *program) error {
	account, slug, found := strings.Cut(b.Project, "/")
	since, err := policy.ParseDuration(b.Since)
	switch {
	case !found || account == "" || slug == "" || strings.Contains(slug, "/"):
		return usageError{errors.New("--project is not account/slug")}
	case err != nil:
		return usageError{fmt.Errorf("--since: %w", err)}
	}
	cfg, err := loadConfig(p.getenv)
	if err != nil {
		return err
	}
	return p.withStore(func(ctx context.Context, store *postgres.Store) error {
		remotes, err := newRemotes(cfg)
		if err != nil {
			return err
		}
		service := builds.New(store, remotes.appveyor, remotes.bitbucket, cfg.accounts, builds.Options{Log: newLogger(cfg, p.stderr, slog.LevelError)})
		bar := newProgressBar(p.stderr)
		var last builds.Progress
		err = service.Backfill(ctx, account, slug, time.Now().Add(-since), func(progress builds.Progress) {
			last = progress
			bar.show(fmt.Sprintf("%d builds looked at, %d confirmed, back to %s", progress.Looked, progress.Confirmed, progress.At.Format(time.DateOnly)))
		})
		bar.done()
		if err != nil {
			return fmt.Errorf("backfill %s: %w", b.Project, err)
		}
		_, err = fmt.Fprintf(p.stdout, "%d builds looked at, %d confirmed\n", last.Looked, last.Confirmed)
		return err
	})
}

// progressBar shows one line that changes on a terminal, and nothing elsewhere.
type progressBar struct {
	w     io.Writer
	shown bool
}

func newProgressBar(w io.Writer) *progressBar {
	if !isTerminal(w) {
		w = io.Discard
	}
	return &progressBar{w: rawWriter(w)}
}

func (b *progressBar) show(line string) {
	b.shown = true
	fmt.Fprintf(b.w, "\r\x1b[K%s", plain(line))
}

func (b *progressBar) done() {
	if b.shown {
		fmt.Fprintln(b.w)
	}
}
