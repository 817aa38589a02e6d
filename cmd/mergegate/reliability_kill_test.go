package main

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"time"
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
		{name: "one process", replicas: 1, kills: howOften(t, "RELIABILITY_KILLS", 8)},
		{name: "three replicas", replicas: 3, kills: howOften(t, "RELIABILITY_KILLS", 4)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL=1s")
			w.built(commit('1'), "success") // now the project is known
			w.must(w.bb.Decline(repository, 7))
			replicas := []*world{w}
			for range tt.replicas - 1 {
				replicas = append(replicas, w.replica())
			}
			tr := newTraffic(w, 4)
			tr.keep(w)
			var urls [3]atomic.Value
			for i, r := range replicas {
				urls[i].Store(r.url)
			}
			var turn atomic.Uint64
			tr.target = func() string { return urls[turn.Add(1)%uint64(tt.replicas)].Load().(string) }

			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); tr.run(ctx, math.MaxInt) }()
			random := randomly(t)
			for range tt.kills {
				<-time.After(time.Duration(random.IntN(1200)) * time.Millisecond)
				i := random.IntN(tt.replicas)
				replicas[i].kill()
				replicas[i].start()
				urls[i].Store(replicas[i].url)
			}
			stop()
			<-done
			settling := time.Now()
			tr.ends()
			t.Logf("%d kills; %d builds; %d messages acknowledged, %d lost with the process; settled within %s of the last one",
				tt.kills, len(tr.builds), len(tr.acknowledged), tr.refused, time.Since(settling).Round(time.Millisecond))
		})
	}
}
