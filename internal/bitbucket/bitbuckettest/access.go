package bitbuckettest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// client is an OAuth consumer.
type client struct {
	secret     string
	workspaces []string
}

// consumerToken begins every token that an OAuth consumer gets.
const consumerToken = "oauth-"

// AllowToken makes a bearer token, or an "email:token" pair for Basic authentication, valid for the repositories of
// workspaces, given by slug or UUID. From then on private repositories and all writing need a valid one.
func (s *Server) AllowToken(token string, workspaces ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = workspaces
}

// LimitToken has a token that is allowed have no other OAuth scopes than these, and what they include: pullrequest:write
// includes pullrequest, which includes repository.
func (s *Server) LimitToken(token string, scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scopes[token] = scopes
}

// includedScopes is what else a scope allows.
// https://developer.atlassian.com/cloud/bitbucket/rest/intro/#authentication
var includedScopes = map[string][]string{
	"pullrequest:write": {"pullrequest", "repository:write", "repository"},
	"pullrequest":       {"repository"},
	"repository:write":  {"repository"},
}

// lacks answers the refusal of a request whose token has not the scope that the document asks for.
func (s *Server) lacks(r *http.Request, scope string) *refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	scopes, limited := s.scopes[identity(r)]
	if !limited {
		return nil
	}
	for _, has := range scopes {
		if has == scope || slices.Contains(includedScopes[has], scope) {
			return nil
		}
	}
	return refused(http.StatusForbidden, "Your credentials lack one or more required privilege scopes.")
}

// RevokeToken has a token answered with 401; so is every token that was never allowed.
func (s *Server) RevokeToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, token)
	s.tokens[""] = nil // closed, even when this was the last token
}

// AllowClient lets an OAuth consumer get tokens for workspaces at /site/oauth2/access_token: oauth-1, oauth-2, ….
func (s *Server) AllowClient(id, secret string, workspaces ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[id] = client{secret: secret, workspaces: workspaces}
	s.tokens[""] = nil
}

func (s *Server) accessToken(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, secret, _ := r.BasicAuth()
	known, ok := s.clients[id]
	if !ok || known.secret != secret || r.FormValue("grant_type") != "client_credentials" {
		writeJSON(w, http.StatusBadRequest, []byte(`{"error":"invalid_client","error_description":"no such consumer"}`))
		return
	}
	s.issued++
	token := consumerToken + strconv.Itoa(s.issued)
	s.tokens[token] = known.workspaces
	writeJSON(w, http.StatusOK, fmt.Appendf(nil, `{"access_token":%q,"token_type":"bearer","expires_in":7200,"scopes":"repository pullrequest"}`, token))
}

// identity answers the bearer token or the "email:token" pair of a request, "" when it has none.
func identity(r *http.Request) string {
	if user, password, ok := r.BasicAuth(); ok {
		return user + ":" + password
	}
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return token
}

// refuse answers why a request may not have the repository, nil when it may. A private repository that a token isn't
// for is answered like one that doesn't exist.
func (s *Server) refuse(r *http.Request, repo *repository) *refusal {
	if len(s.tokens) == 0 {
		return nil
	}
	reading := r.Method == http.MethodGet
	who := identity(r)
	workspaces, valid := s.tokens[who]
	switch {
	case who != "" && !valid:
		return refused(http.StatusUnauthorized, "Token is invalid, expired, or not supported for this endpoint.")
	case who == "" && (repo.Private || !reading):
		return refused(http.StatusUnauthorized, "Authentication is required.")
	case who != "" && !slices.ContainsFunc(workspaces, repo.inWorkspace) && repo.Private:
		return noRepository(repo.FullName)
	case who != "" && !slices.ContainsFunc(workspaces, repo.inWorkspace) && !reading:
		return refused(http.StatusForbidden, "Your credentials lack one or more required privilege scopes.")
	default:
		return nil
	}
}

func (r *repository) inWorkspace(name string) bool {
	workspace, _, _ := strings.Cut(r.FullName, "/")
	return strings.EqualFold(name, workspace) || braces(name) == r.WorkspaceUUID
}
