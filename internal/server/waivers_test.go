package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"mergegate/internal/server/servertest"
)

const (
	waiversPath = "/api/v1/repositories/acme/widgets/pullrequests/7/waivers"
)

type waiver struct {
	ID, State, Reason, By string
	ExpiresOn             time.Time `json:"expires_on"`
}

// waive gives a waiver, which has to be accepted.
func (w *world) waive(token, body string) (given waiver) {
	w.T.Helper()
	res := w.Post(waiversPath, token, body)
	if res.Status != http.StatusCreated {
		w.T.Fatalf("waiver answered %d %s", res.Status, res.Body)
	}
	w.Must(json.Unmarshal(res.Body, &given))
	return given
}

func TestWaiver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := commit('1'), commit('2')
	token := w.TokenOf("release manager", "waive,read")
	w.Expect("no_build", "") // which links the repository
	w.Built(first, "failed")
	w.Expect("failed", "")

	given := w.waive(token, `{"reason":"the build agents are down","project":"acme/widgets","expires":"4h"}`)
	if left := time.Until(given.ExpiresOn); given.State != "live" || left < 3*time.Hour || left > 4*time.Hour {
		t.Errorf("given %+v", given)
	}
	w.Expect("waived", "Waived by release manager: the build agents are down. AppVeyor build 1.0.1 failed")
	w.Shows(first, "SUCCESSFUL")
	if shown := w.Bitbucket.CommitStatuses(repository, first); !strings.Contains(shown[0].Description, "Waived by release manager: the build agents are down") {
		t.Errorf("Bitbucket shows %+v", shown)
	}
	var verdict struct {
		Code     string
		Waivers  []waiver
		Projects []struct {
			WaivedBy string `json:"waived_by"`
		}
	}
	w.Get("/api/v1/repositories/acme/widgets/pullrequests/7", &verdict)
	if verdict.Code != "waived" || len(verdict.Waivers) != 1 || verdict.Projects[0].WaivedBy != given.ID {
		t.Errorf("verdict %+v", verdict)
	}

	if res := w.Do(http.MethodDelete, waiversPath+"/"+given.ID, token, nil); res.Status != http.StatusNoContent {
		t.Fatalf("revoking answered %d %s", res.Status, res.Body)
	}
	w.Expect("failed", "")
	w.Shows(first, "FAILED")

	w.waive(token, `{"reason":"again"}`)
	w.Expect("waived", "")
	w.Shows(first, "SUCCESSFUL")
	w.Must(w.Bitbucket.Push(repository, 7, second))
	w.Expect("no_build", "No AppVeyor build for 222222222222 yet.")
	w.Shows(first, "FAILED") // it ended with a new head

	w.waive(token, `{"reason":"and again","commit":"`+second+`"}`)
	w.Expect("waived", "Waived by release manager: and again. acme/widgets hasn't built this commit.")
	if res := w.Do(http.MethodDelete, waiversPath, token, nil); res.Status != http.StatusNoContent {
		t.Fatalf("revoking all answered %d %s", res.Status, res.Body)
	}
	w.Expect("no_build", "")

	res := w.Do(http.MethodGet, waiversPath+"?pagelen=2", token, nil)
	var list struct {
		Values []waiver
		Next   string
	}
	w.Must(json.Unmarshal(res.Body, &list))
	if len(list.Values) != 2 || list.Values[0].State != "revoked" || list.Next == "" {
		t.Errorf("waivers %+v", list)
	}
}

func TestWaiverEndsWithItsTimeAndDestination(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.TokenOf("release", "waive")
	w.Expect("no_build", "")
	w.Built(commit('1'), "failed")
	w.waive(token, `{"reason":"for a moment","expires":"2s"}`)
	w.Expect("waived", "for a moment")
	w.Shows(commit('1'), "SUCCESSFUL")
	w.Shows(commit('1'), "FAILED") // by itself
	w.Expect("failed", "")

	w.waive(token, `{"reason":"into main"}`)
	w.Expect("waived", "into main")
	pr := servertest.PullRequest(commit('1'))
	pr.DestinationBranch = "release"
	w.Put(pr)
	w.Expect("stale_destination", "")
}

func TestTwoPersonsWaive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Authored(commit('1'))
	ann, bob := w.TokenOf("ann", "waive", servertest.OwnedBy(servertest.AnnUUID)), w.TokenOf("bob", "waive", servertest.OwnedBy(servertest.BobUUID))
	author, nobody := w.TokenOf("author", "waive", servertest.OwnedBy(servertest.AuthorUUID)), w.TokenOf("nobody", "waive")
	w.Expect("no_build", "")
	w.Policy("rules:\n  - waivers: {two_person: true, max: 1h}\n")
	w.Built(commit('1'), "failed")

	for name, token := range map[string]string{"the author": author, "nobody": nobody} {
		if res := w.Post(waiversPath, token, `{"reason":"mine"}`); res.Status != http.StatusForbidden {
			t.Errorf("%s waived: %d %s", name, res.Status, res.Body)
		}
	}
	if res := w.Post(waiversPath, ann, `{"reason":"for long","expires":"2h"}`); res.Status != http.StatusUnprocessableEntity {
		t.Errorf("longer than the policy allows: %d %s", res.Status, res.Body)
	}
	if given := w.waive(ann, `{"reason":"first"}`); given.State != "waiting" {
		t.Errorf("given %+v", given)
	}
	w.Expect("failed", "")
	if given := w.waive(ann, `{"reason":"again"}`); given.State != "waiting" {
		t.Errorf("the same person again: %+v", given)
	}
	w.Expect("failed", "")
	if given := w.waive(bob, `{"reason":"second"}`); given.State != "live" {
		t.Errorf("given %+v", given)
	}
	w.Expect("waived", "Waived by ann: first")
	w.Shows(commit('1'), "SUCCESSFUL")
	res := w.Do(http.MethodGet, waiversPath, ann, nil)
	var list struct{ Values []waiver }
	w.Must(json.Unmarshal(res.Body, &list))
	if res := w.Do(http.MethodDelete, waiversPath+"/"+list.Values[0].ID, bob, nil); res.Status != http.StatusNoContent {
		t.Fatalf("revoking answered %d %s", res.Status, res.Body)
	}
	w.Expect("failed", "")
	w.Shows(commit('1'), "FAILED")
}

func TestWaiversThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token, reader := w.TokenOf("release", "waive"), w.TokenOf("reader", "read")
	other := w.TokenOf("other", "waive", servertest.Covering("acme/other"))
	w.Expect("no_build", "")
	w.Built(commit('1'), "failed")
	tests := []struct {
		name, token, body string
		status            int
		code              string
	}{
		{name: "no token", body: `{"reason":"x"}`, status: 401, code: "unauthorized"},
		{name: "another scope", token: reader, body: `{"reason":"x"}`, status: 403, code: "forbidden"},
		{name: "admin is no waive", token: w.Token, body: `{"reason":"x"}`, status: 403, code: "forbidden"},
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
		res := w.Post(waiversPath, tt.token, tt.body)
		var problem struct{ Code string }
		w.Must(json.Unmarshal(res.Body, &problem))
		if res.Status != tt.status || problem.Code != tt.code {
			t.Errorf("%s: answered %d %s; want %d %s", tt.name, res.Status, res.Body, tt.status, tt.code)
		}
	}
	for path, status := range map[string]int{waiversPath + "/999": 404, waiversPath + "/x": 404, strings.Replace(waiversPath, "/7/", "/x/", 1): 404} {
		if res := w.Do(http.MethodDelete, path, token, nil); res.Status != status {
			t.Errorf("DELETE %s answered %d %s", path, res.Status, res.Body)
		}
	}
	w.Expect("failed", "")
	w.Must(w.Bitbucket.Decline(repository, 7))
	if res := w.Post(waiversPath, token, `{"reason":"x"}`); res.Status != http.StatusConflict {
		t.Errorf("a declined pull request was waived: %d %s", res.Status, res.Body)
	}
}
