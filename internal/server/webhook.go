package server

import (
	"context"
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
	body, done, err := s.appveyorBodies.read(c, maxDelivery, largeBodyTime)
	defer done()
	if err != nil {
		return err
	}
	return bounded(s.appveyor, func(c *gin.Context) error { return s.receiveBuild(c, body) })(c)
}

func (s *Server) receiveBuild(c *gin.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(c.Request.Context(), storeTimeout)
	defer cancel()
	id, err := s.Receiving.Receive(ctx, body)
	if err != nil {
		return err
	}
	c.JSON(http.StatusAccepted, gin.H{"delivery": strconv.FormatInt(id, 10)})
	return nil
}
