package server_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/server/servertest"
)

// capture reads a payload out of testdata, without its byte order mark.
func capture(t *testing.T, name string) map[string]any {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := json.Unmarshal(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")), &document); err != nil {
		t.Fatal(err)
	}
	return document
}

// TestCapturedAnswers has AppVeyor answer with what it really answered once, for
// every route, and looks at what becomes of a delivery that hints at it.
func TestCapturedAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		file    string
		outcome string
		reason  string
	}{
		{file: "gitextensions_history_AppVeyorResult_pull_request_build.json", outcome: "ignored", reason: "other_provider"},
		{file: "gitextensions_history_AppVeyorResult_master.json", outcome: "ignored", reason: "other_provider"},
		{file: "docs_get_project_history_response.json", outcome: "ignored", reason: "other_provider"},
		{file: "docs_get_project_last_build_or_by_version_response.json", outcome: "ignored", reason: "other_provider"},
		{file: "blinky_branch_build_2015_real.json", outcome: "ignored", reason: "other_provider"},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			document := capture(t, tt.file)
			id := serveDocument(t, w, document)
			w.notifyOf(id)
			d := w.Settled()[0]
			if d.Outcome != tt.outcome || d.Reason == nil || *d.Reason != tt.reason {
				t.Errorf("delivery %+v; want %s: %s", d, tt.outcome, tt.reason)
			}
		})
	}
}

// TestCapturedPullRequestBuild is the real answer to a fork's pull request build,
// made Bitbucket's: the one thing about it that can't be had from a capture.
func TestCapturedPullRequestBuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_APPVEYOR_ACCOUNTS=gitextensions=acme")
	document := capture(t, "gitextensions_history_AppVeyorResult_pull_request_build.json")
	project := document["project"].(map[string]any)
	project["repositoryType"], project["repositoryName"] = "bitBucket", repository
	id := serveDocument(t, w, document)
	w.notifyOf(id)
	if d := w.Settled()[0]; d.Outcome != "processed" {
		t.Fatalf("delivery %+v", d)
	}
	var builds struct{ Values []json.RawMessage }
	w.Get("/api/v1/repositories/acme/widgets/pullrequests/6326/builds", &builds)
	if len(builds.Values) != 1 {
		t.Fatalf("builds %s", builds.Values)
	}
	want := map[string]any{
		"build_id": 22800457.0, "version": "3.1.0.5444", "state": "success",
		"project":      map[string]any{"id": 305414.0, "slug": "gitextensions/gitextensions"},
		"repository":   map[string]any{"full_name": repository, "uuid": "{" + repositoryUUID + "}"},
		"pullrequest":  map[string]any{"id": 6326.0, "title": "Being able to navigate to a PR page of an AppVeyor build"},
		"source":       map[string]any{"commit": "dfc541e7eda18a9eb620a0a352e1d6fe0141b34d", "branch": "open_pr_page_from_appveyor_build", "repository": "pmiossec/gitextensions"},
		"destination":  map[string]any{"branch": "master", "commit": nil},
		"merge_commit": "9b9e2464633e9668a7d6ae088e0366403288ac72",
		"url":          w.AppVeyor.URL + "/project/gitextensions/gitextensions/builds/22800457",
		"tests":        map[string]any{"total": 0.0, "passed": 0.0, "failed": 0.0}, "jobs": []any{},
		"created_on": "2019-03-04T11:24:13.820004Z", "started_on": "2019-03-04T11:24:24.020464Z",
		"finished_on": "2019-03-04T11:34:41.544781Z", "duration_ms": 617524.0, "confirmed_by": "appveyor",
	}
	var got map[string]any
	w.Must(json.Unmarshal(builds.Values[0], &got))
	delete(got, "id")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("build (-want +got):\n%s", diff)
	}
}

// serveDocument has AppVeyor answer every request with document, in the shape of
// the route, and returns the id of the build in it.
func serveDocument(t *testing.T, w *world, document map[string]any) (buildID int64) {
	t.Helper()
	build, _ := document["build"].(map[string]any)
	if builds, ok := document["builds"].([]any); ok {
		build = builds[0].(map[string]any)
	}
	one, err := json.Marshal(map[string]any{"project": document["project"], "build": build})
	w.Must(err)
	w.AppVeyor.OnRequest(func(r *http.Request) appveyortest.Fault {
		if strings.Contains(r.URL.Path, "/builds/") {
			return appveyortest.Fault{Body: "\xef\xbb\xbf" + string(one)}
		}
		return appveyortest.Fault{Status: http.StatusNotFound}
	})
	return int64(build["buildId"].(float64))
}

// notifyOf sends the documented webhook, changed to hint at a build of the
// project acme/widgets, or gitextensions where that is the trusted account.
func (w *world) notifyOf(buildID int64) {
	w.T.Helper()
	hook := capture(w.T, "webhook_pr_docs_sample.json")
	data := hook["eventData"].(map[string]any)
	account, _, _ := strings.Cut(w.Env["MERGEGATE_APPVEYOR_ACCOUNTS"], "=")
	data["buildId"], data["repositoryProvider"] = buildID, "bitBucket"
	data["buildUrl"] = w.AppVeyor.URL + "/project/" + account + "/widgets/build/1.0.26"
	body, err := json.Marshal(hook)
	w.Must(err)
	if res := w.Post("/webhooks/appveyor", servertest.WebhookSecret, string(body)); res.Status != http.StatusAccepted {
		w.T.Fatalf("webhook answered %d %s", res.Status, res.Body)
	}
}

// TestDocumentedWebhook sends AppVeyor's documented sample to the letter: a build
// of a GitHub repository on AppVeyor's own host.
func TestDocumentedWebhook(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, url, reason string }{
		{name: "of AppVeyor's own host", url: "https://ci.appveyor.com", reason: "other_provider"},
		{name: "with another AppVeyor configured", url: "http://127.0.0.1:1", reason: "other_host"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "MERGEGATE_APPVEYOR_URL="+tt.url)
			body, err := os.ReadFile("testdata/webhook_pr_docs_sample.json")
			w.Must(err)
			if res := w.Post("/webhooks/appveyor", servertest.WebhookSecret, string(body)); res.Status != http.StatusAccepted {
				t.Fatalf("answered %d %s", res.Status, res.Body)
			}
			if d := w.Settled()[0]; d.Outcome != "ignored" || *d.Reason != tt.reason || d.BuildID != 14636 {
				t.Errorf("delivery %+v; want ignored: %s", d, tt.reason)
			}
		})
	}
}

// TestPushBuilds shows that builds of branches are none of ours, whatever the
// webhook says of them.
func TestPushBuilds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.Build(commit('1'), "success", func(b *appveyortest.Build) {
		b.PullRequestID, b.PullRequestName, b.PullRequestHeadCommit, b.PullRequestHeadRepository, b.PullRequestHeadBranch = 0, "", "", "", ""
	})
	w.Notify(b)
	w.notifyOf(b.ID) // says that it is a pull request build
	for _, d := range w.Settled() {
		if d.Outcome != "ignored" || *d.Reason != "not_pull_request" {
			t.Errorf("delivery %+v", d)
		}
	}
	w.Expect("no_build", "")
}

// TestRealForkPullRequest asks about a pull request as Bitbucket really answered
// it: 12-character hashes and a source in another workspace.
func TestRealForkPullRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	content, err := os.ReadFile("testdata/goscm-testdata-pr.json")
	w.Must(err)
	const head = "31c54529bd80" + "aaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	w.Bitbucket.OnRequest(realPullRequest(string(content), head))
	body := strings.Replace(event("on-merge"), `"id":7`, `"id":4982`, 1)
	if a := w.Check(body); a.Success || !strings.Contains(a.Message, "No AppVeyor build for 31c54529bd80 yet.") {
		t.Errorf("answer %+v", a)
	}
}

// realPullRequest answers requests for a pull request with a captured document,
// and for its commits with the one full hash that the capture abbreviates.
func realPullRequest(document, head string) func(*http.Request) bitbuckettest.Fault {
	return func(r *http.Request) bitbuckettest.Fault {
		switch {
		case strings.HasSuffix(r.URL.Path, "/commits"):
			return bitbuckettest.Fault{Body: `{"values":[{"type":"commit","hash":"` + head + `","parents":[]}]}`}
		case strings.Contains(r.URL.Path, "/pullrequests/"):
			return bitbuckettest.Fault{Body: document}
		default:
			return bitbuckettest.Fault{}
		}
	}
}
