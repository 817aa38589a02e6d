package server

import (
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
	return writePage(s, c, list, length, func(d postgres.Delivery) int64 { return d.ID }, deliveryOf)
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
	c.JSON(http.StatusAccepted, deliveryOf(d))
	return nil
}

var deliveryPattern = regexp.MustCompile(`^(pending|posted|failed|not_postable)$`)

// listCommitStatuses lists commit statuses by how far they have come.
func (s *Server) listCommitStatuses(c *gin.Context, token postgres.Token) error {
	q := newQuery(c.Request, "state", "pagelen", "page")
	delivery := q.matching("state", "pending, posted, failed or not_postable", deliveryPattern)
	before, length := q.page(), q.pageLength()
	if q.err != nil {
		return q.err
	}
	cover, err := s.cover(c, token)
	if err != nil {
		return err
	}
	list, err := s.Store.CommitStatuses(c.Request.Context(), cover, postgres.StatusDelivery(delivery), before, length+1)
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
