package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/forge/forgetest"
	"mergegate/internal/postgres/embedded"
)

// answerWithin is what the contract promises for every merge check.
const answerWithin = 4 * time.Second

// checkInTime asks the merge check and fails when the answer takes too long.
func (w *world) checkInTime(body string) answer {
	w.t.Helper()
	start := time.Now()
	a := w.check(body)
	if took := time.Since(start); took > answerWithin {
		w.t.Errorf("answered after %s", took)
	}
	return a
}

func TestBitbucketDown(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		fault   bitbuckettest.Fault
		message string
	}{
		{name: "hangs", fault: bitbuckettest.Fault{Hang: true}, message: "Bitbucket didn't answer in time"},
		{name: "trickles", fault: bitbuckettest.Fault{Trickle: true}, message: "Bitbucket didn't answer in time"},
		{name: "breaks off", fault: bitbuckettest.Fault{Reset: true}, message: "Bitbucket could not be reached"},
		{name: "503", fault: bitbuckettest.Fault{Status: 503}, message: "503"},
		{name: "429", fault: bitbuckettest.Fault{Status: 429, RetryAfter: "60"}, message: "429"},
		{name: "a page", fault: bitbuckettest.Fault{HTML: true}, message: "mergegate can't tell which commit is the head"},
		{name: "another document", fault: bitbuckettest.Fault{Body: `{"id":7}`}, message: "mergegate can't tell which commit is the head"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.built(commit('1'), "success")
			w.bb.OnRequest(func(*http.Request) bitbuckettest.Fault { return tt.fault })
			if a := w.checkInTime(event("on-merge")); a.Success || !strings.Contains(a.Message, tt.message) {
				t.Errorf("answer %+v; want %q", a, tt.message)
			}
			// What the Forge function brings along is enough.
			if a := w.checkInTime(event("on-merge", bringing(commit('1')))); !a.Success {
				t.Errorf("answer %+v", a)
			}
		})
	}
}

func TestKeysDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.check(event("on-merge"))
	w.forge.OnRequest(func(*http.Request) forgetest.Fault { return forgetest.Fault{Hang: true} })
	start := time.Now()
	if res := w.post("/forge/merge-check", w.forge.Token(forgetest.WithKeyID("unknown")), event("on-merge")); res.status != http.StatusUnauthorized {
		t.Errorf("a key that can't be verified now: %d %s", res.status, res.body)
	}
	if took := time.Since(start); took > answerWithin {
		t.Errorf("answered after %s", took)
	}
	w.check(event("on-merge")) // known keys go on verifying
}

// TestDatabaseDown runs the program on a PostgreSQL of its own and stops that.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	server, err := embedded.Start(t.Context(), dir, embedded.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	w := newWorld(t, "DATABASE_URL="+server.URL())
	w.built(commit('1'), "success")
	w.expect("passed", "")

	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	a := w.checkInTime(event("on-merge", bringing(commit('1'))))
	if a.Success || !strings.Contains(a.Message, "cannot read its database") {
		t.Errorf("answer %+v", a)
	}
	res := w.post("/webhooks/appveyor", webhookSecret, `{"eventName":"build_success","eventData":{"buildId":1}}`)
	if code := problemOf(t, res); res.status != http.StatusServiceUnavailable || code != "unavailable" {
		t.Errorf("webhook answered %d %s", res.status, res.body)
	}
	if res := w.do(http.MethodGet, "/api/v1/deliveries", w.token, nil); res.status != http.StatusServiceUnavailable {
		t.Errorf("the API answered %d %s", res.status, res.body)
	}
	if res := w.do(http.MethodGet, "/readyz", "", nil); res.status != http.StatusServiceUnavailable {
		t.Errorf("readyz answered %d", res.status)
	}
	if res := w.do(http.MethodGet, "/healthz", "", nil); res.status != http.StatusOK {
		t.Errorf("healthz answered %d", res.status)
	}

	if server, err = embedded.Start(t.Context(), dir, embedded.Options{NoSync: true}); err != nil {
		t.Fatal(err)
	}
	w.eventually("it works again without a restart", func() bool {
		return w.do(http.MethodGet, "/readyz", "", nil).status == http.StatusOK && w.check(event("on-merge")).Success
	})
}

// shortTempDir is a folder whose path leaves room for a socket's name.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mg") //nolint:usetesting // t.TempDir has the test's name in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestOwnDatabase runs the program with nothing prepared: an empty home and no
// DATABASE_URL.
func TestOwnDatabase(t *testing.T) {
	t.Parallel()
	home := shortTempDir(t)
	w := newWorld(t, "DATABASE_URL=", "HOME="+home, "XDG_DATA_HOME=")
	w.built(commit('1'), "success")

	second := programCommand(t, w.env, "serve")
	out, err := second.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "another mergegate serves from") {
		t.Errorf("a second serve: %v\n%s", err, out)
	}
	if list := w.command("projects", "list"); !strings.Contains(list, "acme/widgets") {
		t.Errorf("projects list: %s", list)
	}

	_ = w.stop(syscall.SIGKILL)
	w.start()
	w.expect("passed", "AppVeyor build 1.0.1 passed")
	if err := w.stop(syscall.SIGTERM); err != nil {
		t.Errorf("ended with %v", err)
	}
	if list := w.command("projects", "list"); !strings.Contains(list, "acme/widgets") {
		t.Errorf("projects list without a service: %s", list)
	}
	if _, err := os.Stat(filepath.Join(home, ".local", "share", "mergegate")); err != nil {
		t.Error(err)
	}
}

// TestDraining asks for readiness while the program shuts down.
func TestDraining(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.program.cmd.Process.Signal(syscall.SIGTERM))
	w.eventually("/readyz says that it drains", func() bool {
		return w.do(http.MethodGet, "/readyz", "", nil).status == http.StatusServiceUnavailable
	})
	if err := w.stop(syscall.SIGTERM); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestLostWebhooksAreFoundByReconciliation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL=1s")
	w.built(commit('1'), "success") // now the project is known
	w.put(pullRequest(commit('2')))
	w.build(commit('2'), "failed")
	w.shows(commit('2'), "FAILED")
	w.expect("failed", "")
}

func TestRefusedStatusIsKeptAndRetriable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bb.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		if r.Method == http.MethodPost {
			return bitbuckettest.Fault{Status: http.StatusForbidden}
		}
		return bitbuckettest.Fault{}
	})
	w.notify(w.build(commit('1'), "success"))
	var statuses struct {
		Values []struct {
			ID         string
			HTTPStatus int `json:"http_status"`
			Reason     string
		}
	}
	w.eventually("the refusal is kept", func() bool {
		w.get("/api/v1/commit-statuses?outcome=failed", &statuses)
		return len(statuses.Values) == 1
	})
	if s := statuses.Values[0]; s.HTTPStatus != http.StatusForbidden || s.Reason == "" {
		t.Errorf("status %+v", s)
	}
	w.expect("passed", "") // the gate needs no status

	w.bb.OnRequest(nil)
	if res := w.post("/api/v1/commit-statuses/"+statuses.Values[0].ID+"/retry", w.token, ""); res.status != http.StatusAccepted {
		t.Fatalf("retry answered %d %s", res.status, res.body)
	}
	w.shows(commit('1'), "SUCCESSFUL")
}

func TestStatusSurvivesAFlakyBitbucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	faults := make(chan bitbuckettest.Fault, 4)
	faults <- bitbuckettest.Fault{Status: 500}
	faults <- bitbuckettest.Fault{Status: 429, RetryAfter: "1"}
	faults <- bitbuckettest.Fault{Reset: true, Applied: true}
	w.bb.OnRequest(func(r *http.Request) bitbuckettest.Fault {
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
	w.built(commit('1'), "success")
	var statuses struct{ Values []map[string]any }
	w.eventually("the status is posted", func() bool {
		w.get("/api/v1/commit-statuses?outcome=posted", &statuses)
		return len(statuses.Values) == 1
	})
}

// TestForgeAppsToken has no credential of its own: the Forge app's is enough to
// read pull requests and to post statuses.
func TestForgeAppsToken(t *testing.T) {
	t.Parallel()
	const systemToken = "app-system-token-55d0"
	w := newWorld(t, "MERGEGATE_BITBUCKET_TOKEN=")
	w.bb.RevokeToken(bitbucketToken)
	w.bb.AllowToken(systemToken, "acme")
	w.must(w.bb.AddRepository(bitbuckettest.Repository{WorkspaceUUID: workspaceUUID, UUID: repositoryUUID, FullName: repository, Private: true}))
	if a := w.check(event("on-merge")); a.Success || !strings.Contains(a.Message, "no Bitbucket credential") {
		t.Errorf("without any credential: %+v", a)
	}
	ask := func() answer {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/forge/merge-check", strings.NewReader(event("on-merge")))
		w.must(err)
		req.Header.Set("Authorization", "Bearer "+w.forge.Token())
		req.Header.Set("x-forge-oauth-system", systemToken)
		var a answer
		w.must(json.Unmarshal(send(t, req).body, &a))
		return a
	}
	if a := ask(); !strings.Contains(a.Message, "AppVeyor has not built 111111111111") {
		t.Errorf("with the app's token: %+v", a)
	}
	w.built(commit('1'), "success")
	if a := ask(); !a.Success {
		t.Errorf("with the app's token: %+v", a)
	}
	if strings.Contains(w.program.output(), systemToken) {
		t.Error("the log has the app's token")
	}
}

// TestLyingWebhook sends what somebody who knows the secret could write.
func TestLyingWebhook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(commit('1'), "failed")
	body := strings.ReplaceAll(string(w.appveyor.WebhookBody(b.ID)), "build_failure", "build_success")
	for old, lie := range map[string]string{`"passed":false`: `"passed":true`, `"failed":true`: `"failed":false`} {
		body = strings.ReplaceAll(body, old, lie)
	}
	if res := w.post("/webhooks/appveyor", webhookSecret, body); res.status != http.StatusAccepted {
		t.Fatalf("answered %d %s", res.status, res.body)
	}
	w.shows(commit('1'), "FAILED")
	w.expect("failed", "")
	// And of a build there isn't.
	body = strings.ReplaceAll(body, strconv.FormatInt(b.ID, 10), "424242")
	if res := w.post("/webhooks/appveyor", webhookSecret, body); res.status != http.StatusAccepted {
		t.Fatalf("answered %d %s", res.status, res.body)
	}
	w.expect("failed", "")
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
			w.notify(w.build(commit('1'), "success"))
			if d := w.settled()[0]; d.Outcome != tt.outcome {
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
	w.built(commit('1'), "success") // now the project is known
	w.put(pullRequest(commit('2')))
	w.build(commit('2'), "success")
	w.expect("passed", "AppVeyor build 1.0.2 passed")
	w.shows(commit('2'), "SUCCESSFUL")

	w.put(pullRequest(commit('3')))
	w.appveyor.OnRequest(func(*http.Request) appveyortest.Fault { return appveyortest.Fault{Hang: true} })
	if a := w.checkInTime(event("on-merge")); a.Success {
		t.Errorf("passed while AppVeyor hangs: %+v", a)
	}
}

// TestAskedAboutIsFollowed asks before there is a build, loses the webhook of the
// build, and asks no more: with rounds every ten minutes it is found in seconds.
func TestAskedAboutIsFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.built(commit('1'), "success") // now the project is known
	w.put(pullRequest(commit('2')))
	w.expect("no_build", "")
	w.build(commit('2'), "failed")
	w.shows(commit('2'), "FAILED")
}

// TestRollingBuildsAreNoticed has AppVeyor cancel builds for newer ones, which it
// tells nobody: of the head before, and of the same head.
func TestRollingBuildsAreNoticed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.built(commit('1'), "running")
	w.put(pullRequest(commit('2')))
	w.must(w.appveyor.SetStatus(first.ID, "cancelled"))
	second := w.built(commit('2'), "running")
	w.shows(commit('1'), "STOPPED")

	w.must(w.appveyor.SetStatus(second.ID, "cancelled"))
	third := w.build(commit('2'), "running")
	w.shows(commit('2'), "STOPPED")
	w.expect("running", "") // the merge check finds the third
	w.shows(commit('2'), "INPROGRESS")
	w.must(w.appveyor.SetStatus(third.ID, "success"))
	w.shows(commit('2'), "SUCCESSFUL")
	w.expect("passed", "")
}

// TestDeletedProjectIsForgotten has a second project build the repository, and
// then no more.
func TestDeletedProjectIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.appveyor.AddProject(appveyortest.Project{ID: 5, Account: "acme", Slug: "gadgets", RepositoryName: repository}))
	b, err := w.appveyor.PutBuild("acme", "gadgets", appveyortest.Build{
		Branch: "main", PullRequestID: 7, PullRequestHeadCommit: commit('1'), PullRequestHeadRepository: repository, Status: "success",
	})
	w.must(err)
	w.notify(b)
	w.built(commit('1'), "success")
	w.eventually("both projects passed", func() bool { return w.check(event("on-merge")).Success })
	w.put(pullRequest(commit('2')))
	w.built(commit('2'), "success")
	w.expect("missing_project", "gadgets")
	w.command("projects", "forget", "5")
	w.expect("passed", "")
}

// TestReplayAndBackfill recovers what a wrong configuration ignored, and what
// AppVeyor built before anybody listened.
func TestReplayAndBackfill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_APPVEYOR_ACCOUNTS=other=acme")
	b := w.build(commit('1'), "success")
	w.notify(b)
	if d := w.settled()[0]; d.Outcome != "ignored" {
		t.Fatalf("delivery %+v", d)
	}
	_ = w.stop(syscall.SIGTERM)
	w.env["MERGEGATE_APPVEYOR_ACCOUNTS"] = "acme=acme"
	w.start()
	w.expect("no_build", "")
	if out := w.command("deliveries", "replay", "--since", "1d"); out != "1 deliveries queued" {
		t.Errorf("replay printed %q", out)
	}
	w.shows(commit('1'), "SUCCESSFUL")
	if d := w.settled()[0]; d.Outcome != "processed" {
		t.Errorf("delivery %+v", d)
	}
	if res := w.post("/api/v1/deliveries/"+w.settled()[0].ID+"/replay", w.token, ""); res.status != http.StatusAccepted {
		t.Errorf("replay answered %d %s", res.status, res.body)
	}

	for i := range 120 {
		w.build(fmt.Sprintf("%040x", i+1), "success", func(b *appveyortest.Build) { b.PullRequestID = int64(100 + i) })
	}
	if out := w.command("projects", "backfill", "acme/widgets", "--since", "1d"); out != "121 builds looked at, 120 confirmed" {
		t.Errorf("backfill printed %q", out)
	}
	if out := w.command("projects", "backfill", "acme/widgets", "--since", "1d"); out != "121 builds looked at, 0 confirmed" {
		t.Errorf("a second backfill printed %q", out)
	}
}

// TestForgeAppsTokenSurvivesARestart gets the app's token with an event, and
// posts a status with it after a restart.
func TestForgeAppsTokenSurvivesARestart(t *testing.T) {
	t.Parallel()
	const systemToken = "app-system-token-55d0"
	w := newWorld(t, "MERGEGATE_BITBUCKET_TOKEN=", "MERGEGATE_SECRET_KEY="+base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32))))
	w.bb.RevokeToken(bitbucketToken)
	w.bb.AllowToken(systemToken, "acme")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/forge/events", strings.NewReader(`{"eventType":"avi:forge:installed:app"}`))
	w.must(err)
	req.Header.Set("Authorization", "Bearer "+w.forge.Token())
	req.Header.Set("x-forge-oauth-system", systemToken)
	if res := send(t, req); res.status != http.StatusAccepted {
		t.Fatalf("the event was answered %d %s", res.status, res.body)
	}
	_ = w.stop(syscall.SIGKILL)
	w.start()
	w.check(event("on-merge")) // links the repository
	w.built(commit('1'), "success")
}

func TestRebuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_APPVEYOR_TOKEN=av-token")
	w.appveyor.RequireToken("acme", "av-token")
	w.built(commit('1'), "success")
	waive := w.command("token", "create", "--name", "w", "--scope", "waive")
	const path = "/api/v1/repositories/acme/widgets/pullrequests/7/rebuild"
	var first, second struct {
		Values []struct {
			BuildID *int64 `json:"build_id"`
			Reason  *string
		}
	}
	res := w.post(path, waive, "")
	if res.status != http.StatusAccepted {
		t.Fatalf("answered %d %s", res.status, res.body)
	}
	w.must(json.Unmarshal(res.body, &first))
	if len(first.Values) != 1 || first.Values[0].BuildID == nil {
		t.Fatalf("nothing was started: %s", res.body)
	}
	w.shows(commit('1'), "INPROGRESS") // the queued build is watched
	w.must(json.Unmarshal(w.post(path, waive, "").body, &second))
	if len(second.Values) != 1 || second.Values[0].BuildID != nil || second.Values[0].Reason == nil {
		t.Errorf("a second request: %+v", second)
	}
	if out := w.command("rebuild", "acme/widgets", "7"); !strings.Contains(out, "asked for this head and destination before") {
		t.Errorf("rebuild printed %q", out)
	}
	if res := w.post(path, w.token, ""); res.status != http.StatusForbidden {
		t.Errorf("without scope waive: %d", res.status)
	}
	w.must(w.bb.Merge(repository, 7))
	if res := w.post(path, waive, ""); res.status != http.StatusConflict {
		t.Errorf("on a merged pull request: %d %s", res.status, res.body)
	}
}

// TestSomebodyElsesStatusIsLeftAlone has the key on the commit already, by
// another account.
func TestSomebodyElsesStatusIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bb.AllowToken("another-token", "acme")
	theirs := bitbucketClient(t, w.bb.URL, "another-token")
	w.must(theirs.PostCommitStatus(t.Context(), "acme", "widgets", commit('1'), bitbucket.CommitStatus{
		Key: "appveyor-12064-pr-7", State: "FAILED", Name: "Their build", URL: "https://ci.example.com/1",
	}))
	w.notify(w.build(commit('1'), "success"))
	var statuses struct{ Values []struct{ Reason string } }
	w.eventually("the status is known to be somebody else's", func() bool {
		w.get("/api/v1/commit-statuses?outcome=failed", &statuses)
		return len(statuses.Values) == 1
	})
	if !strings.Contains(statuses.Values[0].Reason, "Their build") {
		t.Errorf("reason %q", statuses.Values[0].Reason)
	}
	if shown := w.bb.CommitStatuses(repository, commit('1')); len(shown) != 1 || shown[0].State != "FAILED" {
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
