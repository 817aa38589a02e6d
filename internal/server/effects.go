package server

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"mergegate/internal/postgres"
)

type wireEffect struct {
	Effect        string                  `json:"effect"`
	Wanted        *string                 `json:"wanted"`
	Made          *string                 `json:"made"`
	Head          *string                 `json:"head"`
	Delivery      postgres.EffectDelivery `json:"delivery"`
	HTTPStatus    *int                    `json:"http_status"`
	Reason        *string                 `json:"reason"`
	Attempts      int                     `json:"attempts"`
	NextAttemptOn *time.Time              `json:"next_attempt_on"`
	UpdatedOn     time.Time               `json:"updated_on"`
}

func effectOf(e postgres.Effect) wireEffect {
	return wireEffect{
		Effect: e.Effect, Wanted: null(e.Wanted), Made: null(e.Made), Head: null(e.Head), Delivery: e.Delivery,
		HTTPStatus: e.HTTPStatus, Reason: null(e.Reason), Attempts: e.Attempts,
		NextAttemptOn: utc(e.NextAttemptOn), UpdatedOn: e.UpdatedOn.UTC(),
	}
}

// listEffects lists what Bitbucket is to show of a pull request's verdict, and
// what it was told.
func (s *Server) listEffects(c *gin.Context, token postgres.Token) error {
	repository, id, err := s.pullRequest(c, token)
	if err != nil {
		return err
	}
	if q := newQuery(c.Request); q.err != nil {
		return q.err
	}
	list, err := s.Store.Effects(c.Request.Context(), keyOf(repository, id))
	if err != nil {
		return err
	}
	writeEffects(c, http.StatusOK, list)
	return nil
}

// retryEffects has effects tried again that Bitbucket refused.
func (s *Server) retryEffects(c *gin.Context, token postgres.Token) error {
	repository, id, err := s.pullRequest(c, token)
	if err != nil {
		return err
	}
	list, err := s.Store.RetryEffects(c.Request.Context(), keyOf(repository, id))
	if err != nil {
		return err
	}
	writeEffects(c, http.StatusAccepted, list)
	return nil
}

// writeEffects writes the whole list: there is one of each at most.
func writeEffects(c *gin.Context, status int, list []postgres.Effect) {
	values := make([]wireEffect, len(list))
	for i, e := range list {
		values[i] = effectOf(e)
	}
	c.JSON(status, gin.H{"values": values})
}
