package bitbucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultOAuthTokenURL is where Bitbucket Cloud exchanges an OAuth consumer's credentials for an access token.
const DefaultOAuthTokenURL = "https://bitbucket.org/site/oauth2/access_token" //nolint:gosec // an address, not a secret

// CredentialKind is a kind of credential.
type CredentialKind string

// The kinds of credentials.
const (
	KindApp         CredentialKind = "app_system_token"
	KindAccessToken CredentialKind = "access_token"
	KindAPIToken    CredentialKind = "api_token"
	KindOAuthClient CredentialKind = "oauth_client"
	KindNone        CredentialKind = "none"
)

// credential authenticates requests.
type credential interface {
	apply(ctx context.Context, req *http.Request) error
	// renew is told that Bitbucket answered a request with 401, and answers what to try it with once more, nil where
	// there is nothing.
	renew(ctx context.Context, c *Client, rejected *http.Request) credential
}

func newCredential(cfg Config, client *http.Client) (credential, error) {
	var found []credential
	var faults []error
	if cfg.Token != "" {
		found = append(found, bearer(cfg.Token))
	}
	if cfg.Email != "" || cfg.APIToken != "" {
		found = append(found, basic{email: cfg.Email, token: cfg.APIToken})
		if cfg.Email == "" || cfg.APIToken == "" {
			faults = append(faults, errors.New("set MERGEGATE_BITBUCKET_EMAIL and MERGEGATE_BITBUCKET_API_TOKEN together"))
		}
	}
	if cfg.OAuthClientID != "" || cfg.OAuthClientSecret != "" {
		consumer, err := newConsumer(cfg, client)
		found, faults = append(found, consumer), append(faults, err)
	}
	if len(found) > 1 {
		faults = append(faults, errors.New("set only one credential: an access token, an API token with its e-mail address, or an OAuth client"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("bitbucket credential: %w", err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return found[0], nil
}

// app is the Forge app in a workspace. Its token changes every hour or so, and ends when the app is uninstalled.
type app struct {
	tokens    AppTokens
	workspace string
	otherwise credential // nil: none
}

// now is the token there is now, else what the client has without the app, which may be nil.
func (a *app) now(ctx context.Context) credential {
	if token := a.tokens.Token(ctx, a.workspace); token != "" {
		return appToken{app: a, token: token}
	}
	return a.otherwise
}

// appToken is one token of the app.
type appToken struct {
	app   *app
	token string
}

func (t appToken) apply(ctx context.Context, req *http.Request) error {
	return bearer(t.token).apply(ctx, req)
}

// renew answers another token that arrived meanwhile, or what the client has without the app. The token itself is judged
// by the workspace, and stays where only one resource refuses it.
func (t appToken) renew(ctx context.Context, c *Client, rejected *http.Request) credential {
	if isOf(rejected.URL, t.app.workspace) {
		c.judge(ctx, t)
	}
	if now := t.app.now(ctx); now != t {
		return now
	}
	return t.app.otherwise
}

// bearer is an access token.
type bearer string

func (b bearer) apply(_ context.Context, req *http.Request) error {
	req.Header.Set("Authorization", "Bearer "+string(b))
	return nil
}

func (bearer) renew(context.Context, *Client, *http.Request) credential { return nil }

// basic is a user's API token.
type basic struct{ email, token string }

func (b basic) apply(_ context.Context, req *http.Request) error {
	req.SetBasicAuth(b.email, b.token)
	return nil
}

func (basic) renew(context.Context, *Client, *http.Request) credential { return nil }

// consumer is an OAuth consumer with the client credentials grant: its access tokens live for an hour or two and are
// kept until shortly before.
//
// golang.org/x/oauth2/clientcredentials would save a dozen lines of it, and keeps a token for ever whose end isn't told,
// takes JSON that is called text for a form, and lets no caller bound a wait for another one's answer.
type consumer struct {
	http     *http.Client
	tokenURL string
	id       string
	secret   string

	// turn holds one value: who has it may read and change what follows. A channel, so that waiting ends with the context.
	turn    chan struct{}
	token   string
	expires time.Time
	renewed time.Time // when a rejected token was last forgotten
}

func newConsumer(cfg Config, client *http.Client) (*consumer, error) {
	c := &consumer{http: client, id: cfg.OAuthClientID, secret: cfg.OAuthClientSecret, turn: make(chan struct{}, 1)}
	c.pass()
	if c.id == "" || c.secret == "" {
		return c, errors.New("set MERGEGATE_BITBUCKET_OAUTH_CLIENT_ID and MERGEGATE_BITBUCKET_OAUTH_CLIENT_SECRET together")
	}
	tokenURL, err := parseBase(cfg.OAuthTokenURL, DefaultOAuthTokenURL)
	if err != nil {
		return c, fmt.Errorf("OAuth token URL: %w", err)
	}
	c.tokenURL = tokenURL.String()
	return c, nil
}

func (c *consumer) apply(ctx context.Context, req *http.Request) error {
	if err := c.take(ctx); err != nil {
		return &Error{Op: "wait for an OAuth access token", Message: "no answer", err: err}
	}
	defer c.pass()
	if c.token == "" || !time.Now().Before(c.expires) {
		if err := c.fetch(ctx); err != nil {
			return err
		}
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	return nil
}

func (c *consumer) take(ctx context.Context) error {
	select {
	case <-c.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *consumer) pass() { c.turn <- struct{}{} }

// renew forgets the rejected token, unless another call has replaced it already. That is done once a minute at most: what
// refuses a new token as well doesn't refuse it for its age.
func (c *consumer) renew(ctx context.Context, _ *Client, rejected *http.Request) credential {
	if c.take(ctx) != nil {
		return nil
	}
	defer c.pass()
	if rejected.Header.Get("Authorization") != "Bearer "+c.token {
		return c
	}
	if !c.renewed.IsZero() && time.Since(c.renewed) < lookEvery {
		return nil
	}
	c.token, c.renewed = "", time.Now()
	return c
}

const opAccessToken = "get an OAuth access token"

func (c *consumer) fetch(ctx context.Context) error {
	const op = opAccessToken
	form := url.Values{"grant_type": {"client_credentials"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.tokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	req.SetBasicAuth(url.QueryEscape(c.id), url.QueryEscape(c.secret)) // RFC 6749 §2.3.1
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	res, body, err := exchange(c.http, req)
	if err != nil {
		return &Error{Op: op, Message: "no answer", err: err}
	}
	if res.StatusCode != http.StatusOK {
		return refusal(op, res, body)
	}
	return c.keep(op, body)
}

func (c *consumer) keep(op string, body []byte) error {
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"` // seconds
	}
	if json.Unmarshal(body, &answer) != nil || answer.AccessToken == "" {
		return &Error{Op: op, StatusCode: http.StatusOK, Message: "the answer has no access token"}
	}
	const early, longest = 60, 7 * 24 * 3600
	c.token = answer.AccessToken
	c.expires = time.Now().Add(time.Duration(min(answer.ExpiresIn, longest)-early) * time.Second)
	return nil
}
