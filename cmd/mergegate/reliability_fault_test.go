package main

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/standin"
)

// failing is a script of faults: each request, told apart by method and path, is
// answered with the faults in their order before it is answered properly.
func failing(faults ...standin.Fault) func(*http.Request) standin.Fault {
	var mu sync.Mutex
	seen := map[string]int{}
	return func(r *http.Request) standin.Fault {
		mu.Lock()
		defer mu.Unlock()
		key := r.Method + " " + r.URL.Path
		n := seen[key]
		seen[key]++
		if n < len(faults) {
			return faults[n]
		}
		return standin.Fault{}
	}
}

// TestRemotesThatFail has the same things happen with remotes that fail by
// script as with remotes that don't: they end the same.
func TestRemotesThatFail(t *testing.T) {
	t.Parallel()
	play := func(t *testing.T, appveyor, bitbucket []standin.Fault) outcome {
		w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL=2s")
		w.built(commit('1'), "success") // now the project is known
		w.must(w.bb.Decline(repository, 7))
		tr := newTraffic(w, 2)
		tr.keep(w)
		tr.pace = 10 * time.Millisecond
		w.appveyor.OnRequest(failing(appveyor...))
		w.bb.OnRequest(failing(bitbucket...))
		tr.run(t.Context(), 5)
		got := tr.ends()
		for head, s := range got.Statuses {
			s.URL = strings.TrimPrefix(s.URL, w.appveyor.URL)
			got.Statuses[head] = s
		}
		return got
	}
	var once sync.Once
	var want outcome
	for _, tt := range []struct {
		name      string
		appveyor  []standin.Fault
		bitbucket []standin.Fault
	}{
		{name: "AppVeyor 5xx", appveyor: []standin.Fault{{Status: 500}, {Status: 502, HTML: true}, {Status: 503, RetryAfter: "1"}}},
		{name: "AppVeyor 429", appveyor: []standin.Fault{{Status: 429, RetryAfter: "2"}, {Status: 429}}},
		{name: "AppVeyor hangs", appveyor: []standin.Fault{{Hang: true}}},
		{name: "AppVeyor breaks off", appveyor: []standin.Fault{{Reset: true}, {Reset: true}}},
		{name: "AppVeyor answers a page", appveyor: []standin.Fault{{HTML: true}, {HTML: true, Status: 404}}},
		{name: "AppVeyor answers wrong JSON", appveyor: []standin.Fault{
			{Body: `[]`}, {Body: `{"build":{"buildId":1,"status":"success"}}`}, {Body: `{"build":`}, {Body: `null`},
		}},
		{name: "Bitbucket 5xx", bitbucket: []standin.Fault{{Status: 500}, {Status: 502, HTML: true}, {Status: 503, RetryAfter: "1", Applied: true}}},
		{name: "Bitbucket 429", bitbucket: []standin.Fault{{Status: 429, RetryAfter: "2"}, {Status: 429}}},
		{name: "Bitbucket hangs", bitbucket: []standin.Fault{{Hang: true}}},
		{name: "Bitbucket breaks off", bitbucket: []standin.Fault{{Reset: true}, {Reset: true, Applied: true}}},
		{name: "Bitbucket answers a page", bitbucket: []standin.Fault{{HTML: true}, {HTML: true}}},
		{name: "Bitbucket answers wrong JSON", bitbucket: []standin.Fault{{Body: `[]`}, {Body: `{"id":1}`}, {Body: `{"type":`}, {Body: `null`}}},
		{name: "both", appveyor: []standin.Fault{{Status: 503}, {Reset: true}}, bitbucket: []standin.Fault{{Status: 429}, {Reset: true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := play(t, tt.appveyor, tt.bitbucket)
			once.Do(func() { want = play(t, nil, nil) })
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("other than without faults (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLostMessages drops one class of messages, and then every class.
func TestLostMessages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		drop func(class string) bool
	}{
		{name: "AppVeyor's webhooks", drop: func(class string) bool { return class == classWebhook }},
		{name: "pushes", drop: func(class string) bool { return class == classPush }},
		{name: "pull request events", drop: func(class string) bool { return class == classPullRequest }},
		{name: "every message", drop: func(string) bool { return true }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const interval = 2 * time.Second
			w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL="+interval.String())
			w.built(commit('1'), "success") // now the project is known
			w.must(w.bb.Decline(repository, 7))
			tr := newTraffic(w, 2)
			tr.keep(w)
			tr.pace = 10 * time.Millisecond
			tr.drop = tt.drop
			tr.run(t.Context(), 5)
			start := time.Now()
			// Merge checks aren't asked before: they look for themselves.
			tr.eventually("Bitbucket shows the newest builds", func() bool {
				for head, want := range tr.wanted().Statuses {
					shown := tr.bb.CommitStatuses(repository, head)
					if len(shown) != 1 || shown[0].State != want.State {
						return false
					}
				}
				return true
			})
			took := time.Since(start)
			t.Logf("converged within %s", took.Round(time.Millisecond))
			if took > interval+slack {
				t.Errorf("converged within %s, want one interval of %s", took, interval)
			}
			tr.ends()
		})
	}
}

// slack is what a busy machine may take beside the interval.
const slack = 8 * time.Second
