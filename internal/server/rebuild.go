package server

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"mergegate/api"
	"mergegate/internal/postgres"
)

// rebuild asks AppVeyor to build a pull request again.
func (s *Server) rebuild(c *gin.Context, token postgres.Token) error {
	repository, id, err := s.pullRequest(c, token)
	if err != nil {
		return err
	}
	pr := s.Explaining.Explain(c.Request.Context(), repository, id).PullRequest
	switch {
	case pr.Head == "":
		return errConflict.with("mergegate can't tell the head of pull request %d: %s", id, pr.HeadProblem)
	case !strings.EqualFold(pr.State, "OPEN"):
		return errConflict.with("pull request %d is %s", id, strings.ToLower(pr.State))
	}
	list, err := s.Builds.Rebuild(c.Request.Context(), repository, pr)
	if err != nil {
		return err
	}
	values := make([]api.Rebuild, len(list))
	for i, r := range list {
		values[i] = api.Rebuild{Project: projectOf(r.Project), Reason: null(r.Reason)}
		if r.BuildID != 0 {
			values[i].BuildID = &r.BuildID
		}
	}
	c.JSON(http.StatusAccepted, api.List[api.Rebuild]{Values: values})
	return nil
}
