//go:build slow

package server_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/server/servertest"
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

// TestEffectsInSpiteOfFaults has every request to Bitbucket fail once in each way:
// in the end everything is there once.
func TestEffectsInSpiteOfFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		faults []bitbuckettest.Fault
	}{
		{name: "lost answers", faults: []bitbuckettest.Fault{{Reset: true, Applied: true}}},
		{name: "5xx that did what was asked for", faults: []bitbuckettest.Fault{{Status: 502, HTML: true, Applied: true}}},
		{name: "5xx", faults: []bitbuckettest.Fault{{Status: 503, RetryAfter: "1"}}},
		{name: "pages", faults: []bitbuckettest.Fault{{HTML: true, Applied: true}}},
		{name: "other JSON", faults: []bitbuckettest.Fault{{Body: `{"type":"error"}`, Applied: true}}},
		{name: "429", faults: []bitbuckettest.Fault{{Status: 429, RetryAfter: "1"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := linked(t, servertest.NoEffects)
			w.Built(commit('1'), "success")
			w.Expect("passed", "")
			faults := failing(tt.faults...)
			w.Bitbucket.OnRequest(func(r *http.Request) bitbuckettest.Fault {
				if r.Method == http.MethodGet && !strings.Contains(r.URL.Path, "comments") && !strings.Contains(r.URL.Path, "tasks") {
					return bitbuckettest.Fault{} // what a merge check reads
				}
				return faults(r)
			})
			w.Policy(servertest.AllEffects)
			w.Check(event("on-merge"))
			w.Awaits("all once", servertest.Look{
				Approved: true, Comments: 1, Says: "1.0.1", Tasks: "AppVeyor has built it:true ", Reports: "1:mergegate-pr-7:PASSED ",
			})
			w.settledEffects(4)
			w.Bitbucket.OnRequest(failing(tt.faults...))
			w.Policy(servertest.NoEffects)
			w.Awaits("nothing", servertest.Look{})
			w.Eventually("nothing is left to do", func() bool { return len(w.Effects()) == 0 })
		})
	}
}
