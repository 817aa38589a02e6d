//go:build slow

package main

import (
	"context"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/server/servertest"
)

// TestKilledAtRandomMoments kills the service again and again while messages
// come in, RELIABILITY_KILLS times where that is set.
func TestKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		replicas int
		kills    int
	}{
		{name: "one process", replicas: 1, kills: servertest.HowOften(t, "RELIABILITY_KILLS", 8)},
		{name: "three replicas", replicas: 3, kills: servertest.HowOften(t, "RELIABILITY_KILLS", 4)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL=1s")
			w.Built(commit('1'), "success") // now the project is known
			w.Must(w.Bitbucket.Decline(repository, 7))
			replicas := []*world{w}
			for range tt.replicas - 1 {
				replicas = append(replicas, w.replica())
			}
			tr := servertest.NewTraffic(w.World, 4)
			tr.Keep()
			var urls [3]atomic.Value
			for i, r := range replicas {
				urls[i].Store(r.URL)
			}
			var turn atomic.Uint64
			tr.Target = func() string { return urls[turn.Add(1)%uint64(tt.replicas)].Load().(string) }

			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); tr.Run(ctx, math.MaxInt) }()
			random := servertest.Randomly(t)
			for range tt.kills {
				<-time.After(time.Duration(random.IntN(1200)) * time.Millisecond)
				i := random.IntN(tt.replicas)
				replicas[i].kill()
				replicas[i].start()
				urls[i].Store(replicas[i].URL)
			}
			stop()
			<-done
			settling := time.Now()
			tr.Ends()
			acknowledged, refused := tr.Told()
			t.Logf("%d kills; %d builds; %d messages acknowledged, %d lost with the process; settled within %s of the last one",
				tt.kills, len(tr.Builds), acknowledged, refused, time.Since(settling).Round(time.Millisecond))
		})
	}
}

// TestACrashLeavesOneOfEach kills the program after Bitbucket has taken a comment
// or a task, and before it was told so.
func TestACrashLeavesOneOfEach(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"comments", "tasks", "approve"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Link(servertest.NoEffects)
			w.Built(commit('1'), "success")
			taken := make(chan struct{})
			var once sync.Once
			w.Bitbucket.OnRequest(func(r *http.Request) bitbuckettest.Fault {
				fault := bitbuckettest.Fault{}
				if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, what) {
					once.Do(func() {
						fault = bitbuckettest.Fault{Hang: true, Applied: true}
						close(taken)
					})
				}
				return fault
			})
			w.Policy(servertest.AllEffects)
			w.Check(servertest.Event("on-merge"))
			select {
			case <-taken:
			case <-time.After(servertest.Patience):
				t.Fatal("nothing was posted")
			}
			w.Eventually("Bitbucket has it", func() bool {
				l := w.Looks("")
				return map[string]bool{"comments": l.Comments == 1, "tasks": l.Tasks != "", "approve": l.Approved}[what]
			})
			w.kill()
			w.start()
			w.Awaits("one of each", servertest.Look{
				Approved: true, Comments: 1, Says: "1.0.1", Tasks: "AppVeyor has built it:true ", Reports: "1:mergegate-pr-7:PASSED ",
			})
			w.Policy(servertest.NoEffects)
			w.Awaits("nothing", servertest.Look{})
		})
	}
}
