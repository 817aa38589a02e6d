package main

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/appveyor/appveyortest"
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

// refusing answers the first requests, whatever they are, with these faults: a
// rate limit is one for all of them.
func refusing(faults ...standin.Fault) func(*http.Request) standin.Fault {
	var n atomic.Int64
	return func(*http.Request) standin.Fault {
		if i := int(n.Add(1)) - 1; i < len(faults) {
			return faults[i]
		}
		return standin.Fault{}
	}
}

// TestRemotesThatFail has the same things happen with remotes that fail by
// script as with remotes that don't: they end the same.
func TestRemotesThatFail(t *testing.T) {
	t.Parallel()
	type script = func(*http.Request) standin.Fault
	play := func(t *testing.T, appveyor, bitbucket script) outcome {
		w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL=2s")
		w.built(commit('1'), "success") // now the project is known
		w.must(w.bb.Decline(repository, 7))
		tr := newTraffic(w, 2)
		tr.keep(w)
		tr.pace = 10 * time.Millisecond
		w.appveyor.OnRequest(appveyor)
		w.bb.OnRequest(bitbucket)
		tr.run(t.Context(), 5)
		end := tr.without(tr.ends())
		for pr, a := range end.Verdicts { // that AppVeyor failed a moment ago is said, and is no other end
			a.Message, _, _ = strings.Cut(a.Message, "; AppVeyor could not be reached")
			a.Message, _, _ = strings.Cut(a.Message, "; AppVeyor did not answer in time")
			end.Verdicts[pr] = a
		}
		return end
	}
	var once sync.Once
	var want outcome
	both := func(faults ...standin.Fault) [2]script { return [2]script{failing(faults...), failing(faults...)} }
	told, untold := standin.Fault{Status: 429, RetryAfter: "1"}, standin.Fault{Status: 429}
	for _, tt := range []struct {
		name   string
		faults [2]script // of AppVeyor and of Bitbucket
	}{
		{name: "hanging and trickling", faults: [2]script{failing(standin.Fault{Hang: true}), failing(standin.Fault{Trickle: true})}},
		{name: "trickling and hanging", faults: [2]script{failing(standin.Fault{Trickle: true}), failing(standin.Fault{Hang: true})}},
		{name: "5xx", faults: both(standin.Fault{Status: 502, HTML: true}, standin.Fault{Status: 503, RetryAfter: "1"})},
		{name: "429", faults: [2]script{failing(told, untold), refusing(told, told, told, untold, untold)}},
		{name: "breaking off", faults: both(standin.Fault{Reset: true}, standin.Fault{Reset: true, Applied: true})},
		{name: "pages", faults: both(standin.Fault{HTML: true}, standin.Fault{HTML: true, Status: 503})},
		{name: "wrong JSON", faults: both(standin.Fault{Body: `{"build":{"buildId":1,"status":"success"}}`}, standin.Fault{Body: `{"type":`})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := play(t, tt.faults[0], tt.faults[1])
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
		{name: "refreshes of the app's token", drop: func(class string) bool { return class == classRefresh }},
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
			w.private()
			w.bb.AllowToken("app-1", "acme")
			w.forgeBrings("app-1")
			tr.run(t.Context(), 3)
			w.bb.RevokeToken("app-1") // it has ended, whether there is another or not
			if w.bb.AllowToken("app-2", "acme"); !tr.drop(classRefresh) {
				w.forgeBrings("app-2")
			}
			tr.run(t.Context(), 2)
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

// TestLostCloses has a pull request closed while its build runs, and nobody tell.
func TestLostCloses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		told []string // events that arrive before
	}{
		{name: "known", told: []string{pullRequestEvent(101, headOf(101, 0), "OPEN")}},
		{name: "never told of"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const interval = time.Second
			w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL="+interval.String())
			tr := newTraffic(w, 1)
			for _, body := range tt.told {
				tr.send(classPullRequest, body)
			}
			b := w.build(headOf(101, 0), "running", func(b *appveyortest.Build) { b.PullRequestID = 101 })
			w.notify(b)
			shows := func(state string) {
				t.Helper()
				w.eventually("Bitbucket shows "+state, func() bool {
					shown := w.bb.CommitStatuses(repository, headOf(101, 0))
					return len(shown) == 1 && shown[0].State == state
				})
			}
			shows("INPROGRESS")
			w.must(w.bb.Decline(repository, 101))
			start := time.Now()
			shows("STOPPED")
			if took := time.Since(start); took > interval+slack {
				t.Errorf("stopped after %s, want one interval of %s", took, interval)
			}
		})
	}
}

// slack is what a busy machine may take beside the interval.
const slack = 8 * time.Second
