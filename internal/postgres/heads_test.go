package postgres_test

import (
	"testing"
	"time"

	"mergegate/internal/builds"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// TestSettleHeads tells a short head's build by the heads recorded, and takes it
// back when a second head fits.
func TestSettleHeads(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	pr := pullRequest(r, 7)
	record(t, store, build(1, reported(head[:12])))
	steps := []struct {
		name, head, commit string
		status             []string
		jobs               int
	}{
		{name: "no head"},
		{name: "another head", head: other},
		{name: "the head", head: head, commit: head, status: []string{"aaaaaaaaaaaab SUCCESSFUL"}, jobs: 1},
		{name: "the head again", head: head, commit: head, status: []string{"aaaaaaaaaaaab SUCCESSFUL"}, jobs: 1},
		{name: "its twin", head: twin, status: []string{"aaaaaaaaaaaab STOPPED"}, jobs: 2},
	}
	for _, tt := range steps {
		see(t, store, pr, tt.head)
		settleHeads(t, store, pr)
		equal(t, tt.name, []string{tt.commit}, query[string](t, store, `SELECT source_commit FROM builds`))
		equal(t, tt.name+": status", tt.status, shown(statuses(t, store)))
		equal(t, tt.name+": jobs", tt.jobs, len(queued(t, store, "publish")))
	}
	if got := statuses(t, store)[0].Description; got == "" {
		t.Error("nothing says why the status was withdrawn")
	}
	// AppVeyor tells the full head after all.
	record(t, store, build(1))
	equal(t, "told in full", []string{"aaaaaaaaaaaab SUCCESSFUL"}, shown(statuses(t, store)))
}

func TestWithdrawnStatusFallsBackToAnOlderBuild(t *testing.T) {
	t.Parallel()
	store := open(t)
	pr := pullRequest(link(t, store, repository(name)), 7)
	see(t, store, pr, head)
	record(t, store, build(1, in(mergecheck.Failed)), build(2, reported(head[:12])))
	equal(t, "before", []string{"aaaaaaaaaaaab SUCCESSFUL"}, shown(statuses(t, store)))
	see(t, store, pr, twin)
	settleHeads(t, store, pr)
	equal(t, "after", []string{"aaaaaaaaaaaab FAILED"}, shown(statuses(t, store)))
}

func TestStatusFollowsTheHeadToldInFull(t *testing.T) {
	t.Parallel()
	store := open(t)
	pr := pullRequest(link(t, store, repository(name)), 7)
	see(t, store, pr, head)
	record(t, store, build(1, reported(head[:12])), build(1, reported(twin)))
	equal(t, "statuses", []string{"aaaaaaaaaaaab STOPPED", "aaaaaaaaaaaac SUCCESSFUL"}, shown(statuses(t, store)))
}

func settleHeads(t *testing.T, store *postgres.Store, pr postgres.PullRequestKey) {
	t.Helper()
	if err := builds.SettleHeads(t.Context(), store, pr); err != nil {
		t.Fatal(err)
	}
}

// TestEveryPushIsAHead has a branch pushed to more often than most ever are: none of the
// commits is passed over for being long ago.
func TestEveryPushIsAHead(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	exec(t, store, `INSERT INTO branch_heads (workspace_uuid, repository_uuid, branch, pushed_on, commit)
		SELECT $1, $2, 'feature', $3::timestamptz + n * interval '1 second', lpad(to_hex(n), 40, '0') FROM generate_series(1, 4000) n`,
		r.WorkspaceUUID, r.RepositoryUUID, earlier)
	apply(t, store, told(r, 7, "OPEN", head[:12], 5000*time.Second))
	equal(t, "heads", 4000, len(facts(t, store, pullRequest(r, 7), head).Recorded.Heads))
}
