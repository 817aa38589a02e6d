package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	annUUID    = "0f1e2d3c-0000-4000-8000-000000000001"
	bobUUID    = "0f1e2d3c-0000-4000-8000-000000000002"
	authorUUID = "0f1e2d3c-0000-4000-8000-000000000003"

	waiversPath = "/api/v1/repositories/acme/widgets/pullrequests/7/waivers"
)

// token makes an API token.
func (w *world) tokenOf(name, scope string, more ...string) string {
	w.t.Helper()
	return w.command(append([]string{"token", "create", "--name", name, "--scope", scope}, more...)...)
}

type waiver struct {
	ID, State, Reason, By string
	ExpiresOn             time.Time `json:"expires_on"`
}

// waive gives a waiver, which has to be accepted.
func (w *world) waive(token, body string) (given waiver) {
	w.t.Helper()
	res := w.post(waiversPath, token, body)
	if res.status != http.StatusCreated {
		w.t.Fatalf("waiver answered %d %s", res.status, res.body)
	}
	w.must(json.Unmarshal(res.body, &given))
	return given
}

// policy puts a policy in force for the workspace.
func (w *world) policy(document string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPut, w.url+"/api/v1/workspaces/{"+workspaceUUID+"}/policy", strings.NewReader(document))
	w.must(err)
	req.Header.Set("Authorization", "Bearer "+w.token)
	req.Header.Set("Content-Type", "application/yaml")
	if res := send(w.t, req); res.status != http.StatusOK {
		w.t.Fatalf("policy answered %d %s", res.status, res.body)
	}
}

// authored has somebody be the pull request's author.
func (w *world) authored(head string) {
	w.t.Helper()
	pr := pullRequest(head)
	pr.AuthorUUID = authorUUID
	w.put(pr)
}

func TestWaiver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := commit('1'), commit('2')
	token := w.tokenOf("release manager", "waive,read")
	w.expect("no_build", "") // which links the repository
	w.built(first, "failed")
	w.expect("failed", "")

	given := w.waive(token, `{"reason":"the build agents are down","project":"acme/widgets","expires":"4h"}`)
	if left := time.Until(given.ExpiresOn); given.State != "live" || left < 3*time.Hour || left > 4*time.Hour {
		t.Errorf("given %+v", given)
	}
	w.expect("waived", "AppVeyor build 1.0.1 failed, waived by release manager: the build agents are down")
	w.shows(first, "SUCCESSFUL")
	if shown := w.bb.CommitStatuses(repository, first); !strings.Contains(shown[0].Description, "waived by release manager: the build agents are down") {
		t.Errorf("Bitbucket shows %+v", shown)
	}
	var verdict struct {
		Code     string
		Waivers  []waiver
		Projects []struct {
			WaivedBy string `json:"waived_by"`
		}
	}
	w.get("/api/v1/repositories/acme/widgets/pullrequests/7", &verdict)
	if verdict.Code != "waived" || len(verdict.Waivers) != 1 || verdict.Projects[0].WaivedBy != given.ID {
		t.Errorf("verdict %+v", verdict)
	}

	if res := w.do(http.MethodDelete, waiversPath+"/"+given.ID, token, nil); res.status != http.StatusNoContent {
		t.Fatalf("revoking answered %d %s", res.status, res.body)
	}
	w.expect("failed", "")
	w.shows(first, "FAILED")

	w.waive(token, `{"reason":"again"}`)
	w.expect("waived", "")
	w.shows(first, "SUCCESSFUL")
	w.must(w.bb.Push(repository, 7, second))
	w.expect("no_build", "AppVeyor has not built 222222222222")
	w.shows(first, "FAILED") // it ended with a new head

	w.waive(token, `{"reason":"and again","commit":"`+second+`"}`)
	w.expect("waived", "has not built this commit, waived by release manager: and again")
	if res := w.do(http.MethodDelete, waiversPath, token, nil); res.status != http.StatusNoContent {
		t.Fatalf("revoking all answered %d %s", res.status, res.body)
	}
	w.expect("no_build", "")

	res := w.do(http.MethodGet, waiversPath+"?pagelen=2", token, nil)
	var list struct {
		Values []waiver
		Next   string
	}
	w.must(json.Unmarshal(res.body, &list))
	if len(list.Values) != 2 || list.Values[0].State != "revoked" || list.Next == "" {
		t.Errorf("waivers %+v", list)
	}
}

func TestWaiverEndsWithItsTimeAndDestination(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.tokenOf("release", "waive")
	w.expect("no_build", "")
	w.built(commit('1'), "failed")
	w.waive(token, `{"reason":"for a moment","expires":"2s"}`)
	w.expect("waived", "for a moment")
	w.shows(commit('1'), "SUCCESSFUL")
	w.shows(commit('1'), "FAILED") // by itself
	w.expect("failed", "")

	w.waive(token, `{"reason":"into main"}`)
	w.expect("waived", "into main")
	pr := pullRequest(commit('1'))
	pr.DestinationBranch = "release"
	w.put(pr)
	w.expect("stale_destination", "")
}

func TestTwoPersonsWaive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.authored(commit('1'))
	ann, bob := w.tokenOf("ann", "waive", "--owner", annUUID), w.tokenOf("bob", "waive", "--owner", bobUUID)
	author, nobody := w.tokenOf("author", "waive", "--owner", authorUUID), w.tokenOf("nobody", "waive")
	w.expect("no_build", "")
	w.policy("rules:\n  - waivers: {two_person: true, max: 1h}\n")
	w.built(commit('1'), "failed")

	for name, token := range map[string]string{"the author": author, "nobody": nobody} {
		if res := w.post(waiversPath, token, `{"reason":"mine"}`); res.status != http.StatusForbidden {
			t.Errorf("%s waived: %d %s", name, res.status, res.body)
		}
	}
	if res := w.post(waiversPath, ann, `{"reason":"for long","expires":"2h"}`); res.status != http.StatusUnprocessableEntity {
		t.Errorf("longer than the policy allows: %d %s", res.status, res.body)
	}
	if given := w.waive(ann, `{"reason":"first"}`); given.State != "waiting" {
		t.Errorf("given %+v", given)
	}
	w.expect("failed", "")
	if given := w.waive(ann, `{"reason":"again"}`); given.State != "waiting" {
		t.Errorf("the same person again: %+v", given)
	}
	w.expect("failed", "")
	if given := w.waive(bob, `{"reason":"second"}`); given.State != "live" {
		t.Errorf("given %+v", given)
	}
	w.expect("waived", "waived by ann: first")
	w.shows(commit('1'), "SUCCESSFUL")
	res := w.do(http.MethodGet, waiversPath, ann, nil)
	var list struct{ Values []waiver }
	w.must(json.Unmarshal(res.body, &list))
	if res := w.do(http.MethodDelete, waiversPath+"/"+list.Values[0].ID, bob, nil); res.status != http.StatusNoContent {
		t.Fatalf("revoking answered %d %s", res.status, res.body)
	}
	w.expect("failed", "")
	w.shows(commit('1'), "FAILED")
}

func TestWaiversThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token, reader := w.tokenOf("release", "waive"), w.tokenOf("reader", "read")
	other := w.tokenOf("other", "waive", "--repository", "acme/other")
	w.expect("no_build", "")
	w.built(commit('1'), "failed")
	tests := []struct {
		name, token, body string
		status            int
		code              string
	}{
		{name: "no token", body: `{"reason":"x"}`, status: 401, code: "unauthorized"},
		{name: "another scope", token: reader, body: `{"reason":"x"}`, status: 403, code: "forbidden"},
		{name: "admin is no waive", token: w.token, body: `{"reason":"x"}`, status: 403, code: "forbidden"},
		{name: "another repository", token: other, body: `{"reason":"x"}`, status: 404, code: "not_found"},
		{name: "no JSON", token: token, body: `reason`, status: 400, code: "invalid_json"},
		{name: "no reason", token: token, body: `{}`, status: 422, code: "invalid_body"},
		{name: "an empty reason", token: token, body: `{"reason":" \n "}`, status: 422, code: "invalid_body"},
		{name: "a long reason", token: token, body: fmt.Sprintf(`{"reason":%q}`, strings.Repeat("x", 501)), status: 422, code: "invalid_body"},
		{name: "a misspelt field", token: token, body: `{"reason":"x","projekt":"acme/widgets"}`, status: 422, code: "invalid_body"},
		{name: "a field of another type", token: token, body: `{"reason":1}`, status: 422, code: "invalid_body"},
		{name: "a project that isn't there", token: token, body: `{"reason":"x","project":"acme/nothing"}`, status: 422, code: "invalid_body"},
		{name: "a project that is no project", token: token, body: `{"reason":"x","project":[]}`, status: 422, code: "invalid_body"},
		{name: "expired already", token: token, body: `{"reason":"x","expires_on":"2020-01-01T00:00:00Z"}`, status: 422, code: "invalid_body"},
		{name: "for too long", token: token, body: `{"reason":"x","expires":"400d"}`, status: 422, code: "invalid_body"},
		{name: "a duration that is none", token: token, body: `{"reason":"x","expires":"soon"}`, status: 422, code: "invalid_body"},
		{name: "both kinds of expiry", token: token, body: `{"reason":"x","expires":"1h","expires_on":"2099-01-01T00:00:00Z"}`, status: 422, code: "invalid_body"},
		{name: "an empty commit", token: token, body: `{"reason":"x","commit":""}`, status: 422, code: "invalid_body"},
		{name: "another head", token: token, body: `{"reason":"x","commit":"` + commit('9') + `"}`, status: 409, code: "conflict"},
		{name: "too large", token: token, body: `{"reason":"` + strings.Repeat("x", 70_000) + `"}`, status: 413, code: "too_large"},
	}
	for _, tt := range tests {
		res := w.post(waiversPath, tt.token, tt.body)
		var problem struct{ Code string }
		w.must(json.Unmarshal(res.body, &problem))
		if res.status != tt.status || problem.Code != tt.code {
			t.Errorf("%s: answered %d %s; want %d %s", tt.name, res.status, res.body, tt.status, tt.code)
		}
	}
	for path, status := range map[string]int{waiversPath + "/999": 404, waiversPath + "/x": 404, strings.Replace(waiversPath, "/7/", "/x/", 1): 404} {
		if res := w.do(http.MethodDelete, path, token, nil); res.status != status {
			t.Errorf("DELETE %s answered %d %s", path, res.status, res.body)
		}
	}
	w.expect("failed", "")
	w.must(w.bb.Decline(repository, 7))
	if res := w.post(waiversPath, token, `{"reason":"x"}`); res.status != http.StatusConflict {
		t.Errorf("a declined pull request was waived: %d %s", res.status, res.body)
	}
}
