package appveyortest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mergegate/internal/appveyor/appveyortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const path = "/api/projects/account/slug"

var (
	head    = strings.Repeat("1a", 20)
	created = time.Date(2026, 8, 21, 9, 5, 0, 123456789, time.UTC)
)

// start serves account/slug with the builds 1 (a branch's), 2 and 3 (pull request 7's).
func start(t *testing.T) *appveyortest.Server {
	t.Helper()
	server, err := appveyortest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	if err := server.AddProject(appveyortest.Project{ID: 12064, Account: "account", Slug: "slug", RepositoryName: "ws/repo"}); err != nil {
		t.Fatal(err)
	}
	pullRequest := appveyortest.Build{
		ID: 2, Number: 2, Version: "1.0.2", Branch: "main", CommitID: strings.Repeat("2b", 20), Message: "Add it", Status: "failed",
		PullRequestID: 7, PullRequestName: "Add it", PullRequestHeadCommit: head, PullRequestHeadRepository: "ws/repo", PullRequestHeadBranch: "feature",
		Messages: []string{"hello"},
		Jobs:     []appveyortest.Job{{Name: "Platform: x86", Tests: 3, Passed: 2, Failed: 1, Messages: []string{"from a script"}}},
		Created:  created, Started: created.Add(time.Second), Finished: created.Add(3 * time.Hour), Updated: created.Add(3 * time.Hour),
	}
	again := pullRequest
	again.ID, again.Number, again.Version, again.Status = 3, 3, "1.0.3-a b", "success"
	branch := appveyortest.Build{ID: 1, Number: 1, Status: "success", Created: created, CommitID: head}
	for _, b := range []appveyortest.Build{again, branch, pullRequest} {
		if _, err := server.PutBuild("Account", "slug", b); err != nil {
			t.Fatal(err)
		}
	}
	return server
}

type response struct {
	code int
	kind string
	body []byte
}

func send(t *testing.T, method, url, token, body string) response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{code: res.StatusCode, kind: res.Header.Get("Content-Type"), body: data}
}

func (r response) decode(t *testing.T) any {
	t.Helper()
	return decode(t, r.body)
}

func decode(t *testing.T, body []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return v
}

func sample(t *testing.T, name string) any {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, data)
}

// shape lists the paths of a JSON value with the types of what is there.
func shape(prefix string, v any, into map[string]string) map[string]string {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			shape(prefix+"."+key, value, into)
		}
	case []any:
		into[prefix] = "array"
		for _, value := range v {
			shape(prefix+"[]", value, into)
		}
	default:
		into[prefix] = fmt.Sprintf("%T", v)
	}
	return into
}

// TestAnswersLookLikeAppVeyors holds names and types to the samples. What newer answers have beside them is named.
func TestAnswersLookLikeAppVeyors(t *testing.T) {
	t.Parallel()
	server := start(t)
	get := func(path string) any { return send(t, "GET", server.URL+path, "token", "").decode(t) }
	project := shape("", sample(t, "history.json").(map[string]any)["project"], map[string]string{})
	for name, test := range map[string]struct {
		got     any
		sample  any
		without []string // paths that begin so aren't in the sample
	}{
		"history": {got: get(path + "/history"), sample: sample(t, "history.json"), without: []string{".builds[].messages[]"}},
		"build": {
			got: get(path + "/builds/3"), sample: sample(t, "build.json"),
			without: []string{".project", ".build.projectId", ".build.messages[]", ".build.pullRequest", ".build.jobs[].osType"},
		},
		"project in a build": {got: get(path).(map[string]any)["project"], sample: sample(t, "history.json").(map[string]any)["project"]},
		"projects": {
			got: get("/api/projects"), sample: sample(t, "projects.json"),
			without: []string{"[].builds[].messages[]", "[].builds[].pullRequest", "[].builds[].projectId", "[].builds[].isTag"},
		},
		"started build": {
			got:    send(t, "POST", server.URL+"/api/builds", "token", `{"accountName":"account","projectSlug":"slug","pullRequestId":7}`).decode(t),
			sample: sample(t, "started-build.json"), without: []string{".pullRequestHead"},
		},
		"webhook": {got: decode(t, server.WebhookBody(2)), sample: sample(t, "webhook.json"), without: []string{".eventData.messages[]", ".eventData.jobs[].messages[]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := shape("", test.sample, map[string]string{})
			for path, kind := range shape("", test.got, map[string]string{}) {
				known := slices.ContainsFunc(test.without, func(p string) bool { return strings.HasPrefix(path, p) })
				if _, inProject := project[strings.TrimPrefix(path, "[]")]; inProject && name == "projects" {
					known = true // what projects have had since
				}
				if !known && want[path] != kind {
					t.Errorf("%s is %s, in AppVeyor's answer %q", path, kind, want[path])
				}
			}
		})
	}
}

func TestBuilds(t *testing.T) {
	t.Parallel()
	server := start(t)
	for name, test := range map[string]struct {
		path string
		code int
		want []float64 // build ids
	}{
		"last":               {path: path, want: []float64{3}},
		"any case":           {path: "/api/projects/ACCOUNT/Slug", want: []float64{3}},
		"by version":         {path: path + "/build/1.0.2", want: []float64{2}},
		"by escaped version": {path: path + "/build/1.0.3-a%20b", want: []float64{3}},
		"by id":              {path: path + "/builds/1", want: []float64{1}},
		"no such version":    {path: path + "/build/9", code: 404},
		"no such id":         {path: path + "/builds/9", code: 404},
		"no such project":    {path: "/api/projects/account/other", code: 404},
		"no such route":      {path: "/api/other", code: 404},
		"history":            {path: path + "/history?recordsNumber=20", want: []float64{3, 2, 1}},
		"history, one page":  {path: path + "/history?recordsNumber=2", want: []float64{3, 2}},
		"history, next page": {path: path + "/history?recordsNumber=2&startBuildId=2", want: []float64{1}},
		"history of branch":  {path: path + "/history?recordsNumber=20&branch=main", want: []float64{3, 2}},
		"history of nothing": {path: path + "/history?branch=other", want: nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := send(t, "GET", server.URL+test.path, "", "")
			if test.code != 0 {
				message, _ := res.decode(t).(map[string]any)["message"].(string)
				if res.code != test.code || message == "" {
					t.Errorf("got %d %s, want %d", res.code, res.body, test.code)
				}
				return
			}
			answer := res.decode(t).(map[string]any)
			var got []float64
			if build, ok := answer["build"].(map[string]any); ok {
				got = append(got, build["buildId"].(float64))
			} else {
				for _, row := range answer["builds"].([]any) {
					got = append(got, row.(map[string]any)["buildId"].(float64))
				}
			}
			if diff := cmp.Diff(test.want, got); res.code != 200 || diff != "" {
				t.Errorf("%d (-want +got)\n%s", res.code, diff)
			}
		})
	}
}

func TestWhatHasNotHappenedIsLeftOut(t *testing.T) {
	t.Parallel()
	server := start(t)
	b, err := server.PutBuild("account", "slug", appveyortest.Build{Created: created})
	if err != nil {
		t.Fatal(err)
	}
	names := func() (have []string) {
		answer := send(t, "GET", server.URL+path, "", "").decode(t).(map[string]any)["build"].(map[string]any)
		for _, name := range []string{"pullRequestId", "pullRequestHeadCommitId", "created", "started", "finished", "updated"} {
			if _, ok := answer[name]; ok {
				have = append(have, name)
			}
		}
		return append(have, answer["status"].(string))
	}
	for _, step := range []struct {
		status string
		want   []string
	}{
		{want: []string{"created", "queued"}},
		{status: "running", want: []string{"created", "started", "updated", "running"}},
		{status: "success", want: []string{"created", "started", "finished", "updated", "success"}},
		{status: "running", want: []string{"created", "started", "updated", "running"}}, // run again
	} {
		if step.status != "" {
			if err := server.SetStatus(b.ID, step.status); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(step.want, names()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", step.status, diff)
		}
	}
}

func TestValuesInAnswers(t *testing.T) {
	t.Parallel()
	server := start(t)
	build := send(t, "GET", server.URL+path+"/builds/2", "", "").decode(t).(map[string]any)["build"].(map[string]any)
	if build["pullRequestId"] != "7" || build["created"] != "2026-08-21T09:05:00.1234567+00:00" || build["projectId"] != 12064.0 {
		t.Errorf("build %v", build)
	}
	event := decode(t, server.WebhookBody(2)).(map[string]any)
	data := event["eventData"].(map[string]any)
	want := map[string]any{
		"pullRequestId": 7.0, "commitId": "2b2b2b2b2b", "started": "8/21/2026 9:05 AM", "finished": "8/21/2026 12:05 PM",
		"duration": "02:59:59.0000000", "status": "failed", "buildUrl": server.URL + "/project/account/slug/builds/2",
		"repositoryProvider": "bitBucket", "isPullRequest": true,
	}
	for name, want := range want {
		if data[name] != want {
			t.Errorf("%s is %v, want %v", name, data[name], want)
		}
	}
	if event["eventName"] != "build_failure" || server.WebhookBody(99) != nil {
		t.Errorf("event %v", event["eventName"])
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	server := start(t)
	if err := server.AddProject(appveyortest.Project{ID: 2, Account: "open", Slug: "private", Private: true}); err != nil {
		t.Fatal(err)
	}
	server.RequireToken("account", "s3cret")
	const startBuild = `{"accountName":"account","projectSlug":"slug","pullRequestId":"7"}`
	for name, test := range map[string]struct {
		method, path, token, body string
		want                      int
	}{
		"with it":                  {path: path, token: "s3cret", want: 200},
		"without":                  {path: path, want: 401},
		"another":                  {path: path, token: "x", want: 401},
		"history without":          {path: path + "/history", want: 401},
		"list":                     {path: "/api/projects", token: "s3cret", want: 200},
		"list without":             {path: "/api/projects", want: 401},
		"list with another":        {path: "/api/projects", token: "x", want: 401},
		"list of the account":      {path: "/api/account/account/projects", token: "s3cret", want: 200},
		"list of account, another": {path: "/api/account/account/projects", token: "x", want: 401},
		"private without":          {path: "/api/projects/open/private", want: 404},
		"private with any":         {path: "/api/projects/open/private", token: "x", want: 200},
		"start":                    {method: "POST", path: "/api/builds", token: "s3cret", body: startBuild, want: 200},
		"start, account named":     {method: "POST", path: "/api/account/account/builds", token: "s3cret", body: startBuild, want: 200},
		"start without":            {method: "POST", path: "/api/builds", body: startBuild, want: 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			method := test.method
			if method == "" {
				method = "GET"
			}
			if res := send(t, method, server.URL+test.path, test.token, test.body); res.code != test.want {
				t.Errorf("got %d %s, want %d", res.code, res.body, test.want)
			}
		})
	}
}

func TestStartBuild(t *testing.T) {
	t.Parallel()
	server := start(t)
	post := func(body string) response { return send(t, "POST", server.URL+"/api/builds", "token", body) }
	for name, test := range map[string]struct {
		body string
		want int
	}{
		"no JSON":              {body: "x", want: 400},
		"a branch":             {body: `{"accountName":"account","projectSlug":"slug","branch":"main"}`, want: 400},
		"both":                 {body: `{"accountName":"account","projectSlug":"slug","branch":"main","pullRequestId":7}`, want: 400},
		"unknown project":      {body: `{"accountName":"account","projectSlug":"x","pullRequestId":7}`, want: 404},
		"unknown pull request": {body: `{"accountName":"account","projectSlug":"slug","pullRequestId":8}`, want: 404},
	} {
		if res := post(test.body); res.code != test.want {
			t.Errorf("%s: %d %s, want %d", name, res.code, res.body, test.want)
		}
	}
	const seven = `{"accountName":"account","projectSlug":"slug","pullRequestId":7}`
	if res := post(seven); res.code != 200 {
		t.Errorf("start: %d %s", res.code, res.body)
	}
	server.OnStartBuild(func(account, slug string, pullRequestID int64) (appveyortest.Build, error) {
		return appveyortest.Build{Version: fmt.Sprintf("%s-%s-%d", account, slug, pullRequestID)}, nil
	})
	if res := post(seven); res.code != 200 {
		t.Errorf("start: %d %s", res.code, res.body)
	}
	server.OnStartBuild(func(string, string, int64) (appveyortest.Build, error) {
		return appveyortest.Build{}, errors.New("no worker")
	})
	if res := post(seven); res.code != 500 || !strings.Contains(string(res.body), "no worker") {
		t.Errorf("start: %d %s", res.code, res.body)
	}
	var got []string
	for _, b := range server.Builds("account", "slug")[3:] {
		got = append(got, fmt.Sprintf("%s %s %d %s", b.Version, b.Status, b.PullRequestID, b.PullRequestHeadCommit))
	}
	if diff := cmp.Diff([]string{"1.0.4 queued 7 " + head, "account-slug-7 queued 7 "}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestQuirksAndFaults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		quirks appveyortest.Quirks
		fault  appveyortest.Fault
		path   string
		code   int
		kind   string
		prefix string
	}{
		"none":           {path: path, code: 200, kind: "application/json", prefix: `{"build":`},
		"BOM":            {quirks: appveyortest.Quirks{BOM: true}, path: path, code: 200, kind: "application/json", prefix: "\ufeff{"},
		"HTML":           {quirks: appveyortest.Quirks{HTML: true}, path: path, code: 200, kind: "text/html", prefix: "<!DOCTYPE html>"},
		"prefixed path":  {path: "/api/account/account/projects/account/slug/history", code: 200, kind: "text/html", prefix: "<!DOCTYPE html>"},
		"no build by id": {quirks: appveyortest.Quirks{NoBuildByID: true}, path: path + "/builds/1", code: 404, kind: "application/json", prefix: `{"message":"No HTTP resource`},
		"fault":          {fault: appveyortest.Fault{Status: 500, Body: `{"message":"oops"}`}, path: path, code: 500, kind: "application/json", prefix: `{"message":"oops"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			server.SetQuirks(test.quirks)
			server.OnRequest(func(*http.Request) appveyortest.Fault { return test.fault })
			res := send(t, "GET", server.URL+test.path, "", "")
			if res.code != test.code || !strings.HasPrefix(res.kind, test.kind) || !bytes.HasPrefix(res.body, []byte(test.prefix)) {
				t.Errorf("got %d %s %.80s", res.code, res.kind, res.body)
			}
			want := []appveyortest.Request{{Method: "GET", Path: test.path}}
			if diff := cmp.Diff(want, server.Requests()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestNotify(t *testing.T) {
	t.Parallel()
	server := start(t)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(body, server.WebhookBody(3)) {
			t.Errorf("body %s, %v", body, err)
		}
		if r.Method != "POST" || r.Header.Get("Authorization") != "Bearer s3cret" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %v", r.Method, r.Header)
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "stored")
	}))
	t.Cleanup(receiver.Close)
	status, body, err := server.Notify(t.Context(), receiver.URL, "s3cret", 3)
	if status != http.StatusAccepted || string(body) != "stored" || err != nil {
		t.Errorf("got %d %s %v", status, body, err)
	}
	if _, _, err := server.Notify(t.Context(), receiver.URL, "s3cret", 99); err == nil {
		t.Error("a build that isn't there was notified of")
	}
}
