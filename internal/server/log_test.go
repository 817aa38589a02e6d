package server_test

import (
	"encoding/json"
	"strings"
	"testing"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/server/servertest"
)

// lines are those of the log that say something, decoded.
func lines(t *testing.T, w *servertest.World, says string) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(w.Log()) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == says {
			list = append(list, entry)
		}
	}
	return list
}

// TestEachMergeCheckAndRefusalIsALine has one line in the log for each, with what somebody
// looks for, and without a secret.
func TestEachMergeCheckAndRefusalIsALine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Put(servertest.PullRequest(commit('1')))
	w.Check(event("on-merge"))
	w.Post("/forge/merge-check", "not-a-token", event("on-merge"))
	w.Post("/webhooks/appveyor", "a-wrong-secret-7f3b", "{}")
	w.Post("/webhooks/appveyor", servertest.WebhookSecret, "[]")
	tests := []struct {
		name string
		want map[string]any
	}{
		{name: "a merge check", want: map[string]any{
			"level": "INFO", "route": "/forge/merge-check", "status": 200.0, "repository": repository, "pull_request": 7.0, "trigger": "on-merge",
			"verdict": "no_build", "success": false,
		}},
		{name: "a refused merge check", want: map[string]any{"level": "INFO", "route": "/forge/merge-check", "status": 401.0, "code": "unauthorized"}},
		{name: "a refused webhook", want: map[string]any{"level": "INFO", "route": "/webhooks/appveyor", "status": 401.0, "code": "unauthorized"}},
		{name: "a body that is none", want: map[string]any{"level": "INFO", "route": "/webhooks/appveyor", "status": 422.0, "code": "invalid_delivery"}},
	}
	logged := lines(t, w.World, "request")
	for _, tt := range tests {
		found := 0
		for _, line := range logged {
			if has(line, tt.want) && line["request_id"] != "" && line["duration_ms"] != nil && (line["reason"] != nil || line["message"] != nil) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%s: %d lines have %v in\n%s", tt.name, found, tt.want, w.Log())
		}
	}
	if log := w.Log(); strings.Contains(log, "not-a-token") || strings.Contains(log, "a-wrong-secret-7f3b") || strings.Contains(log, servertest.WebhookSecret) {
		t.Error("the log has a secret in it")
	}
}

func has(line, want map[string]any) bool {
	for key, value := range want {
		if line[key] != value {
			return false
		}
	}
	return true
}

// TestAWrongMappingIsSaid has builds of an account that isn't mapped: the delivery, the
// verdict and the log name the account.
func TestAWrongMappingIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Put(servertest.PullRequest(commit('1')))
	w.Must(w.AppVeyor.AddProject(appveyortest.Project{ID: 666, Account: "acme-ci", Slug: "widgets", RepositoryName: repository}))
	b, err := w.AppVeyor.PutBuild("acme-ci", "widgets", appveyortest.Build{
		Branch: "main", PullRequestID: 7, PullRequestHeadCommit: commit('1'), Status: "success",
	})
	w.Must(err)
	w.Notify(b)
	d := w.Settled()[0]
	if d.Detail == nil || !strings.Contains(*d.Detail, "acme-ci") || !strings.Contains(*d.Detail, "acme=acme") || !strings.Contains(*d.Detail, repository) {
		t.Errorf("delivery %+v, with detail %v", d, d.Detail)
	}
	w.Expect("no_build", "acme-ci")
	warned := lines(t, w.World, "AppVeyor account isn't mapped to the workspace of its build")
	if len(warned) != 1 || !has(warned[0], map[string]any{"level": "WARN", "account": "acme-ci", "repository": repository}) {
		t.Errorf("warned %v", warned)
	}
}
