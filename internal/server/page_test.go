package server_test

import (
	"net/http"
	"strings"
	"testing"

	"mergegate/internal/server/servertest"
)

func TestPageOfAPullRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, servertest.SecretKey)
	w.Expect("no_build", "")
	w.Built(commit('1'), "failed")
	var verdict struct {
		Page  string `json:"page_url"`
		Badge string `json:"badge_url"`
	}
	w.Get("/api/v1/repositories/acme/widgets/pullrequests/7", &verdict)
	_, badgeSignature, _ := strings.Cut(verdict.Badge, "signature=")
	path, _, _ := strings.Cut(verdict.Page, "?")
	show := func(path string) servertest.Response { return w.Fetch(path, "Authorization", "") }
	page := show(verdict.Page)
	if page.Status != http.StatusOK || !strings.Contains(string(page.Body), "Blocked: failed") || !strings.Contains(string(page.Body), "AppVeyor build 1.0.1 failed") {
		t.Errorf("answered %d %s", page.Status, page.Body)
	}
	if policy := page.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("Content-Security-Policy %q", policy)
	}
	for name, address := range map[string]string{
		"not signed": path, "signed as a badge": path + "?signature=" + badgeSignature, "another pull request": strings.Replace(verdict.Page, "/7?", "/8?", 1),
	} {
		if res := show(address); res.Status != http.StatusNotFound {
			t.Errorf("%s: answered %d", name, res.Status)
		}
	}
	if home := show("/"); home.Status != http.StatusOK || !strings.Contains(string(home.Body), "/docs") {
		t.Errorf("home: answered %d %s", home.Status, home.Body)
	}
}

// TestReloadsLeaveBitbucketAlone reloads the page, the badge and the API's answer.
func TestReloadsLeaveBitbucketAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, servertest.SecretKey)
	w.Expect("no_build", "")
	w.Built(commit('1'), "success")
	const path = "/api/v1/repositories/acme/widgets/pullrequests/7"
	var verdict struct {
		Page  string `json:"page_url"`
		Badge string `json:"badge_url"`
	}
	w.Get(path, &verdict)
	before := len(w.Bitbucket.Requests())
	for range 100 {
		for _, address := range []string{verdict.Page, verdict.Badge, path, path + "/effects"} {
			if res := w.Fetch(address); res.Status != http.StatusOK {
				t.Fatalf("GET %s answered %d %s", address, res.Status, res.Body)
			}
		}
	}
	// Two for each reading; a look of the sweep may come between.
	if n := len(w.Bitbucket.Requests()) - before; n > 10 {
		t.Errorf("400 reloads made %d requests to Bitbucket", n)
	}
}
