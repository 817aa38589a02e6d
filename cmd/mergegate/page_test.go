package main

import (
	"net/http"
	"strings"
	"testing"
)

func TestPageOfAPullRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, secretKey)
	w.expect("no_build", "")
	w.built(commit('1'), "failed")
	var verdict struct {
		Page  string `json:"page_url"`
		Badge string `json:"badge_url"`
	}
	w.get("/api/v1/repositories/acme/widgets/pullrequests/7", &verdict)
	_, badgeSignature, _ := strings.Cut(verdict.Badge, "signature=")
	path, _, _ := strings.Cut(verdict.Page, "?")
	show := func(path string) response { return w.fetch(path, "Authorization", "") }
	page := show(verdict.Page)
	if page.status != http.StatusOK || !strings.Contains(string(page.body), "Blocked: failed") || !strings.Contains(string(page.body), "AppVeyor build 1.0.1 failed") {
		t.Errorf("answered %d %s", page.status, page.body)
	}
	if policy := page.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("Content-Security-Policy %q", policy)
	}
	for name, address := range map[string]string{
		"not signed": path, "signed as a badge": path + "?signature=" + badgeSignature, "another pull request": strings.Replace(verdict.Page, "/7?", "/8?", 1),
	} {
		if res := show(address); res.status != http.StatusNotFound {
			t.Errorf("%s: answered %d", name, res.status)
		}
	}
	if home := show("/"); home.status != http.StatusOK || !strings.Contains(string(home.body), "/docs") {
		t.Errorf("home: answered %d %s", home.status, home.body)
	}
}

// TestReloadsLeaveBitbucketAlone reloads the page, the badge and the API's answer.
func TestReloadsLeaveBitbucketAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, secretKey)
	w.expect("no_build", "")
	w.built(commit('1'), "success")
	const path = "/api/v1/repositories/acme/widgets/pullrequests/7"
	var verdict struct {
		Page  string `json:"page_url"`
		Badge string `json:"badge_url"`
	}
	w.get(path, &verdict)
	before := len(w.bb.Requests())
	for range 100 {
		for _, address := range []string{verdict.Page, verdict.Badge, path, path + "/effects"} {
			if res := w.fetch(address); res.status != http.StatusOK {
				t.Fatalf("GET %s answered %d %s", address, res.status, res.body)
			}
		}
	}
	// Two for each reading; a look of the sweep may come between.
	if n := len(w.bb.Requests()) - before; n > 10 {
		t.Errorf("400 reloads made %d requests to Bitbucket", n)
	}
}
