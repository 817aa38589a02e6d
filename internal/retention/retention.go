// Package retention deletes what is older than it has to be kept: raw deliveries
// hold e-mail addresses and signed links.
//
//	service := retention.New(store, cfg.Retention, log)
//	service.AddWorkers(workers)
package retention

import (
	"context"
	"log/slog"
	"time"

	"github.com/riverqueue/river"

	"mergegate/internal/config"
	"mergegate/internal/postgres"
)

// Service deletes what is older than it is to be kept.
type Service struct {
	store *postgres.Store
	kept  config.Retention
	log   *slog.Logger
}

// New returns a service that keeps things so long.
func New(store *postgres.Store, kept config.Retention, log *slog.Logger) *Service {
	return &Service{store: store, kept: kept, log: log}
}

// AddWorkers registers the job of this package.
func (s *Service) AddWorkers(workers *river.Workers) {
	river.AddWorker(workers, river.WorkFunc(s.sweep))
}

// Periodic is the round that deletes, every hour.
func (s *Service) Periodic() *river.PeriodicJob {
	return postgres.Round(postgres.DeleteOld{}, river.PeriodicInterval(time.Hour), true)
}

// pendingFor is longer than any delivery is tried: one that is pending still has lost
// its job.
const pendingFor = 25 * time.Hour

func (s *Service) sweep(ctx context.Context, _ *river.Job[postgres.DeleteOld]) error {
	if err := s.store.MakePartitions(ctx); err != nil {
		return err
	}
	lost, err := s.store.GiveUpDeliveries(ctx, pendingFor)
	if err != nil {
		return err
	}
	if lost > 0 {
		s.log.WarnContext(ctx, "deliveries given up: their jobs were lost", "deliveries", lost)
	}
	for _, kind := range config.RetentionKinds {
		kept, ok := s.kept[kind]
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
