package main

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"mergegate/internal/postgres/embedded"
	"mergegate/internal/postgres/postgrestest"
)

// underLoad starts traffic on a world and returns how to end it.
func (tr *traffic) underLoad() (end func()) {
	ctx, stop := context.WithCancel(tr.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); tr.run(ctx, math.MaxInt) }()
	return func() { stop(); <-done }
}

// prober asks merge checks all the time and holds each answer to its bound.
type prober struct {
	tr *traffic

	mu          sync.Mutex
	longest     time.Duration
	answers     int
	unavailable int
}

// probe asks until the returned function is called, with a pause between two
// questions of each of two people.
func (tr *traffic) probe(pause time.Duration) (p *prober, end func()) {
	p = &prober{tr: tr}
	ctx, stop := context.WithCancel(tr.t.Context())
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for ctx.Err() == nil {
				p.once()
				<-tick.C
			}
		})
	}
	return p, func() { stop(); group.Wait() }
}

func (p *prober) once() {
	start := time.Now()
	body := strings.Replace(event("on-merge", bringing(headOf(101, 0))), `"id":7`, `"id":101`, 1)
	status, content, err := p.tr.request("/forge/merge-check", p.tr.forge.Token(), body)
	took := time.Since(start)
	var a answer
	if err != nil || status != http.StatusOK || json.Unmarshal(content, &a) != nil {
		p.tr.t.Errorf("merge check answered %d %s, error %v", status, content, err)
		return
	}
	if took > answerWithin {
		p.tr.t.Errorf("merge check answered after %s", took)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers++
	p.longest = max(p.longest, took)
	if strings.Contains(a.Message, "cannot read its database") {
		p.unavailable++
		if a.Success {
			p.tr.t.Error("a merge check passed without its database")
		}
	}
}

// saysUnavailable waits until merge checks say that the database can't be read,
// or no more.
func (tr *traffic) saysUnavailable(want bool) {
	tr.t.Helper()
	tr.eventually("merge checks notice the database", func() bool {
		return strings.Contains(tr.checkInTime(event("on-merge", bringing(commit('1')))).Message, "cannot read its database") == want
	})
}

// TestDatabaseCrashes stops PostgreSQL at once, three times, while messages come
// in, and starts it again after a while.
func TestDatabaseCrashes(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	start := func() *embedded.Server {
		server, err := embedded.Start(t.Context(), dir, embedded.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Stop() })
		return server
	}
	server := start()
	w := newWorld(t, "DATABASE_URL="+server.URL(), "MERGEGATE_RECONCILE_INTERVAL=1s")
	w.built(commit('1'), "success") // now the project is known
	w.must(w.bb.Decline(repository, 7))
	tr := newTraffic(w, 4)
	tr.keep(w)
	end := tr.underLoad()
	probe, endProbe := tr.probe(50 * time.Millisecond)
	random := randomly(t)
	for range 3 {
		<-time.After(time.Duration(500+random.IntN(1500)) * time.Millisecond)
		w.must(postgrestest.Crash(server, dir))
		tr.saysUnavailable(true)
		server = start()
		tr.saysUnavailable(false)
	}
	end()
	endProbe()
	settling := time.Now()
	tr.ends()
	t.Logf("3 crashes; %d builds; %d messages acknowledged, %d refused; %d merge checks, %d of them unavailable, the longest %s; settled within %s",
		len(tr.builds), len(tr.acknowledged), tr.refused, probe.answers, probe.unavailable, probe.longest.Round(time.Millisecond),
		time.Since(settling).Round(time.Millisecond))
}

// TestFailover loses the primary of a synchronous pair while messages come in,
// and has the standby promoted after a while. The service is not restarted.
func TestFailover(t *testing.T) {
	t.Parallel()
	pair := postgrestest.NewPair(t)
	w := newWorld(t, "DATABASE_URL="+pair.URL, "MERGEGATE_RECONCILE_INTERVAL=1s")
	w.built(commit('1'), "success") // now the project is known
	w.must(w.bb.Decline(repository, 7))
	tr := newTraffic(w, 4)
	tr.keep(w)
	end := tr.underLoad()
	probe, endProbe := tr.probe(50 * time.Millisecond)
	<-time.After(time.Duration(1500+randomly(t).IntN(1500)) * time.Millisecond)
	tr.mu.Lock()
	before := len(tr.acknowledged)
	tr.mu.Unlock()
	w.must(pair.Lose())
	tr.saysUnavailable(true)
	<-time.After(2 * time.Second) // whoever promotes standbys takes some time
	promoted := time.Now()
	w.must(pair.Promote(t.Context()))
	tr.saysUnavailable(false)
	recovered := time.Since(promoted)
	end()
	endProbe()
	tr.ends()
	t.Logf("%d builds; %d messages acknowledged, %d of them by the primary that was lost; %d refused; "+
		"%d merge checks, %d of them unavailable, the longest %s; answering %s after the promotion was asked for",
		len(tr.builds), len(tr.acknowledged), before, tr.refused, probe.answers, probe.unavailable,
		probe.longest.Round(time.Millisecond), recovered.Round(time.Millisecond))
}
