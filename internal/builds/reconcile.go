package builds

import (
	"context"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"mergegate/internal/appveyor"
	"mergegate/internal/postgres"
)

// historyLength is how many builds of a project's history are looked at.
const historyLength = 50

// reconcile looks through the history of every project seen for builds that no
// delivery told of: AppVeyor sends each webhook once, and none for builds that
// start or are cancelled.
type reconcile struct{}

// Kind names the job in the queue.
func (reconcile) Kind() string { return "reconcile" }

// InsertOpts keep rounds from piling up behind a slow one.
func (reconcile) InsertOpts() river.InsertOpts {
	return river.InsertOpts{
		Queue: postgres.QueueBuilds, MaxAttempts: 1,
		UniqueOpts: river.UniqueOpts{ByState: postgres.Unfinished},
	}
}

// Reconciliation is the periodic job that looks at every project's history. One
// replica inserts it; any works it.
func (s *Service) Reconciliation(every time.Duration) *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(every),
		func() (river.JobArgs, *river.InsertOpts) { return reconcile{}, nil }, nil)
}

func (s *Service) reconcile(ctx context.Context, _ *river.Job[reconcile]) error {
	projects, err := s.store.Projects(ctx)
	if err != nil {
		return err
	}
	looked := map[int64]bool{}
	for _, p := range projects {
		if looked[p.ProjectID] || p.Forgotten || !s.accounts.known(p.Account) {
			continue
		}
		looked[p.ProjectID] = true
		if err := s.reconcileProject(ctx, p); err != nil {
			// One project that can't be read must not keep the others from it.
			s.log.WarnContext(ctx, "project not reconciled", "project", p.Account+"/"+p.Slug, "error", err)
		}
	}
	return ctx.Err()
}

func (s *Service) reconcileProject(ctx context.Context, p postgres.SeenProject) error {
	history, err := s.appveyor.History(ctx, p.Account, p.Slug, 0, historyLength)
	if err != nil {
		return err
	}
	ids := make([]int64, len(history))
	for i, a := range history {
		ids[i] = a.Build.BuildID
	}
	known, err := s.store.UpdatedOn(ctx, ids)
	if err != nil {
		return err
	}
	for _, a := range history {
		b := a.Build
		if seen, ok := known[b.BuildID]; b.PullRequestID == 0 || ok && !b.UpdatedOn.After(seen) {
			continue
		}
		ref := appveyor.Ref{Account: p.Account, Slug: p.Slug, BuildID: b.BuildID, Version: b.Version}
		if _, err := s.confirm(ctx, ref, 0, "reconcile"); err != nil {
			return fmt.Errorf("confirm build %d: %w", b.BuildID, err)
		}
	}
	return nil
}
