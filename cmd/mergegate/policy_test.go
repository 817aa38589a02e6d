package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/google/go-cmp/cmp"

	"mergegate/internal/policy"
)

func init() {
	// The validator knows the other names that YAML goes by.
	openapi3filter.RegisterBodyDecoder("text/yaml", openapi3filter.PlainBodyDecoder)
}

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
func (w *world) ask(method, path, token, body string, headers ...string) (response, policyAnswer) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	w.must(err)
	req.Header.Set("Authorization", "Bearer "+token)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	res := send(w.t, req)
	holdToSpecification(w.t, req, []byte(body), res)
	var a policyAnswer
	if strings.Contains(res.header.Get("Content-Type"), "json") {
		w.must(json.Unmarshal(res.body, &a))
	}
	return res, a
}

func (w *world) equal(what string, want, got any) {
	w.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestPolicyIsAppliedAndRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.built(commit('1'), "success")

	res, got := w.ask(http.MethodGet, policyPath, w.token, "")
	w.equal("none is set", policyAnswer{Document: policy.Default}, got)
	w.equal("its tag", `"0"`, res.header.Get("ETag"))

	const frozen = "rules:\n  - repositories: acme/*\n    branches: [main]\n    freezes: {name: for ever, from: 2020-01-01, until: 2100-01-01}\n"
	quoted, err := json.Marshal(map[string]string{"document": frozen})
	w.must(err)
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
		res, got := w.ask(http.MethodPut, path, w.token, tt.body, tt.headers...)
		if res.status != tt.status || got.Code != tt.code || tt.version > 0 && (got.Version == nil || *got.Version != tt.version || *got.AppliedBy != "test") {
			t.Errorf("%s: %d %.300s", tt.name, res.status, res.body)
		}
	}

	res, got = w.ask(http.MethodPut, policyPath, w.token, "rules:\n  - requierd: x\n    rebuild: nevr\n", "Content-Type: application/yaml")
	w.equal("invalid", []any{422, "invalid_policy"}, []any{res.status, got.Code})
	w.equal("faults", []policy.Fault{
		{Line: 2, Column: 5, Message: "`requierd`: did you mean `required`?"},
		{Line: 3, Column: 14, Message: "`nevr`: did you mean `never`?"},
	}, got.Errors)

	w.expect("frozen", "for ever")
	res, _ = w.ask(http.MethodGet, policyPath, w.token, "", "Accept: application/yaml")
	w.equal("in YAML", frozen, string(res.body))
	w.equal("its tag", `"3"`, res.header.Get("ETag"))
	_, got = w.ask(http.MethodGet, policyPath+"?version=2", w.token, "")
	w.equal("an old version", "rules: []", got.Document)
	if res, _ := w.ask(http.MethodGet, policyPath+"?version=9", w.token, ""); res.status != http.StatusNotFound {
		t.Errorf("a version there isn't: %d", res.status)
	}

	var versions struct {
		Values []struct{ Version int64 }
		Next   string
	}
	w.get(policyPath+"/versions?pagelen=2", &versions)
	w.equal("newest first", []struct{ Version int64 }{{3}, {2}}, versions.Values)
	w.get(strings.TrimPrefix(versions.Next, w.url), &versions)
	w.equal("the next page", []struct{ Version int64 }{{1}}, versions.Values)

	var effective struct {
		Version  int64
		Settings []policy.Setting
	}
	w.get(policyPath+"/effective?repository=widgets&branch=main", &effective)
	for _, s := range effective.Settings {
		if (s.Name == "freezes") != (s.Rule != nil) || s.Rule != nil && *s.Rule != (policy.RulePlace{Number: 1, Line: 2}) {
			t.Errorf("setting %+v", s)
		}
	}
	if res, _ := w.ask(http.MethodGet, policyPath+"/effective?repository=widgets", w.token, ""); res.status != http.StatusBadRequest {
		t.Errorf("effective without a branch: %d", res.status)
	}
}

func TestPolicyIsOfAWholeWorkspace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.built(commit('1'), "success")
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
		token := w.command("token", "create", "--name", tt.name, "--scope", tt.scope, "--repository", tt.repository)
		for _, path := range []string{policyPath, policyPath + "/versions", policyPath + "/effective?repository=widgets&branch=main"} {
			if res, _ := w.ask(http.MethodGet, path, token, ""); res.status != tt.status {
				t.Errorf("%s: GET %s: %d, want %d", tt.name, path, res.status, tt.status)
			}
		}
		if res, _ := w.ask(http.MethodPut, policyPath, token, "rules: []", "Content-Type: application/yaml"); res.status != tt.status {
			t.Errorf("%s: PUT: %d, want %d", tt.name, res.status, tt.status)
		}
	}
}

// outcome runs a command that may fail.
func (w *world) outcome(stdin string, args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	cmd := programCommand(w.t, w.env, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	_ = cmd.Run() // its code tells
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestPolicyCommands(t *testing.T) {
	t.Parallel()
	w := idleWorld(t)
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(text string) {
		t.Helper()
		w.must(os.WriteFile(file, []byte(text), 0o600))
	}

	code, out, _ := w.outcome("", "policy", "show")
	w.equal("the defaults", []any{0, policy.Default}, []any{code, out})
	code, out, _ = w.outcome(policy.Default, "policy", "validate", "-")
	w.equal("valid", []any{0, "- is a valid policy\n"}, []any{code, out})

	write("rules:\n  - requierd: x\n    rebuild: nevr\n")
	for _, command := range []string{"validate", "apply"} {
		code, _, errs := w.outcome("", "policy", command, file)
		want := fmt.Sprintf("%[1]s:2:5: `requierd`: did you mean `required`?\n%[1]s:3:14: `nevr`: did you mean `never`?\nmergegate: %[1]s is not a valid policy\n", file)
		w.equal(command, []any{1, want}, []any{code, errs})
	}
	code, _, errs := w.outcome("", "policy", "apply", filepath.Join(t.TempDir(), "none.yaml"))
	if code != 1 || !strings.Contains(errs, "no such file") {
		t.Errorf("no file: %d %s", code, errs)
	}

	write("rules:\n  - {branches: main, freshness: strict}\n")
	code, _, errs = w.outcome("", "policy", "apply", file)
	if code != 1 || !strings.Contains(errs, "no workspace is known yet") {
		t.Errorf("no workspace: %d %s", code, errs)
	}
	w.equal("first", "version 1 is in force", w.command("policy", "apply", file, "--workspace", "{"+workspaceUUID+"}"))
	w.equal("again", "version 1 is in force already", w.command("policy", "apply", file))
	w.equal("shown", "rules:\n  - {branches: main, freshness: strict}", w.command("policy", "show"))

	var shown policyAnswer
	w.must(json.Unmarshal([]byte(w.command("policy", "show", "--json")), &shown))
	if *shown.Version != 1 || *shown.AppliedBy != "command line" {
		t.Errorf("shown as %+v", shown)
	}
	table := w.command("policy", "show", "--effective", "acme/widgets", "main")
	for _, want := range []string{"freshness             strict", "rule 1, line 2", "accept_branch_builds  never", `{"allowed":true`} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in\n%s", want, table)
		}
	}
	for _, args := range [][]string{{"--effective", "acme/widgets"}, {"acme/widgets", "main"}} {
		if code, _, _ := w.outcome("", append([]string{"policy", "show"}, args...)...); code != 2 {
			t.Errorf("show %v: exit code %d", args, code)
		}
	}

	w.command("policy", "apply", file, "--workspace", repositoryUUID) // another workspace's, for all this knows
	code, _, errs = w.outcome("", "policy", "show")
	if code != 2 || !strings.Contains(errs, "several workspaces are known") || !strings.Contains(errs, workspaceUUID) {
		t.Errorf("several: %d %s", code, errs)
	}
	if code, _, errs = w.outcome("", "policy", "show", "--workspace", "nobody"); code != 1 {
		t.Errorf("unknown: %d %s", code, errs)
	}
}

func TestPolicyIsSimulated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.built(commit('1'), "failed")
	w.expect("failed", "")
	w.put(pullRequest(commit('2')))
	w.built(commit('2'), "success")
	w.expect("passed", "")
	w.expectOf("passed", "", event("on-code-pushed"))

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
		res, _ := w.ask(http.MethodPost, policyPath+"/simulate"+tt.query, w.token, tt.document, "Content-Type: application/yaml")
		if res.status != http.StatusOK {
			t.Fatalf("%s: %d %s", tt.name, res.status, res.body)
		}
		got.Simulation = policy.Simulation{}
		w.must(json.Unmarshal(res.body, &got))
		tt.want.Unjudged = []policy.Unjudged{}
		w.equal(tt.name, tt.want, got.Simulation)
	}
	for _, tt := range []struct {
		name, query, document string
		status                int
	}{
		{name: "invalid", document: "rules: [{requierd: x}]", status: 422},
		{name: "no time", query: "?since=yesterday", document: frozen, status: 400},
	} {
		if res, _ := w.ask(http.MethodPost, policyPath+"/simulate"+tt.query, w.token, tt.document, "Content-Type: application/yaml"); res.status != tt.status {
			t.Errorf("%s: %d %s", tt.name, res.status, res.body)
		}
	}
	if _, inForce := w.ask(http.MethodGet, policyPath, w.token, ""); inForce.Version != nil {
		t.Errorf("version %d is in force", *inForce.Version)
	}

	code, out, errs := w.outcome(frozen, "policy", "simulate", "-", "--since", "1h")
	for _, want := range []string{"2 decisions on merging since ", "2 judged.", "Newly blocked:", "acme/widgets  frozen  1          #7", "Newly allowed: none."} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s%s", want, out, errs)
		}
	}
	w.equal("exit code", 0, code)
	_, out, _ = w.outcome(allowed, "policy", "simulate", "-", "--json")
	w.must(json.Unmarshal([]byte(out), &got))
	if len(got.Allowed) != 1 || got.Since == "" {
		t.Errorf("in JSON: %s", out)
	}
	if code, _, _ := w.outcome(frozen, "policy", "simulate", "-", "--since", "yesterday"); code != 2 {
		t.Errorf("no time: exit code %d", code)
	}
}

// TestPolicyCommandsOfARunningService have no database, only its address and a
// token.
func TestPolicyCommandsOfARunningService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.built(commit('1'), "success")
	w.expect("passed", "")
	far := &world{t: t, env: map[string]string{"MERGEGATE_URL": w.url, "MERGEGATE_TOKEN": w.token, "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"}}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	w.must(os.WriteFile(file, []byte("rules:\n  - {branches: main, freshness: strict}\n"), 0o600))

	w.equal("the defaults", strings.TrimSpace(policy.Default), far.command("policy", "show", "--workspace", "acme"))
	simulation := far.command("policy", "simulate", file, "--workspace", "acme")
	if !strings.Contains(simulation, "1 decision on merging") || !strings.Contains(simulation, "acme/widgets") {
		t.Errorf("simulated:\n%s", simulation)
	}
	w.equal("first", "version 1 is in force", far.command("policy", "apply", file, "--workspace", "acme"))
	w.equal("again", "version 1 is in force already", far.command("policy", "apply", file, "--workspace", "acme"))
	if table := far.command("policy", "show", "--effective", "widgets", "main", "--workspace", "acme"); !strings.Contains(table, "freshness             strict") {
		t.Errorf("effective:\n%s", table)
	}
	w.expect("stale_destination", "")
	w.equal("the only workspace", far.command("policy", "show", "--workspace", "acme"), far.command("policy", "show"))
	if code, _, errs := far.outcome("", "policy", "show", "--workspace", "nobody"); code != 1 {
		t.Errorf("an unknown workspace: %d %s", code, errs)
	}
}
