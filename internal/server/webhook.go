package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
)

// maxDelivery is the most AppVeyor's webhook body may have.
const maxDelivery = 5 << 20

// storeTimeout is how long a sender waits for a delivery to be stored. AppVeyor
// does not say how long it waits; a clear 503 beats its giving up.
const storeTimeout = 8 * time.Second

// appveyorWebhook stores a delivery. 202 means that it is committed.
func (s *Server) appveyorWebhook(c *gin.Context) error {
	if !isOneOf(s.AppVeyorSecrets, bearer(c.Request)) {
		return errUnauthorized.with("send the webhook's secret as Authorization: Bearer SECRET")
	}
	body, err := readBody(c, maxDelivery)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), storeTimeout)
	defer cancel()
	id, err := s.Builds.Receive(ctx, body)
	if err != nil {
		return err
	}
	c.JSON(http.StatusAccepted, gin.H{"delivery": strconv.FormatInt(id, 10)})
	return nil
}

// readBody reads at most limit bytes. A longer body is refused unread when it
// says so, and where it goes over otherwise.
func readBody(c *gin.Context, limit int64) ([]byte, error) {
	if c.Request.ContentLength > limit {
		// Nothing of it was read, so the connection can't be used again.
		c.Header("Connection", "close")
		return nil, &http.MaxBytesError{Limit: limit}
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, err
	case err != nil:
		return nil, errBadBody
	}
	return body, nil
}
