package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"mergegate/internal/client"
	"mergegate/internal/forge/forgetest"
	"mergegate/internal/server/servertest"
)

// problemOf reads the problem details of an answer that has to have them.
func problemOf(t *testing.T, res servertest.Response) (code string) {
	t.Helper()
	var p struct {
		Code   string
		Status int
	}
	if got := res.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/problem+json") {
		t.Errorf("content type %q of %s", got, res.Body)
	}
	if err := json.Unmarshal(res.Body, &p); err != nil || p.Status != res.Status {
		t.Errorf("not problem details for %d: %s", res.Status, res.Body)
	}
	return p.Code
}

func TestWebhookAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const fiveMiB = 5 << 20
	hook := func(data string) string { return `{"eventName":"build_success","eventData":` + data + `}` }
	url := w.AppVeyor.URL + "/project/acme/widgets/builds/99"
	padded := func(size int) string {
		body := hook(fmt.Sprintf(`{"buildId":99,"isPullRequest":false,"buildUrl":%q,"pad":""}`, url))
		return strings.Replace(body, `"pad":""`, `"pad":"`+strings.Repeat("x", size-len(body))+`"`, 1)
	}
	tests := []struct {
		name   string
		secret string // "": the right one
		header string // instead of Authorization: Bearer
		body   string
		status int
		code   string
		reason string // of the stored delivery
	}{
		{name: "no secret", header: "X-Secret: " + servertest.WebhookSecret, body: hook(`{"buildId":1}`), status: 401, code: "unauthorized"},
		{name: "Basic", header: "Authorization: Basic " + servertest.WebhookSecret, body: hook(`{"buildId":1}`), status: 401, code: "unauthorized"},
		{name: "wrong secret", secret: "hook-secret-7f3b", body: hook(`{"buildId":1}`), status: 401, code: "unauthorized"},
		{name: "a prefix of the secret", secret: servertest.WebhookSecret[:5], body: hook(`{"buildId":1}`), status: 401, code: "unauthorized"},
		{name: "both secrets in one", secret: "old-secret, " + servertest.WebhookSecret, body: hook(`{"buildId":1}`), status: 401, code: "unauthorized"},
		{name: "wrong secret comes before too large", secret: "wrong", body: padded(fiveMiB + 1), status: 401, code: "unauthorized"},
		{name: "wrong secret comes before not JSON", secret: "wrong", body: "{", status: 401, code: "unauthorized"},
		{name: "over 5 MiB", body: padded(fiveMiB + 1), status: 413, code: "too_large"},
		{name: "over 5 MiB and not JSON", body: strings.Repeat("x", fiveMiB+1), status: 413, code: "too_large"},
		{name: "exactly 5 MiB", body: padded(fiveMiB), status: 202, reason: "not_pull_request"},
		{name: "empty", body: "", status: 400, code: "invalid_json"},
		{name: "not JSON", body: "payload=1", status: 400, code: "invalid_json"},
		{name: "cut off", body: hook(`{"buildId":1`), status: 400, code: "invalid_json"},
		{name: "two values", body: hook(`{"buildId":1}`) + "{}", status: 400, code: "invalid_json"},
		{name: "very deep", body: strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000), status: 400, code: "invalid_json"},
		{name: "an array", body: "[]", status: 422, code: "invalid_delivery"},
		{name: "null", body: "null", status: 422, code: "invalid_delivery"},
		{name: "no eventData", body: `{"eventName":"build_success"}`, status: 422, code: "invalid_delivery"},
		{name: "eventData is null", body: hook("null"), status: 422, code: "invalid_delivery"},
		{name: "eventData is a list", body: hook("[]"), status: 422, code: "invalid_delivery"},
		{name: "no buildId", body: hook(`{"x":1}`), status: 422, code: "invalid_delivery"},
		{name: "buildId 0", body: hook(`{"buildId":0}`), status: 422, code: "invalid_delivery"},
		{name: "buildId negative", body: hook(`{"buildId":-5}`), status: 422, code: "invalid_delivery"},
		{name: "buildId with a fraction", body: hook(`{"buildId":1.5}`), status: 422, code: "invalid_delivery"},
		{name: "buildId too large", body: hook(`{"buildId":99999999999999999999}`), status: 422, code: "invalid_delivery"},
		{name: "buildId is a word", body: hook(`{"buildId":"x"}`), status: 422, code: "invalid_delivery"},
		{name: "buildId is a list", body: hook(`{"buildId":[1]}`), status: 422, code: "invalid_delivery"},
		{name: "buildId is digits", body: hook(fmt.Sprintf(`{"buildId":"99","buildUrl":%q,"isPullRequest":false}`, url)), status: 202, reason: "not_pull_request"},
		{name: "the older secret", secret: "old-secret", body: hook(fmt.Sprintf(`{"buildId":99,"buildUrl":%q,"isPullRequest":false}`, url)), status: 202, reason: "not_pull_request"},
		{name: "byte order mark", body: "\xef\xbb\xbf" + hook(fmt.Sprintf(`{"buildId":99,"buildUrl":%q,"isPullRequest":false}`, url)), status: 202, reason: "not_pull_request"},
		{name: "unknown event", body: fmt.Sprintf(`{"eventName":"build_started","eventData":{"buildId":99,"buildUrl":%q}}`, url), status: 202, reason: "unknown_event"},
		{name: "no event", body: fmt.Sprintf(`{"eventData":{"buildId":99,"buildUrl":%q}}`, url), status: 202, reason: "unknown_event"},
		{name: "another provider", body: hook(fmt.Sprintf(`{"buildId":99,"buildUrl":%q,"repositoryProvider":"gitHub"}`, url)), status: 202, reason: "other_provider"},
		{name: "another host", body: hook(`{"buildId":99,"buildUrl":"http://169.254.169.254/project/acme/widgets/builds/99"}`), status: 202, reason: "other_host"},
		{name: "a host that only begins alike", body: hook(fmt.Sprintf(`{"buildId":99,"buildUrl":%q}`, w.AppVeyor.URL+"@evil.example/project/acme/widgets/builds/99")), status: 202, reason: "other_host"},
		{name: "another account", body: hook(fmt.Sprintf(`{"buildId":99,"buildUrl":%q}`, w.AppVeyor.URL+"/project/mallory/widgets/builds/99")), status: 202, reason: "untrusted_account"},
		{
			name: "NUL and broken UTF-8 everywhere", status: 202, reason: "other_provider",
			body: hook(fmt.Sprintf(`{"buildId":99,"buildUrl":%q,"repositoryName":"a\u0000/b`+"\xff"+`","buildVersion":"\u0000\ud800","repositoryProvider":"git\u0000Hub","branch":"\u0000"}`, url)),
		},
		{
			name: "fields of other types", body: hook(`{"buildId":99,"buildUrl":7,"repositoryName":{},"pullRequestId":[],"buildVersion":1.5,"isPullRequest":"no"}`), status: 202,
			reason: "buildUrl is missing or doesn't name a project; a custom webhook body needs {{buildUrl}}",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			secret := tt.secret
			if secret == "" && tt.header == "" {
				secret = servertest.WebhookSecret
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/webhooks/appveyor?secret="+servertest.WebhookSecret, strings.NewReader(tt.body))
			w.Must(err)
			if secret != "" {
				req.Header.Set("Authorization", "Bearer "+secret)
			}
			if name, value, ok := strings.Cut(tt.header, ": "); ok {
				req.Header.Set(name, value)
			}
			before := len(w.Settled())
			res := servertest.Send(t, req)
			servertest.HoldToSpecification(t, req, []byte(strings.TrimPrefix(tt.body, "\xef\xbb\xbf")), res)
			if res.Status != tt.status {
				t.Fatalf("answered %d %s; want %d", res.Status, res.Body, tt.status)
			}
			stored := w.Settled()
			if tt.status != http.StatusAccepted {
				if code := problemOf(t, res); code != tt.code || len(stored) != before {
					t.Errorf("code %s, %d deliveries; want %s, %d", code, len(stored), tt.code, before)
				}
				return
			}
			if !bytes.Contains(res.Body, []byte(`{"delivery":"`+stored[0].ID+`"}`)) {
				t.Errorf("answer %s does not name delivery %s", res.Body, stored[0].ID)
			}
			if got := stored[0].Reason; got == nil || *got != tt.reason {
				t.Errorf("delivery %+v; want reason %q", stored[0], tt.reason)
			}
		})
	}
	if asked := w.AppVeyor.Requests(); len(asked) != 0 {
		t.Errorf("AppVeyor was asked %v", asked)
	}
}

// TestBodyLimitHoldsWithoutReadingTheRest announces a body it never sends.
func TestBodyLimitHoldsWithoutReadingTheRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.URL, "http://"))
	w.Must(err)
	defer func() { _ = conn.Close() }()
	w.Must(conn.SetDeadline(time.Now().Add(servertest.Patience)))
	_, err = fmt.Fprintf(conn, "POST /webhooks/appveyor HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n{", servertest.WebhookSecret, int64(1)<<40)
	w.Must(err)
	answer, err := io.ReadAll(conn)
	w.Must(err)
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 413 ")) {
		t.Errorf("answered %s", answer)
	}
}

func TestMergeCheckAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := event("on-merge")
	token := w.Forge.Token
	const elsewhere = "0c3a7799-53ae-4a5b-9e7e-03338980abb5"
	tests := []struct {
		name   string
		token  string
		body   string
		status int
		code   string
	}{
		{name: "no token", body: good, status: 401, code: "unauthorized"},
		{name: "not a token", token: "a.b.c", body: good, status: 401, code: "unauthorized"},
		{name: "another key", token: token(forgetest.WithForeignKey()), body: good, status: 401, code: "unauthorized"},
		{name: "HS256", token: token(forgetest.WithAlgorithm("HS256")), body: good, status: 401, code: "unauthorized"},
		{name: "none", token: token(forgetest.WithAlgorithm("none")), body: good, status: 401, code: "unauthorized"},
		{name: "RS512", token: token(forgetest.WithAlgorithm("RS512")), body: good, status: 401, code: "unauthorized"},
		{name: "expired", token: token(forgetest.WithIssued(time.Now().Add(-2 * time.Minute))), body: good, status: 401, code: "unauthorized"},
		{name: "not valid yet", token: token(forgetest.WithIssued(time.Now().Add(2 * time.Minute))), body: good, status: 401, code: "unauthorized"},
		{name: "no exp", token: token(forgetest.WithoutClaim("exp")), body: good, status: 401, code: "unauthorized"},
		{name: "another issuer", token: token(forgetest.WithClaim("iss", "mallory")), body: good, status: 401, code: "unauthorized"},
		{name: "another app", token: token(forgetest.WithApp("ari:cloud:ecosystem::app/0c3a7799-53ae-4a5b-9e7e-03338980abb5")), body: good, status: 401, code: "unauthorized"},
		{name: "another environment", token: token(forgetest.WithEnvironment("DEVELOPMENT")), body: good, status: 401, code: "unauthorized"},
		{name: "isolated cloud", token: token(forgetest.WithClaim("icLabel", "orange")), body: good, status: 401, code: "unauthorized"},
		{name: "a person", token: token(forgetest.WithClaim("principal", "655362:312d3308")), body: good, status: 403, code: "forbidden"},
		{name: "bad token comes before bad body", token: "a.b.c", body: "{", status: 401, code: "unauthorized"},
		{name: "another workspace", token: token(forgetest.WithWorkspace(elsewhere)), body: good, status: 403, code: "forbidden"},
		{name: "another workspace in one of two claims", token: token(forgetest.WithClaim("context.workspaceId", "{"+elsewhere+"}")), body: good, status: 403, code: "forbidden"},
		{name: "no workspace in any claim", token: token(forgetest.WithoutClaim("context.workspaceId"), forgetest.WithClaim("app.installation.contexts", []any{})), body: good, status: 403, code: "forbidden"},
		{name: "workspace in one claim alone", token: token(forgetest.WithoutClaim("context")), body: good, status: 200},
		{name: "a leeway of 30 s", token: token(forgetest.WithIssued(time.Now().Add(-forgetest.Lifetime - 15*time.Second))), body: good, status: 200},
		{name: "upper case and without braces", token: token(), body: strings.NewReplacer("{"+workspaceUUID+"}", strings.ToUpper(workspaceUUID)).Replace(good), status: 200},
		{name: "under payload", token: token(), body: `{"payload":` + good + `,"context":{}}`, status: 200},
		{name: "unknown trigger", token: token(), body: event("on-full-moon"), status: 200},
		{name: "unknown fields", token: token(), body: event("on-merge", `,"x":{"y":[1,2]}`), status: 200},
		{name: "a strange pull request", token: token(), body: event("on-merge", `,"pullRequest":{"state":7,"source":[],"destination":null}`), status: 200},
		{name: "NUL in a branch", token: token(), body: event("on-merge", strings.Replace(bringing(commit('1')), `"feature"`, `"\u0000"`, 1)), status: 200},
		{name: "empty", token: token(), body: "", status: 400, code: "invalid_event"},
		{name: "not JSON", token: token(), body: "{", status: 400, code: "invalid_event"},
		{name: "an array", token: token(), body: "[]", status: 400, code: "invalid_event"},
		{name: "no workspace", token: token(), body: `{"repository":{"uuid":"{` + repositoryUUID + `}"},"pullrequest":{"id":7}}`, status: 400, code: "invalid_event"},
		{name: "a workspace that is no UUID", token: token(), body: strings.Replace(good, workspaceUUID, "acme", 1), status: 400, code: "invalid_event"},
		{name: "pull request 0", token: token(), body: strings.Replace(good, `"id":7`, `"id":0`, 1), status: 400, code: "invalid_event"},
		{name: "pull request x", token: token(), body: strings.Replace(good, `"id":7`, `"id":"x"`, 1), status: 400, code: "invalid_event"},
		{name: "too large", token: token(), body: `{"x":"` + strings.Repeat("x", 2<<20) + `"}`, status: 413, code: "too_large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := w.Post("/forge/merge-check", tt.token, tt.body)
			if res.Status != tt.status {
				t.Fatalf("answered %d %s; want %d", res.Status, res.Body, tt.status)
			}
			if tt.token != "" && bytes.Contains(res.Body, []byte(tt.token)) {
				t.Errorf("the answer repeats the token: %s", res.Body)
			}
			if tt.status != http.StatusOK {
				if code := problemOf(t, res); code != tt.code {
					t.Errorf("code %s, want %s", code, tt.code)
				}
				return
			}
			var a servertest.Answer
			if err := json.Unmarshal(res.Body, &a); err != nil || a.Success || a.Message == "" {
				t.Errorf("answer %s", res.Body)
			}
		})
	}
	if log := w.Log(); strings.Contains(log, "eyJ") {
		t.Error("the log has a token")
	}
}

func TestAPIRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Built(commit('1'), "success")
	read := w.TokenOf("r", "read")
	waive := w.TokenOf("w", "waive,report", servertest.ReportingFor(12064))
	other := w.TokenOf("o", "read", servertest.Covering("acme/other-*"))
	expired := w.TokenOf("e", "read", servertest.ValidFor(time.Second))
	revoked := w.TokenOf("x", "admin")
	w.Operate(func(ctx context.Context, c *client.Client) error { return c.RevokeToken(ctx, "6") })
	const builds = "/api/v1/repositories/acme/widgets/builds"
	w.Eventually("a token expires", func() bool { return w.Do(http.MethodGet, builds, expired, nil).Status == http.StatusUnauthorized })
	tests := []struct {
		name, method, path, token string
		status                    int
	}{
		{name: "no token", path: builds, status: 401},
		{name: "unknown token", path: builds, token: "mgt_unknown", status: 401},
		{name: "expired", path: builds, token: expired, status: 401},
		{name: "revoked", path: builds, token: revoked, status: 401},
		{name: "wrong scope", path: builds, token: waive, status: 403},
		{name: "read is not admin", path: "/api/v1/deliveries", token: read, status: 403},
		{name: "read reads", path: builds, token: read, status: 200},
		{name: "admin reads", path: builds, token: w.Token, status: 200},
		{name: "by UUID", path: "/api/v1/repositories/%7B" + workspaceUUID + "%7D/%7B" + repositoryUUID + "%7D/builds", token: read, status: 200},
		{name: "another case", path: "/api/v1/repositories/Acme/Widgets/builds", token: read, status: 200},
		{name: "not covered", path: builds, token: other, status: 404},
		{name: "not covered, one build", path: "/api/v1/builds/1", token: other, status: 404},
		{name: "unknown repository", path: "/api/v1/repositories/acme/none/builds", token: read, status: 404},
		{name: "NUL in a path", path: "/api/v1/repositories/acme/%00/builds", token: read, status: 404},
		{name: "broken UTF-8 in a path", path: "/api/v1/repositories/acme/%ff/builds", token: read, status: 404},
		{name: "pull request x", path: "/api/v1/repositories/acme/widgets/pullrequests/x", token: read, status: 404},
		{name: "pull request too large", path: "/api/v1/repositories/acme/widgets/pullrequests/99999999999999999999", token: read, status: 404},
		{name: "pull request nobody knows", path: "/api/v1/repositories/acme/widgets/pullrequests/4711", token: read, status: 200},
		{name: "unknown build", path: "/api/v1/builds/4711", token: read, status: 404},
		{name: "no such route", path: "/api/v2", token: read, status: 404},
		{name: "no such method", method: http.MethodDelete, path: builds, token: read, status: 405},
		{name: "GET on the webhook", path: "/webhooks/appveyor", status: 405},
		{name: "pullrequest", path: builds + "?pullrequest=x", token: read, status: 400},
		{name: "pullrequest empty", path: builds + "?pullrequest=", token: read, status: 400},
		{name: "commit too short", path: builds + "?commit=123456", token: read, status: 400},
		{name: "commit not hex", path: builds + "?commit=zzzzzzz", token: read, status: 400},
		{name: "commit upper case", path: builds + "?commit=1111111", token: read, status: 200},
		{name: "project", path: builds + "?project=a", token: read, status: 400},
		{name: "project NUL", path: builds + "?project=a/%00", token: read, status: 400},
		{name: "state", path: builds + "?state=green", token: read, status: 400},
		{name: "since", path: builds + "?since=yesterday", token: read, status: 400},
		{name: "since year 0", path: builds + "?since=0000-01-01T00:00:00Z", token: read, status: 400},
		{name: "until", path: builds + "?until=2026-13-01", token: read, status: 400},
		{name: "pagelen 0", path: builds + "?pagelen=0", token: read, status: 400},
		{name: "pagelen 101", path: builds + "?pagelen=101", token: read, status: 400},
		{name: "pagelen 100", path: builds + "?pagelen=100", token: read, status: 200},
		{name: "page", path: builds + "?page=2", token: read, status: 400},
		{name: "twice", path: builds + "?state=failed&state=success", token: read, status: 400},
		{name: "misspelt", path: builds + "?stat=failed", token: read, status: 400},
		{name: "broken query", path: builds + "?state=%zz", token: read, status: 400},
		{name: "every filter", path: builds + "?pullrequest=7&commit=11111111&project=acme/widgets&state=success&since=2020-01-01&until=2100-01-01T00:00:00Z&pagelen=1", token: read, status: 200},
		{name: "status filter", path: "/api/v1/commit-statuses?outcome=FAILED", token: w.Token, status: 400},
		{name: "retry of nothing", method: http.MethodPost, path: "/api/v1/commit-statuses/4711/retry", token: w.Token, status: 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			method := tt.method
			if method == "" {
				method = http.MethodGet
			}
			res := w.Do(method, tt.path, tt.token, nil)
			if res.Status != tt.status {
				t.Fatalf("answered %d %s; want %d", res.Status, res.Body, tt.status)
			}
			if tt.status >= 400 {
				problemOf(t, res)
			}
		})
	}
}
