package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const reportsPath = "/api/v1/repositories/acme/widgets/builds"

// reported is the body of a report of pull request 7.
func reported(build int, state, commit string, more ...string) string {
	return fmt.Sprintf(`{"project":{"id":12064,"slug":"acme/widgets"},"build_id":%d,"version":"1.0.%[1]d","state":%q,"pullrequest":{"id":7},"source":{"commit":%q}%s}`,
		build, state, commit, strings.Join(more, ""))
}

func TestReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.tokenOf("build script", "report", "--repository", repository, "--project", "12064")
	post := func(body string, want int) (build map[string]any) {
		t.Helper()
		res := w.post(reportsPath, token, body)
		if res.status != want {
			t.Fatalf("%s was answered %d %s; want %d", body, res.status, res.body, want)
		}
		w.must(json.Unmarshal(res.body, &build))
		return build
	}
	// Nobody has told of the repository yet: Bitbucket is asked.
	first := post(reported(5, "failed", commit('1'), `,"tests":{"total":3,"passed":1,"failed":2}`), http.StatusCreated)
	if first["confirmed_by"] != "report" || first["state"] != "failed" {
		t.Errorf("reported %v", first)
	}
	if again := post(reported(5, "success", commit('1')), http.StatusOK); again["id"] != first["id"] || again["state"] != "failed" {
		t.Errorf("the same attempt changed it: %v", again)
	}
	w.expect("no_build", "")
	w.policy("rules: [{accept_reports: [acme/widgets]}]")
	w.expect("failed", "AppVeyor build 1.0.5 failed (2 of 3 tests)")
	if again := post(reported(5, "success", commit('1'), `,"attempt":2`), http.StatusCreated); again["state"] != "success" {
		t.Errorf("another attempt: %v", again)
	}
	w.expect("passed", "AppVeyor build 1.0.5 passed (reported by its build script)")
	post(reported(5, "failed", commit('1'), `,"attempt":1`), http.StatusOK)
	w.expect("passed", "")
	w.policy("rules: [{accept_reports: [acme/other]}]")
	w.expect("no_build", "")
	w.policy("rules: [{accept_reports: [acme/widgets]}]")

	post(reported(6, "success", commit('9')), http.StatusConflict)
	post(strings.Replace(reported(6, "success", commit('1')), "12064", "12065", 1), http.StatusForbidden) // the token is for project 12064
	post(strings.Replace(reported(6, "success", commit('1')), "acme/widgets", "mallory/widgets", 1), http.StatusForbidden)
	if shown := w.bb.CommitStatuses(repository, commit('1')); len(shown) != 0 {
		t.Errorf("a report made a commit status: %+v", shown)
	}

	// What AppVeyor confirms takes a report's place.
	w.must(w.bb.AddCommit(repository, commit('1')))
	b := w.built(commit('1'), "failed")
	w.expect("failed", "")
	post(reported(int(b.ID), "success", commit('1')), http.StatusCreated)
	w.expect("failed", "")
	var list struct{ Values []map[string]any }
	w.get(reportsPath, &list)
	if len(list.Values) != 2 || list.Values[0]["confirmed_by"] != "appveyor" || list.Values[1]["confirmed_by"] != "report" {
		t.Errorf("builds %v", list.Values)
	}
	var one map[string]any
	w.get("/api/v1/builds/"+first["id"].(string), &one)
	if one["confirmed_by"] != "report" {
		t.Errorf("build %v", one)
	}
}

func TestReportsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.tokenOf("build script", "report", "--project", "12064")
	w.expect("no_build", "")
	good := reported(5, "success", commit('1'))
	tests := []struct {
		name, token, body string
		status            int
	}{
		{name: "another scope", token: w.token, body: good, status: 403},
		{name: "no token", body: good, status: 401},
		{name: "no JSON", token: token, body: "x", status: 400},
		{name: "nothing", token: token, body: "{}", status: 422},
		{name: "a list", token: token, body: "[]", status: 422},
		{name: "no project id", token: token, body: strings.Replace(good, "12064", "0", 1), status: 422},
		{name: "a project without account", token: token, body: strings.Replace(good, "acme/widgets", "widgets", 1), status: 422},
		{name: "a short commit", token: token, body: strings.Replace(good, commit('1'), commit('1')[:12], 1), status: 422},
		{name: "an unknown state", token: token, body: strings.Replace(good, "success", "green", 1), status: 422},
		{name: "no pull request", token: token, body: strings.Replace(good, `"id":7`, `"id":0`, 1), status: 422},
		{name: "a pull request that isn't there", token: token, body: strings.Replace(good, `"id":7`, `"id":8`, 1), status: 409},
		{name: "an empty destination", token: token, body: strings.TrimSuffix(good, "}") + `,"destination":{"branch":""}}`, status: 422},
		{name: "another project", token: token, body: strings.Replace(good, "12064", "12065", 1), status: 403},
		{name: "another destination", token: token, body: strings.TrimSuffix(good, "}") + `,"destination":{"branch":"release"}}`, status: 409},
		{name: "a misspelt field", token: token, body: strings.TrimSuffix(good, "}") + `,"atempt":2}`, status: 422},
		{name: "NUL", token: token, body: strings.Replace(good, "1.0.5", `1.0\u0000`, 1), status: 422},
		{name: "an address that is a script", token: token, body: strings.TrimSuffix(good, "}") + `,"url":"javascript:alert(1)"}`, status: 422},
		{name: "a negative number of tests", token: token, body: strings.TrimSuffix(good, "}") + `,"tests":{"total":-1}}`, status: 422},
		{name: "a negative number of tests beside jobs", token: token, body: strings.TrimSuffix(good, "}") + `,"tests":{"total":-1},"jobs":[{"state":"success"}]}`, status: 422},
		{name: "a time that is none", token: token, body: strings.TrimSuffix(good, "}") + `,"started_on":"now"}`, status: 422},
	}
	for _, tt := range tests {
		if res := w.post(reportsPath, tt.token, tt.body); res.status != tt.status {
			t.Errorf("%s: answered %d %s; want %d", tt.name, res.status, res.body, tt.status)
		}
	}
	if res := w.post("/api/v1/repositories/acme/nothing/builds", token, good); res.status != http.StatusNotFound {
		t.Errorf("a repository that isn't there: %d %s", res.status, res.body)
	}
	w.expect("no_build", "")
}
