package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"mergegate/internal/postgres"
)

const (
	readyPath = "/readyz"
	// readyTime is how long the database has to answer.
	readyTime = 2 * time.Second
	// probedFor is how long a probe's outcome is told again: anybody may ask.
	probedFor = 5 * time.Second
)

// readyz reports whether the service can do its work: 503 while the database can't be
// used and from the beginning of shutdown. With ?full it says too whether a webhook could
// be stored now. Without, a database that takes nothing is ready: merge checks are
// answered from it.
func (s *Server) readyz(c *gin.Context) error {
	if s.draining.Load() {
		return errUnavailable.with("shutting down")
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), readyTime)
	defer cancel()
	if err := s.Checks.Ping(ctx); err != nil {
		s.Log.WarnContext(ctx, "not ready", "error", err)
		return errUnavailable
	}
	if c.Request.URL.Query().Has("full") {
		if err := s.probe.outcome(s.Writing.ProbeWrite); err != nil {
			s.Log.WarnContext(ctx, "not ready: storing webhooks fails", "error", err)
			if failure := postgres.WriteFailureOf(err); failure != "" {
				return errUnavailable.with("mergegate can't store webhooks: %s; ask your mergegate admin", failure)
			}
			return errUnavailable.with("mergegate can't store webhooks now")
		}
	}
	c.JSON(http.StatusOK, gin.H{"status": "ready"})
	return nil
}

// probe remembers what came of a probe for a while, and makes one at a time.
type probe struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

func (p *probe) outcome(try func(context.Context) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at.IsZero() || time.Since(p.at) >= probedFor {
		// Not the asker's context: what comes of it is for the others too.
		ctx, cancel := context.WithTimeout(context.Background(), readyTime)
		defer cancel()
		p.err, p.at = try(ctx), time.Now()
	}
	return p.err
}
