// Package bitbucket reads pull requests from Bitbucket Cloud's REST API 2.0 and posts commit statuses to it.
//
// Only the calls that mergegate needs are here. Answers of Bitbucket are taken as untrusted: they are bounded,
// checked for being what was asked for, and never a reason to panic.
//
//	client, err := bitbucket.NewClient(bitbucket.Config{Token: token})
//	pr, err := client.PullRequest(ctx, "workspace", "repository", 7)
//	head, err := client.PullRequestHead(ctx, "workspace", "repository", pr)
//	err = client.PostCommitStatus(ctx, "workspace", "repository", head, bitbucket.CommitStatus{Key: "appveyor-7", …})
//
// Wherever a workspace or a repository is named, its slug and its UUID (with or without braces) do equally well.
package bitbucket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultBaseURL is where Bitbucket Cloud's REST API lives.
const DefaultBaseURL = "https://api.bitbucket.org"

const (
	defaultTimeout = 10 * time.Second
	maxBody        = 8 << 20 // a page of 100 commits with long messages is far below
	maxRedirects   = 5
)

// Config says where Bitbucket is and who asks. At most one of the three credentials may be set: Token,
// Email with APIToken, or OAuthClientID with OAuthClientSecret. Without any, only public repositories can be read.
type Config struct {
	BaseURL string // "": DefaultBaseURL; without the /2.0

	Token string // access token of a repository, project or workspace, sent as bearer token

	Email, APIToken string // API token of a user, sent as Basic authentication

	OAuthClientID, OAuthClientSecret string // OAuth consumer, client credentials grant
	OAuthTokenURL                    string // "": DefaultOAuthTokenURL

	UserAgent string        // "": mergegate
	Timeout   time.Duration // of one HTTP call with reading its answer; 0: 10 s
}

// Client calls Bitbucket. It is safe for concurrent use.
type Client struct {
	base       *url.URL
	userAgent  string
	timeout    time.Duration
	http       *http.Client
	credential credential // nil: anonymous
	app        *app       // used before the credential; nil: none
	budget     *budget    // of what is used first
	apps       *budgets
	heads      *headReads
	judges     *judges
}

// NewClient answers a client, or an error that names every setting that is wrong. It makes no call.
func NewClient(cfg Config) (*Client, error) {
	base, err := parseBase(cfg.BaseURL, DefaultBaseURL)
	if err != nil {
		return nil, fmt.Errorf("bitbucket base URL: %w", err)
	}
	c := &Client{base: base, userAgent: cfg.UserAgent, timeout: cfg.Timeout, http: newHTTPClient()}
	if c.userAgent == "" {
		c.userAgent = "mergegate"
	}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	c.credential, err = newCredential(cfg, c.http)
	if err != nil {
		return nil, err
	}
	c.budget, c.apps, c.heads = &budget{anonymous: c.credential == nil}, &budgets{}, &headReads{}
	c.judges = &judges{now: time.Now}
	return c, nil
}

func parseBase(given, otherwise string) (*url.URL, error) {
	if given == "" {
		given = otherwise
	}
	u, err := url.Parse(strings.TrimRight(given, "/"))
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		// The text isn't repeated: a URL can carry a password.
		return nil, errors.New("must be http(s)://host")
	}
	return u, nil
}

// newHTTPClient follows no redirects: do does, and takes neither credentials elsewhere nor a POST for a GET.
func newHTTPClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     90 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// AppTokens are the Forge app's system tokens.
type AppTokens interface {
	// Token answers the workspace's token, "" when there is none that is valid.
	Token(ctx context.Context, workspaceUUID string) string
	// Doubt is told a token that the workspace itself answered with 401, once.
	Doubt(ctx context.Context, workspaceUUID, token string)
	// Reject is told a token that has ended: the workspace answered it with 401 again.
	Reject(ctx context.Context, workspaceUUID, token string)
}

// AsApp answers the same client authenticating as the Forge app in a workspace: with the token there is at each
// request, and where that is refused and there is no other, with what c has. Without a token now it answers c itself.
func (c *Client) AsApp(ctx context.Context, tokens AppTokens, workspaceUUID string) *Client {
	if tokens.Token(ctx, workspaceUUID) == "" {
		return c
	}
	with := *c
	with.app = &app{tokens: tokens, workspace: workspaceUUID, otherwise: c.credential}
	with.budget = c.apps.of(workspaceUUID)
	return &with
}

// AsMaker answers the client for what only its maker may change: c itself wherever it has a credential, and else the
// app's, so that it stays the same one.
func (c *Client) AsMaker(ctx context.Context, tokens AppTokens, workspaceUUID string) *Client {
	if c.HasCredential() {
		return c
	}
	return c.AsApp(ctx, tokens, workspaceUUID)
}

// Wait is how long work that no person waits for has to leave Bitbucket alone, because the credential's rate limit runs
// short; 0: it may go on, with a few requests.
func (c *Client) Wait(u Urgency) time.Duration { return c.budget.wait(u, time.Now()) }

// HasCredential tells whether calls are authenticated.
func (c *Client) HasCredential() bool { return c.app != nil || c.credential != nil }

// CredentialKind says what calls are authenticated with.
func (c *Client) CredentialKind() CredentialKind {
	if c.app != nil {
		return KindApp
	}
	switch c.credential.(type) {
	case bearer:
		return KindAccessToken
	case basic:
		return KindAPIToken
	case *consumer:
		return KindOAuthClient
	default:
		return KindNone
	}
}

// CloseIdleConnections closes connections that wait for the next call.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// call is one request: op names it in errors.
type call struct {
	op     string
	method string
	url    *url.URL
	body   any // nil: none
	// created, where set, takes 201 for done, whatever the body says.
	created *bool
	// header, where set, takes the answer's, a refusal's too.
	header *http.Header
	// empty takes 204 for done: there is nothing to decode.
	empty bool
	// landed, where set, becomes the address that the answer is from, which a redirect can make another one than url.
	landed **url.URL
}

// do makes the call and decodes its JSON answer. Bitbucket redirects renamed repositories and diffstats of pull
// requests: the same request is sent on, with the same method and body, to the same host.
func (c *Client) do(ctx context.Context, what call, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	for hops := 0; ; hops++ {
		if what.landed != nil {
			*what.landed = what.url
		}
		err := c.send(ctx, what, answer)
		to := c.redirected(what, err)
		if to == nil || hops == maxRedirects {
			return err
		}
		what.url = to
	}
}

// redirected answers where Bitbucket sends a call to, nil where it doesn't or where mergegate doesn't go.
func (c *Client) redirected(what call, err error) *url.URL {
	var moved *Error
	if !errors.As(err, &moved) || moved.location == "" {
		return nil
	}
	switch moved.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil
	}
	to, ok := c.linked(moved.location, what.url)
	if !ok {
		return nil
	}
	return to
}

// send makes one request. One that is answered with 401 is made once more where there is another credential for it.
func (c *Client) send(ctx context.Context, what call, answer any) error {
	with := c.credential
	if c.app != nil {
		with = c.app.now(ctx)
	}
	req, err := c.newRequest(ctx, what, with)
	if err != nil {
		return err
	}
	err = c.attempt(req, what, answer)
	if StatusOf(err) != http.StatusUnauthorized || with == nil {
		return err
	}
	if with = with.renew(ctx, c, req); with == nil {
		return err
	}
	if req, err = c.newRequest(ctx, what, with); err != nil {
		return err
	}
	return c.attempt(req, what, answer)
}

func (c *Client) newRequest(ctx context.Context, what call, with credential) (*http.Request, error) {
	var body io.Reader
	if what.body != nil {
		encoded, err := json.Marshal(what.body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what.op, err)
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, what.method, what.url.String(), body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what.op, err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if with != nil {
		if err := with.apply(ctx, req); err != nil {
			return nil, fmt.Errorf("%s: %w", what.op, err)
		}
	}
	return req, nil
}

func (c *Client) attempt(req *http.Request, what call, answer any) error {
	op := what.op
	c.budget.charge(time.Now())
	res, body, err := exchange(c.http, req)
	if err != nil {
		return &Error{Op: op, Message: "no answer", err: err}
	}
	c.budget.learn(res.StatusCode, res.Header, time.Now())
	if what.header != nil {
		*what.header = res.Header
	}
	if what.empty && res.StatusCode == http.StatusNoContent {
		return nil
	}
	if what.empty && res.StatusCode < http.StatusMultipleChoices {
		return &Error{Op: op, StatusCode: res.StatusCode, Message: "the answer should be empty"}
	}
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusCreated {
		return refusal(op, res, body)
	}
	if what.created != nil && res.StatusCode == http.StatusCreated {
		*what.created = true
		_ = json.Unmarshal(body, answer)
		return nil
	}
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind == "text/html" {
		return &Error{Op: op, StatusCode: res.StatusCode, Message: "the answer is HTML, not JSON"}
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return &Error{Op: op, StatusCode: res.StatusCode, Message: "the answer is not the expected JSON", err: err}
	}
	return nil
}

// exchange reads at most maxBody: an answer that is longer is an error, never a shorter answer.
func exchange(client *http.Client, req *http.Request) (*http.Response, []byte, error) {
	res, err := client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // without the URL: the operation says it better
		}
		return nil, nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end or given up
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return nil, nil, err
	}
	if len(body) > maxBody {
		return nil, nil, fmt.Errorf("the answer is longer than %d bytes", maxBody)
	}
	return res, body, nil
}
