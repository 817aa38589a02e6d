// Package builds turns what AppVeyor sends into builds that AppVeyor confirmed.
//
// A delivery, a look at an unfinished build and a round of reconciliation all
// say the same thing: look at build N. Each ends in one function, confirm, which
// reads the build from AppVeyor and records it, so that losing, repeating or
// reordering them changes nothing in the end.
//
//	service := builds.New(store, appveyorClient, bitbucketClient, accounts, builds.Options{Log: log})
//	id, err := service.Receive(ctx, body) // stored, with the job that confirms it
//	service.AddWorkers(workers)           // the jobs themselves
package builds

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"mergegate/internal/appveyor"
	"mergegate/internal/bitbucket"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// Options are what a service can do without. Log is required.
type Options struct {
	Log      *slog.Logger
	Metrics  prometheus.Registerer // nil: not counted
	Interval time.Duration         // longest between two looks at a quiet project; 0: 2 minutes
}

// Service confirms builds. It is safe for concurrent use.
type Service struct {
	store     *postgres.Store
	appveyor  *appveyor.Client
	bitbucket *bitbucket.Client
	accounts  mergecheck.Accounts
	log       *slog.Logger
	now       func() time.Time
	interval  time.Duration
	faults    *faults
	rechecks  *rechecks
	lists     *lists

	deliveries *prometheus.CounterVec
	confirmed  *prometheus.CounterVec
}

// New returns a service that trusts what accounts may speak for.
func New(store *postgres.Store, av *appveyor.Client, bb *bitbucket.Client, accounts mergecheck.Accounts, opts Options) *Service {
	metrics := promauto.With(opts.Metrics)
	return &Service{
		store: store, appveyor: av, bitbucket: bb, accounts: accounts, log: opts.Log, now: time.Now,
		interval: cmp.Or(opts.Interval, 2*time.Minute), faults: &faults{}, rechecks: &rechecks{}, lists: &lists{},
		deliveries: metrics.NewCounterVec(prometheus.CounterOpts{
			Name: "mergegate_deliveries_total", Help: "Deliveries received, by outcome at once.",
		}, []string{"source", "outcome"}),
		confirmed: metrics.NewCounterVec(prometheus.CounterOpts{
			Name: "mergegate_confirmations_total", Help: "Answers of AppVeyor about builds, by what asked and what came of it.",
		}, []string{"asked_by", "result"}),
	}
}

// WithStore returns the same service on other connections, so that receiving
// deliveries need not wait behind confirming them.
func (s *Service) WithStore(store *postgres.Store) *Service {
	other := *s
	other.store = store
	return &other
}
