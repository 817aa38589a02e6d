package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/client"
	"mergegate/internal/forge/forgetest"
	"mergegate/internal/server/servertest"
)

func TestKeysDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Check(event("on-merge"))
	w.Forge.OnRequest(func(*http.Request) forgetest.Fault { return forgetest.Fault{Hang: true} })
	start := time.Now()
	if res := w.Post("/forge/merge-check", w.Forge.Token(forgetest.WithKeyID("unknown")), event("on-merge")); res.Status != http.StatusUnauthorized {
		t.Errorf("a key that can't be verified now: %d %s", res.Status, res.Body)
	}
	if took := time.Since(start); took > servertest.AnswerWithin {
		t.Errorf("answered after %s", took)
	}
	w.Check(event("on-merge")) // known keys go on verifying
}

func TestLostWebhooksAreFoundByReconciliation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL=1s")
	w.Built(commit('1'), "success") // now the project is known
	w.Put(servertest.PullRequest(commit('2')))
	w.Build(commit('2'), "failed")
	w.Shows(commit('2'), "FAILED")
	w.Expect("failed", "")
}

func TestRefusedStatusIsKeptAndRetriable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Bitbucket.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		if r.Method == http.MethodPost {
			return bitbuckettest.Fault{Status: http.StatusForbidden}
		}
		return bitbuckettest.Fault{}
	})
	w.Notify(w.Build(commit('1'), "success"))
	var statuses struct {
		Values []struct {
			ID         string
			HTTPStatus int `json:"http_status"`
			Reason     string
		}
	}
	w.Eventually("the refusal is kept", func() bool {
		w.Get("/api/v1/commit-statuses?outcome=failed", &statuses)
		return len(statuses.Values) == 1
	})
	if s := statuses.Values[0]; s.HTTPStatus != http.StatusForbidden || s.Reason == "" {
		t.Errorf("status %+v", s)
	}
	w.Expect("passed", "") // the gate needs no status

	w.Bitbucket.OnRequest(nil)
	if res := w.Post("/api/v1/commit-statuses/"+statuses.Values[0].ID+"/retry", w.Token, ""); res.Status != http.StatusAccepted {
		t.Fatalf("retry answered %d %s", res.Status, res.Body)
	}
	w.Shows(commit('1'), "SUCCESSFUL")
}

func TestStatusSurvivesAFlakyBitbucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	faults := make(chan bitbuckettest.Fault, 4)
	faults <- bitbuckettest.Fault{Status: 500}
	faults <- bitbuckettest.Fault{Status: 429, RetryAfter: "1"}
	faults <- bitbuckettest.Fault{Reset: true, Applied: true}
	w.Bitbucket.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		if r.Method != http.MethodPost {
			return bitbuckettest.Fault{}
		}
		select {
		case f := <-faults:
			return f
		default:
			return bitbuckettest.Fault{}
		}
	})
	w.Built(commit('1'), "success")
	var statuses struct{ Values []map[string]any }
	w.Eventually("the status is posted", func() bool {
		w.Get("/api/v1/commit-statuses?outcome=posted", &statuses)
		return len(statuses.Values) == 1
	})
}

// TestForgeAppsToken has no credential of its own: the Forge app's is enough to
// read pull requests and to post statuses.
func TestForgeAppsToken(t *testing.T) {
	t.Parallel()
	const systemToken = "app-system-token-55d0"
	w := newWorld(t, "MERGEGATE_BITBUCKET_TOKEN=")
	w.Bitbucket.RevokeToken(servertest.BitbucketToken)
	w.Bitbucket.AllowToken(systemToken, "acme")
	w.Must(w.Bitbucket.AddRepository(bitbuckettest.Repository{WorkspaceUUID: workspaceUUID, UUID: repositoryUUID, FullName: repository, Private: true}))
	if a := w.Check(event("on-merge")); a.Success || !strings.Contains(a.Message, "no Bitbucket credential") {
		t.Errorf("without any credential: %+v", a)
	}
	ask := func() servertest.Answer {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/forge/merge-check", strings.NewReader(event("on-merge")))
		w.Must(err)
		req.Header.Set("Authorization", "Bearer "+w.Forge.Token())
		req.Header.Set("x-forge-oauth-system", systemToken)
		var a servertest.Answer
		w.Must(json.Unmarshal(servertest.Send(t, req).Body, &a))
		return a
	}
	if a := ask(); !strings.Contains(a.Message, "No AppVeyor build for 111111111111 yet.") {
		t.Errorf("with the app's token: %+v", a)
	}
	w.Built(commit('1'), "success")
	if a := ask(); !a.Success {
		t.Errorf("with the app's token: %+v", a)
	}
	if strings.Contains(w.Log(), systemToken) {
		t.Error("the log has the app's token")
	}
}

// TestLyingWebhook sends what somebody who knows the secret could write.
func TestLyingWebhook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.Build(commit('1'), "failed")
	body := strings.ReplaceAll(string(w.AppVeyor.WebhookBody(b.ID)), "build_failure", "build_success")
	for old, lie := range map[string]string{`"passed":false`: `"passed":true`, `"failed":true`: `"failed":false`} {
		body = strings.ReplaceAll(body, old, lie)
	}
	if res := w.Post("/webhooks/appveyor", servertest.WebhookSecret, body); res.Status != http.StatusAccepted {
		t.Fatalf("answered %d %s", res.Status, res.Body)
	}
	w.Shows(commit('1'), "FAILED")
	w.Expect("failed", "")
	// And of a build there isn't.
	body = strings.ReplaceAll(body, strconv.FormatInt(b.ID, 10), "424242")
	if res := w.Post("/webhooks/appveyor", servertest.WebhookSecret, body); res.Status != http.StatusAccepted {
		t.Fatalf("answered %d %s", res.Status, res.Body)
	}
	w.Expect("failed", "")
}

// TestWorkspaceByUUID trusts the account for a workspace that is configured by
// its UUID, which only Bitbucket can tell the slug of.
func TestWorkspaceByUUID(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, uuid, outcome string }{
		{name: "its own", uuid: "{" + strings.ToUpper(workspaceUUID) + "}", outcome: "processed"},
		{name: "another's", uuid: "0c3a7799-53ae-4a5b-9e7e-03338980abb5", outcome: "ignored"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "MERGEGATE_APPVEYOR_ACCOUNTS=acme="+tt.uuid)
			w.Notify(w.Build(commit('1'), "success"))
			if d := w.Settled()[0]; d.Outcome != tt.outcome {
				t.Errorf("delivery %+v, want %s", d, tt.outcome)
			}
		})
	}
}

// TestMergeCheckFindsAFinishedBuild loses the webhook of a build and asks before
// any reconciliation.
func TestMergeCheckFindsAFinishedBuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Built(commit('1'), "success") // now the project is known
	w.Put(servertest.PullRequest(commit('2')))
	w.Build(commit('2'), "success")
	w.Expect("passed", "AppVeyor build 1.0.2 passed")
	w.Shows(commit('2'), "SUCCESSFUL")

	w.Put(servertest.PullRequest(commit('3')))
	w.AppVeyor.OnRequest(func(*http.Request) appveyortest.Fault { return appveyortest.Fault{Hang: true} })
	if a := w.CheckInTime(event("on-merge")); a.Success {
		t.Errorf("passed while AppVeyor hangs: %+v", a)
	}
}

// TestAskedAboutIsFollowed asks before there is a build, loses the webhook of the
// build, and asks no more: with rounds every ten minutes it is found in seconds.
func TestAskedAboutIsFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Built(commit('1'), "success") // now the project is known
	w.Put(servertest.PullRequest(commit('2')))
	w.Expect("no_build", "")
	w.Build(commit('2'), "failed")
	w.Shows(commit('2'), "FAILED")
}

// TestRollingBuildsAreNoticed has AppVeyor cancel builds for newer ones, which it
// tells nobody: of the head before, and of the same head.
func TestRollingBuildsAreNoticed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.Built(commit('1'), "running")
	w.Put(servertest.PullRequest(commit('2')))
	w.Must(w.AppVeyor.SetStatus(first.ID, "cancelled"))
	second := w.Built(commit('2'), "running")
	w.Shows(commit('1'), "STOPPED")

	w.Must(w.AppVeyor.SetStatus(second.ID, "cancelled"))
	third := w.Build(commit('2'), "running")
	w.Shows(commit('2'), "STOPPED")
	w.Expect("running", "") // the merge check finds the third
	w.Shows(commit('2'), "INPROGRESS")
	w.Must(w.AppVeyor.SetStatus(third.ID, "success"))
	w.Shows(commit('2'), "SUCCESSFUL")
	w.Expect("passed", "")
}

// TestDeletedProjectIsForgotten has a second project build the repository, and
// then no more.
func TestDeletedProjectIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Must(w.AppVeyor.AddProject(appveyortest.Project{ID: 5, Account: "acme", Slug: "gadgets", RepositoryName: repository}))
	b, err := w.AppVeyor.PutBuild("acme", "gadgets", appveyortest.Build{
		Branch: "main", PullRequestID: 7, PullRequestHeadCommit: commit('1'), PullRequestHeadRepository: repository, Status: "success",
	})
	w.Must(err)
	w.Notify(b)
	w.Built(commit('1'), "success")
	w.Eventually("both projects passed", func() bool { return w.Check(event("on-merge")).Success })
	w.Put(servertest.PullRequest(commit('2')))
	w.Built(commit('2'), "success")
	w.Expect("missing_project", "gadgets")
	w.Operate(func(ctx context.Context, c *client.Client) error { return c.ForgetProject(ctx, 5) })
	w.Expect("passed", "")
}

func TestRebuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_APPVEYOR_TOKEN=av-token")
	w.AppVeyor.RequireToken("acme", "av-token")
	w.Built(commit('1'), "success")
	waive := w.TokenOf("w", "waive")
	const path = "/api/v1/repositories/acme/widgets/pullrequests/7/rebuild"
	var first, second struct {
		Values []struct {
			BuildID *int64 `json:"build_id"`
			Reason  *string
		}
	}
	res := w.Post(path, waive, "")
	if res.Status != http.StatusAccepted {
		t.Fatalf("answered %d %s", res.Status, res.Body)
	}
	w.Must(json.Unmarshal(res.Body, &first))
	if len(first.Values) != 1 || first.Values[0].BuildID == nil {
		t.Fatalf("nothing was started: %s", res.Body)
	}
	w.Shows(commit('1'), "INPROGRESS") // the queued build is watched
	w.Must(json.Unmarshal(w.Post(path, waive, "").Body, &second))
	if len(second.Values) != 1 || second.Values[0].BuildID != nil || second.Values[0].Reason == nil {
		t.Errorf("a second request: %+v", second)
	}
	if res := w.Post(path, w.Token, ""); res.Status != http.StatusForbidden {
		t.Errorf("without scope waive: %d", res.Status)
	}
	w.Must(w.Bitbucket.Merge(repository, 7))
	if res := w.Post(path, waive, ""); res.Status != http.StatusConflict {
		t.Errorf("on a merged pull request: %d %s", res.Status, res.Body)
	}
}

// TestSomebodyElsesStatusIsLeftAlone has the key on the commit already, by
// another account.
func TestSomebodyElsesStatusIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Bitbucket.AllowToken("another-token", "acme")
	theirs := bitbucketClient(t, w.Bitbucket.URL, "another-token")
	w.Must(theirs.PostCommitStatus(t.Context(), "acme", "widgets", commit('1'), bitbucket.CommitStatus{
		Key: "appveyor-12064-pr-7", State: "FAILED", Name: "Their build", URL: "https://ci.example.com/1",
	}))
	w.Notify(w.Build(commit('1'), "success"))
	var statuses struct{ Values []struct{ Reason string } }
	w.Eventually("the status is known to be somebody else's", func() bool {
		w.Get("/api/v1/commit-statuses?outcome=failed", &statuses)
		return len(statuses.Values) == 1
	})
	if !strings.Contains(statuses.Values[0].Reason, "Their build") {
		t.Errorf("reason %q", statuses.Values[0].Reason)
	}
	if shown := w.Bitbucket.CommitStatuses(repository, commit('1')); len(shown) != 1 || shown[0].State != "FAILED" {
		t.Errorf("Bitbucket shows %+v", shown)
	}
}

func bitbucketClient(t *testing.T, url, token string) *bitbucket.Client {
	t.Helper()
	client, err := bitbucket.NewClient(bitbucket.Config{BaseURL: url, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// TestStoppedAsItStarts has the service end in order, however early it is stopped.
func TestStoppedAsItStarts(t *testing.T) {
	t.Parallel()
	w := idleWorld(t)
	for range 5 {
		w.Start()
		w.Stop()
	}
}
