package server

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"mergegate/api"
	"mergegate/internal/builds"
	"mergegate/internal/commitstatus"
	"mergegate/internal/postgres"
)

// listProjects lists the AppVeyor projects that were seen, of the repositories that the
// token covers.
func (s *Server) listProjects(c *gin.Context, token postgres.Token) error {
	if q := newQuery(c.Request); q.err != nil {
		return q.err
	}
	list, err := s.Store.Projects(c.Request.Context())
	if err != nil {
		return err
	}
	values := []api.SeenProject{}
	for _, p := range list {
		if covers(token, p.Repository) {
			values = append(values, seenProjectOf(p))
		}
	}
	return writeJSON(c, api.List[api.SeenProject]{Values: values})
}

func seenProjectOf(p postgres.SeenProject) api.SeenProject {
	return api.SeenProject{
		ID: p.ProjectID, Slug: p.Project().Name(), Repository: null(p.Repository), NewestBuildID: p.NewestBuildID, Forgotten: p.Forgotten,
	}
}

// forgetProject stops a project from being required, wherever it was seen.
func (s *Server) forgetProject(c *gin.Context, token postgres.Token) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	list, err := s.Store.Projects(c.Request.Context())
	if err != nil {
		return err
	}
	for _, p := range list {
		if p.ProjectID == id && !covers(token, p.Repository) {
			return errNotFound
		}
	}
	if err := commitstatus.Forget(c.Request.Context(), s.Store, id); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

// backfill imports builds from a project's history on AppVeyor. It answers with a line for
// each page of it: how far it has come.
func (s *Server) backfill(c *gin.Context, token postgres.Token) error {
	if err := overall(token); err != nil {
		return err
	}
	q := newQuery(c.Request, "project", "since")
	account, slug := q.project("project")
	since := q.instant("since")
	if q.err == nil && since.IsZero() {
		q.fail("since: missing; give a time like 2026-01-31T12:00:00Z or 2026-01-31")
	}
	if q.err != nil {
		return q.err
	}
	lines := newLines(c)
	var last api.Backfill
	err := s.Builds.Backfill(c.Request.Context(), account, slug, since, func(p builds.Progress) {
		last = api.Backfill{Looked: p.Looked, Confirmed: p.Confirmed, At: nullTime(p.At)}
		lines.write(last)
	})
	if err != nil {
		return err
	}
	last.Done = true
	lines.write(last)
	return nil
}
