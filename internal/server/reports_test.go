package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"mergegate/internal/server/servertest"
)

func TestReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.TokenOf("build script", "report", servertest.Covering(repository), servertest.ReportingFor(12064))
	post := func(body string, want int) (build map[string]any) {
		t.Helper()
		res := w.Post(servertest.ReportsPath, token, body)
		if res.Status != want {
			t.Fatalf("%s was answered %d %s; want %d", body, res.Status, res.Body, want)
		}
		w.Must(json.Unmarshal(res.Body, &build))
		return build
	}
	// Nobody has told of the repository yet: Bitbucket is asked.
	first := post(servertest.Reported(5, "failed", commit('1'), `,"tests":{"total":3,"passed":1,"failed":2}`), http.StatusCreated)
	if first["confirmed_by"] != "report" || first["state"] != "failed" {
		t.Errorf("reported %v", first)
	}
	if again := post(servertest.Reported(5, "success", commit('1')), http.StatusOK); again["id"] != first["id"] || again["state"] != "failed" {
		t.Errorf("the same attempt changed it: %v", again)
	}
	w.Expect("no_build", "")
	w.Policy("rules: [{accept_reports: [acme/widgets]}]")
	w.Expect("failed", "AppVeyor build 1.0.5 failed (2 of 3 tests)")
	if again := post(servertest.Reported(5, "success", commit('1'), `,"attempt":2`), http.StatusCreated); again["state"] != "success" {
		t.Errorf("another attempt: %v", again)
	}
	w.Expect("passed", "AppVeyor build 1.0.5 passed, reported by its build script.")
	post(servertest.Reported(5, "failed", commit('1'), `,"attempt":1`), http.StatusOK)
	w.Expect("passed", "")
	w.Policy("rules: [{accept_reports: [acme/other]}]")
	w.Expect("no_build", "")
	w.Policy("rules: [{accept_reports: [acme/widgets]}]")

	post(servertest.Reported(6, "success", commit('9')), http.StatusConflict)
	post(strings.Replace(servertest.Reported(6, "success", commit('1')), "12064", "12065", 1), http.StatusForbidden) // the token is for project 12064
	post(strings.Replace(servertest.Reported(6, "success", commit('1')), "acme/widgets", "mallory/widgets", 1), http.StatusForbidden)
	if shown := w.Bitbucket.CommitStatuses(repository, commit('1')); len(shown) != 0 {
		t.Errorf("a report made a commit status: %+v", shown)
	}

	// What AppVeyor confirms takes a report's place.
	w.Must(w.Bitbucket.AddCommit(repository, commit('1')))
	b := w.Built(commit('1'), "failed")
	w.Expect("failed", "")
	post(servertest.Reported(int(b.ID), "success", commit('1')), http.StatusCreated)
	w.Expect("failed", "")
	var list struct{ Values []map[string]any }
	w.Get(servertest.ReportsPath, &list)
	if len(list.Values) != 2 || list.Values[0]["confirmed_by"] != "appveyor" || list.Values[1]["confirmed_by"] != "report" {
		t.Errorf("builds %v", list.Values)
	}
	var one map[string]any
	w.Get("/api/v1/builds/"+first["id"].(string), &one)
	if one["confirmed_by"] != "report" {
		t.Errorf("build %v", one)
	}
}

func TestReportsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.TokenOf("build script", "report", servertest.ReportingFor(12064))
	w.Expect("no_build", "")
	good := servertest.Reported(5, "success", commit('1'))
	tests := []struct {
		name, token, body string
		status            int
	}{
		{name: "another scope", token: w.Token, body: good, status: 403},
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
		{name: "attempt 0", token: token, body: strings.TrimSuffix(good, "}") + `,"attempt":0}`, status: 422},
		{name: "NUL", token: token, body: strings.Replace(good, "1.0.5", `1.0\u0000`, 1), status: 422},
		{name: "an address that is a script", token: token, body: strings.TrimSuffix(good, "}") + `,"url":"javascript:alert(1)"}`, status: 422},
		{name: "a negative number of tests", token: token, body: strings.TrimSuffix(good, "}") + `,"tests":{"total":-1}}`, status: 422},
		{name: "a negative number of tests beside jobs", token: token, body: strings.TrimSuffix(good, "}") + `,"tests":{"total":-1},"jobs":[{"state":"success"}]}`, status: 422},
		{name: "a time that is none", token: token, body: strings.TrimSuffix(good, "}") + `,"started_on":"now"}`, status: 422},
	}
	for _, tt := range tests {
		if res := w.Post(servertest.ReportsPath, tt.token, tt.body); res.Status != tt.status {
			t.Errorf("%s: answered %d %s; want %d", tt.name, res.Status, res.Body, tt.status)
		}
	}
	if res := w.Post("/api/v1/repositories/acme/nothing/builds", token, good); res.Status != http.StatusNotFound {
		t.Errorf("a repository that isn't there: %d %s", res.Status, res.Body)
	}
	w.Expect("no_build", "")
}
