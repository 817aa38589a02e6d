package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"mergegate/api"
	"mergegate/internal/policy"
	"mergegate/internal/postgres"
	"mergegate/internal/simulation"
)

const (
	// simulateFor is how long a simulation takes at most: some hundred thousand
	// decisions. It takes all cores, so that only one goes on at a time.
	simulateFor = 2 * time.Minute
	// defaultSince is how far back it looks where nobody says.
	defaultSince = "30d"
)

// simulatePolicy judges past merges by a document that isn't in force.
func (s *Server) simulatePolicy(c *gin.Context, token postgres.Token) error {
	w, err := s.workspace(c, token)
	if err != nil {
		return err
	}
	q := newQuery(c.Request, "since")
	since := q.since(time.Now())
	if q.err != nil {
		return q.err
	}
	document, err := readDocument(c)
	if err != nil {
		return err
	}
	parsed, err := policy.Parse([]byte(document))
	if err != nil {
		return err
	}
	return s.simulate(c, w, parsed, since)
}

func (s *Server) simulate(c *gin.Context, w postgres.Workspace, d *policy.Document, since time.Time) error {
	// Longer than any other answer may take. A connection that can't be given longer
	// ends sooner, which its client sees.
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(simulateFor + 10*time.Second))
	ctx, cancel := context.WithTimeout(c.Request.Context(), simulateFor)
	defer cancel()
	result, err := simulation.Run(ctx, s.Store, w.UUID, d, since, nil)
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return errUnavailable.with("there are more decisions than can be judged in %s: give a later since, or use mergegate policy simulate", simulateFor)
	case err != nil:
		return err
	}
	c.JSON(http.StatusOK, simulationOf(since, result))
	return nil
}

func simulationOf(since time.Time, r policy.Simulation) api.Simulation {
	changeOf := func(c policy.Change) api.Change {
		return api.Change{Code: string(c.Code), Repository: c.Repository, Decisions: c.Decisions, PullRequests: c.PullRequests, More: c.More}
	}
	return api.Simulation{
		Since: since, Decisions: r.Decisions, Judged: r.Judged, Blocked: each(r.Blocked, changeOf), Allowed: each(r.Allowed, changeOf),
		Unjudged: each(r.Unjudged, func(u policy.Unjudged) api.Unjudged { return api.Unjudged(u) }),
	}
}

func (q *query) since(now time.Time) time.Time {
	text := q.text("since")
	if !q.values.Has("since") {
		text = defaultSince
	}
	t, err := simulation.Since(text, now.UTC())
	if err != nil {
		q.fail("since: %v", err)
	}
	return t
}
