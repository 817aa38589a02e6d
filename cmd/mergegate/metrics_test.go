package main

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// metrics reads the admin listener: values by name with labels, as they are written.
func (w *world) metrics(admin string) map[string]float64 {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+admin+"/metrics", nil)
	w.must(err)
	values := map[string]float64{}
	lines := bufio.NewScanner(strings.NewReader(string(send(w.t, req).body)))
	for lines.Scan() {
		end := strings.LastIndexByte(lines.Text(), ' ')
		if number, err := strconv.ParseFloat(lines.Text()[end+1:], 64); err == nil && end > 0 {
			values[lines.Text()[:end]] = number
		}
	}
	return values
}

// TestMetricsTellHowBuildsWereFound has one build told of by a webhook, one found
// by a merge check, and one repaired by a round.
func TestMetricsTellHowBuildsWereFound(t *testing.T) {
	t.Parallel()
	admin := freeAddress(t)
	w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL=3s", "MERGEGATE_ADMIN_LISTEN="+admin)
	found := func(by string) float64 {
		return w.metrics(admin)[`mergegate_confirmations_total{asked_by="`+by+`",result="recorded"}`]
	}
	w.built(commit('1'), "success")
	if found("delivery") == 0 {
		t.Error("no build was found by a webhook")
	}
	w.put(pullRequest(commit('2')))
	w.build(commit('2'), "success")
	w.expect("passed", "")
	if found("merge_check")+found("reconcile") == 0 {
		t.Error("no build was found by a merge check, or by a round at the same moment")
	}
	rounds := func() float64 { return found("reconcile") + found("look_again") }
	before := rounds()
	w.put(pullRequest(commit('3')))
	w.build(commit('3'), "failed")
	w.shows(commit('3'), "FAILED")
	w.eventually("a round has repaired the third", func() bool { return rounds() > before })
	w.eventually("every status is counted", func() bool {
		return w.metrics(admin)[`mergegate_commit_status_posts_total{result="posted"}`] == 3
	})
	all := w.metrics(admin)
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
