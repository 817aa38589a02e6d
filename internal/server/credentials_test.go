package server_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/forge/forgetest"
	"mergegate/internal/server/servertest"
)

// TestAppTokenIsNotRefreshed loses every call of Forge that would bring a new
// token, until the last.
func TestAppTokenIsNotRefreshed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_BITBUCKET_TOKEN=")
	w.Private()
	w.Bitbucket.RevokeToken(servertest.BitbucketToken)
	w.Bitbucket.AllowToken("app-1", "acme")
	w.ForgeBrings("app-1")
	w.Check(event("on-merge")) // links the repository
	w.Built(commit('1'), "success")
	w.Expect("passed", "")

	w.Bitbucket.RevokeToken("app-1")
	w.Expect("head_unknown", "401")
	w.Expect("head_unknown", "401") // one refusal ends no token
	w.Put(servertest.PullRequest(commit('2')))
	w.Notify(w.Build(commit('2'), "failed"))
	var pending struct{ Values []struct{ Reason string } }
	w.Eventually("the status says what is wrong", func() bool {
		w.Get("/api/v1/commit-statuses?outcome=pending", &pending)
		return len(pending.Values) == 1 && strings.Contains(pending.Values[0].Reason, "401")
	})

	w.Bitbucket.AllowToken("app-2", "acme")
	w.ForgeBrings("app-2")
	w.Shows(commit('2'), "FAILED") // only who made a status may change it, so on another commit
	w.Expect("failed", "")
}

// TestOneRefusalEndsNoToken: a repository that answers 401 takes the app's token from no other one.
func TestOneRefusalEndsNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_BITBUCKET_TOKEN=")
	w.Private()
	w.Bitbucket.RevokeToken(servertest.BitbucketToken)
	w.Bitbucket.AllowToken("app-1", "acme")
	const closed = "ffe76500-0627-43f6-a9c5-4d6373a5e4eb"
	w.Must(w.Bitbucket.AddRepository(bitbuckettest.Repository{WorkspaceUUID: workspaceUUID, UUID: closed, FullName: "acme/closed", Private: true}))
	w.Bitbucket.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		if strings.Contains(r.URL.Path, closed) {
			return bitbuckettest.Fault{Status: http.StatusUnauthorized}
		}
		return bitbuckettest.Fault{}
	})
	w.ForgeBrings("app-1")
	w.Check(event("on-merge")) // links the repository
	for range 3 {
		if a := w.Check(strings.ReplaceAll(event("on-merge"), repositoryUUID, closed)); a.Success || !strings.Contains(a.Message, "401") {
			t.Errorf("the closed repository's pull request: %+v", a)
		}
	}
	w.Built(commit('1'), "success") // posts as the app
	w.Expect("passed", "")
}

// TestForgeAppIsUninstalled has the app go, and come again as another
// installation.
func TestForgeAppIsUninstalled(t *testing.T) {
	t.Parallel()
	admin := servertest.FreeAddress(t)
	w := newWorld(t, "MERGEGATE_BITBUCKET_TOKEN=", "MERGEGATE_ADMIN_LISTEN="+admin,
		"MERGEGATE_SECRET_KEY="+base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32))))
	w.Private()
	w.Bitbucket.RevokeToken(servertest.BitbucketToken)
	w.Bitbucket.AllowToken("app-1", "acme")
	uses := func(kind string) {
		t.Helper()
		metrics := w.Metrics(admin)
		for _, use := range []string{"read", "post"} {
			if metrics[`mergegate_bitbucket_credential_info{kind="`+kind+`",use="`+use+`",workspace="acme"}`] != 1 {
				t.Errorf("the credential to %s isn't %s", use, kind)
			}
		}
		if until := metrics[`mergegate_bitbucket_app_token_expiry_timestamp_seconds{workspace="acme"}`]; (until > 0) != (kind == "app_system_token") {
			t.Errorf("with %s, a token of the app expires at %v", kind, until)
		}
	}
	w.ForgeBrings("app-1")
	w.Check(event("on-merge")) // links the repository
	w.Built(commit('1'), "success")
	uses("app_system_token")

	w.ForgeBrings("", forgetest.WithClaim("app.module.key", "uninstall"))
	uses("none")
	w.Expect("head_unknown", "no Bitbucket credential")
	w.Stop()
	w.Start()
	w.Expect("head_unknown", "no Bitbucket credential") // it isn't stored either

	w.Bitbucket.RevokeToken("app-1")
	w.Bitbucket.AllowToken("app-2", "acme")
	w.ForgeBrings("app-2", forgetest.WithClaim("app.installationId", "ari:cloud:ecosystem::installation/another"))
	uses("app_system_token")
	w.Expect("passed", "")
}
