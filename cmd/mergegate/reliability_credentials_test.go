package main

import (
	"encoding/base64"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/forge/forgetest"
)

// forgeBrings has Forge call with an event, and a token of the app if there is one.
func (w *world) forgeBrings(systemToken string, options ...forgetest.Option) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+"/forge/events", strings.NewReader(`{}`))
	w.must(err)
	req.Header.Set("Authorization", "Bearer "+w.forge.Token(options...))
	if systemToken != "" {
		req.Header.Set("x-forge-oauth-system", systemToken)
	}
	if res := send(w.t, req); res.status != http.StatusAccepted {
		w.t.Fatalf("the event was answered %d %s", res.status, res.body)
	}
}

// private makes the repository one that nobody reads without a credential.
func (w *world) private() {
	w.t.Helper()
	w.must(w.bb.AddRepository(bitbuckettest.Repository{
		WorkspaceUUID: workspaceUUID, UUID: repositoryUUID, FullName: repository, Private: true,
	}))
}

// TestAppTokenIsNotRefreshed loses every call of Forge that would bring a new
// token, until the last.
func TestAppTokenIsNotRefreshed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_BITBUCKET_TOKEN=")
	w.private()
	w.bb.RevokeToken(bitbucketToken)
	w.bb.AllowToken("app-1", "acme")
	w.forgeBrings("app-1")
	w.check(event("on-merge")) // links the repository
	w.built(commit('1'), "success")
	w.expect("passed", "")

	w.bb.RevokeToken("app-1")
	w.expect("head_unknown", "401")
	w.expect("head_unknown", "401") // one refusal ends no token
	w.put(pullRequest(commit('2')))
	w.notify(w.build(commit('2'), "failed"))
	var pending struct{ Values []struct{ Reason string } }
	w.eventually("the status says what is wrong", func() bool {
		w.get("/api/v1/commit-statuses?outcome=pending", &pending)
		return len(pending.Values) == 1 && strings.Contains(pending.Values[0].Reason, "401")
	})

	w.bb.AllowToken("app-2", "acme")
	w.forgeBrings("app-2")
	w.shows(commit('2'), "FAILED") // only who made a status may change it, so on another commit
	w.expect("failed", "")
}

// TestOneRefusalEndsNoToken: a repository that answers 401 takes the app's token from no other one.
func TestOneRefusalEndsNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_BITBUCKET_TOKEN=")
	w.private()
	w.bb.RevokeToken(bitbucketToken)
	w.bb.AllowToken("app-1", "acme")
	const closed = "ffe76500-0627-43f6-a9c5-4d6373a5e4eb"
	w.must(w.bb.AddRepository(bitbuckettest.Repository{WorkspaceUUID: workspaceUUID, UUID: closed, FullName: "acme/closed", Private: true}))
	w.bb.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		if strings.Contains(r.URL.Path, closed) {
			return bitbuckettest.Fault{Status: http.StatusUnauthorized}
		}
		return bitbuckettest.Fault{}
	})
	w.forgeBrings("app-1")
	w.check(event("on-merge")) // links the repository
	for range 3 {
		if a := w.check(strings.ReplaceAll(event("on-merge"), repositoryUUID, closed)); a.Success || !strings.Contains(a.Message, "401") {
			t.Errorf("the closed repository's pull request: %+v", a)
		}
	}
	w.built(commit('1'), "success") // posts as the app
	w.expect("passed", "")
}

// TestForgeAppIsUninstalled has the app go, and come again as another
// installation.
func TestForgeAppIsUninstalled(t *testing.T) {
	t.Parallel()
	admin := freeAddress(t)
	w := newWorld(t, "MERGEGATE_BITBUCKET_TOKEN=", "MERGEGATE_ADMIN_LISTEN="+admin,
		"MERGEGATE_SECRET_KEY="+base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32))))
	w.private()
	w.bb.RevokeToken(bitbucketToken)
	w.bb.AllowToken("app-1", "acme")
	uses := func(kind string) {
		t.Helper()
		metrics := w.metrics(admin)
		for _, use := range []string{"read", "post"} {
			if metrics[`mergegate_bitbucket_credential_info{kind="`+kind+`",use="`+use+`",workspace="acme"}`] != 1 {
				t.Errorf("the credential to %s isn't %s", use, kind)
			}
		}
		if until := metrics[`mergegate_bitbucket_app_token_expiry_timestamp_seconds{workspace="acme"}`]; (until > 0) != (kind == "app_system_token") {
			t.Errorf("with %s, a token of the app expires at %v", kind, until)
		}
	}
	w.forgeBrings("app-1")
	w.check(event("on-merge")) // links the repository
	w.built(commit('1'), "success")
	uses("app_system_token")

	w.forgeBrings("", forgetest.WithClaim("app.module.key", "uninstall"))
	uses("none")
	w.expect("head_unknown", "no Bitbucket credential")
	_ = w.stop(syscall.SIGTERM)
	w.start()
	w.expect("head_unknown", "no Bitbucket credential") // it isn't stored either

	w.bb.RevokeToken("app-1")
	w.bb.AllowToken("app-2", "acme")
	w.forgeBrings("app-2", forgetest.WithClaim("app.installationId", "ari:cloud:ecosystem::installation/another"))
	uses("app_system_token")
	w.expect("passed", "")
}
