package server

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"mergegate/internal/web"
)

// home says what this is.
func (s *Server) home(c *gin.Context) error {
	var page bytes.Buffer
	if err := web.Home(&page); err != nil {
		return err
	}
	writeHTML(c, page.Bytes())
	return nil
}

// pullRequestPage shows the verdict on a pull request now, to whoever has its
// signed address; to everybody else there is nothing.
func (s *Server) pullRequestPage(c *gin.Context) error {
	id, err := pathID(c)
	workspace, slug := c.Param("workspace"), c.Param("repo_slug")
	if err != nil || !storable(workspace) || !storable(slug) || strings.ContainsAny(workspace+slug, "{}") {
		return errNotFound
	}
	repository, err := s.Store.RepositoryByPath(c.Request.Context(), workspace, slug)
	if err != nil {
		return err
	}
	if !s.signed(c, signedPage, repository, id) {
		return errNotFound
	}
	var page bytes.Buffer
	if err := web.PullRequest(&page, repository.FullName, s.Explaining.Show(c.Request.Context(), repository, id)); err != nil {
		return err
	}
	writeHTML(c, page.Bytes())
	return nil
}

func writeHTML(c *gin.Context, page []byte) {
	c.Header("Content-Security-Policy", web.ContentPolicy)
	c.Header("Referrer-Policy", "no-referrer") // the address is what lets one in
	c.Header("Cache-Control", "private, no-store")
	c.Data(http.StatusOK, "text/html; charset=utf-8", page)
}
