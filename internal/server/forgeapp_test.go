package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/forge/forgetest"
	"mergegate/internal/server/servertest"
)

// appToken is what Forge lets the app ask Bitbucket with.
const appToken = "app-system-token-3d1e"

// Both ways to install the app: with a function of its own between Bitbucket and the program, and without.
var manifests = []string{"manifest.yml", "manifest.remote.yml"}

// forgeApp is the real app in manifest/, installed in a world and invoked by Node as Forge does.
type forgeApp struct {
	*world
	manifest    string
	systemToken string // that Forge gives it to ask Bitbucket with
	tokens      string // URL that answers an invocation token
}

// install needs Node, and what "npm ci" installs in manifest/: without them the app isn't tested, so that is a failure.
func (w *world) install(manifest string) *forgeApp {
	w.T.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		w.T.Fatal("the Forge app's tests need Node 20 or newer: run ./scripts/node.sh, or install it and put it on PATH")
	}
	if _, err := os.Stat("../../manifest/node_modules/@forge/api"); err != nil {
		w.T.Fatal("the Forge app's packages are missing: run make test, or npm ci --ignore-scripts in manifest/")
	}
	w.Bitbucket.AllowToken(appToken, "acme")
	w.Must(w.Bitbucket.AddRepository(bitbuckettest.Repository{WorkspaceUUID: workspaceUUID, UUID: repositoryUUID, FullName: repository, Private: true}))
	tokens := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		// A function's call comes without a context.
		_, _ = io.WriteString(rw, w.Forge.Token(forgetest.WithoutClaim("context")))
	}))
	w.T.Cleanup(tokens.Close)
	return &forgeApp{world: w, manifest: manifest, systemToken: appToken, tokens: tokens.URL}
}

// invoke has Forge invoke a module, by its key, or a merge check by its trigger, and reads what came of it.
func (a *forgeApp) invoke(module, event string, into any) {
	a.T.Helper()
	ctx, cancel := context.WithTimeout(a.T.Context(), servertest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "../../manifest/test/invoke.js", "../../manifest/"+a.manifest, module)
	cmd.Stdin = strings.NewReader(event)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
		"BITBUCKET_URL=" + a.Bitbucket.URL, "BITBUCKET_TOKEN=" + a.systemToken, "BACKEND_URL=" + a.URL, "TOKEN_URL=" + a.tokens,
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		a.T.Fatalf("%s of %s: %v\n%s", module, a.manifest, err, stderr.String())
	}
	if strings.Contains(stderr.String(), appToken) {
		a.T.Errorf("the app's log has a token:\n%s", stderr.String())
	}
	if err := json.Unmarshal(out, into); err != nil {
		a.T.Fatalf("%s of %s: %v: %s", module, a.manifest, err, out)
	}
}

// asked is what a user sees after a trigger.
func (a *forgeApp) asked(trigger string) (shown servertest.Answer) {
	a.T.Helper()
	more := ""
	if trigger == "on-merge" {
		more = `,"mergeProperties":{"commitMessage":"Merged in feature (pull request #7)","mergeStrategy":"squash"}`
	}
	a.invoke(trigger, event(trigger, more), &shown)
	if n := len([]rune(shown.Message)); n == 0 || n > 255 || strings.ContainsAny(shown.Message, "\r\n") {
		a.T.Errorf("message %q", shown.Message)
	}
	return shown
}

// sees asks both merge checks, whose answers have to be those of the program.
func (a *forgeApp) sees(code, message string) {
	a.T.Helper()
	for _, trigger := range []string{"on-code-pushed", "on-merge"} {
		shown := a.asked(trigger)
		var decisions struct{ Values []map[string]any }
		a.Get("/api/v1/repositories/acme/widgets/pullrequests/7/decisions?pagelen=1", &decisions)
		d := decisions.Values[0]
		if d["code"] != code || d["message"] != shown.Message || d["success"] != shown.Success || d["trigger"] != trigger {
			a.T.Errorf("%s shows %+v; the decision is %v, want %s", trigger, shown, d, code)
		}
		if shown.Success != (code == "passed") || !strings.Contains(shown.Message, message) {
			a.T.Errorf("%s shows %+v; want %s with %q", trigger, shown, code, message)
		}
	}
}

// refused asks before a merge, which has to be refused in words the program can't have said.
func (a *forgeApp) refused(words string) {
	a.T.Helper()
	if shown := a.asked("on-merge"); shown.Success || !strings.Contains(shown.Message, words) || !strings.Contains(shown.Message, "e-run this check") {
		a.T.Errorf("a user sees %+v; want a refusal with %q", shown, words)
	}
}

// reads counts the requests for a pull request and its source branch.
func (w *world) reads() (count int) {
	for _, r := range w.Bitbucket.Requests() {
		if r.Method == http.MethodGet && (strings.Contains(r.Path, "/pullrequests/") || strings.Contains(r.Path, "/refs/branches/")) {
			count++
		}
	}
	return count
}

// TestForgeAppStory follows a pull request through what its users see. The program has no credential for Bitbucket but
// the one that comes with the app's questions.
func TestForgeAppStory(t *testing.T) {
	t.Parallel()
	for _, manifest := range manifests {
		t.Run(manifest, func(t *testing.T) {
			t.Parallel()
			a := newWorld(t, "MERGEGATE_BITBUCKET_TOKEN=").install(manifest)
			a.sees("no_build", "No AppVeyor build for 111111111111 yet.")
			perCheck := 2 // the pull request and its branch
			if manifest == "manifest.remote.yml" {
				perCheck = 3 // and, by the program itself, whether the pull request changed meanwhile
			}
			if reads := a.reads(); reads != 2*perCheck {
				t.Errorf("Bitbucket was asked %d times for two checks, want %d for each", reads, perCheck)
			}
			running := a.Built(commit('1'), "running")
			a.sees("running", "AppVeyor build 1.0.1 is running (")
			a.Must(a.AppVeyor.SetStatus(running.ID, "failed"))
			a.Shows(commit('1'), "FAILED")
			a.sees("failed", "AppVeyor build 1.0.1 failed")
			a.Must(a.Bitbucket.Push(repository, 7, commit('2')))
			a.sees("no_build", "No AppVeyor build for 222222222222 yet.")
			a.Built(commit('2'), "success")
			a.sees("passed", "AppVeyor build 1.0.2 passed (312 tests)")
			a.Must(a.Bitbucket.Merge(repository, 7))
			a.sees("pull_request_closed", "is merged")
		})
	}
}

func TestForgeAppFork(t *testing.T) {
	t.Parallel()
	for _, manifest := range manifests {
		t.Run(manifest, func(t *testing.T) {
			t.Parallel()
			a := newWorld(t).install(manifest)
			a.Must(a.Bitbucket.AddRepository(bitbuckettest.Repository{
				WorkspaceUUID: "0c3a7799-53ae-4a5b-9e7e-03338980abb5", UUID: "ffe76500-0627-43f6-a9c5-4d6373a5e4eb",
				FullName: "someone/widgets", Private: true,
			}))
			pr := servertest.PullRequest(commit('f'))
			pr.SourceRepo = "someone/widgets"
			a.Put(pr)
			a.sees("no_build", "ffffffffffff")
			a.Notify(a.Build(commit('f'), "success", func(b *appveyortest.Build) { b.PullRequestHeadRepository = "someone/widgets" }))
			a.Settled()
			a.sees("passed", "AppVeyor build 1.0.1 passed")
		})
	}
}

// TestForgeAppTwins has commits that share what Bitbucket shows of them.
func TestForgeAppTwins(t *testing.T) {
	t.Parallel()
	twins := func(shared string) (green, red string) {
		return strings.Repeat(shared, 12) + strings.Repeat("1", 28), strings.Repeat(shared, 12) + strings.Repeat("2", 28)
	}
	for _, manifest := range manifests {
		t.Run(manifest, func(t *testing.T) {
			t.Parallel()
			a := newWorld(t).install(manifest)
			for shared, code := range map[string]string{"a": "no_build", "b": "head_unknown"} {
				green, red := twins(shared)
				pr := servertest.PullRequest(red)
				pr.Commits = []string{red, green}
				if code == "head_unknown" { // else green is red's parent
					a.Must(a.Bitbucket.AddCommit(repository, green, commit('d')))
					a.Must(a.Bitbucket.AddCommit(repository, red, commit('d')))
				}
				a.Put(servertest.PullRequest(green))
				a.Built(green, "success")
				a.sees("passed", "")
				a.Put(pr)
				if code == "head_unknown" { // else it names the head
					a.Must(a.Bitbucket.SetBranch(repository, pr.SourceBranch, ""))
				}
				a.sees(code, "")
			}
		})
	}
}

func TestForgeAppWithoutTheService(t *testing.T) {
	t.Parallel()
	a := newWorld(t).install("manifest.yml")
	a.Built(commit('1'), "success")
	a.Stop()
	a.refused("The app couldn't reach mergegate")
	for _, tt := range []struct{ appID, environments, words string }{
		{environments: "PRODUCTION", words: "mergegate doesn't answer merge checks. Ask your mergegate admin to check MERGEGATE_FORGE_APP_ID"},
		{appID: "ari:cloud:ecosystem::app/other", environments: "PRODUCTION", words: "mergegate doesn't accept this app. Ask your mergegate admin to check MERGEGATE_FORGE_APP_ID"},
		{appID: forgetest.AppID, environments: "STAGING", words: "MERGEGATE_FORGE_ENVIRONMENTS"},
	} {
		a.Env["MERGEGATE_FORGE_APP_ID"], a.Env["MERGEGATE_FORGE_ENVIRONMENTS"] = tt.appID, tt.environments
		a.Start()
		a.refused(tt.words)
		a.Stop()
	}
}

// TestForgeAppEvents invokes everything else in the manifest, and shows which modules bring a fresh token.
func TestForgeAppEvents(t *testing.T) {
	t.Parallel()
	push := strings.ReplaceAll(string(sample(t, "event-samples/avi_bitbucket_push_repository.json")), "4c16a397-8e48-479c-8ca2-442e46c90570", workspaceUUID)
	modules := []struct {
		name, event string
		token       bool
	}{
		{name: "before-uninstall", event: `{}`},
		{name: "repository-events", event: push, token: true},
		{name: "lifecycle-events", event: `{"eventType":"avi:forge:installed:app","id":"ari:cloud:ecosystem::installation/1"}`, token: true},
		{name: "token-refresh", event: `{"context":{"cloudId":null}}`, token: true},
		{name: "before-uninstall", event: `{}`},
	}
	for _, manifest := range manifests {
		t.Run(manifest, func(t *testing.T) {
			t.Parallel()
			a := newWorld(t, "MERGEGATE_BITBUCKET_TOKEN=").install(manifest)
			canRead := func() bool {
				return strings.Contains(a.Check(event("on-merge")).Message, "No AppVeyor build for 111111111111 yet.")
			}
			for i, module := range modules {
				a.Bitbucket.RevokeToken(a.systemToken)
				a.systemToken = fmt.Sprintf("%s-%d", appToken, i)
				a.Bitbucket.AllowToken(a.systemToken, "acme")
				if canRead() {
					t.Errorf("%s: the pull request can be read before", module.name)
				}
				var res struct{ Status int }
				a.invoke(module.name, module.event, &res)
				if d := a.Settled(); res.Status != http.StatusAccepted || len(d) != i+1 || d[0].Outcome != "processed" {
					t.Errorf("%s: answered %d; deliveries %+v", module.name, res.Status, d)
				}
				if canRead() != module.token {
					t.Errorf("%s: the pull request can be read after: %v", module.name, !module.token)
				}
			}
		})
	}
}

// sample reads one of Atlassian's documented samples.
func sample(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "forge", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// flatAndWrapped are the two shapes in which Forge is known to send an event.
func flatAndWrapped(event []byte) map[string]string {
	return map[string]string{"flat": string(event), "wrapped": `{"payload":` + string(event) + `}`}
}

func workspaceOf(t *testing.T, event []byte) string {
	t.Helper()
	var e struct{ Workspace struct{ UUID string } }
	if err := json.Unmarshal(event, &e); err != nil || e.Workspace.UUID == "" {
		t.Fatalf("a sample without a workspace: %v: %s", err, event)
	}
	return e.Workspace.UUID
}

func TestDocumentedForgeEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	files, err := filepath.Glob("testdata/forge/event-samples/*.json")
	w.Must(err)
	if len(files) != 20 {
		t.Fatalf("%d samples; there are 20", len(files))
	}
	for _, file := range files {
		content := sample(t, "event-samples/"+filepath.Base(file))
		for shape, body := range flatAndWrapped(content) {
			res := w.Post("/forge/events", w.Forge.Token(forgetest.WithWorkspace(workspaceOf(t, content))), body)
			if res.Status != http.StatusAccepted {
				t.Errorf("%s, %s: answered %d %s", filepath.Base(file), shape, res.Status, res.Body)
			}
			if res := w.Post("/forge/events", w.Forge.Token(), body); res.Status != http.StatusForbidden {
				t.Errorf("%s, %s: another workspace's is answered %d", filepath.Base(file), shape, res.Status)
			}
		}
	}
	deliveries := w.Settled()
	for _, d := range deliveries {
		if d.Outcome != "processed" {
			t.Errorf("delivery %+v", d)
		}
	}
	if len(deliveries) != 2*len(files) {
		t.Errorf("%d deliveries of %d events", len(deliveries), 2*len(files))
	}
}

func TestDocumentedMergeChecks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, document := range capture(t, "mergecheck-payload-samples.json") {
		if !strings.HasPrefix(name, "invocation") {
			continue
		}
		content, err := json.Marshal(document)
		w.Must(err)
		for shape, body := range flatAndWrapped(content) {
			res := w.Post("/forge/merge-check", w.Forge.Token(forgetest.WithWorkspace(workspaceOf(t, content))), body)
			var a servertest.Answer
			if err := json.Unmarshal(res.Body, &a); err != nil || res.Status != http.StatusOK || a.Success || a.Message == "" {
				t.Errorf("%s, %s: answered %d %s", name, shape, res.Status, res.Body)
			}
			if res := w.Post("/forge/merge-check", w.Forge.Token(), body); res.Status != http.StatusForbidden {
				t.Errorf("%s, %s: another workspace's is answered %d", name, shape, res.Status)
			}
		}
	}
}

// TestDocumentedInvocationToken signs the claims that Atlassian shows. They are those of a person's browser in an
// isolated cloud, which are nobody's to ask for a merge with.
func TestDocumentedInvocationToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_FORGE_ENVIRONMENTS=DEVELOPMENT")
	now := forgetest.WithIssued(time.Now())
	for _, tt := range []struct {
		name    string
		without []string
		then    []forgetest.Option
		refused int // 0: accepted
	}{
		{name: "as it is", refused: http.StatusUnauthorized},
		{name: "as it is, now", then: []forgetest.Option{now}, refused: http.StatusUnauthorized},
		{name: "of no isolated cloud", without: []string{"icLabel"}, then: []forgetest.Option{now}, refused: http.StatusForbidden},
		{name: "of no person", without: []string{"principal"}, then: []forgetest.Option{now}, refused: http.StatusUnauthorized},
		{name: "of neither", without: []string{"icLabel", "principal"}, then: []forgetest.Option{now}},
		{name: "of neither, long ago", without: []string{"icLabel", "principal"}, refused: http.StatusUnauthorized},
		{name: "of neither, for production", without: []string{"icLabel", "principal"}, then: []forgetest.Option{now, forgetest.WithEnvironment("PRODUCTION")}, refused: http.StatusUnauthorized},
	} {
		var claims map[string]any
		w.Must(json.Unmarshal(sample(t, "fit-sample-decoded.json"), &claims))
		for _, claim := range tt.without {
			delete(claims, claim)
		}
		token := w.Forge.Token(append([]forgetest.Option{forgetest.WithClaims(claims)}, tt.then...)...)
		for path, accepted := range map[string]int{"/forge/merge-check": http.StatusOK, "/forge/events": http.StatusAccepted} {
			want := tt.refused
			if want == 0 {
				want = accepted
			}
			if res := w.Post(path, token, event("on-merge")); res.Status != want {
				t.Errorf("%s: %s answered %d %s, want %d", tt.name, path, res.Status, res.Body, want)
			}
		}
	}
}
