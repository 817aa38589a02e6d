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
		"email without API token":  {config: bitbucket.Config{Email: "a@b.c"}, want: "MERGEGATE_BITBUCKET_EMAIL and MERGEGATE_BITBUCKET_API_TOKEN together"},
		"client id without secret": {config: bitbucket.Config{OAuthClientID: "id"}, want: "MERGEGATE_BITBUCKET_OAUTH_CLIENT_SECRET together"},
		"two credentials":          {config: bitbucket.Config{Token: "s3cret", Email: "a@b.c", APIToken: "s3cret"}, want: "set only one credential"},
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
	tokens            []string
	doubted, rejected []string
}

func (a *appTokens) Token(context.Context, string) string {
	if len(a.tokens) == 0 {
		return ""
	}
	return a.tokens[0]
}

func (a *appTokens) Doubt(_ context.Context, _, token string) { a.doubted = append(a.doubted, token) }

func (a *appTokens) Reject(_ context.Context, _, token string) {
	a.rejected = append(a.rejected, token)
	if a.Token(context.Background(), "") == token {
		a.tokens = a.tokens[1:]
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

// TestCauses: what people read of an error has its own words for each cause, and nothing of the inside.
func TestCauses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"no answer in time": {handler: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, want: "Bitbucket didn't answer in time"},
		"half an answer in time": {handler: func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "{")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, want: "Bitbucket didn't answer in time"},
		"hang up":       {handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, want: "mergegate can't reach Bitbucket"},
		"400":           {handler: refuse(400), want: "Bitbucket rejected mergegate's request (400)"},
		"401":           {handler: refuse(401), want: "Bitbucket rejected mergegate's credential (401)"},
		"403":           {handler: refuse(403), want: "mergegate's Bitbucket credential lacks a scope or access to this repository (403)"},
		"404":           {handler: refuse(404), want: "Bitbucket doesn't show this repository to mergegate (404)"},
		"429":           {handler: refuse(429), want: "mergegate has used up its Bitbucket rate limit (429)"},
		"503":           {handler: refuse(503), want: "Bitbucket answered with a server error (503)"},
		"a page":        {handler: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, want: "mergegate can't read Bitbucket's answer"},
		"another":       {handler: answer(`{"id":8}`), want: "mergegate can't read Bitbucket's answer"},
		"sent to login": {handler: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, want: "Bitbucket redirected mergegate to another address (302)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := serve(t, bitbucket.Config{Timeout: time.Second}, test.handler)
			_, err := client.PullRequest(t.Context(), appWorkspace, forkUUID, 7)
			var failed *bitbucket.Error
			if !errors.As(err, &failed) || failed.Cause() != test.want {
				t.Errorf("%v: got %q, want %q", err, failed.Cause(), test.want)
			}
		})
	}
	t.Run("nothing there", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewServer(http.NotFoundHandler())
		server.Close()
		client, err := bitbucket.NewClient(bitbucket.Config{BaseURL: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.PullRequest(t.Context(), "ws", "repo", 7)
		var failed *bitbucket.Error
		if !errors.As(err, &failed) || failed.Cause() != "mergegate can't reach Bitbucket" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a wrong client secret", func(t *testing.T) {
		t.Parallel()
		client := serve(t, bitbucket.Config{OAuthClientID: "id", OAuthClientSecret: "secret"}, refuse(400))
		_, err := client.PullRequest(t.Context(), "ws", "repo", 7)
		var failed *bitbucket.Error
		if !errors.As(err, &failed) || failed.Cause() != "Bitbucket rejected mergegate's credential (400)" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no name", func(t *testing.T) {
		t.Parallel()
		_, err := serve(t, bitbucket.Config{}, answer("{}")).PullRequest(t.Context(), "..", "repo", 7)
		var failed *bitbucket.Error
		if !errors.As(err, &failed) || failed.Cause() != `".." can't be a workspace or a repository` {
			t.Errorf("got %v", err)
		}
	})
}

func refuse(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
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

// TestRedirects: Bitbucket redirects a renamed repository. Only what follows /2.0 is used of where to, on the configured
// address, and the request stays what it is: a POST that becomes a GET is no success.
func TestRedirects(t *testing.T) {
	t.Parallel()
	const hash = "a6e5e7d797edf751cbd839d6bd4aef86c941eec9"
	calls := map[string]func(*bitbucket.Client, context.Context) error{
		"GET": func(c *bitbucket.Client, ctx context.Context) error {
			_, err := c.PullRequest(ctx, "ws", "old", 7)
			return err
		},
		"POST": func(c *bitbucket.Client, ctx context.Context) error {
			return c.PostCommitStatus(ctx, "ws", "old", hash, bitbucket.CommitStatus{Key: "k", State: "FAILED"})
		},
		"PUT": func(c *bitbucket.Client, ctx context.Context) error {
			return c.UpdateComment(ctx, "ws", "old", 7, 7, "text")
		},
		"DELETE": func(c *bitbucket.Client, ctx context.Context) error {
			return c.DeleteComment(ctx, "ws", "old", 7, 7)
		},
	}
	for name, test := range map[string]struct {
		status   int // 0: 301
		to       string
		refused  bool
		requests int32 // 0: two
	}{
		"Bitbucket's API":             {to: "https://api.bitbucket.org/2.0/repositories/ws/new"},
		"Bitbucket's API, temporary":  {status: 302, to: "https://api.bitbucket.org/2.0/repositories/ws/new"},
		"Bitbucket's API, 307":        {status: 307, to: "https://api.bitbucket.org/2.0/repositories/ws/new"},
		"Bitbucket's API, 308":        {status: 308, to: "https://api.bitbucket.org/2.0/repositories/ws/new"},
		"Bitbucket's site":            {to: "https://bitbucket.org/!api/2.0/repositories/ws/new"},
		"by UUID":                     {to: "https://api.bitbucket.org/2.0/repositories/%7Bws%7D/%7Bnew%7D"},
		"relative":                    {to: "/2.0/repositories/ws/new"},
		"relative, as on the site":    {to: "/!api/2.0/repositories/ws/new"},
		"elsewhere":                   {to: "http://user:secret@elsewhere.invalid/proxy/2.0/repositories/ws/new"},
		"without a scheme":            {to: "//elsewhere.invalid/2.0/repositories/ws/new"},
		"see other":                   {status: 303, to: "/2.0/repositories/ws/new", refused: true, requests: 1},
		"not modified":                {status: 304, to: "/2.0/repositories/ws/new", refused: true, requests: 1},
		"a page to sign in":           {status: 302, to: "https://bitbucket.org/account/signin/?next=/2.0/repositories/ws/new", refused: true, requests: 1},
		"nowhere":                     {to: "-", refused: true, requests: 1},
		"out of the API":              {to: "/2.0/repositories/%2e%2e/new", refused: true, requests: 1},
		"for ever":                    {to: "/2.0/repositories/ws/old", refused: true, requests: 6},
		"a path and nothing after it": {to: "https://api.bitbucket.org/2.0", refused: true, requests: 1},
	} {
		if test.status == 0 {
			test.status = http.StatusMovedPermanently
		}
		if test.requests == 0 {
			test.requests = 2
		}
		for method, call := range calls {
			t.Run(name+", "+method, func(t *testing.T) {
				t.Parallel()
				var requests atomic.Int32
				client := serve(t, bitbucket.Config{Token: "s3cret"}, func(w http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					if r.Method != method || r.Header.Get("Authorization") != "Bearer s3cret" {
						t.Errorf("%s as %q", r.Method, r.Header.Get("Authorization"))
					}
					body, _ := io.ReadAll(r.Body)
					if (method == "POST" || method == "PUT") != (len(body) > 0) {
						t.Errorf("body %q", body)
					}
					rest, isOld := strings.CutPrefix(r.URL.EscapedPath(), "/2.0/repositories/ws/old")
					if isOld {
						if test.to != "-" {
							w.Header().Set("Location", test.to+rest)
						}
						if strings.Contains(test.to, "next=") || strings.HasSuffix(test.to, "/2.0") {
							w.Header().Set("Location", test.to)
						}
						w.WriteHeader(test.status)
						return
					}
					if r.Method == http.MethodDelete {
						w.WriteHeader(http.StatusNoContent)
						return
					}
					answer(`{"id":7,"key":"k"}`)(w, r)
				})
				err := call(client, t.Context())
				if got := status(err); test.refused && got != test.status || !test.refused && err != nil {
					t.Errorf("got %v", err)
				}
				if got := requests.Load(); got != test.requests {
					t.Errorf("%d requests", got)
				}
			})
		}
	}
}

// TestRedirectsBelowAPath: the configured address may have a path of its own, as behind a proxy.
func TestRedirectsBelowAPath(t *testing.T) {
	t.Parallel()
	for name, to := range map[string]string{
		"Bitbucket's API": "https://api.bitbucket.org/2.0/repositories/ws/new/pullrequests/7",
		"the proxy":       "/bitbucket/2.0/repositories/ws/new/pullrequests/7",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/bitbucket/2.0/repositories/ws/old/pullrequests/7":
					w.Header().Set("Location", to)
					w.WriteHeader(http.StatusMovedPermanently)
				case "/bitbucket/2.0/repositories/ws/new/pullrequests/7":
					answer(`{"id":7}`)(w, r)
				default:
					t.Errorf("asked %s", r.URL)
				}
			}))
			t.Cleanup(server.Close)
			client, err := bitbucket.NewClient(bitbucket.Config{BaseURL: server.URL + "/bitbucket/"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.CloseIdleConnections)
			if _, err := client.PullRequest(t.Context(), "ws", "old", 7); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNextPages: Bitbucket writes links to the next page in several ways; each is read from the configured address.
func TestNextPages(t *testing.T) {
	t.Parallel()
	lists := map[string]struct {
		path, first, last string
		read              func(*bitbucket.Client, context.Context) (int, error)
	}{
		"commits": {
			path: "/2.0/repositories/ws/repo/pullrequests/7/commits", first: commit(sha(2), sha(1)), last: commit(sha(1)),
			read: func(c *bitbucket.Client, ctx context.Context) (int, error) {
				pr := bitbucket.PullRequest{ID: 7, Source: bitbucket.Endpoint{Commit: strings.Repeat("0", 12)}}
				_, err := c.PullRequestHead(ctx, "ws", "repo", pr)
				return 2, err
			},
		},
		"changes": {
			path: "/2.0/repositories/ws/repo/pullrequests/7/diffstat", first: `{"new":{"path":"a"}}`, last: `{"new":{"path":"b"}}`,
			read: func(c *bitbucket.Client, ctx context.Context) (int, error) {
				paths, err := c.PullRequestPaths(ctx, "ws", "repo", 7)
				return len(paths), err
			},
		},
		"comments": {
			path: "/2.0/repositories/ws/repo/pullrequests/7/comments", first: `{"id":2,"content":{"raw":"x"}}`, last: `{"id":1,"content":{"raw":"x"}}`,
			read: func(c *bitbucket.Client, ctx context.Context) (int, error) {
				ids, err := c.FindComments(ctx, "ws", "repo", 7, "x")
				return len(ids), err
			},
		},
	}
	for name, link := range map[string]string{
		"of the API":            "https://api.bitbucket.org/2.0%s?page=abc%%2Fd&pagelen=100",
		"of the site":           "https://bitbucket.org/!api/2.0%s?page=abc%%2Fd&pagelen=100",
		"of the host":           "/2.0%s?page=abc%%2Fd&pagelen=100",
		"of the same list":      "?page=abc%%2Fd&pagelen=100",
		"in plain HTTP":         "http://api.bitbucket.org/2.0%s?page=abc%%2Fd&pagelen=100#x",
		"of nothing of the API": "https://bitbucket.org/ws/repo?page=2",
	} {
		for list, test := range lists {
			t.Run(name+", "+list, func(t *testing.T) {
				t.Parallel()
				next := link
				if strings.Contains(link, "%") {
					next = strings.Replace(strings.ReplaceAll(link, "%%", "%"), "%s", strings.TrimPrefix(test.path, "/2.0"), 1)
				}
				client := serve(t, bitbucket.Config{}, func(w http.ResponseWriter, r *http.Request) {
					switch {
					case r.URL.Path != test.path:
						t.Errorf("asked %s", r.URL)
					case r.URL.Query().Get("page") == "abc/d":
						answer(page("", test.last))(w, r)
					default:
						answer(page(next, test.first))(w, r)
					}
				})
				count, err := test.read(client, t.Context())
				if elsewhere := name == "of nothing of the API"; elsewhere != (err != nil) || !elsewhere && count != 2 {
					t.Errorf("%d read, %v", count, err)
				}
			})
		}
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

// TestOAuthKeepsATokenWhileItLives: one whose end isn't told, or is near, is good for one request only.
func TestOAuthKeepsATokenWhileItLives(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		expires string
		want    int32
	}{
		"two hours": {expires: `,"expires_in":7200`, want: 1},
		"a minute":  {expires: `,"expires_in":60`, want: 3},
		"not told":  {want: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var issued atomic.Int32
			client := serve(t, bitbucket.Config{OAuthClientID: "id", OAuthClientSecret: "secret"}, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/site/oauth2/access_token" {
					issued.Add(1)
					answer(`{"access_token":"token"`+test.expires+`}`)(w, r)
					return
				}
				answer(`{"id":7}`)(w, r)
			})
			for range 3 {
				if _, err := client.PullRequest(t.Context(), "ws", "repo", 7); err != nil {
					t.Error(err)
				}
			}
			if got := issued.Load(); got != test.want {
				t.Errorf("%d tokens were asked for, want %d", got, test.want)
			}
		})
	}
}

// TestOAuthRenewsOnceAMinute: what refuses a new token as well doesn't cost one with each request.
func TestOAuthRenewsOnceAMinute(t *testing.T) {
	t.Parallel()
	var issued, asked atomic.Int32
	client := serve(t, bitbucket.Config{OAuthClientID: "id", OAuthClientSecret: "secret"}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/site/oauth2/access_token" {
			answer(fmt.Sprintf(`{"access_token":"token-%d","expires_in":7200}`, issued.Add(1)))(w, r)
			return
		}
		asked.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
	})
	for range 5 {
		if _, err := client.PullRequest(t.Context(), "ws", "repo", 7); status(err) != http.StatusUnauthorized {
			t.Error(err)
		}
	}
	if issued.Load() != 2 || asked.Load() != 6 {
		t.Errorf("%d tokens, %d requests", issued.Load(), asked.Load())
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
