package builds

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/riverqueue/river"

	"mergegate/internal/appveyor"
	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/commitstatus"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// linked is a bundle with a token, and a build that is recorded.
func linked(t *testing.T) (*bundle, postgres.Repository) {
	t.Helper()
	b := newBundle(t)
	b.withToken(t)
	if err := b.confirm(t.Context(), b.receive(t)); err != nil {
		t.Fatal(err)
	}
	return b, widgets
}

func (b *bundle) round(t *testing.T) {
	t.Helper()
	if err := b.service.reconcile(t.Context(), &river.Job[postgres.Reconcile]{}); err != nil {
		t.Fatal(err)
	}
}

// projects are those that were seen, with what became of them.
func (b *bundle) projects(t *testing.T) []string {
	t.Helper()
	list, err := b.store.Projects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range list {
		name := fmt.Sprintf("%d %s/%s", p.ProjectID, p.Account, p.Slug)
		if p.Forgotten {
			name += " forgotten"
		}
		if p.ReplacedBy != 0 {
			name += fmt.Sprintf(" replaced by %d", p.ReplacedBy)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (b *bundle) put(t *testing.T, slug string, build appveyortest.Build) appveyortest.Build {
	t.Helper()
	build, err := b.appveyor.PutBuild("acme", slug, build)
	if err != nil {
		t.Fatal(err)
	}
	return build
}

func (b *bundle) project(t *testing.T, p appveyortest.Project) {
	t.Helper()
	p.Account, p.RepositoryName = "acme", "acme/widgets"
	if err := b.appveyor.AddProject(p); err != nil {
		t.Fatal(err)
	}
}

func pullRequestBuild() appveyortest.Build {
	return appveyortest.Build{Branch: "main", PullRequestID: 8, PullRequestHeadCommit: strings.Repeat("c", 40), Status: "success"}
}

func refOf(p appveyortest.Project, build appveyortest.Build) appveyor.Ref {
	return appveyor.Ref{Account: "acme", Slug: p.Slug, BuildID: build.ID}
}

// TestRenamedProjectIsFollowed renames a project without a webhook of a build after it.
func TestRenamedProjectIsFollowed(t *testing.T) {
	t.Parallel()
	looks := map[string]func(*testing.T, *bundle, postgres.Repository){
		"by a round": func(t *testing.T, b *bundle, _ postgres.Repository) { t.Helper(); b.round(t) },
		"by a merge check": func(t *testing.T, b *bundle, r postgres.Repository) {
			t.Helper()
			if _, err := b.service.LookNow(t.Context(), r.WorkspaceUUID, r.RepositoryUUID); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, look := range looks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, r := linked(t)
			b.project(t, appveyortest.Project{ID: 12064, Slug: "gadgets"})
			build := b.put(t, "gadgets", pullRequestBuild())
			look(t, b, r)
			if diff := cmp.Diff([]string{"12064 acme/gadgets"}, b.projects(t)); diff != "" {
				t.Errorf("projects (-want +got):\n%s", diff)
			}
			b.build = build
			if got := b.stored(t); got.State != mergecheck.Success || !strings.HasSuffix(got.URL, fmt.Sprintf("/project/acme/gadgets/builds/%d", build.ID)) {
				t.Errorf("build %s at %s", got.State, got.URL)
			}
		})
	}
}

// TestListNamesAProjectForGood has what is said of older builds not take the name
// back that AppVeyor's list told.
func TestListNamesAProjectForGood(t *testing.T) {
	t.Parallel()
	b, _ := linked(t)
	before := b.stored(t)
	b.project(t, appveyortest.Project{ID: 12064, Slug: "gadgets"})
	b.round(t)
	if _, err := Record(t.Context(), b.store, before, 0, false); err != nil { // read before the project was renamed
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"12064 acme/gadgets"}, b.projects(t)); diff != "" {
		t.Errorf("projects (-want +got):\n%s", diff)
	}
	newer := before
	newer.BuildID, newer.Project.Slug = before.BuildID+1, "gizmos"
	if _, err := Record(t.Context(), b.store, newer, 0, false); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"12064 acme/gizmos"}, b.projects(t)); diff != "" {
		t.Errorf("projects after a newer build (-want +got):\n%s", diff)
	}
}

// TestRunningBuildOfARenamedProjectIsFollowed renames a project while it builds.
func TestRunningBuildOfARenamedProjectIsFollowed(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.withToken(t)
	b.record(t, "running")
	b.project(t, appveyortest.Project{ID: 12064, Slug: "gadgets"})
	b.look(t) // finds the new name
	if err := b.appveyor.SetStatus(b.build.ID, "failed"); err != nil {
		t.Fatal(err)
	}
	if goesOn := b.look(t); goesOn || b.stored(t).State != mergecheck.Failed {
		t.Errorf("state %s, looked at again: %t", b.stored(t).State, goesOn)
	}
}

// TestDeliveryFromBeforeARenameIsProcessed has a delivery name the project as it was
// called then, and its build be found by a round.
func TestDeliveryFromBeforeARenameIsProcessed(t *testing.T) {
	t.Parallel()
	b, _ := linked(t)
	b.build = b.put(t, "widgets", pullRequestBuild())
	id := b.receive(t)
	b.project(t, appveyortest.Project{ID: 12064, Slug: "gadgets"})
	b.round(t)
	if err := b.confirm(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if outcome, reason, _ := b.delivery(t, id); outcome != postgres.Processed {
		t.Errorf("%s, %q", outcome, reason)
	}
}

// TestRenamedAccountIsNotFollowed: the account's name is what is trusted.
func TestRenamedAccountIsNotFollowed(t *testing.T) {
	t.Parallel()
	b, _ := linked(t)
	b.appveyor.OnRequest(func(r *http.Request) (f appveyortest.Fault) {
		if r.URL.Path == "/api/projects" {
			f.Body = `[{"projectId":12064,"accountName":"acme2","slug":"gadgets","repositoryType":"bitBucket","repositoryName":"acme/widgets"}]`
		}
		return f
	})
	b.round(t)
	if diff := cmp.Diff([]string{"12064 acme/widgets"}, b.projects(t)); diff != "" {
		t.Errorf("projects (-want +got):\n%s", diff)
	}
}

// TestRenamedAccountIsFollowedOnceItIsTrusted has the mapping name the account anew.
func TestRenamedAccountIsFollowedOnceItIsTrusted(t *testing.T) {
	t.Parallel()
	b, _ := linked(t)
	if err := b.appveyor.AddProject(appveyortest.Project{ID: 12064, Account: "acme2", Slug: "widgets", RepositoryName: "acme/widgets"}); err != nil {
		t.Fatal(err)
	}
	build, err := b.appveyor.PutBuild("acme2", "widgets", pullRequestBuild())
	if err != nil {
		t.Fatal(err)
	}
	client, err := appveyor.NewClient(appveyor.Config{URL: b.appveyor.URL, Tokens: map[string]string{"acme2": "token"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	b.service = New(b.store, client, b.service.bitbucket, mergecheck.Accounts{"acme2": {"acme"}}, Options{Log: slog.New(slog.DiscardHandler)})
	b.round(t)
	if diff := cmp.Diff([]string{"12064 acme2/widgets"}, b.projects(t)); diff != "" {
		t.Errorf("projects (-want +got):\n%s", diff)
	}
	b.build = build
	if got := b.stored(t); got.State != mergecheck.Success {
		t.Errorf("build %s", got.State)
	}
}

// TestOneListARound has several projects of an account not be found.
func TestOneListARound(t *testing.T) {
	t.Parallel()
	b, r := linked(t)
	for i := range 3 {
		p := appveyortest.Project{ID: int64(600 + i), Slug: fmt.Sprintf("part%d", i)}
		b.project(t, p)
		build := b.put(t, p.Slug, pullRequestBuild())
		if _, err := b.service.confirm(t.Context(), refOf(p, build), 0, "test"); err != nil {
			t.Fatal(err)
		}
		if err := b.appveyor.DeleteProject(p.ID); err != nil {
			t.Fatal(err)
		}
	}
	lists := func() (n int) {
		for _, r := range b.appveyor.Requests() {
			if r.Path == "/api/projects" {
				n++
			}
		}
		return n
	}
	b.round(t)
	if n := lists(); n != 1 {
		t.Errorf("a round read the list %d times", n)
	}
	for range 3 {
		b.service.faults = &faults{} // as if the waits were over
		if _, err := b.service.LookNow(t.Context(), r.WorkspaceUUID, r.RepositoryUUID); err != nil {
			t.Fatal(err)
		}
	}
	if n := lists(); n != 1 {
		t.Errorf("merge checks after it made it %d times", n)
	}
	b.service.faults = &faults{}
	b.service.now = func() time.Time { return time.Now().Add(listAge) }
	if _, err := b.service.LookNow(t.Context(), r.WorkspaceUUID, r.RepositoryUUID); err != nil {
		t.Fatal(err)
	}
	if n := lists(); n != 2 {
		t.Errorf("one later made it %d times, want 2", n)
	}
}

// TestReplacedProjectIsNotRequired has the new project be required from the moment
// that AppVeyor's list tells of it, whether it has built anything or not, and the old
// one again if the list has it again.
func TestReplacedProjectIsNotRequired(t *testing.T) {
	t.Parallel()
	b, r := linked(t)
	seen := func() []mergecheck.Project {
		t.Helper()
		facts, err := b.store.Facts(t.Context(), postgres.Asked{
			PullRequest: postgres.PullRequestKey{WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, PullRequestID: 7},
			Told:        mergecheck.Told{Head: b.build.PullRequestHeadCommit},
		})
		if err != nil {
			t.Fatal(err)
		}
		return facts.Seen
	}
	if err := b.appveyor.DeleteProject(12064); err != nil {
		t.Fatal(err)
	}
	b.project(t, appveyortest.Project{ID: 502, Slug: "widgets"})
	b.round(t)
	want := []mergecheck.Project{{ID: 502, Account: "acme", Slug: "widgets", Replaces: 12064}}
	if diff := cmp.Diff(want, seen()); diff != "" {
		t.Errorf("required projects (-want +got):\n%s", diff)
	}
	b.project(t, appveyortest.Project{ID: 12064, Slug: "gadgets"})
	b.round(t)
	want = []mergecheck.Project{{ID: 502, Account: "acme", Slug: "widgets"}, {ID: 12064, Account: "acme", Slug: "gadgets"}}
	if diff := cmp.Diff(want, seen()); diff != "" {
		t.Errorf("required projects when it is back (-want +got):\n%s", diff)
	}
}

// TestProjectThatWasCreatedAgainReplaces deletes a project and creates another.
func TestProjectThatWasCreatedAgainReplaces(t *testing.T) {
	t.Parallel()
	again := appveyortest.Project{ID: 502, Slug: "widgets"}
	tests := []struct {
		name    string
		project appveyortest.Project
		built   bool   // a build of it is known; else only the list tells of it
		list    string // what the list is answered with instead
		noToken bool
		forget  int64
		want    []string
	}{
		{name: "same slug and repository, and nothing built yet", project: again, want: []string{"12064 acme/widgets replaced by 502", "502 acme/widgets"}},
		{name: "same slug and repository", project: again, built: true, want: []string{"12064 acme/widgets replaced by 502", "502 acme/widgets"}},
		{name: "another case", project: appveyortest.Project{ID: 502, Slug: "Widgets"}, want: []string{"12064 acme/widgets replaced by 502", "502 acme/Widgets"}},
		{name: "another slug", project: appveyortest.Project{ID: 502, Slug: "gizmos"}, built: true, want: []string{"12064 acme/widgets", "502 acme/gizmos"}},
		{name: "without a token", project: again, built: true, noToken: true, want: []string{"12064 acme/widgets", "502 acme/widgets"}},
		{
			name: "renamed, and its slug taken", project: again, built: true,
			list: `[{"projectId":12064,"accountName":"acme","slug":"gadgets","repositoryType":"bitBucket","repositoryName":"acme/widgets"},` +
				`{"projectId":502,"accountName":"acme","slug":"widgets","repositoryType":"bitBucket","repositoryName":"acme/widgets"}]`,
			want: []string{"12064 acme/gadgets", "502 acme/widgets"},
		},
		{
			name: "an incomplete list", project: again, built: true,
			list: `[{"projectId":502,"accountName":"acme","slug":"widgets","repositoryType":"bitBucket","repositoryName":"acme/widgets"},{"projectId":7}]`,
			want: []string{"12064 acme/widgets", "502 acme/widgets"},
		},
		{
			name: "of another repository", project: again, built: true,
			list: `[{"projectId":502,"accountName":"acme","slug":"widgets","repositoryType":"bitBucket","repositoryName":"acme/other"}]`,
			want: []string{"12064 acme/widgets", "502 acme/widgets"},
		},
		{
			name: "of another provider", project: again, built: true,
			list: `[{"projectId":502,"accountName":"acme","slug":"widgets","repositoryType":"gitHub","repositoryName":"acme/widgets"}]`,
			want: []string{"12064 acme/widgets", "502 acme/widgets"},
		},
		{name: "the other one is forgotten", project: again, built: true, forget: 502, want: []string{"12064 acme/widgets", "502 acme/widgets forgotten"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, _ := linked(t)
			if err := b.appveyor.DeleteProject(12064); err != nil {
				t.Fatal(err)
			}
			b.project(t, tt.project)
			build := b.put(t, tt.project.Slug, pullRequestBuild())
			if tt.built {
				if _, err := b.service.confirm(t.Context(), refOf(tt.project, build), 0, "test"); err != nil {
					t.Fatal(err)
				}
			}
			if tt.noToken {
				b.appveyor.OnRequest(func(r *http.Request) (f appveyortest.Fault) {
					if r.URL.Path == "/api/projects" {
						f.Status = http.StatusUnauthorized
					}
					return f
				})
			}
			if tt.forget != 0 {
				if err := commitstatus.Forget(t.Context(), b.store, tt.forget); err != nil {
					t.Fatal(err)
				}
			}
			if tt.list != "" {
				b.appveyor.OnRequest(func(r *http.Request) (f appveyortest.Fault) {
					if r.URL.Path == "/api/projects" {
						f.Body = tt.list
					}
					return f
				})
			}
			b.round(t)
			if diff := cmp.Diff(tt.want, b.projects(t)); diff != "" {
				t.Errorf("projects (-want +got):\n%s", diff)
			}
		})
	}
}
