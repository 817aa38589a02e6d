package server

import (
	"errors"
	"net/http"
	"regexp"

	"github.com/gin-gonic/gin"

	"mergegate/api"
	"mergegate/internal/postgres"
)

func (s *Server) openAPI(c *gin.Context) error {
	writeTagged(c, "application/yaml", api.OpenAPI)
	return nil
}

// listDeliveries lists what was received of the repositories that the token covers,
// newest first.
func (s *Server) listDeliveries(c *gin.Context, token postgres.Token) error {
	before, length, err := paging(c.Request)
	if err != nil {
		return err
	}
	cover, err := s.cover(c, token)
	if err != nil {
		return err
	}
	list, err := s.Store.Deliveries(c.Request.Context(), cover, before, length+1)
	if err != nil {
		return err
	}
	return writePage(s, c, list, length, func(d postgres.Delivery) int64 { return d.ID }, s.deliveryOf)
}

// replayDelivery has a delivery processed anew.
func (s *Server) replayDelivery(c *gin.Context, token postgres.Token) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	cover, err := s.cover(c, token)
	if err != nil {
		return err
	}
	d, err := s.Store.ReplayDelivery(c.Request.Context(), cover, id)
	if err != nil {
		return err
	}
	c.JSON(http.StatusAccepted, s.deliveryOf(d))
	return nil
}

// replayDeliveries has every delivery since a time processed anew. It answers with a line
// now and then: how many are queued.
func (s *Server) replayDeliveries(c *gin.Context, token postgres.Token) error {
	q := newQuery(c.Request, "since")
	since := q.instant("since")
	if q.err == nil && since.IsZero() {
		q.fail("since: missing; give a time like 2026-01-31T12:00:00Z or 2026-01-31")
	}
	if q.err != nil {
		return q.err
	}
	cover, err := s.cover(c, token)
	if err != nil {
		return err
	}
	ids, err := s.Store.DeliveriesSince(c.Request.Context(), cover, since)
	if err != nil {
		return err
	}
	lines := newLines(c)
	for i, id := range ids {
		if _, err := s.Store.ReplayDelivery(c.Request.Context(), cover, id); err != nil && !errors.Is(err, postgres.ErrNotFound) {
			return err
		}
		if i%replayedPerLine == replayedPerLine-1 {
			lines.write(api.Replayed{Deliveries: i + 1, Of: len(ids)})
		}
	}
	lines.write(api.Replayed{Deliveries: len(ids), Of: len(ids), Done: true})
	return nil
}

// replayedPerLine is how often it is told how far replaying has come.
const replayedPerLine = 100

var outcomePattern = regexp.MustCompile(`^(pending|posted|failed|not_postable)$`)

// listCommitStatuses lists commit statuses by how far they have come.
func (s *Server) listCommitStatuses(c *gin.Context, token postgres.Token) error {
	q := newQuery(c.Request, "outcome", "pagelen", "page")
	outcome := q.matching("outcome", "pending, posted, failed or not_postable", outcomePattern)
	before, length := q.page(), q.pageLength()
	if q.err != nil {
		return q.err
	}
	cover, err := s.cover(c, token)
	if err != nil {
		return err
	}
	list, err := s.Store.CommitStatuses(c.Request.Context(), cover, postgres.Outcome(outcome), before, length+1)
	if err != nil {
		return err
	}
	return writePage(s, c, list, length, func(s postgres.CommitStatus) int64 { return s.ID }, statusOf)
}

// retryCommitStatus queues a commit status again that Bitbucket refused.
func (s *Server) retryCommitStatus(c *gin.Context, token postgres.Token) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	cover, err := s.cover(c, token)
	if err != nil {
		return err
	}
	covered, err := s.Store.CoversStatus(c.Request.Context(), cover, id)
	if err != nil {
		return err
	}
	if !covered {
		return errNotFound
	}
	status, err := s.Store.RetryStatus(c.Request.Context(), id)
	if err != nil {
		return err
	}
	c.JSON(http.StatusAccepted, statusOf(status))
	return nil
}
