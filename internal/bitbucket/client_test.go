package bitbucket_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mergegate/internal/bitbucket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers a client of a server that has only this handler.
func serve(t *testing.T, cfg bitbucket.Config, handler http.HandlerFunc) *bitbucket.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	cfg.BaseURL = server.URL
	if cfg.OAuthClientID != "" {
		cfg.OAuthTokenURL = server.URL + "/site/oauth2/access_token"
	}
	client, err := bitbucket.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}
}

func fixture(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestNewClientRefusesBadConfiguration(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config bitbucket.Config
		want   string
	}{
		"base URL without scheme":  {config: bitbucket.Config{BaseURL: "api.bitbucket.org"}, want: "bitbucket base URL: must be http(s)://host"},
		"email without API token":  {config: bitbucket.Config{Email: "a@b.c"}, want: "only valid together"},
		"client id without secret": {config: bitbucket.Config{OAuthClientID: "id"}, want: "only valid together"},
		"two credentials":          {config: bitbucket.Config{Token: "s3cret", Email: "a@b.c", APIToken: "s3cret"}, want: "more than one credential"},
		"token URL": {
			config: bitbucket.Config{OAuthClientID: "id", OAuthClientSecret: "s3cret", OAuthTokenURL: "ftp://x"},
			want:   "OAuth token URL: must be http(s)://host",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := bitbucket.NewClient(test.config)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config bitbucket.Config
		token  string
		want   string
	}{
		"none":                 {want: ""},
		"access token":         {config: bitbucket.Config{Token: "t"}, want: "Bearer t"},
		"API token":            {config: bitbucket.Config{Email: "a@b.c", APIToken: "p"}, want: "Basic YUBiLmM6cA=="},
		"app token":            {token: "app", want: "Bearer app"},
		"app token over other": {config: bitbucket.Config{Token: "t"}, token: "app", want: "Bearer app"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := serve(t, test.config, func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Authorization"); got != test.want {
					t.Errorf("Authorization %q, want %q", got, test.want)
				}
				answer(`{"id":7}`)(w, r)
			}).AsApp(t.Context(), &appTokens{tokens: []string{test.token}}, "ws")
			if got := client.HasCredential(); got != (test.want != "") {
				t.Errorf("HasCredential() = %v", got)
			}
			if _, err := client.PullRequest(t.Context(), "ws", "repo", 7); err != nil {
				t.Error(err)
			}
		})
	}
}

// appTokens are tokens of the Forge app, the one that is used first.
type appTokens struct {
	tokens   []string
	rejected []string
}

func (a *appTokens) Token(context.Context, string) string {
	if len(a.tokens) == 0 {
		return ""
	}
	return a.tokens[0]
}

func (a *appTokens) Reject(_ context.Context, _, token string) {
	a.rejected = append(a.rejected, token)
	if a.Token(context.Background(), "") == token {
		a.tokens = a.tokens[1:]
	}
}

// TestRejectedAppToken asks with a token of the app that was revoked: once more
// with what there is instead, and no more.
func TestRejectedAppToken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		config bitbucket.Config
		tokens []string
		asked  []string
		status int // of the error; 0: none
	}{
		{name: "another one arrived", tokens: []string{"old", "good"}, asked: []string{"Bearer old", "Bearer good"}},
		{name: "a configured token", config: bitbucket.Config{Token: "good"}, tokens: []string{"old"}, asked: []string{"Bearer old", "Bearer good"}},
		{name: "nothing else", tokens: []string{"old"}, asked: []string{"Bearer old"}, status: 401},
		{name: "rejected twice", tokens: []string{"old", "older", "good"}, asked: []string{"Bearer old", "Bearer older"}, status: 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var asked []string
			tokens := &appTokens{tokens: tt.tokens}
			client := serve(t, tt.config, func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Header.Get("Authorization"))
				if r.Header.Get("Authorization") != "Bearer good" {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				answer(`{"id":7}`)(w, r)
			}).AsApp(t.Context(), tokens, "ws")
			_, err := client.PullRequest(t.Context(), "ws", "repo", 7)
			var failed *bitbucket.Error
			if errors.As(err, &failed); (failed == nil) != (tt.status == 0) || failed != nil && failed.StatusCode != tt.status {
				t.Errorf("got %v, want status %d", err, tt.status)
			}
			if diff := cmp.Diff(tt.asked, asked); diff != "" {
				t.Errorf("asked with (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"old"}, tokens.rejected); diff != "" {
				t.Errorf("rejected (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNamesInPaths(t *testing.T) {
	t.Parallel()
	const uuid = "15A31549-1cff-45dc-9d0d-310114c5038b"
	for name, test := range map[string]struct{ workspace, repo, want string }{
		"slugs":               {workspace: "ws", repo: "repo", want: "/2.0/repositories/ws/repo"},
		"UUIDs":               {workspace: uuid, repo: "{" + uuid + "}", want: "/2.0/repositories/%7B" + strings.ToLower(uuid) + "%7D/%7B" + strings.ToLower(uuid) + "%7D"},
		"nothing escapes":     {workspace: "a/../b", repo: "c?d#e", want: "/2.0/repositories/a%2F..%2Fb/c%3Fd%23e"},
		"a slug with a space": {workspace: "w s", repo: "r", want: "/2.0/repositories/w%20s/r"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := serve(t, bitbucket.Config{}, func(w http.ResponseWriter, r *http.Request) {
				if got := r.URL.EscapedPath(); got != test.want {
					t.Errorf("path %s, want %s", got, test.want)
				}
				answer(`{"uuid":"{`+uuid+`}","full_name":"ws/repo","workspace":{"uuid":"{CC8E193D-7603-4dfd-8771-fcc8960aa0fb}"}}`)(w, r)
			})
			got, err := client.Repository(t.Context(), test.workspace, test.repo)
			if err != nil {
				t.Fatal(err)
			}
			want := bitbucket.Repository{UUID: strings.ToLower(uuid), FullName: "ws/repo", WorkspaceUUID: "cc8e193d-7603-4dfd-8771-fcc8960aa0fb"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestDotNamesAreNeverAsked(t *testing.T) {
	t.Parallel()
	client := serve(t, bitbucket.Config{}, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked %s", r.URL) })
	for _, name := range []string{"", ".", ".."} {
		_, err := client.Repository(t.Context(), name, "repo")
		var failed *bitbucket.Error
		if !errors.As(err, &failed) || failed.Temporary() {
			t.Errorf("workspace %q: %v, want a permanent error", name, err)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	reply := func(status int, header http.Header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for key, values := range header {
				w.Header()[key] = values
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	html := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	for name, test := range map[string]struct {
		handler    http.HandlerFunc
		status     int
		temporary  bool
		retryAfter time.Duration
		message    string
	}{
		"bad request": {
			handler: reply(400, nil, `{"type":"error","error":{"message":"key: Ensure this value has at most 40 characters (it has 48).","fields":{"key":["…"]}}}`),
			status:  400, message: "key: Ensure this value has at most 40 characters (it has 48).",
		},
		"unauthorized":      {handler: reply(401, nil, ""), status: 401, message: "Unauthorized"},
		"forbidden":         {handler: reply(403, nil, "<html>"), status: 403, message: "Forbidden"},
		"not found":         {handler: reply(404, nil, `{"error":"x"}`), status: 404, message: "Not Found"},
		"rate limited":      {handler: reply(429, http.Header{"Retry-After": {"17"}}, ""), status: 429, temporary: true, retryAfter: 17 * time.Second, message: "Too Many Requests"},
		"retry in the past": {handler: reply(503, http.Header{"Retry-After": {"Fri, 31 Dec 1999 23:59:59 GMT"}}, ""), status: 503, temporary: true, message: "Service Unavailable"},
		"retry far away": {
			handler: reply(503, http.Header{"Retry-After": {"Fri, 31 Dec 9999 23:59:59 GMT"}}, ""), status: 503, temporary: true, retryAfter: 24 * time.Hour, message: "Service Unavailable",
		},
		"retry never": {
			handler: reply(503, http.Header{"Retry-After": {"18446744073709551615"}}, ""), status: 503, temporary: true, retryAfter: 24 * time.Hour, message: "Service Unavailable",
		},
		"retry nonsense": {handler: reply(503, http.Header{"Retry-After": {"soon"}}, ""), status: 503, temporary: true, message: "Service Unavailable"},
		"bad gateway":    {handler: reply(502, html, "<html>"), status: 502, temporary: true, message: "Bad Gateway"},
		"HTML with 200":  {handler: reply(200, html, `{"id":7}`), status: 200, temporary: true, message: "the answer is HTML, not JSON"},
		"no JSON":        {handler: reply(200, nil, "oops"), status: 200, temporary: true, message: "the answer is not the expected JSON"},
		"cut JSON":       {handler: reply(200, nil, `{"id":7,"sou`), status: 200, temporary: true, message: "the answer is not the expected JSON"},
		"other types":    {handler: reply(200, nil, `{"id":7,"source":[]}`), status: 200, temporary: true, message: "the answer is not the expected JSON"},
		"another answer": {handler: reply(200, nil, `{"id":8}`), status: 200, temporary: true, message: "the answer is another pull request, or none"},
		"null":           {handler: reply(200, nil, `null`), status: 200, temporary: true, message: "the answer is another pull request, or none"},
		"redirect elsewhere": {
			handler: reply(302, http.Header{"Location": {"http://elsewhere.invalid/"}}, ""), status: 302, temporary: true, message: "Found",
		},
		"hang up": {handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, temporary: true, message: "no answer"},
		"too long": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"id":7,"title":"`+strings.Repeat("a", 9<<20)+`"}`)
			},
			temporary: true, message: "no answer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := serve(t, bitbucket.Config{Token: "s3cret"}, test.handler)
			_, err := client.PullRequest(t.Context(), "ws", "repo", 7)
			var got *bitbucket.Error
			if !errors.As(err, &got) {
				t.Fatalf("got %v, want an Error", err)
			}
			if got.StatusCode != test.status || got.Temporary() != test.temporary || got.RetryAfter != test.retryAfter || got.Message != test.message {
				t.Errorf("got %d, temporary %v, %s, %q", got.StatusCode, got.Temporary(), got.RetryAfter, got.Message)
			}
			if !strings.HasPrefix(err.Error(), "get pull request 7 of ws/repo: ") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error text %q", err)
			}
		})
	}
}

func TestErrorsDontRepeatCredentials(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]bitbucket.Config{
		"bearer": {Token: "s3cret"},
		"basic":  {Email: "a@b.c", APIToken: "s3cret"},
		"client": {OAuthClientID: "id", OAuthClientSecret: "s3cret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := serve(t, config, func(w http.ResponseWriter, r *http.Request) {
				_, password, _ := r.BasicAuth()
				w.WriteHeader(http.StatusForbidden)
				_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{
					"message": "no\n" + r.Header.Get("Authorization") + " " + password,
				}})
			})
			_, err := client.Repository(t.Context(), "ws", "repo")
			if err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "czNjcmV0") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error text %q", err)
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	client := serve(t, bitbucket.Config{Timeout: 20 * time.Millisecond}, hang)
	_, err := client.Repository(t.Context(), "ws", "repo")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestRedirects: Bitbucket redirects a renamed repository; a POST that becomes a GET is no success.
func TestRedirects(t *testing.T) {
	t.Parallel()
	client := serve(t, bitbucket.Config{}, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/2.0/repositories/ws/old") {
			http.Redirect(w, r, strings.Replace(r.URL.Path, "/old", "/new", 1), http.StatusMovedPermanently)
			return
		}
		answer(`{"id":7,"key":"k"}`)(w, r)
	})
	if _, err := client.PullRequest(t.Context(), "ws", "old", 7); err != nil {
		t.Errorf("reading at the old name: %v", err)
	}
	err := client.PostCommitStatus(t.Context(), "ws", "old", strings.Repeat("a", 40), bitbucket.CommitStatus{Key: "k"})
	var refused *bitbucket.Error
	if !errors.As(err, &refused) || refused.StatusCode != http.StatusMovedPermanently {
		t.Errorf("posting at the old name: %v", err)
	}
}

func TestOAuthRenewsARejectedToken(t *testing.T) {
	t.Parallel()
	var issued atomic.Int32
	client := serve(t, bitbucket.Config{OAuthClientID: "id", OAuthClientSecret: "secret"}, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/site/oauth2/access_token":
			id, secret, _ := r.BasicAuth()
			if id != "id" || secret != "secret" || r.FormValue("grant_type") != "client_credentials" {
				t.Errorf("token request of %q with %q", id, r.FormValue("grant_type"))
			}
			answer(fmt.Sprintf(`{"access_token":"token-%d","expires_in":7200}`, issued.Add(1)))(w, r)
		case r.Header.Get("Authorization") == "Bearer token-2":
			answer(`{"id":7}`)(w, r)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	for range 3 {
		if _, err := client.PullRequest(t.Context(), "ws", "repo", 7); err != nil {
			t.Error(err)
		}
	}
	if got := issued.Load(); got != 2 {
		t.Errorf("%d tokens were asked for, want one and one more after the 401", got)
	}
}

func TestOAuthFailures(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status    int
		body      string
		temporary bool
		asked     int32
	}{
		"wrong secret":    {status: 400, body: `{"error":"invalid_client","error_description":"no such consumer"}`, asked: 1},
		"outage":          {status: 503, temporary: true, asked: 1},
		"empty answer":    {status: 200, body: `{}`, temporary: true, asked: 1},
		"always rejected": {status: 200, body: `{"access_token":"t","expires_in":7200}`, asked: 2},
		"expires at once": {status: 200, body: `{"access_token":"t"}`, asked: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			client := serve(t, bitbucket.Config{OAuthClientID: "id", OAuthClientSecret: "secret"}, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/site/oauth2/access_token" {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				asked.Add(1)
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			_, err := client.Repository(t.Context(), "ws", "repo")
			var failed *bitbucket.Error
			if !errors.As(err, &failed) || failed.Temporary() != test.temporary {
				t.Errorf("got %v, want temporary %v", err, test.temporary)
			}
			if got := asked.Load(); got != test.asked {
				t.Errorf("%d token requests, want %d", got, test.asked)
			}
		})
	}
}
