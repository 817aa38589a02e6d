package server_test

import (
	"testing"

	"mergegate/internal/server/servertest"
)

// TestMetricsTellHowBuildsWereFound has one build told of by a webhook, one found
// by a merge check, and one repaired by a round.
func TestMetricsTellHowBuildsWereFound(t *testing.T) {
	t.Parallel()
	admin := servertest.FreeAddress(t)
	w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL=3s", "MERGEGATE_ADMIN_LISTEN="+admin)
	found := func(by string) float64 {
		return w.Metrics(admin)[`mergegate_confirmations_total{asked_by="`+by+`",result="recorded"}`]
	}
	w.Built(commit('1'), "success")
	if found("delivery") == 0 {
		t.Error("no build was found by a webhook")
	}
	w.Put(servertest.PullRequest(commit('2')))
	w.Build(commit('2'), "success")
	w.Expect("passed", "")
	if found("merge_check")+found("reconcile") == 0 {
		t.Error("no build was found by a merge check, or by a round at the same moment")
	}
	rounds := func() float64 { return found("reconcile") + found("look_again") }
	before := rounds()
	w.Put(servertest.PullRequest(commit('3')))
	w.Build(commit('3'), "failed")
	w.Shows(commit('3'), "FAILED")
	w.Eventually("a round has repaired the third", func() bool { return rounds() > before })
	w.Eventually("every status is counted", func() bool {
		return w.Metrics(admin)[`mergegate_commit_status_posts_total{result="posted"}`] == 3
	})
	all := w.Metrics(admin)
	for name, want := range map[string]float64{
		`mergegate_deliveries_total{outcome="pending",source="appveyor"}`:                      1,
		`mergegate_bitbucket_credential_info{kind="access_token",use="post",workspace="acme"}`: 1,
		`mergegate_bitbucket_credential_info{kind="access_token",use="read",workspace="acme"}`: 1,
		`mergegate_merge_checks_total{code="passed",trigger="on-merge"}`:                       1,
	} {
		if all[name] != want {
			t.Errorf("%s is %v, want %v", name, all[name], want)
		}
	}
}
