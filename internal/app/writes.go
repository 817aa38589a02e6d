package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"mergegate/internal/postgres"
)

// sayEvery is how often the log says again that nothing can be written.
const sayEvery = time.Minute

// writeFailures counts and logs statements that failed because the database takes
// nothing: nobody would know else, since merge checks go on.
type writeFailures struct {
	log   *slog.Logger
	count *prometheus.CounterVec

	mu   sync.Mutex
	said map[postgres.WriteFailure]time.Time
}

func newWriteFailures(log *slog.Logger, metrics prometheus.Registerer) *writeFailures {
	w := &writeFailures{log: log, said: map[postgres.WriteFailure]time.Time{}, count: promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "mergegate_database_write_failures_total", Help: "Statements that failed because the database takes nothing, by why.",
	}, []string{"reason"})}
	for _, f := range []postgres.WriteFailure{postgres.DiskFull, postgres.OutOfMemory, postgres.ReadOnly} {
		w.count.WithLabelValues(string(f)) // so that an alert finds 0 and not nothing
	}
	return w
}

// note is told of each.
func (w *writeFailures) note(f postgres.WriteFailure) {
	w.count.WithLabelValues(string(f)).Inc()
	if w.first(f, time.Now()) {
		w.log.ErrorContext(context.Background(), "webhooks and decisions can't be stored: "+f.String(), "reason", string(f))
	}
}

// first reports whether it is time to say so.
func (w *writeFailures) first(f postgres.WriteFailure, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if said, ok := w.said[f]; ok && now.Sub(said) < sayEvery {
		return false
	}
	w.said[f] = now
	return true
}
