package server

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"mergegate/api"
	"mergegate/internal/postgres"
)

// newToken is 256 random bits with a prefix that secret scanners can look for.
func newToken() string {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails: crypto/rand ends the program instead
	return "mgt_" + base64.RawURLEncoding.EncodeToString(secret)
}

// overall refuses a token that doesn't cover every repository: what it asks for is of no
// repository.
func overall(token postgres.Token) error {
	if token.Repository != everyRepository {
		return errForbidden.with("this route needs an API token for every repository, created with --repository '**'")
	}
	return nil
}

// createToken makes an API token and answers with its text, this once. It lives no longer
// than the one that makes it: a token that is taken away leaves none behind.
func (s *Server) createToken(c *gin.Context, token postgres.Token) error {
	if err := overall(token); err != nil {
		return err
	}
	var body api.TokenRequest
	if err := readJSON(c, &body); err != nil {
		return err
	}
	now, err := s.Store.Now(c.Request.Context())
	if err != nil {
		return err
	}
	made, err := tokenOfRequest(body, now)
	if err != nil {
		return err
	}
	if limit := token.ExpiresOn; limit != nil && (made.ExpiresOn == nil || made.ExpiresOn.After(*limit)) {
		return errForbidden.with("expires_on: a token can't outlive the token that creates it, which expires on %s", limit.UTC().Format(time.RFC3339))
	}
	text := newToken()
	if made.ID, err = s.Store.AddToken(c.Request.Context(), made, hashToken(text)); err != nil {
		return err
	}
	made.CreatedOn = now
	document := tokenOf(made, now)
	document.Secret = text
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusCreated, document)
	return nil
}

// tokenOfRequest reads what a token is to be for.
func tokenOfRequest(r api.TokenRequest, now time.Time) (postgres.Token, error) {
	t := postgres.Token{Name: strings.TrimSpace(r.Name), Repository: r.Repository, Scopes: r.Scopes, ExpiresOn: r.ExpiresOn}
	if r.Owner != "" {
		owner, err := uuid.Parse(r.Owner)
		if err != nil {
			return t, errInvalidBody.with("owner: give the UUID of a Bitbucket user")
		}
		t.Owner = owner.String()
	}
	t.ReportProject = r.ProjectID
	reports := slices.Contains(r.Scopes, api.ScopeReport)
	switch wrong := slices.IndexFunc(r.Scopes, func(scope string) bool { return !slices.Contains(api.Scopes, scope) }); {
	case t.Name == "" || !storable(t.Name):
		return t, errInvalidBody.with("name: give 1 to 1024 characters")
	case len(r.Scopes) == 0:
		return t, errInvalidBody.with("scopes: empty; give one or more of %s", strings.Join(api.Scopes, ", "))
	case wrong >= 0:
		return t, errInvalidBody.with("scopes: %q is not one of %s", r.Scopes[wrong], strings.Join(api.Scopes, ", "))
	case strings.TrimSpace(r.Repository) == "":
		return t, errInvalidBody.with("repository: empty; give a glob like acme/*, or ** for every repository")
	case !storable(r.Repository) || !doublestar.ValidatePattern(r.Repository):
		return t, errInvalidBody.with("repository: %q is not a glob like acme/*", r.Repository)
	case r.ExpiresOn != nil && !r.ExpiresOn.After(now):
		return t, errInvalidBody.with("expires_on: give a time in the future")
	case r.ProjectID != nil && *r.ProjectID < 1:
		return t, errInvalidBody.with("project_id: give the positive id of an AppVeyor project")
	case r.ProjectID != nil && !reports:
		return t, errInvalidBody.with("project_id: only tokens with scope report have one")
	case r.ProjectID == nil && reports:
		return t, errInvalidBody.with("project_id: missing; give the id of the AppVeyor project that the token reports for")
	}
	return t, nil
}

// listTokens lists tokens without their text, oldest first.
func (s *Server) listTokens(c *gin.Context, token postgres.Token) error {
	if err := overall(token); err != nil {
		return err
	}
	if q := newQuery(c.Request); q.err != nil {
		return q.err
	}
	list, err := s.Store.Tokens(c.Request.Context())
	if err != nil {
		return err
	}
	now := time.Now()
	return writeJSON(c, api.List[api.Token]{Values: each(list, func(t postgres.Token) api.Token { return tokenOf(t, now) })})
}

// revokeToken makes a token invalid at once.
func (s *Server) revokeToken(c *gin.Context, token postgres.Token) error {
	if err := overall(token); err != nil {
		return err
	}
	id, err := pathID(c)
	if err != nil {
		return err
	}
	if err := s.Store.RevokeToken(c.Request.Context(), id); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

func tokenOf(t postgres.Token, now time.Time) api.Token {
	document := api.Token{
		ID: formatID(t.ID), Name: t.Name, State: "valid", Scopes: t.Scopes, Repository: t.Repository, CreatedOn: t.CreatedOn.UTC(),
		ExpiresOn: utc(t.ExpiresOn), LastUsedOn: utc(t.LastUsedOn), RevokedOn: utc(t.RevokedOn),
	}
	switch {
	case t.RevokedOn != nil:
		document.State = "revoked"
	case t.ExpiresOn != nil && t.ExpiresOn.Before(now):
		document.State = "expired"
	}
	if t.Owner != "" {
		document.Owner = new("{" + t.Owner + "}")
	}
	if t.ReportProject != nil {
		document.ReportsFor = &api.ReportsFor{ProjectID: *t.ReportProject, Project: t.ReportProjectName}
	}
	return document
}
