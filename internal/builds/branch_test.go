package builds

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/appveyor/appveyortest"
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
	if diff := cmp.Diff(want, ids()); diff != "" {
		t.Errorf("builds (-want +got):\n%s", diff)
	}
	r.FullName = "acme/elsewhere" // the project builds another repository than the one asked about
	if diff := cmp.Diff([]int64(nil), ids()); diff != "" {
		t.Errorf("builds of another repository (-want +got):\n%s", diff)
	}
}
