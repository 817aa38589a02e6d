package server

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/gin-gonic/gin"

	"mergegate/api"
	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
	"mergegate/internal/postgres"
)

// maxPolicyBody leaves room for the escapes of a document in JSON. The document
// itself is bounded by [policy.MaxSize].
const maxPolicyBody = 3 * policy.MaxSize

// policyOf writes the defaults out where no policy is set.
func policyOf(p postgres.Policy) api.Policy {
	if p.Version == 0 {
		return api.Policy{Document: policy.Default}
	}
	return api.Policy{Version: &p.Version, Document: p.Document, AppliedBy: &p.AppliedBy, AppliedOn: utc(&p.AppliedOn)}
}

func policyVersionOf(p postgres.Policy) api.PolicyVersion {
	return api.PolicyVersion{Version: p.Version, AppliedBy: p.AppliedBy, AppliedOn: p.AppliedOn.UTC()}
}

// mostWorkspaces is how many are listed.
const mostWorkspaces = 1000

// listWorkspaces lists the workspaces that the token covers a repository of.
func (s *Server) listWorkspaces(c *gin.Context, token postgres.Token) error {
	if q := newQuery(c.Request); q.err != nil {
		return q.err
	}
	cover, err := s.cover(c, token)
	if err != nil {
		return err
	}
	list, err := s.Store.Workspaces(c.Request.Context(), mostWorkspaces)
	if err != nil {
		return err
	}
	values := []api.Workspace{}
	for _, w := range list {
		if cover.CoversWorkspace(w.UUID) {
			values = append(values, api.Workspace{UUID: "{" + w.UUID + "}", Slug: null(w.Slug)})
		}
	}
	return writeJSON(c, api.List[api.Workspace]{Values: values})
}

// workspace finds the workspace of the path, if the token covers all of it: a
// policy is for, and names, every repository there. A token that covers a repository
// there learns why not; to others the workspace doesn't exist.
func (s *Server) workspace(c *gin.Context, token postgres.Token) (postgres.Workspace, error) {
	path := c.Param("workspace")
	if !storable(path) {
		return postgres.Workspace{}, errNotFound
	}
	w, err := s.Store.WorkspaceByPath(c.Request.Context(), path)
	if id := mergecheck.BareUUID(path); errors.Is(err, postgres.ErrNotFound) && id != "" && token.Repository == everyRepository {
		return postgres.Workspace{UUID: id}, nil // nothing is known of it yet, and its policy can be there first
	}
	if err != nil {
		return w, err
	}
	if coversWorkspace(token, w.Slug) {
		return w, nil
	}
	cover, err := s.cover(c, token)
	if err != nil {
		return w, err
	}
	if cover.CoversWorkspace(w.UUID) {
		return w, errForbidden.with("this route needs an API token for the whole workspace, created with --repository '%s/*'; yours covers only some repositories", w.Slug)
	}
	return w, errNotFound
}

// coversWorkspace reports whether the token is for every repository of the
// workspace: those it has, and those it may have.
func coversWorkspace(token postgres.Token, slug string) bool {
	if token.Repository == everyRepository {
		return true
	}
	workspace, repository, found := strings.Cut(strings.ToLower(token.Repository), "/")
	if !found || slug == "" || repository != "*" && repository != "**" {
		return false
	}
	return doublestar.MatchUnvalidated(workspace, strings.ToLower(slug))
}

// getPolicy answers with the policy in force, or an older version of it: as YAML
// where that is asked for.
func (s *Server) getPolicy(c *gin.Context, token postgres.Token) error {
	w, err := s.workspace(c, token)
	if err != nil {
		return err
	}
	q := newQuery(c.Request, "version")
	version := q.positive("version")
	if q.err != nil {
		return q.err
	}
	p, err := s.policyVersion(c, w, version)
	if err != nil {
		return err
	}
	c.Header("ETag", etag(p.Version))
	c.Header("Vary", "Accept")
	wire := policyOf(p)
	switch c.NegotiateFormat("application/json", "application/yaml", "application/x-yaml", "text/yaml") {
	case "application/yaml", "application/x-yaml", "text/yaml":
		c.Data(http.StatusOK, "application/yaml", []byte(wire.Document))
	default:
		c.JSON(http.StatusOK, wire)
	}
	return nil
}

func (s *Server) policyVersion(c *gin.Context, w postgres.Workspace, version int64) (postgres.Policy, error) {
	if version == 0 {
		return s.Store.Policy(c.Request.Context(), w.UUID)
	}
	return s.Store.PolicyVersion(c.Request.Context(), w.UUID, version)
}

func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

var etagPattern = regexp.MustCompile(`^"?([0-9]{1,18})"?$`)

// ifMatch is the version that a request wants to replace, nil for whichever is in
// force.
func ifMatch(r *http.Request) (*int64, error) {
	given := r.Header.Get("If-Match")
	if given == "" {
		return nil, nil
	}
	parts := etagPattern.FindStringSubmatch(given)
	if parts == nil {
		return nil, errParameter.with(`If-Match: give a version like "3", or "0" for no policy`)
	}
	version, err := strconv.ParseInt(parts[1], 10, 64)
	return &version, err
}

// putPolicy applies a document.
func (s *Server) putPolicy(c *gin.Context, token postgres.Token) error {
	w, err := s.workspace(c, token)
	if err != nil {
		return err
	}
	if q := newQuery(c.Request); q.err != nil {
		return q.err
	}
	replaces, err := ifMatch(c.Request)
	if err != nil {
		return err
	}
	document, err := readDocument(c)
	if err != nil {
		return err
	}
	if _, err := policy.Parse([]byte(document)); err != nil {
		return err
	}
	p, err := s.applyPolicy(c, w, document, token.Name, replaces)
	if err != nil {
		return err
	}
	c.Header("ETag", etag(p.Version))
	c.JSON(http.StatusOK, policyOf(p))
	return nil
}

func (s *Server) applyPolicy(c *gin.Context, w postgres.Workspace, document, by string, replaces *int64) (postgres.Policy, error) {
	if replaces == nil {
		return s.Store.ApplyPolicy(c.Request.Context(), w.UUID, document, by)
	}
	return s.Store.ReplacePolicy(c.Request.Context(), w.UUID, *replaces, document, by)
}

// readDocument reads a policy document: the body itself, or in JSON.
func readDocument(c *gin.Context) (string, error) {
	kind, _, err := mime.ParseMediaType(c.GetHeader("Content-Type"))
	if err != nil && c.GetHeader("Content-Type") != "" {
		return "", errMediaType
	}
	switch kind {
	case "", "application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/plain":
		body, err := readBody(c, policy.MaxSize)
		return string(body), err
	case "application/json":
		return readDocumentInJSON(c)
	default:
		return "", errMediaType
	}
}

func readDocumentInJSON(c *gin.Context) (string, error) {
	body, err := readBody(c, maxPolicyBody)
	if err != nil {
		return "", err
	}
	if !json.Valid(body) {
		return "", errNotJSON
	}
	var given api.PolicyRequest
	if err := json.Unmarshal(body, &given); err != nil || given.Document == nil {
		return "", errInvalidBody.with(`document: missing or not text; give the policy as YAML in a string`)
	}
	if len(*given.Document) > policy.MaxSize {
		return "", &http.MaxBytesError{Limit: policy.MaxSize}
	}
	return *given.Document, nil
}

// listPolicyVersions lists who applied which version when, newest first.
func (s *Server) listPolicyVersions(c *gin.Context, token postgres.Token) error {
	w, err := s.workspace(c, token)
	if err != nil {
		return err
	}
	before, length, err := paging(c.Request)
	if err != nil {
		return err
	}
	list, err := s.Store.Policies(c.Request.Context(), w.UUID, before, length+1)
	if err != nil {
		return err
	}
	return writePage(s, c, list, length, func(p postgres.Policy) int64 { return p.Version }, policyVersionOf)
}

// getEffectivePolicy tells what applies to a repository and branch, and which rule
// says so.
func (s *Server) getEffectivePolicy(c *gin.Context, token postgres.Token) error {
	w, err := s.workspace(c, token)
	if err != nil {
		return err
	}
	q := newQuery(c.Request, "repository", "branch", "version")
	version, repository, branch := q.positive("version"), q.text("repository"), q.text("branch")
	if repository == "" || branch == "" {
		q.fail("repository, branch: give both")
	}
	if q.err != nil {
		return q.err
	}
	if !strings.Contains(repository, "/") {
		repository = w.Slug + "/" + repository
	}
	p, err := s.policyVersion(c, w, version)
	if err != nil {
		return err
	}
	document, err := readable(p)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, api.EffectivePolicy{
		Version: policyOf(p).Version, Repository: repository, Branch: branch, Settings: Settings(document.Explain(repository, branch)),
	})
	return nil
}

// Settings are what a policy says, as the API tells it.
func Settings(list []policy.Setting) []api.Setting {
	return each(list, func(s policy.Setting) api.Setting {
		document := api.Setting{Name: s.Name, Value: s.Value}
		if s.Rule != nil {
			document.Rule = &api.RulePlace{Number: s.Rule.Number, Line: s.Rule.Line}
		}
		return document
	})
}

// readable reads a policy that is kept; where none is set it has no rules.
func readable(p postgres.Policy) (*policy.Document, error) {
	if p.Version == 0 {
		return new(policy.Document), nil
	}
	document, err := policy.Parse([]byte(p.Document))
	var faults policy.Faults
	if errors.As(err, &faults) {
		return nil, errConflict.with("this mergegate can't read policy version %d; apply a corrected one: %s", p.Version, faults[0])
	}
	return document, err
}
