//go:build slow

package server_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/server/servertest"
	"mergegate/internal/standin"
)

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
	play := func(t *testing.T, appveyor, bitbucket script) servertest.Outcome {
		w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL=2s")
		w.Built(commit('1'), "success") // now the project is known
		w.Must(w.Bitbucket.Decline(repository, 7))
		tr := newTraffic(w, 2)
		tr.Keep()
		tr.Pace = 10 * time.Millisecond
		w.AppVeyor.OnRequest(appveyor)
		w.Bitbucket.OnRequest(bitbucket)
		tr.Run(t.Context(), 5)
		end := tr.without(tr.Ends())
		for pr, a := range end.Verdicts { // that AppVeyor failed a moment ago is said, and is no other end
			a.Message, _, _ = strings.Cut(a.Message, " mergegate can't reach AppVeyor")
			a.Message, _, _ = strings.Cut(a.Message, " AppVeyor didn't answer in time")
			end.Verdicts[pr] = a
		}
		return end
	}
	var once sync.Once
	var want servertest.Outcome
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
		{name: "AppVeyor's webhooks", drop: func(class string) bool { return class == servertest.ClassWebhook }},
		{name: "pushes", drop: func(class string) bool { return class == servertest.ClassPush }},
		{name: "pull request events", drop: func(class string) bool { return class == servertest.ClassPullRequest }},
		{name: "refreshes of the app's token", drop: func(class string) bool { return class == servertest.ClassRefresh }},
		{name: "every message", drop: func(string) bool { return true }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const interval = 2 * time.Second
			w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL="+interval.String())
			w.Built(commit('1'), "success") // now the project is known
			w.Must(w.Bitbucket.Decline(repository, 7))
			tr := newTraffic(w, 2)
			tr.Keep()
			tr.Pace = 10 * time.Millisecond
			tr.Drop = tt.drop
			w.Private()
			w.Bitbucket.AllowToken("app-1", "acme")
			w.ForgeBrings("app-1")
			tr.Run(t.Context(), 3)
			w.Bitbucket.RevokeToken("app-1") // it has ended, whether there is another or not
			if w.Bitbucket.AllowToken("app-2", "acme"); !tr.Drop(servertest.ClassRefresh) {
				w.ForgeBrings("app-2")
			}
			tr.Run(t.Context(), 2)
			start := time.Now()
			// Merge checks aren't asked before: they look for themselves.
			tr.Eventually("Bitbucket shows the newest builds", func() bool {
				for head, want := range tr.Wanted().Statuses {
					shown := tr.Bitbucket.CommitStatuses(repository, head)
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
			tr.Ends()
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
		{name: "known", told: []string{servertest.PullRequestEvent(101, servertest.HeadOf(101, 0), "OPEN")}},
		{name: "never told of"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const interval = time.Second
			w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL="+interval.String())
			tr := newTraffic(w, 1)
			for _, body := range tt.told {
				tr.Send(servertest.ClassPullRequest, body)
			}
			b := w.Build(servertest.HeadOf(101, 0), "running", func(b *appveyortest.Build) { b.PullRequestID = 101 })
			w.Notify(b)
			shows := func(state string) {
				t.Helper()
				w.Eventually("Bitbucket shows "+state, func() bool {
					shown := w.Bitbucket.CommitStatuses(repository, servertest.HeadOf(101, 0))
					return len(shown) == 1 && shown[0].State == state
				})
			}
			shows("INPROGRESS")
			w.Must(w.Bitbucket.Decline(repository, 101))
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
