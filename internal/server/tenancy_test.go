package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"mergegate/api"
	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/forge/forgetest"
	"mergegate/internal/server/servertest"
)

const (
	otherWorkspace  = "0c3a7799-53ae-4a5b-9e7e-03338980abb5"
	otherRepository = "6f1f3c52-9f3a-4d33-8f6b-2a3f0f1e9a44"
)

// twoTenants is a world in which two workspaces share the service: acme with
// acme/widgets, and other with other/gadgets. Each has built, and sent an event.
func twoTenants(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, "MERGEGATE_APPVEYOR_ACCOUNTS=acme=acme,other=other", "MERGEGATE_BITBUCKET_WEBHOOK_SECRET=signing", servertest.SecretKey)
	w.Bitbucket.AllowToken(servertest.BitbucketToken, "acme", "other")
	w.Must(w.AppVeyor.AddProject(appveyortest.Project{ID: 7001, Account: "other", Slug: "gadgets", RepositoryName: "other/gadgets"}))
	w.Must(w.Bitbucket.AddRepository(bitbuckettest.Repository{WorkspaceUUID: otherWorkspace, UUID: otherRepository, FullName: "other/gadgets"}))
	w.Must(w.Bitbucket.PutPullRequest("other/gadgets", servertest.PullRequest(commit('2'))))

	w.Check(event("on-merge")) // links acme/widgets
	w.Built(commit('1'), "success")
	event := strings.NewReplacer(workspaceUUID, otherWorkspace, repositoryUUID, otherRepository).Replace(event("on-merge"))
	if res := w.Post("/forge/merge-check", w.Forge.Token(forgetest.WithWorkspace(otherWorkspace)), event); res.Status != http.StatusOK {
		t.Fatalf("merge check of the other answered %d %s", res.Status, res.Body)
	}
	b, err := w.AppVeyor.PutBuild("other", "gadgets", appveyortest.Build{
		Branch: "main", PullRequestID: 7, PullRequestName: "Add gadgets", PullRequestHeadCommit: commit('2'),
		PullRequestHeadRepository: "other/gadgets", PullRequestHeadBranch: "feature", CommitID: commit('2'), Status: "failed",
		Jobs: []appveyortest.Job{{Tests: 1, Failed: 1}},
	})
	w.Must(err)
	w.Notify(b)
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
	defer cancel()
	w.Must(w.Bitbucket.WaitCommitStatus(ctx, "other/gadgets", commit('2'), "appveyor-7001-pr-7", "FAILED"))
	w.Settled()
	return w
}

// deliver has a signed event of Bitbucket for a repository arrive.
func (w *world) deliver(workspaceUUID, repositoryUUID string) {
	w.T.Helper()
	body := fmt.Sprintf(`{"repository":{"uuid":"{%s}","workspace":{"uuid":"{%s}"},"owner":{"uuid":"{%[2]s}"}}}`, repositoryUUID, workspaceUUID)
	req, err := http.NewRequestWithContext(w.T.Context(), http.MethodPost, w.URL+"/webhooks/bitbucket", strings.NewReader(body))
	w.Must(err)
	req.Header.Set("X-Event-Key", "repo:updated")
	req.Header.Set("X-Hub-Signature", signature("signing", body))
	if res := servertest.Send(w.T, req); res.Status != http.StatusAccepted {
		w.T.Fatalf("webhook answered %d %s", res.Status, res.Body)
	}
}

// pages follows a list to its end and returns the ids, page by page.
func (w *world) pages(path, token string) (pages [][]string) {
	w.T.Helper()
	for path != "" {
		res := w.Do(http.MethodGet, path, token, nil)
		if res.Status != http.StatusOK {
			w.T.Fatalf("GET %s answered %d %s", path, res.Status, res.Body)
		}
		var page struct {
			Values []struct{ ID string }
			Next   string
		}
		w.Must(json.Unmarshal(res.Body, &page))
		ids := []string{}
		for _, v := range page.Values {
			ids = append(ids, v.ID)
		}
		pages, path = append(pages, ids), ""
		if page.Next != "" {
			next, err := url.Parse(page.Next)
			w.Must(err)
			path = next.RequestURI()
		}
	}
	return pages
}

func TestTenantsDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	w := twoTenants(t)
	// Between those of acme are some of the other tenant, and one that nobody can place:
	// its build isn't confirmed, whatever repository its sender names.
	for range 3 {
		w.deliver(workspaceUUID, repositoryUUID)
		w.deliver(otherWorkspace, otherRepository)
	}
	w.deliver(otherWorkspace, repositoryUUID) // a forged pair
	lie := `{"eventName":"build_success","eventData":{"buildId":99,"buildUrl":"https://elsewhere.example.com/x","repositoryName":"other/gadgets","repositoryProvider":"bitBucket","isPullRequest":true,"pullRequestId":7}}`
	if res := w.Post("/webhooks/appveyor", servertest.WebhookSecret, lie); res.Status != http.StatusAccepted {
		t.Fatalf("webhook answered %d %s", res.Status, res.Body)
	}
	w.Settled()
	acme := w.TokenOf("acme", "admin", servertest.Covering("acme/*"))
	other := w.TokenOf("other", "admin,waive,report", servertest.Covering("other/*"), servertest.ReportingFor(12064))
	nobody := w.TokenOf("nobody", "admin", servertest.Covering("neither/*"))

	for _, list := range []string{"/api/v1/deliveries", "/api/v1/commit-statuses"} {
		all := slices.Concat(w.pages(list+"?pagelen=100", w.Token)...)
		ours := slices.Concat(w.pages(list+"?pagelen=100", acme)...)
		theirs := slices.Concat(w.pages(list+"?pagelen=100", other)...)
		if len(ours) == 0 || len(theirs) == 0 || len(ours)+len(theirs) > len(all) {
			t.Errorf("%s: %d of %d are acme's and %d the other's", list, len(ours), len(all), len(theirs))
		}
		for _, id := range ours {
			if slices.Contains(theirs, id) {
				t.Errorf("%s: both see %s", list, id)
			}
		}
		if got := slices.Concat(w.pages(list, nobody)...); len(got) != 0 {
			t.Errorf("%s: a token that covers neither sees %v", list, got)
		}
		// No page comes short, and none is empty but the only one.
		short := w.pages(list+"?pagelen=2", acme)
		for i, page := range short {
			if i < len(short)-1 && len(page) != 2 || len(page) == 0 {
				t.Errorf("%s: page %d of %d has %d", list, i+1, len(short), len(page))
			}
		}
		if diff := cmp.Diff(ours, slices.Concat(short...)); diff != "" {
			t.Errorf("%s by pages (-at once +by pages):\n%s", list, diff)
		}
		action := map[string]string{"/api/v1/deliveries": "/replay", "/api/v1/commit-statuses": "/retry"}[list]
		for _, id := range all {
			want := http.StatusNotFound
			if slices.Contains(theirs, id) {
				want = http.StatusAccepted
			}
			if res := w.Post(list+"/"+id+action, other, ""); res.Status != want {
				t.Errorf("POST %s/%s%s answered the other %d, want %d", list, id, action, res.Status, want)
			}
		}
	}
	w.hiddenFrom(other)
	// A glob that only could match a workspace learns nothing of which there are.
	guess := w.TokenOf("guess", "admin", servertest.Covering("ac*/nothing"))
	if res := w.Do(http.MethodGet, "/api/v1/workspaces/acme/policy", guess, nil); res.Status != http.StatusNotFound {
		t.Errorf("a guess is answered %d %s", res.Status, res.Body)
	}
}

// hiddenFrom asks every described route about acme's workspace, repository and build with
// a token that doesn't cover them: it learns nothing of whether they are there.
func (w *world) hiddenFrom(token string) {
	w.T.Helper()
	var builds struct{ Values []api.Build }
	w.Get("/api/v1/repositories/acme/widgets/builds", &builds)
	if len(builds.Values) == 0 {
		w.T.Fatal("there is no build to hide")
	}
	build := "/api/v1/builds/" + builds.Values[0].ID
	w.Get(build, new(api.Build))
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	w.Must(err)
	asked, shown := 0, 0
	for _, op := range operations(doc) {
		path := strings.NewReplacer("{workspace}", "acme", "{repo_slug}", "widgets", "{id}", "7").Replace(op.path)
		switch {
		case op.path == "/api/v1/builds/{id}":
			path = build
		case !strings.Contains(op.path, "{workspace}"):
			continue
		}
		path = regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "1")
		asked++
		if res := w.Do(op.method, path, token, strings.NewReader("{}")); res.Status != http.StatusNotFound {
			w.T.Errorf("%s %s answered a token that doesn't cover it %d %s", op.method, path, res.Status, res.Body)
		}
		if op.method == http.MethodGet && w.Do(op.method, path, w.Token, nil).Status != http.StatusNotFound {
			shown++
		}
	}
	if asked < 25 || shown < 12 {
		w.T.Errorf("only %d routes are of a workspace, and %d have something there to whom it is shown", asked, shown)
	}
}

// TestSecretsOfAWorkspaceSpeakForItAlone signs events of two workspaces with the
// secrets of each.
func TestSecretsOfAWorkspaceSpeakForItAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_APPVEYOR_ACCOUNTS=acme=acme,other=other", "MERGEGATE_BITBUCKET_WEBHOOK_SECRET=acme=of-acme,{"+otherWorkspace+"}=of-other,of-all==")
	w.Bitbucket.AllowToken(servertest.BitbucketToken, "acme", "other")
	w.Must(w.Bitbucket.AddRepository(bitbuckettest.Repository{WorkspaceUUID: otherWorkspace, UUID: otherRepository, FullName: "other/gadgets"}))
	push := func(workspaceUUID, repositoryUUID, fullName string) string {
		return fmt.Sprintf(`{"repository":{"uuid":"{%s}","full_name":%q,"workspace":{"uuid":"{%s}"}},"push":{"changes":[]}}`, repositoryUUID, fullName, workspaceUUID)
	}
	tests := []struct {
		name, body, secret string
		want               int
	}{
		{name: "acme's, by its slug", body: push(workspaceUUID, repositoryUUID, repository), secret: "of-acme", want: 202},
		{name: "the other's, by its UUID", body: push(otherWorkspace, otherRepository, "other/gadgets"), secret: "of-other", want: 202},
		{name: "the other's, signed by acme", body: push(otherWorkspace, otherRepository, "other/gadgets"), secret: "of-acme", want: 403},
		{name: "the other's under acme's name", body: push(otherWorkspace, otherRepository, "acme/gadgets"), secret: "of-acme", want: 403},
		{name: "acme's, signed by the other", body: push(workspaceUUID, repositoryUUID, repository), secret: "of-other", want: 403},
		{name: "signed for all", body: push(otherWorkspace, otherRepository, "other/gadgets"), secret: "of-all==", want: 202},
		{name: "of nobody", body: "{}", secret: "of-acme", want: 202},
		{name: "the whole pair is no secret", body: "{}", secret: "acme=of-acme", want: 401},
	}
	for _, tt := range tests {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/webhooks/bitbucket", strings.NewReader(tt.body))
		w.Must(err)
		req.Header.Set("X-Event-Key", "repo:push")
		req.Header.Set("X-Hub-Signature", signature(tt.secret, tt.body))
		if res := servertest.Send(t, req); res.Status != tt.want {
			t.Errorf("%s: answered %d %s, want %d", tt.name, res.Status, res.Body, tt.want)
		}
	}
}

// TestAccountsThatAreTrustedNoMore takes a mapping back: what the account's builds let
// through while it was there is let through no more.
func TestAccountsThatAreTrustedNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Expect("no_build", "")
	w.Built(commit('1'), "success")
	w.Expect("passed", "")
	for _, tt := range []struct {
		name     string
		accounts string
		code     string
		message  string
	}{
		{name: "another account", accounts: "other=acme", code: "no_build", message: "it doesn't trust the AppVeyor account acme for this workspace"},
		{name: "another workspace", accounts: "acme=elsewhere", code: "no_build", message: "it doesn't trust the AppVeyor account acme for this workspace"},
		{name: "as before", accounts: "acme=acme", code: "passed"},
		{name: "by the workspace's UUID", accounts: "acme={" + workspaceUUID + "}", code: "passed"},
	} {
		w.Stop()
		w.Env["MERGEGATE_APPVEYOR_ACCOUNTS"] = tt.accounts
		w.Start()
		t.Log(tt.name)
		w.Expect(tt.code, tt.message)
	}
}
