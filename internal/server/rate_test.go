//go:build slow

package server_test

import (
	"net/http"
	"strings"
	"testing"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/server/servertest"
)

// held are the statuses that wait for Bitbucket's rate limit, by state.
func (tr *traffic) held() map[string]int {
	tr.T.Helper()
	var list struct {
		Values []struct{ State, Reason string }
	}
	tr.Get("/api/v1/commit-statuses?outcome=pending&pagelen=100", &list)
	held := map[string]int{}
	for _, s := range list.Values {
		if s.Reason == "waiting for Bitbucket's rate limit" {
			held[s.State]++
		}
	}
	return held
}

// posted counts the posts that Bitbucket was asked for, by state.
func (w *world) posted() map[string]int {
	posted := map[string]int{}
	for _, r := range w.Bitbucket.Requests() {
		for _, state := range []string{"INPROGRESS", "SUCCESSFUL"} {
			if r.Method == http.MethodPost && strings.Contains(r.Body, state) {
				posted[state]++
			}
		}
	}
	return posted
}

// TestRateLimitIsKept has more to post than Bitbucket allows: nothing is refused,
// results go on after statuses in progress gave way, and merge checks read what
// they need all the time.
func TestRateLimitIsKept(t *testing.T) {
	t.Parallel()
	const limit, builds = 150, 20
	w := newWorld(t)
	w.Bitbucket.LimitRate(limit)
	w.Built(commit('1'), "success")
	tr := newTraffic(w, 2*builds)
	build := func(pr int64, status string) {
		t.Helper()
		w.Notify(w.Build(servertest.HeadOf(pr, 0), status, func(b *appveyortest.Build) {
			b.PullRequestID, b.PullRequestHeadBranch = pr, servertest.BranchOf(pr)
		}))
	}
	for _, pr := range tr.PullRequests[:builds] {
		build(pr, "running")
	}
	all := func(state string, before int) func() bool {
		return func() bool { return w.posted()[state]-before+tr.held()[state] >= builds }
	}
	w.Eventually("what is in progress gives way", all("INPROGRESS", 0))
	inProgress := w.posted()["INPROGRESS"]
	if inProgress > builds/2 {
		t.Errorf("%d statuses in progress were posted before any gave way", inProgress)
	}
	for _, pr := range tr.PullRequests[builds:] {
		build(pr, "success")
	}
	w.Eventually("results go on as far as they may", all("SUCCESSFUL", 1))
	if results := w.posted()["SUCCESSFUL"] - 1; results == 0 || results == builds {
		t.Errorf("%d results were posted", results)
	}
	for i := range 12 {
		if a := w.CheckInTime(event("on-merge")); !a.Success {
			t.Errorf("merge check %d: %+v", i, a)
		}
	}
	if refused := w.Bitbucket.Refused(); refused > 0 {
		t.Errorf("%d requests were refused", refused)
	}
	t.Logf("%d in progress, %d results posted of %d each, merge checks answered", inProgress, w.posted()["SUCCESSFUL"]-1, builds)
}
