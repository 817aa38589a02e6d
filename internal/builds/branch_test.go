package builds

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/mergecheck"
)

// TestBranchBuildsAreOfTheCommitItself has AppVeyor know builds that look like the
// one that is looked for.
func TestBranchBuildsAreOfTheCommitItself(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	if err := b.confirm(t.Context(), b.receive(t)); err != nil { // whereby the project is known
		t.Fatal(err)
	}
	r, err := b.store.RepositoryByName(t.Context(), "acme/widgets")
	if err != nil {
		t.Fatal(err)
	}
	commit, twin := strings.Repeat("a", 40), strings.Repeat("a", 12)+strings.Repeat("b", 28)
	put := func(build appveyortest.Build) int64 {
		t.Helper()
		build, err := b.appveyor.PutBuild("acme", "widgets", build)
		if err != nil {
			t.Fatal(err)
		}
		return build.ID
	}
	want := []int64{put(appveyortest.Build{Branch: "feature", CommitID: commit, Status: "success"})}
	put(appveyortest.Build{Branch: "feature", CommitID: twin, Status: "success"})
	put(appveyortest.Build{Branch: "other", CommitID: commit, Status: "success"})
	put(appveyortest.Build{Branch: "feature", CommitID: commit, PullRequestID: 9, PullRequestHeadCommit: commit, Status: "success"})

	ids := func() (ids []int64) {
		t.Helper()
		found, err := b.service.BranchBuilds(t.Context(), r, "feature", commit)
		if err != nil {
			t.Fatal(err)
		}
		for _, build := range found {
			ids = append(ids, build.BuildID)
		}
		return ids
	}
	if diff := gocmp.Diff(want, ids()); diff != "" {
		t.Errorf("builds (-want +got):\n%s", diff)
	}
	r.FullName = "acme/elsewhere" // the project builds another repository than the one asked about
	if diff := gocmp.Diff([]int64(nil), ids()); diff != "" {
		t.Errorf("builds of another repository (-want +got):\n%s", diff)
	}
}

// TestNewestBranchBuildDecides has the same commit built twice.
func TestNewestBranchBuildDecides(t *testing.T) {
	t.Parallel()
	commit := strings.Repeat("a", 40)
	tests := []struct {
		name   string
		builds []appveyortest.Build // after an older success
		fault  func(r *http.Request, newest int64) appveyortest.Fault
		want   []mergecheck.State
		fails  bool
	}{
		{name: "the only one", want: []mergecheck.State{mergecheck.Success}},
		{name: "a newer one failed", builds: []appveyortest.Build{{Status: "failed"}}, want: []mergecheck.State{mergecheck.Failed}},
		{name: "a newer one runs", builds: []appveyortest.Build{{Status: "running"}}, want: []mergecheck.State{mergecheck.Running}},
		{name: "a newer one waits", builds: []appveyortest.Build{{Status: "queued"}}, want: []mergecheck.State{mergecheck.Queued}},
		{name: "a newer one was cancelled", builds: []appveyortest.Build{{Status: "cancelled"}}, want: []mergecheck.State{mergecheck.Cancelled}},
		{name: "a newer one passed after one failed", builds: []appveyortest.Build{{Status: "failed"}, {Status: "success"}}, want: []mergecheck.State{mergecheck.Success}},
		{name: "a newer one of a pull request says nothing of the head", builds: []appveyortest.Build{{Status: "failed", PullRequestID: 9}}, want: []mergecheck.State{mergecheck.Success}},
		{name: "a newer one may be of the commit", builds: []appveyortest.Build{{Status: "failed", CommitID: commit[:12]}}, fails: true},
		{
			name: "a newer one can't be read", builds: []appveyortest.Build{{Status: "failed"}}, fails: true,
			fault: func(r *http.Request, newest int64) (f appveyortest.Fault) {
				if strings.HasSuffix(r.URL.Path, fmt.Sprintf("/builds/%d", newest)) {
					f.Status = http.StatusInternalServerError
				}
				return f
			},
		},
		{
			name: "the history can't be read", fails: true,
			fault: func(r *http.Request, _ int64) (f appveyortest.Fault) {
				if strings.HasSuffix(r.URL.Path, "/history") {
					f.Status = http.StatusInternalServerError
				}
				return f
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			if err := b.confirm(t.Context(), b.receive(t)); err != nil {
				t.Fatal(err)
			}
			r, err := b.store.RepositoryByName(t.Context(), "acme/widgets")
			if err != nil {
				t.Fatal(err)
			}
			var newest int64
			for _, build := range append([]appveyortest.Build{{Status: "success"}}, tt.builds...) {
				build.Branch, build.CommitID = "feature", cmp.Or(build.CommitID, commit)
				put, err := b.appveyor.PutBuild("acme", "widgets", build)
				if err != nil {
					t.Fatal(err)
				}
				newest = put.ID
			}
			b.appveyor.OnRequest(func(r *http.Request) (f appveyortest.Fault) {
				if tt.fault != nil {
					f = tt.fault(r, newest)
				}
				return f
			})
			found, err := b.service.BranchBuilds(t.Context(), r, "feature", commit)
			if (err != nil) != tt.fails {
				t.Fatalf("error %v", err)
			}
			var states []mergecheck.State
			for _, build := range found {
				states = append(states, build.State)
				if build.Project.ID != 12064 || build.URL == "" {
					t.Errorf("build %+v", build)
				}
			}
			if diff := gocmp.Diff(tt.want, states); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBranchBuildsOfAnotherProjectAreNot has a slug lead to another project than it
// did.
func TestBranchBuildsOfAnotherProjectAreNot(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	if err := b.confirm(t.Context(), b.receive(t)); err != nil {
		t.Fatal(err)
	}
	r, err := b.store.RepositoryByName(t.Context(), "acme/widgets")
	if err != nil {
		t.Fatal(err)
	}
	commit := strings.Repeat("a", 40)
	b.appveyor.OnRequest(func(r *http.Request) appveyortest.Fault {
		project := `"project":{"projectId":99,"accountName":"acme","slug":"widgets","repositoryType":"bitBucket","repositoryName":"acme/widgets"}`
		build := `{"buildId":50,"status":"success","branch":"feature","commitId":"` + commit + `"}`
		if strings.HasSuffix(r.URL.Path, "/history") {
			return appveyortest.Fault{Body: `{` + project + `,"builds":[` + build + `]}`}
		}
		return appveyortest.Fault{Body: `{` + project + `,"build":` + build + `}`}
	})
	if found, err := b.service.BranchBuilds(t.Context(), r, "feature", commit); err == nil || len(found) > 0 {
		t.Errorf("builds %+v, error %v", found, err)
	}
}
