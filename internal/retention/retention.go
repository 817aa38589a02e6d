// Package retention deletes what is older than it has to be kept: raw deliveries
// hold e-mail addresses and signed links.
//
//	policy, err := retention.Parse("deliveries=30d,decisions=400d")
//	service := retention.New(store, policy, log)
//	service.AddWorkers(workers)
package retention

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"mergegate/internal/postgres"
)

// least is the shortest retention: shorter ones would delete what jobs still need.
const least = 24 * time.Hour

// Kinds are what can be given a retention.
var Kinds = []string{"deliveries", "decisions", "builds"}

// Policy says how long each kind is kept. A kind that is missing is kept for good.
type Policy map[string]time.Duration

// Parse reads "kind=duration,…"; duration reads one duration, such as 30d.
func Parse(text string, duration func(string) (time.Duration, error)) (Policy, error) {
	policy := Policy{}
	for _, pair := range strings.Split(text, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		kind, value, _ := strings.Cut(pair, "=")
		kept, err := duration(strings.TrimSpace(value))
		switch {
		case !slices.Contains(Kinds, kind):
			return nil, fmt.Errorf("%q is not one of %s", kind, strings.Join(Kinds, ", "))
		case err != nil:
			return nil, fmt.Errorf("%s: %w", kind, err)
		case kept < least:
			return nil, fmt.Errorf("%s: %s is less than a day", kind, value)
		}
		policy[kind] = kept
	}
	return policy, nil
}

// Service deletes what is older than its policy.
type Service struct {
	store  *postgres.Store
	policy Policy
	log    *slog.Logger
}

// New returns a service for policy.
func New(store *postgres.Store, policy Policy, log *slog.Logger) *Service {
	return &Service{store: store, policy: policy, log: log}
}

// AddWorkers registers the job of this package.
func (s *Service) AddWorkers(workers *river.Workers) {
	river.AddWorker(workers, river.WorkFunc(s.sweep))
}

type sweep struct{}

// Kind names the job in the queue.
func (sweep) Kind() string { return "retention" }

// InsertOpts keep one round at a time.
func (sweep) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: postgres.QueueBuilds, MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByState: postgres.Unfinished}}
}

// Periodic is the job that deletes, every hour.
func (s *Service) Periodic() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(time.Hour),
		func() (river.JobArgs, *river.InsertOpts) { return sweep{}, nil }, &river.PeriodicJobOpts{RunOnStart: true})
}

// pendingFor is longer than any delivery is tried: one that is pending still has lost
// its job.
const pendingFor = 25 * time.Hour

func (s *Service) sweep(ctx context.Context, _ *river.Job[sweep]) error {
	lost, err := s.store.GiveUpDeliveries(ctx, pendingFor)
	if err != nil {
		return err
	}
	if lost > 0 {
		s.log.WarnContext(ctx, "deliveries given up: their jobs were lost", "deliveries", lost)
	}
	for _, kind := range Kinds {
		kept, ok := s.policy[kind]
		if !ok {
			continue
		}
		deleted, err := s.store.DeleteOlder(ctx, kind, kept)
		if err != nil {
			return err
		}
		if deleted > 0 {
			s.log.InfoContext(ctx, "retention", "kind", kind, "older_than", kept.String(), "deleted", deleted)
		}
	}
	return nil
}
