package forgetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// What a token says unless options say otherwise.
const (
	AppID          = "ari:cloud:ecosystem::app/8db33809-1f32-48bb-8c52-5877dab48107"
	InstallationID = "ari:cloud:ecosystem::installation/0a3a7799-53ae-4a5b-9e7e-03338980abb5"
	Environment    = "PRODUCTION"
	WorkspaceUUID  = "b7ea02c9-0871-4858-a2a6-a190d7de977c"
)

// Lifetime is how long Atlassian's tokens live.
const Lifetime = 25 * time.Second

// draft is a token before it is signed.
type draft struct {
	method jwt.SigningMethod
	kid    string
	key    any
	claims jwt.MapClaims
}

// Option changes a token before it is signed.
type Option func(*Issuer, *draft)

// WithApp makes the token one for another app, by ARI.
func WithApp(id string) Option {
	return func(_ *Issuer, d *draft) { d.claims["aud"] = id; d.set("app.id", id) }
}

// WithEnvironment sets the type of environment, such as DEVELOPMENT.
func WithEnvironment(environment string) Option {
	return WithClaim("app.environment.type", environment)
}

// WithWorkspace makes the token one for another workspace: without braces in the installation, with them in the context,
// as Atlassian writes it.
func WithWorkspace(uuid string) Option {
	return func(_ *Issuer, d *draft) {
		uuid = strings.Trim(uuid, "{}")
		d.set("app.installation.contexts", contexts(uuid))
		d.set("context.workspaceId", "{"+uuid+"}")
	}
}

// WithIssued makes the token one of another time: issued and valid from then on, for its Lifetime.
func WithIssued(at time.Time) Option {
	return func(_ *Issuer, d *draft) {
		d.claims["iat"], d.claims["nbf"], d.claims["exp"] = at.Unix(), at.Unix(), at.Add(Lifetime).Unix()
	}
}

// WithClaim sets a claim, named by its path with dots.
func WithClaim(path string, value any) Option {
	return func(_ *Issuer, d *draft) { d.set(path, value) }
}

// WithoutClaim leaves out a claim, named by its path with dots.
func WithoutClaim(path string) Option {
	return func(_ *Issuer, d *draft) {
		parent, name := d.parent(path)
		delete(parent, name)
	}
}

// WithClaims replaces all claims.
func WithClaims(claims map[string]any) Option {
	return func(_ *Issuer, d *draft) { d.claims = claims }
}

// WithKeyID claims another key than the one that signs; "" leaves out the kid.
func WithKeyID(kid string) Option { return func(_ *Issuer, d *draft) { d.kid = kid } }

// WithForeignKey signs with a key that is in no set, under the kid of the one that is.
func WithForeignKey() Option {
	return func(_ *Issuer, d *draft) {
		key, err := foreignKey()
		if err != nil {
			panic(fmt.Errorf("forgetest: make a key: %w", err))
		}
		d.key = key
	}
}

// WithAlgorithm signs with another algorithm: "none", "HS256" (with the public key as secret, the classic confusion),
// "RS384", "RS512" or "PS256".
func WithAlgorithm(name string) Option {
	return func(i *Issuer, d *draft) {
		d.method = jwt.GetSigningMethod(name)
		switch name {
		case "none":
			d.key = jwt.UnsafeAllowNoneSignatureType
		case "HS256":
			d.key = i.signingKey().private.N.Bytes()
		}
	}
}

// Token signs an invocation token that is valid now, but for what the options change. It panics when an option asks for
// what can't be signed, such as an unknown algorithm.
func (i *Issuer) Token(options ...Option) string {
	signing := i.signingKey()
	d := draft{method: jwt.SigningMethodRS256, kid: signing.id, key: signing.private, claims: standardClaims()}
	WithIssued(time.Now())(i, &d)
	WithWorkspace(WorkspaceUUID)(i, &d)
	for _, option := range options {
		option(i, &d)
	}
	token := jwt.NewWithClaims(d.method, d.claims)
	if d.kid != "" {
		token.Header["kid"] = d.kid
	}
	signed, err := token.SignedString(d.key)
	if err != nil {
		panic(fmt.Errorf("forgetest: sign a token: %w", err))
	}
	return signed
}

func standardClaims() jwt.MapClaims {
	return jwt.MapClaims{
		"iss": "forge/invocation-token",
		"aud": AppID,
		"jti": "d8a496253ec8c18a54631e4c82cbedd5d0ae8570",
		"app": map[string]any{
			"id": AppID, "version": "16", "appVersion": "16.0.1",
			"installationId": InstallationID, "apiBaseUrl": "https://api.bitbucket.org",
			"installation": map[string]any{"id": InstallationID},
			"environment":  map[string]any{"type": Environment, "id": "ari:cloud:ecosystem::environment/8db33809-1f32-48bb-8c52-5877dab48107/aa911f10-c54b-4b93-9e27-dd2947840b9e"},
			"module":       map[string]any{"type": "core:endpoint", "key": "merge-check"},
		},
		"context": map[string]any{},
	}
}

func contexts(workspace string) []any {
	return []any{map[string]any{"name": "bitbucket", "apiBaseUrl": "https://api.bitbucket.org", "workspaceId": workspace}}
}

func (d *draft) set(path string, value any) {
	parent, name := d.parent(path)
	parent[name] = value
}

// parent answers the object that the last part of a path is in, which is made where it is missing.
func (d *draft) parent(path string) (object map[string]any, name string) {
	parts := strings.Split(path, ".")
	object = d.claims
	for _, part := range parts[:len(parts)-1] {
		below, ok := object[part].(map[string]any)
		if !ok {
			below = map[string]any{}
			object[part] = below
		}
		object = below
	}
	return object, parts[len(parts)-1]
}
