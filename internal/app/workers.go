package app

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"mergegate/internal/builds"
	"mergegate/internal/commitstatus"
	"mergegate/internal/effects"
	"mergegate/internal/notifications"
	"mergegate/internal/outbox"
	"mergegate/internal/postgres"
	"mergegate/internal/pullrequests"
	"mergegate/internal/retention"
	"mergegate/internal/waivers"
)

const (
	// jobTimeout is longer than the most a job may wait for remotes: three
	// requests to AppVeyor and one to Bitbucket.
	jobTimeout = 60 * time.Second
	// rescueAfter is when jobs that nobody ended are worked again although whoever
	// works them seems to live. Those of a process that was killed are taken over
	// within seconds: see [postgres.Heartbeat].
	rescueAfter = 75 * time.Second
)

// workers work the background jobs.
type workers struct {
	client *postgres.JobClient
}

// services are those that work jobs.
type services struct {
	confirming *builds.Service
	following  *pullrequests.Service
	publisher  *commitstatus.Publisher
	retaining  *retention.Service
	waiving    *waivers.Service
	showing    *effects.Service
	notifying  *notifications.Service
}

func newWorkers(store *postgres.Store, s services, reconcile time.Duration, failing river.ErrorHandler, log *slog.Logger) (*workers, error) {
	registered := river.NewWorkers()
	s.confirming.AddWorkers(registered)
	s.following.AddWorkers(registered)
	outbox.New(store, s.publisher.Kind(), s.showing.Kind(), s.notifying.Kind()).AddWorkers(registered)
	s.retaining.AddWorkers(registered)
	s.waiving.AddWorkers(registered)
	s.showing.AddWorkers(registered)
	client, err := store.JobClient(&river.Config{
		Workers: registered,
		Queues: map[string]river.QueueConfig{
			postgres.QueueBuilds:        {MaxWorkers: 8},
			postgres.QueueStatuses:      {MaxWorkers: 16},
			postgres.QueueEffects:       {MaxWorkers: 8},
			postgres.QueueNotifications: {MaxWorkers: 8},
		},
		PeriodicJobs: []*river.PeriodicJob{
			s.confirming.Reconciliation(), s.following.Sweep(reconcile), s.retaining.Periodic(),
		},
		JobTimeout:           jobTimeout,
		RescueStuckJobsAfter: rescueAfter,
		RetryPolicy:          retryPolicy{},
		ErrorHandler:         failing,
		Logger:               slog.New(quiet{log.Handler()}),
	})
	if err != nil {
		return nil, fmt.Errorf("set up jobs: %w", err)
	}
	return &workers{client: client}, nil
}

// work works jobs until ctx ends, then lets those that run end.
func (s *service) work(ctx context.Context) error {
	heartbeat, err := s.jobs.StartHeartbeat(ctx, s.workers.client.ID(), s.log)
	if err != nil && ctx.Err() != nil {
		return nil // it is stopped before it has begun
	}
	if err != nil {
		return err
	}
	defer heartbeat.Close()
	beating, stopBeating := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	group.Go(func() { heartbeat.Run(beating) })
	defer func() { stopBeating(); group.Wait() }()
	if err := s.workers.client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start jobs: %w", err)
	}
	if _, err := s.jobs.RetryRefused(ctx, postgres.ServiceStarts, postgres.Refused{}); err != nil {
		s.log.WarnContext(ctx, "retrying the commit statuses that Bitbucket refused failed", "error", err)
	}
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := s.workers.client.Stop(stop); err != nil {
		// What was cut off is rescued and worked again: jobs can be repeated.
		s.log.WarnContext(ctx, "jobs did not end in time", "error", err)
		cancelled, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		_ = s.workers.client.StopAndCancel(cancelled)
	}
	return nil
}

// retryPolicy is for faults of our own and of the database; remotes that fail
// are waited for by snoozing.
type retryPolicy struct{}

// NextRetry waits one second, then four, nine and so on up to a minute.
func (retryPolicy) NextRetry(job *rivertype.JobRow) time.Time {
	failures := float64(len(job.Errors) + 1)
	return time.Now().Add(time.Duration(math.Min(failures*failures, 60)) * time.Second)
}

// quiet takes the job queue's own log one level down: it speaks of itself, and
// what became of a job is logged by the job.
type quiet struct{ slog.Handler }

// Enabled reports whether a record of this level is logged.
func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && q.Handler.Enabled(ctx, level)
}
