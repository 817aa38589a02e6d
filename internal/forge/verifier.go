// Package forge reads what Atlassian Forge sends to a remote: invocation tokens, which say who calls, and the events of
// merge checks.
//
//	verifier, err := forge.NewVerifier(ctx, forge.Config{AppIDs: []string{"ari:cloud:ecosystem::app/…"}})
//	invocation, err := verifier.Verify(ctx, token)
//	check, err := forge.ParseMergeCheck(body)
//	if !invocation.ForWorkspace(check.WorkspaceUUID) { … }
//
// The rules are those of Atlassian's "Forge Remote invocation contract", with the algorithm pinned.
package forge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// DefaultJWKSURL is where Atlassian publishes the keys that sign invocation tokens.
const DefaultJWKSURL = "https://forge.cdn.prod.atlassian-dev.net/.well-known/jwks.json"

const (
	issuer    = "forge/invocation-token"
	algorithm = "RS256"
	// leeway is small because a token lives for 25 s only, and there at all because nbf is the moment of issue.
	leeway         = 30 * time.Second
	maxTokenLength = 16 << 10
)

var (
	// ErrUnauthorized says that a token isn't valid, or can't be verified now: HTTP 401.
	ErrUnauthorized = errors.New("the invocation token is not accepted")
	// ErrForbidden says that a valid token speaks for a person's browser, not for the app: HTTP 403.
	ErrForbidden = errors.New("the invocation token belongs to a person, not to the app")
)

// Config says whose tokens are accepted.
type Config struct {
	AppIDs       []string         // app ARIs; a token is for one of them
	Environments []string         // accepted app.environment.type, in any case; empty: PRODUCTION
	JWKSURL      string           // "": DefaultJWKSURL
	Log          *slog.Logger     // nil: none
	HTTPClient   *http.Client     // nil: one that follows no redirects
	Now          func() time.Time // nil: time.Now
}

// Verifier verifies invocation tokens. It is safe for concurrent use.
type Verifier struct {
	appIDs       []string
	environments []string
	keys         *keySet
	parser       *jwt.Parser
	now          func() time.Time
}

// NewVerifier answers a verifier whose keys are read, and read again, in the background until ctx ends. That they
// can't be read now is no error: tokens are refused until they could.
func NewVerifier(ctx context.Context, cfg Config) (*Verifier, error) {
	if len(cfg.AppIDs) == 0 || slices.Contains(cfg.AppIDs, "") {
		return nil, errors.New("forge: give at least one app id, and no empty one")
	}
	if len(cfg.Environments) == 0 {
		cfg.Environments = []string{"PRODUCTION"}
	}
	if cfg.JWKSURL == "" {
		cfg.JWKSURL = DefaultJWKSURL
	}
	if u, err := url.Parse(cfg.JWKSURL); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, errors.New("forge: the JWKS URL must be http(s)://host/…")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	v := &Verifier{
		appIDs:       slices.Clone(cfg.AppIDs),
		environments: slices.Clone(cfg.Environments),
		keys:         newKeySet(cfg.JWKSURL, cfg.HTTPClient, cfg.Log),
		now:          cfg.Now,
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{algorithm}),
			jwt.WithIssuer(issuer),
			jwt.WithAudience(cfg.AppIDs...),
			jwt.WithExpirationRequired(),
			jwt.WithLeeway(leeway),
			jwt.WithTimeFunc(cfg.Now),
		),
	}
	go v.keys.run(ctx)
	return v, nil
}

// KeyStatus tells how many keys are known and when they were last read (zero: never), and what went wrong at the last
// attempt, nil when nothing did.
func (v *Verifier) KeyStatus() (keys int, read time.Time, err error) { return v.keys.status() }

// Verify answers what a token says, or an error that wraps ErrUnauthorized or ErrForbidden and says why, without the
// token. It waits about a second at most, for keys.
func (v *Verifier) Verify(ctx context.Context, token string) (Invocation, error) {
	if len(token) > maxTokenLength {
		return Invocation{}, fmt.Errorf("%w: it is too long", ErrUnauthorized)
	}
	var claims claims
	_, err := v.parser.ParseWithClaims(token, &claims, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		return v.keys.find(ctx, kid)
	})
	if err != nil {
		return Invocation{}, fmt.Errorf("%w: %s", ErrUnauthorized, v.reason(err, &claims))
	}
	if err := v.accept(&claims); err != nil {
		return Invocation{}, err
	}
	return claims.invocation(), nil
}

// accept holds claims whose signature, issuer and times are good to the rest of the rules.
func (v *Verifier) accept(c *claims) error {
	environment := c.App.Environment.Type
	accepted := slices.ContainsFunc(v.environments, func(e string) bool { return strings.EqualFold(e, environment) })
	switch {
	case len(c.Audience) != 1:
		return fmt.Errorf("%w: it has several audiences", ErrUnauthorized)
	case c.App.ID != "" && c.App.ID != c.Audience[0]:
		return fmt.Errorf("%w: its app and its audience differ", ErrUnauthorized)
	case !accepted:
		return fmt.Errorf("%w: its environment is %q, accepted are %q (MERGEGATE_FORGE_ENVIRONMENTS)", ErrUnauthorized, clean(environment, 64), v.environments)
	case present(c.ICLabel):
		return fmt.Errorf("%w: it comes from an isolated cloud", ErrUnauthorized)
	case present(c.Principal):
		return ErrForbidden
	default:
		return nil
	}
}

// reason says in our own words why the parser refused: its words can repeat parts of the token.
func (v *Verifier) reason(err error, c *claims) string {
	switch {
	case errors.Is(err, errKeysUnread), errors.Is(err, errUnknownKey), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return keyReason(err)
	case errors.Is(err, jwt.ErrTokenMalformed):
		return "it isn't a JSON web token with the expected claims"
	case errors.Is(err, jwt.ErrTokenUnverifiable), errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return "its signature isn't a valid " + algorithm + " signature"
	case errors.Is(err, jwt.ErrTokenExpired):
		return fmt.Sprintf("it expired %s ago; if every token has, check the clock", v.now().Sub(c.ExpiresAt.Time).Round(time.Second))
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return fmt.Sprintf("it isn't valid before %s from now; if no token is, check the clock", c.NotBefore.Sub(v.now()).Round(time.Second))
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return "its issuer is not " + issuer
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return fmt.Sprintf("it is for another app, %q (MERGEGATE_FORGE_APP_ID)", clean(strings.Join(c.Audience, " "), 100))
	default:
		return "it lacks a required claim"
	}
}

func keyReason(err error) string {
	if errors.Is(err, errKeysUnread) {
		return errKeysUnread.Error()
	}
	if errors.Is(err, errUnknownKey) {
		return errUnknownKey.Error()
	}
	return "finding its key took too long"
}
