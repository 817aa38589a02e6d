package server

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"mergegate/api"
	"mergegate/internal/postgres"
)

func effectOf(e postgres.Effect) api.Effect {
	return api.Effect{
		Effect: e.Effect, Wanted: null(e.Wanted), Made: null(e.Made), Head: null(e.Head), Outcome: string(e.Outcome),
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
	c.JSON(status, api.List[api.Effect]{Values: each(list, effectOf)})
}
