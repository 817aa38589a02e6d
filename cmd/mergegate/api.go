package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"mergegate/internal/apptokens"
	"mergegate/internal/builds"
	"mergegate/internal/gate"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/sealed"
	"mergegate/internal/server"
	"mergegate/internal/waivers"
)

// remote is where a command finds the service: a running one, or none. Without
// one the command does what the service would, on the database it is configured
// with.
type remote struct {
	URL   string `placeholder:"URL" help:"A running service, such as https://mergegate.example.com; also MERGEGATE_URL. Without: the database."`
	Token string `placeholder:"TOKEN" help:"Its API token; better in MERGEGATE_TOKEN or MERGEGATE_TOKEN_FILE."`
}

// apiTimeout is how long one answer may take.
const apiTimeout = 30 * time.Second

// withAPI gives f the API: of a running service, else of one that exists for this
// command alone, with everything allowed to its operator.
func (p *program) withAPI(r remote, operator postgres.Token, f func(ctx context.Context, api *apiClient) error) error {
	base, token, err := r.resolve(p.getenv)
	if err != nil {
		return err
	}
	if base != "" {
		return f(p.ctx, &apiClient{base: base, token: token, http: &http.Client{Timeout: apiTimeout, CheckRedirect: dontRedirect}})
	}
	cfg, err := loadConfig(p.getenv)
	if err != nil {
		return err
	}
	cfg.forgeAppIDs = nil // nobody asks this one from outside
	log := newLogger(cfg, p.stderr, slog.LevelError)
	return p.withStore(func(ctx context.Context, store *postgres.Store) error {
		handler, err := operatorAPI(cfg, store, log)
		if err != nil {
			return err
		}
		transport := handlerTransport{handler.AsOperator(operator)}
		return f(ctx, &apiClient{base: "http://localhost", http: &http.Client{Transport: transport, Timeout: apiTimeout}})
	})
}

// dontRedirect has redirects be answers: a POST that is redirected becomes a GET,
// and a token goes where nobody said it should.
func dontRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// resolve is the service to ask and the token to ask with, "" for none.
func (r remote) resolve(getenv func(string) string) (base, token string, err error) {
	base, token = r.URL, r.Token
	if base == "" {
		base = getenv("MERGEGATE_URL")
	}
	if base == "" {
		return "", "", nil
	}
	if token == "" {
		token = strings.TrimSpace(getenv("MERGEGATE_TOKEN"))
		if file := getenv("MERGEGATE_TOKEN_FILE"); token == "" && file != "" {
			content, err := os.ReadFile(file)
			if err != nil {
				return "", "", usageError{fmt.Errorf("MERGEGATE_TOKEN_FILE: %w", err)}
			}
			token = strings.TrimSpace(string(content))
		}
	}
	if err := checkServiceURL(base); err != nil {
		return "", "", usageError{err}
	}
	if token == "" {
		return "", "", usageError{errors.New("MERGEGATE_TOKEN is empty: make a token with mergegate token create where the service runs")}
	}
	return strings.TrimRight(base, "/"), token, nil
}

func checkServiceURL(given string) error {
	u, err := url.Parse(given)
	switch {
	case err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && u.User == nil && u.RawQuery == "":
		return nil
	case !strings.Contains(given, "://"):
		return errors.New("MERGEGATE_URL has no scheme: write it like https://mergegate.example.com")
	default:
		return errors.New("MERGEGATE_URL is not a web address like https://mergegate.example.com, without a password or query")
	}
}

// apiClient asks the API.
type apiClient struct {
	base, token string
	http        *http.Client
}

// apiError is an answer that is no success, in the API's words.
type apiError struct {
	Status int
	Code   string
	Title  string
	Detail string
}

// Error says what the service answered, and where a token is at fault, how to get
// one that isn't.
func (e *apiError) Error() string {
	text := cmp.Or(e.Detail, e.Title, http.StatusText(e.Status), "an unknown status")
	text = mergecheck.OneLine(text, longestMessage)
	switch {
	case e.Code == "":
		return fmt.Sprintf("the service answered %d %s, which is not its API's: see MERGEGATE_URL", e.Status, text)
	case e.Status == http.StatusUnauthorized:
		return text + "; mergegate token create makes one where the service runs, to be given as MERGEGATE_TOKEN or MERGEGATE_TOKEN_FILE"
	case e.Status == http.StatusForbidden && strings.Contains(e.Detail, "token with scope"):
		return text + "; mergegate token create --scope makes one where the service runs"
	default:
		return text
	}
}

// unknownRepository says what to do about a repository that the API doesn't know.
func unknownRepository(err error, name string) error {
	return unknown(err, fmt.Sprintf("repository %s is not known: nothing of it was built or asked yet, or the token does not cover it; mergegate projects list shows what is",
		plain(name)))
}

// unknown says in other words that something isn't there, and leaves other errors
// as they are.
func unknown(err error, words string) error {
	var refused *apiError
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound && refused.Code == "not_found" && refused.Detail == "" {
		return errors.New(words)
	}
	return err
}

// get reads a document into answer, which may be a *json.RawMessage.
func (a *apiClient) get(ctx context.Context, path string, query url.Values, answer any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return a.do(ctx, http.MethodGet, a.base+path, nil, answer)
}

func (a *apiClient) post(ctx context.Context, path string, body, answer any) error {
	return a.do(ctx, http.MethodPost, a.base+path, body, answer)
}

func (a *apiClient) delete(ctx context.Context, path string) error {
	return a.do(ctx, http.MethodDelete, a.base+path, nil, nil)
}

// list follows pages until limit documents are there, or all.
func (a *apiClient) list(ctx context.Context, path string, query url.Values, limit int) (list documents, err error) {
	if limit < 1 {
		return list, usageError{errors.New("--limit is not a number from 1 up")}
	}
	query.Set("pagelen", fmt.Sprint(min(limit, 100)))
	next := a.base + path + "?" + query.Encode()
	for next != "" && len(list.values) < limit {
		var page struct {
			Values []json.RawMessage
			Next   string
		}
		if err := a.do(ctx, http.MethodGet, next, nil, &page); err != nil {
			return list, err
		}
		list.values = append(list.values, page.Values...)
		following, err := url.Parse(page.Next)
		if err != nil {
			return list, fmt.Errorf("the next page's address is not valid: %w", err)
		}
		if next = ""; page.Next != "" {
			next = a.base + following.RequestURI() // the service may be known by another name inside
		}
	}
	list.more = next != "" || len(list.values) > limit
	list.values = list.values[:min(len(list.values), limit)]
	return list, nil
}

func (a *apiClient) do(ctx context.Context, method, target string, body, answer any) error {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	res, err := a.http.Do(req)
	if err != nil {
		return a.noAnswer(err)
	}
	defer func() { _ = res.Body.Close() }()
	if location := res.Header.Get("Location"); res.StatusCode >= 300 && res.StatusCode < 400 {
		return fmt.Errorf("the service at %s redirects to %s: give the address that answers as MERGEGATE_URL", a.base, plain(location))
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("the service's answer broke off: %w", err)
	}
	if res.StatusCode >= 300 {
		return refusedWith(res.StatusCode, text)
	}
	if answer == nil || len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("the service's answer is not the API's: %w", err)
	}
	return nil
}

func (a *apiClient) noAnswer(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err // without the address once more
	}
	return fmt.Errorf("the service at %s does not answer: %w; see that it runs and that MERGEGATE_URL is its address", a.base, err)
}

// refusedWith is the error of an answer that is no success. A parameter that the
// API doesn't take was given by whoever called.
func refusedWith(status int, body []byte) error {
	refused := &apiError{}
	_ = json.Unmarshal(body, refused) // what isn't a problem document is told by its status
	refused.Status = status
	if status == http.StatusBadRequest && refused.Code != "" {
		return usageError{refused}
	}
	return refused
}

// handlerTransport answers requests by a handler of this process.
type handlerTransport struct{ handler http.Handler }

// RoundTrip answers one request.
func (t handlerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	recorded := &recorder{header: http.Header{}, status: http.StatusOK}
	if req.Body == nil {
		req.Body = http.NoBody
	}
	req.RemoteAddr = "127.0.0.1:0"
	t.handler.ServeHTTP(recorded, req)
	return &http.Response{
		StatusCode: recorded.status, Status: fmt.Sprintf("%d %s", recorded.status, http.StatusText(recorded.status)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: recorded.header,
		Body: io.NopCloser(&recorded.body), ContentLength: int64(recorded.body.Len()), Request: req,
	}, nil
}

// recorder keeps what a handler answers.
type recorder struct {
	header  http.Header
	status  int
	written bool
	body    bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if !r.written {
		r.status, r.written = status, true
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

// Flush has nothing to do: everything is kept.
func (r *recorder) Flush() {}

// operatorAPI is the service's API without the service: nothing listens, and no
// job is worked.
func operatorAPI(cfg config, store *postgres.Store, log *slog.Logger) (*server.Server, error) {
	remotes, err := newRemotes(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.DatabaseURL == "" && len(cfg.secretKeys) == 0 {
		if cfg.secretKeys, err = ownSecretKey(cfg.DataDir); err != nil {
			return nil, err
		}
	}
	tokens, err := apptokens.New(store, cfg.secretKeys, log)
	if err != nil {
		return nil, usageError{fmt.Errorf("MERGEGATE_SECRET_KEY: %w", err)}
	}
	box, err := sealed.New(cfg.secretKeys)
	if err != nil {
		return nil, usageError{fmt.Errorf("MERGEGATE_SECRET_KEY: %w", err)}
	}
	confirming := builds.New(store, remotes.appveyor, remotes.bitbucket, cfg.accounts, builds.Options{Log: log})
	return server.New(server.Config{
		Store: store, Checks: store, Writing: store, Builds: confirming, Waivers: waivers.New(store), Log: log,
		Webhooks: newWebhooks(store, box, cfg, log, nil), PublicURL: cfg.PublicURL, SigningKey: cfg.signingKey(),
		Explaining: gate.New(store, remotes.bitbucket, tokens, gate.Options{Log: log, Trusts: cfg.accounts.MaySpeakFor, BranchBuilds: confirming.BranchBuilds}),
	}), nil
}
