package builds

import (
	"context"
	"errors"
	"time"

	"github.com/riverqueue/river"

	"mergegate/internal/appveyor"
	"mergegate/internal/postgres"
	"mergegate/internal/retry"
)

// watchFor is how long an unfinished build is looked at again. AppVeyor ends
// builds after hours at most; one that hasn't by then is stuck on its side.
const watchFor = 7 * 24 * time.Hour

// maxFaults is how often recording a build may fail on our own side. The database
// being down doesn't count: then the job isn't worked at all.
const maxFaults = 20

// AddWorkers registers the jobs of this package.
func (s *Service) AddWorkers(workers *river.Workers) {
	river.AddWorker(workers, river.WorkFunc(s.confirmDelivery))
	river.AddWorker(workers, river.WorkFunc(s.watchBuild))
	river.AddWorker(workers, river.WorkFunc(s.learnRepository))
	river.AddWorker(workers, river.WorkFunc(s.recordUnlinked))
	river.AddWorker(workers, river.WorkFunc(s.settleHeads))
	river.AddWorker(workers, river.WorkFunc(s.reconcile))
	river.AddWorker(workers, river.WorkFunc(s.lookAgain))
	river.AddWorker(workers, river.WorkFunc(s.rebuildWanted))
}

func (s *Service) confirmDelivery(ctx context.Context, job *river.Job[postgres.ConfirmDelivery]) error {
	d, err := s.store.Delivery(ctx, job.Args.DeliveryID)
	if errors.Is(err, postgres.ErrNotFound) || err == nil && d.Outcome != postgres.Pending {
		return nil
	}
	if err != nil {
		return err
	}
	if d.Reason == "" { // not tried since it came or was replayed: its body is read once, not at every try
		ignored, err := s.ignored(ctx, d)
		if err != nil {
			return err
		}
		if ignored.Outcome != postgres.Pending {
			return s.store.SettleDelivery(ctx, d.ID, ignored.Outcome, ignored.Reason)
		}
	}
	ref := appveyor.Ref{Account: d.Account, Slug: d.Slug, BuildID: d.BuildID, Version: d.Version}
	r, err := s.confirm(ctx, ref, d.ID, "delivery")
	switch {
	case err != nil && len(job.Errors) >= maxFaults:
		s.log.ErrorContext(ctx, "delivery failed", "delivery", d.ID, "error", err)
		return s.store.SettleDelivery(ctx, d.ID, postgres.Failed, "recording the build failed; mergegate's log says why")
	case err != nil:
		return err
	case r.ignored != "":
		return s.store.SettleDelivery(ctx, d.ID, postgres.Ignored, r.ignored)
	case r.problem == "":
		return nil // recorded, and the delivery with it
	}
	age := s.now().Sub(d.PendingSince)
	if age > retry.GiveUpAfter {
		return s.store.SettleDelivery(ctx, d.ID, postgres.Failed, r.problem)
	}
	if err := s.store.NoteAttempt(ctx, d.ID, r.problem); err != nil {
		return err
	}
	return river.JobSnooze(max(r.retryIn, retry.Slower(age, 2*time.Second, 10*time.Minute)))
}

// ignored decides again what was decided on receipt: a delivery may be replayed
// because that was wrong, such as by an account that was not configured yet.
func (s *Service) ignored(ctx context.Context, d postgres.Delivery) (postgres.Delivery, error) {
	body, err := s.store.DeliveryBody(ctx, d.ID)
	if err != nil {
		return d, err
	}
	hook, err := appveyor.ParseWebhook(body)
	if err != nil {
		return postgres.Delivery{Outcome: postgres.Failed, Reason: err.Error()}, nil //nolint:nilerr // that is what became of it
	}
	return s.delivery(hook), nil
}

func (s *Service) watchBuild(ctx context.Context, job *river.Job[postgres.WatchBuild]) error {
	return s.store.Looking(ctx, job.Args, func(ctx context.Context) error {
		ref := appveyor.Ref(job.Args)
		r, err := s.watch(ctx, ref)
		if err != nil {
			return err
		}
		age := s.now().Sub(job.CreatedAt)
		done := r.ignored != "" || r.problem == "" && r.recorded.Build.State.Finished()
		if done || age > watchFor {
			return nil
		}
		return river.JobSnooze(max(r.retryIn, retry.Slower(age, 2*time.Second, time.Minute)))
	})
}

func (s *Service) learnRepository(ctx context.Context, job *river.Job[postgres.LearnRepository]) error {
	return s.store.Looking(ctx, job.Args, func(ctx context.Context) error {
		if _, err := s.learn(ctx, job.Args.FullName); err != nil {
			age := s.now().Sub(job.CreatedAt)
			if age > retry.GiveUpAfter {
				return nil // the next build, or merge check, asks again
			}
			return river.JobSnooze(retry.Slower(age, 5*time.Second, 10*time.Minute))
		}
		return nil
	})
}

// recordUnlinked records what waited for a repository to be linked.
func (s *Service) recordUnlinked(ctx context.Context, job *river.Job[postgres.RecordUnlinked]) error {
	return recordWaiting(ctx, s.store, postgres.PullRequestKey{WorkspaceUUID: job.Args.WorkspaceUUID, RepositoryUUID: job.Args.RepositoryUUID}, 0)
}

func (s *Service) settleHeads(ctx context.Context, job *river.Job[postgres.SettleHeads]) error {
	return s.store.Looking(ctx, job.Args, func(ctx context.Context) error {
		return SettleHeads(ctx, s.store, postgres.PullRequestKey(job.Args))
	})
}
