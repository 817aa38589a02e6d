package server

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"mergegate/api"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// listBuilds lists a repository's builds.
func (s *Server) listBuilds(c *gin.Context, token postgres.Token) error {
	repository, err := s.repository(c, token)
	if err != nil {
		return err
	}
	filter, err := buildFilter(c.Request, buildParameters)
	if err != nil {
		return err
	}
	return s.writeBuilds(c, repository, filter)
}

// listPullRequestBuilds lists the builds of one pull request.
func (s *Server) listPullRequestBuilds(c *gin.Context, token postgres.Token) error {
	repository, id, err := s.pullRequest(c, token)
	if err != nil {
		return err
	}
	filter, err := buildFilter(c.Request, slices.DeleteFunc(slices.Clone(buildParameters), func(p string) bool { return p == "pullrequest" }))
	if err != nil {
		return err
	}
	filter.PullRequestID = id
	return s.writeBuilds(c, repository, filter)
}

func (s *Server) writeBuilds(c *gin.Context, r postgres.Repository, f postgres.BuildFilter) error {
	if wantsLines(c) {
		return s.exportBuilds(c, r, f)
	}
	length := f.Limit
	f.Limit++ // one more tells whether there is a next page
	list, err := s.Store.Builds(c.Request.Context(), r, f)
	if err != nil {
		return err
	}
	return writePage(s, c, list, length,
		func(b mergecheck.Build) int64 { return b.BuildID },
		func(b mergecheck.Build) api.Build { return buildOf(r, b) })
}

// writePage writes the first length of list, and the link to the next page where
// there are more. The link carries the filters, so it can be followed as it is.
func writePage[T, W any](s *Server, c *gin.Context, list []T, length int, id func(T) int64, document func(T) W) error {
	page := api.Page[W]{PageLen: length}
	if len(list) > length {
		list = list[:length]
		page.Next = s.nextURL(c, id(list[length-1]))
	}
	page.Values = each(list, document)
	return writeJSON(c, page)
}

func (s *Server) nextURL(c *gin.Context, before int64) string {
	values := c.Request.URL.Query()
	values.Set("page", encodePage(before))
	next := url.URL{Path: c.Request.URL.Path, RawPath: c.Request.URL.EscapedPath(), RawQuery: values.Encode()}
	if s.PublicURL != "" {
		return strings.TrimSuffix(s.PublicURL, "/") + next.String()
	}
	next.Scheme, next.Host = "http", c.Request.Host
	if c.Request.TLS != nil {
		next.Scheme = "https"
	}
	return next.String()
}

func (s *Server) pullRequest(c *gin.Context, token postgres.Token) (postgres.Repository, int64, error) {
	repository, err := s.repository(c, token)
	if err != nil {
		return repository, 0, err
	}
	id, err := pathID(c)
	return repository, id, err
}

// getPullRequest evaluates a pull request now.
func (s *Server) getPullRequest(c *gin.Context, token postgres.Token) error {
	repository, id, err := s.pullRequest(c, token)
	if err != nil {
		return err
	}
	if q := newQuery(c.Request); q.err != nil {
		return q.err
	}
	verdict := verdictOf(repository, s.Explaining.Show(c.Request.Context(), repository, id))
	verdict.BadgeURL = s.signedURL("/badges/%s/pullrequests/%d.svg", signedBadge, repository, id)
	verdict.PageURL = s.signedURL("/repositories/%s/pullrequests/%d", signedPage, repository, id)
	c.JSON(http.StatusOK, verdict)
	return nil
}

// listDecisions lists the answers given to merge checks of a pull request.
func (s *Server) listDecisions(c *gin.Context, token postgres.Token) error {
	repository, id, err := s.pullRequest(c, token)
	if err != nil {
		return err
	}
	return s.writeDecisions(c, keyOf(repository, id))
}

// listRepositoryDecisions lists the answers given for all of a repository.
func (s *Server) listRepositoryDecisions(c *gin.Context, token postgres.Token) error {
	repository, err := s.repository(c, token)
	if err != nil {
		return err
	}
	return s.writeDecisions(c, keyOf(repository, 0))
}

func (s *Server) writeDecisions(c *gin.Context, key postgres.PullRequestKey) error {
	before, length, err := paging(c.Request)
	if err != nil {
		return err
	}
	list, err := s.Store.Decisions(c.Request.Context(), key, before, length+1)
	if err != nil {
		return err
	}
	return writePage(s, c, list, length, func(d postgres.Decision) int64 { return d.ID }, decisionOf)
}

// getBuild returns one build with its jobs.
func (s *Server) getBuild(c *gin.Context, token postgres.Token) error {
	id, ok := parseBuildID(c.Param("id"))
	if !ok {
		return errNotFound
	}
	if q := newQuery(c.Request); q.err != nil {
		return q.err
	}
	build, repository, err := s.Store.Build(c.Request.Context(), id)
	if err != nil {
		return err
	}
	if !covers(token, repository.FullName) {
		return errNotFound
	}
	return writeJSON(c, buildOf(repository, build))
}
