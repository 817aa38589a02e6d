package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"mergegate/internal/policy"
	"mergegate/internal/server/servertest"
)

const policyPath = "/api/v1/workspaces/acme/policy"

type policyAnswer struct {
	Version   *int64
	Document  string
	AppliedBy *string `json:"applied_by"`
	AppliedOn *string `json:"applied_on"`
	Code      string
	Errors    []policy.Fault
}

// ask sends a request with headers, "Name: value", and holds it and its answer to
// the API's description.
func (w *world) ask(method, path, token, body string, headers ...string) (servertest.Response, policyAnswer) {
	w.T.Helper()
	req, err := http.NewRequestWithContext(w.T.Context(), method, w.URL+path, strings.NewReader(body))
	w.Must(err)
	req.Header.Set("Authorization", "Bearer "+token)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	res := servertest.Send(w.T, req)
	servertest.HoldToSpecification(w.T, req, []byte(body), res)
	var a policyAnswer
	if strings.Contains(res.Header.Get("Content-Type"), "json") {
		w.Must(json.Unmarshal(res.Body, &a))
	}
	return res, a
}

func TestPolicyIsAppliedAndRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Built(commit('1'), "success")

	res, got := w.ask(http.MethodGet, policyPath, w.Token, "")
	w.Equal("none is set", policyAnswer{Document: policy.Default}, got)
	w.Equal("its tag", `"0"`, res.Header.Get("ETag"))

	const frozen = "rules:\n  - repositories: acme/*\n    branches: [main]\n    freezes: {name: for ever, from: 2020-01-01, until: 2100-01-01}\n"
	quoted, err := json.Marshal(map[string]string{"document": frozen})
	w.Must(err)
	for _, tt := range []struct {
		name    string
		path    string
		body    string
		headers []string
		status  int
		version int64
		code    string
	}{
		{name: "none in force, as expected", body: frozen, headers: []string{"Content-Type: application/yaml", `If-Match: "0"`}, status: 200, version: 1},
		{name: "the same in JSON", body: string(quoted), headers: []string{"Content-Type: application/json"}, status: 200, version: 1},
		{name: "by UUID", path: "/api/v1/workspaces/{" + workspaceUUID + "}/policy", body: "rules: []", headers: []string{"Content-Type: text/plain; charset=utf-8"}, status: 200, version: 2},
		{name: "by UUID without braces", path: "/api/v1/workspaces/" + workspaceUUID + "/policy", body: frozen, headers: []string{"Content-Type: text/yaml", "If-Match: 2"}, status: 200, version: 3},
		{name: "changed meanwhile", body: "rules: []", headers: []string{"Content-Type: application/yaml", `If-Match: "2"`}, status: 412, code: "policy_changed"},
		{name: "no version", body: "rules: []", headers: []string{"Content-Type: application/yaml", "If-Match: *"}, status: 400, code: "invalid_parameter"},
		{name: "another type", body: "rules: []", headers: []string{"Content-Type: application/x-www-form-urlencoded"}, status: 415, code: "unsupported_media_type"},
		{name: "no type", body: "rules: []", headers: []string{"Content-Type: ;"}, status: 415, code: "unsupported_media_type"},
		{name: "no JSON", body: "rules: []", headers: []string{"Content-Type: application/json"}, status: 400, code: "invalid_json"},
		{name: "JSON without a document", body: `{"rules": []}`, headers: []string{"Content-Type: application/json"}, status: 422, code: "invalid_body"},
		{name: "too large", body: strings.Repeat("#", policy.MaxSize+1), headers: []string{"Content-Type: application/yaml"}, status: 413, code: "too_large"},
		{name: "too large in JSON", body: `{"document": "` + strings.Repeat("#", policy.MaxSize+1) + `"}`, headers: []string{"Content-Type: application/json"}, status: 413, code: "too_large"},
		{name: "unknown parameter", path: policyPath + "?force=true", body: "rules: []", headers: []string{"Content-Type: application/yaml"}, status: 400, code: "invalid_parameter"},
		{name: "unknown workspace", path: "/api/v1/workspaces/nobody/policy", body: "rules: []", headers: []string{"Content-Type: application/yaml"}, status: 404, code: "not_found"},
	} {
		path := tt.path
		if path == "" {
			path = policyPath
		}
		res, got := w.ask(http.MethodPut, path, w.Token, tt.body, tt.headers...)
		if res.Status != tt.status || got.Code != tt.code || tt.version > 0 && (got.Version == nil || *got.Version != tt.version || *got.AppliedBy != "test") {
			t.Errorf("%s: %d %.300s", tt.name, res.Status, res.Body)
		}
	}

	res, got = w.ask(http.MethodPut, policyPath, w.Token, "rules:\n  - requierd: x\n    rebuild: nevr\n", "Content-Type: application/yaml")
	w.Equal("invalid", []any{422, "invalid_policy"}, []any{res.Status, got.Code})
	w.Equal("faults", []policy.Fault{
		{Line: 2, Column: 5, Message: "`requierd`: did you mean `required`?"},
		{Line: 3, Column: 14, Message: "`nevr`: did you mean `never`?"},
	}, got.Errors)

	w.Expect("frozen", "for ever")
	res, _ = w.ask(http.MethodGet, policyPath, w.Token, "", "Accept: application/yaml")
	w.Equal("in YAML", frozen, string(res.Body))
	w.Equal("its tag", `"3"`, res.Header.Get("ETag"))
	_, got = w.ask(http.MethodGet, policyPath+"?version=2", w.Token, "")
	w.Equal("an old version", "rules: []", got.Document)
	if res, _ := w.ask(http.MethodGet, policyPath+"?version=9", w.Token, ""); res.Status != http.StatusNotFound {
		t.Errorf("a version there isn't: %d", res.Status)
	}

	var versions struct {
		Values []struct{ Version int64 }
		Next   string
	}
	w.Get(policyPath+"/versions?pagelen=2", &versions)
	w.Equal("newest first", []struct{ Version int64 }{{3}, {2}}, versions.Values)
	w.Get(strings.TrimPrefix(versions.Next, w.URL), &versions)
	w.Equal("the next page", []struct{ Version int64 }{{1}}, versions.Values)

	var effective struct {
		Version  int64
		Settings []policy.Setting
	}
	w.Get(policyPath+"/effective?repository=widgets&branch=main", &effective)
	for _, s := range effective.Settings {
		if (s.Name == "freezes") != (s.Rule != nil) || s.Rule != nil && *s.Rule != (policy.RulePlace{Number: 1, Line: 2}) {
			t.Errorf("setting %+v", s)
		}
	}
	if res, _ := w.ask(http.MethodGet, policyPath+"/effective?repository=widgets", w.Token, ""); res.Status != http.StatusBadRequest {
		t.Errorf("effective without a branch: %d", res.Status)
	}
}

func TestPolicyIsOfAWholeWorkspace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Built(commit('1'), "success")
	for _, tt := range []struct {
		name       string
		scope      string
		repository string
		status     int
	}{
		{name: "every repository", scope: "admin", repository: "**", status: 200},
		{name: "one star", scope: "admin", repository: "ACME/*", status: 200},
		{name: "two stars", scope: "admin", repository: "acme/**", status: 200},
		{name: "some of the workspace", scope: "admin", repository: "acme/wid*", status: 403},
		{name: "one of the workspace", scope: "admin", repository: "*/widgets", status: 403},
		{name: "another workspace", scope: "admin", repository: "other/*", status: 404},
		{name: "another scope", scope: "read", repository: "**", status: 403},
	} {
		token := w.TokenOf(tt.name, tt.scope, servertest.Covering(tt.repository))
		for _, path := range []string{policyPath, policyPath + "/versions", policyPath + "/effective?repository=widgets&branch=main"} {
			if res, _ := w.ask(http.MethodGet, path, token, ""); res.Status != tt.status {
				t.Errorf("%s: GET %s: %d, want %d", tt.name, path, res.Status, tt.status)
			}
		}
		if res, _ := w.ask(http.MethodPut, policyPath, token, "rules: []", "Content-Type: application/yaml"); res.Status != tt.status {
			t.Errorf("%s: PUT: %d, want %d", tt.name, res.Status, tt.status)
		}
	}
}

func TestPolicyIsSimulated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Built(commit('1'), "failed")
	w.Expect("failed", "")
	w.Put(servertest.PullRequest(commit('2')))
	w.Built(commit('2'), "success")
	w.Expect("passed", "")
	w.ExpectOf("passed", "", event("on-code-pushed"))

	const frozen = "rules: [{branches: main, freezes: {name: for ever, from: 2020-01-01, until: 2100-01-01}}]\n"
	const allowed = "rules: [{skip: {name: everything, branches: main}}]\n"
	var got struct {
		Since string
		policy.Simulation
	}
	for _, tt := range []struct {
		name     string
		query    string
		document string
		want     policy.Simulation
	}{
		{name: "blocks", document: frozen, want: policy.Simulation{Decisions: 2, Judged: 2, Allowed: []policy.Change{}, Blocked: []policy.Change{
			{Code: "frozen", Repository: repository, Decisions: 1, PullRequests: []int64{7}},
		}}},
		{name: "allows", query: "?since=1h", document: allowed, want: policy.Simulation{Decisions: 2, Judged: 2, Blocked: []policy.Change{}, Allowed: []policy.Change{
			{Code: "failed", Repository: repository, Decisions: 1, PullRequests: []int64{7}},
		}}},
		{name: "none since", query: "?since=2100-01-01", document: frozen, want: policy.Simulation{Blocked: []policy.Change{}, Allowed: []policy.Change{}}},
	} {
		res, _ := w.ask(http.MethodPost, policyPath+"/simulate"+tt.query, w.Token, tt.document, "Content-Type: application/yaml")
		if res.Status != http.StatusOK {
			t.Fatalf("%s: %d %s", tt.name, res.Status, res.Body)
		}
		got.Simulation = policy.Simulation{}
		w.Must(json.Unmarshal(res.Body, &got))
		tt.want.Unjudged = []policy.Unjudged{}
		w.Equal(tt.name, tt.want, got.Simulation)
	}
	for _, tt := range []struct {
		name, query, document string
		status                int
	}{
		{name: "invalid", document: "rules: [{requierd: x}]", status: 422},
		{name: "no time", query: "?since=yesterday", document: frozen, status: 400},
	} {
		if res, _ := w.ask(http.MethodPost, policyPath+"/simulate"+tt.query, w.Token, tt.document, "Content-Type: application/yaml"); res.Status != tt.status {
			t.Errorf("%s: %d %s", tt.name, res.Status, res.Body)
		}
	}
	if _, inForce := w.ask(http.MethodGet, policyPath, w.Token, ""); inForce.Version != nil {
		t.Errorf("version %d is in force", *inForce.Version)
	}
}
