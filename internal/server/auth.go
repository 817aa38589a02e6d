package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/gin-gonic/gin"

	"mergegate/api"
	"mergegate/internal/postgres"
)

// bearer returns the token of an Authorization header, or "".
func bearer(r *http.Request) string {
	scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// isOneOf compares in constant time, whatever the lengths, and looks at every
// secret, so that the time taken tells nothing.
func isOneOf(secrets []string, given string) bool {
	sum := sha256.Sum256([]byte(given))
	found := 0
	for _, secret := range secrets {
		want := sha256.Sum256([]byte(secret))
		found |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	return given != "" && found == 1
}

// hashToken is what is kept of an API token. Tokens are 256 random bits, so a
// plain hash can't be searched.
func hashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

type authorizedHandler func(c *gin.Context, token postgres.Token) error

// authorized lets a request through whose token is valid and has the scope.
func (s *Server) authorized(scope string, f authorizedHandler) gin.HandlerFunc {
	return s.authorizedOf(s.api, scope, f)
}

// authorizedOf is authorized for requests of a kind. One that wants a stream is of that
// kind. The token comes first, then the body, and then a place: nothing is waited for,
// neither a sender nor somebody without a token, while one is held.
func (s *Server) authorizedOf(k kind, scope string, f authorizedHandler) gin.HandlerFunc {
	return s.handle(func(c *gin.Context) error {
		if operator, ok := c.Request.Context().Value(operatorKey{}).(postgres.Token); ok {
			return f(c, operator)
		}
		token, err := s.authenticate(c, scope)
		if err != nil {
			return err
		}
		done, err := s.apiBodies.keepBody(c, maxPolicyBody)
		defer done()
		if err != nil {
			return err
		}
		of := k
		if wantsLines(c) {
			of = s.streams
		}
		return s.within(of, func(c *gin.Context) error { return f(c, token) })(c)
	})
}

func (s *Server) authenticate(c *gin.Context, scope string) (token postgres.Token, err error) {
	given := bearer(c.Request)
	if given == "" {
		return token, errUnauthorized.with("send an API token as Authorization: Bearer TOKEN")
	}
	if !s.logins.take(c.Request.Context(), waitForPlace) {
		return token, errBusy
	}
	defer s.logins.give()
	ctx, cancel := context.WithTimeout(c.Request.Context(), apiTime)
	defer cancel()
	token, err = s.Store.TokenByHash(ctx, hashToken(given))
	switch {
	case errors.Is(err, postgres.ErrNotFound):
		return token, errUnauthorized.with("the API token is unknown, expired or revoked")
	case err != nil:
		return token, err
	case !hasScope(token, scope):
		return token, errForbidden.with("this route needs an API token with scope %s", scope)
	}
	return token, nil
}

// operatorKey is how a request says that it is the operator's. Only this process
// can make one: no header becomes a context value.
type operatorKey struct{}

// AsOperator is the server for commands of this process, whoever runs which can
// read and write the database anyway: every scope and repository, without a token.
// What they do is recorded as done by operator.
func (s *Server) AsOperator(operator postgres.Token) http.Handler {
	operator.Repository = everyRepository
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.engine.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), operatorKey{}, operator)))
	})
}

func hasScope(token postgres.Token, scope string) bool {
	return slices.Contains(token.Scopes, scope) ||
		scope == api.ScopeRead && slices.Contains(token.Scopes, api.ScopeAdmin)
}

// everyRepository is the glob of tokens that cover everything, also what can't be
// told to be of any repository.
const everyRepository = "**"

// covers reports whether the token is for this repository. One that isn't gets
// the answer for a repository that doesn't exist. An empty glob covers nothing.
func covers(token postgres.Token, fullName string) bool {
	return token.Repository == everyRepository ||
		fullName != "" && doublestar.MatchUnvalidated(strings.ToLower(token.Repository), strings.ToLower(fullName))
}

// cover is what the token covers, for routes that name no repository.
func (s *Server) cover(c *gin.Context, token postgres.Token) (postgres.Cover, error) {
	if token.Repository == everyRepository {
		return postgres.Everything, nil
	}
	return s.Store.Cover(c.Request.Context(), func(fullName string) bool { return covers(token, fullName) })
}

// repository finds the repository of the path, if the token covers it.
func (s *Server) repository(c *gin.Context, token postgres.Token) (postgres.Repository, error) {
	workspace, slug := c.Param("workspace"), c.Param("repo_slug")
	if !storable(workspace) || !storable(slug) {
		return postgres.Repository{}, errNotFound
	}
	r, err := s.Store.RepositoryByPath(c.Request.Context(), workspace, slug)
	if err != nil {
		return r, err
	}
	if !covers(token, r.FullName) {
		return r, errNotFound
	}
	return r, nil
}
