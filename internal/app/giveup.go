package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"mergegate/internal/postgres"
)

// givingUp is told every job that fails. One that has used its last attempt leaves
// what waited for it failed, with the reason.
type givingUp struct {
	store *postgres.Store
	log   *slog.Logger
	count *prometheus.CounterVec
}

func newGivingUp(store *postgres.Store, log *slog.Logger, metrics prometheus.Registerer) *givingUp {
	return &givingUp{store: store, log: log, count: promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "mergegate_jobs_given_up_total", Help: "Jobs that failed at their last attempt, by kind.",
	}, []string{"kind"})}
}

// HandleError gives up what used its last attempt.
func (g *givingUp) HandleError(ctx context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	if job.Attempt < job.MaxAttempts {
		return nil
	}
	g.count.WithLabelValues(job.Kind).Inc()
	g.log.WarnContext(ctx, "job given up", "kind", job.Kind, "attempts", job.Attempt, "args", string(job.EncodedArgs), "error", err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := g.store.GiveUp(ctx, job.Kind, job.EncodedArgs); err != nil {
		g.log.ErrorContext(ctx, "job given up, and what waits for it stays pending", "kind", job.Kind, "error", err)
	}
	return nil
}

// HandlePanic does the same for a job that panicked.
func (g *givingUp) HandlePanic(ctx context.Context, job *rivertype.JobRow, value any, trace string) *river.ErrorHandlerResult {
	g.log.ErrorContext(ctx, "job panicked", "kind", job.Kind, "panic", value, "trace", trace)
	return g.HandleError(ctx, job, fmt.Errorf("panic: %v", value))
}
