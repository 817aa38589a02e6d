//go:build slow

package server_test

import (
	"strings"
	"testing"
	"time"

	"mergegate/internal/postgres/embedded"
	"mergegate/internal/postgres/postgrestest"
	"mergegate/internal/server/servertest"
)

// saysUnavailable waits until merge checks say that the database can't be read,
// or no more.
func (tr *traffic) saysUnavailable(want bool) {
	tr.T.Helper()
	tr.Eventually("merge checks notice the database", func() bool {
		return strings.Contains(tr.CheckInTime(event("on-merge", bringing(commit('1')))).Message, "mergegate can't reach its database") == want
	})
}

// TestDatabaseCrashes stops PostgreSQL at once, three times, while messages come
// in, and starts it again after a while.
func TestDatabaseCrashes(t *testing.T) {
	t.Parallel()
	dir := servertest.ShortTempDir(t)
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
	w.Built(commit('1'), "success") // now the project is known
	w.Must(w.Bitbucket.Decline(repository, 7))
	tr := newTraffic(w, 4)
	tr.Keep()
	end := tr.UnderLoad()
	probe, endProbe := tr.Probe(50 * time.Millisecond)
	random := servertest.Randomly(t)
	for range 3 {
		<-time.After(time.Duration(500+random.IntN(1500)) * time.Millisecond)
		w.Must(postgrestest.Crash(server, dir))
		tr.saysUnavailable(true)
		server = start()
		tr.saysUnavailable(false)
	}
	end()
	endProbe()
	settling := time.Now()
	tr.Ends()
	acknowledged, refused := tr.Told()
	t.Logf("3 crashes; %d builds; %d messages acknowledged, %d refused; %d merge checks, %d of them unavailable, the longest %s; settled within %s",
		len(tr.Builds), acknowledged, refused, probe.Answers, probe.Unavailable, probe.Longest.Round(time.Millisecond),
		time.Since(settling).Round(time.Millisecond))
}

// TestFailover loses the primary of a synchronous pair while messages come in,
// and has the standby promoted after a while. The service is not restarted.
func TestFailover(t *testing.T) {
	t.Parallel()
	pair := postgrestest.NewPair(t)
	w := newWorld(t, "DATABASE_URL="+pair.URL, "MERGEGATE_RECONCILE_INTERVAL=1s")
	w.Built(commit('1'), "success") // now the project is known
	w.Must(w.Bitbucket.Decline(repository, 7))
	tr := newTraffic(w, 4)
	tr.Keep()
	end := tr.UnderLoad()
	probe, endProbe := tr.Probe(50 * time.Millisecond)
	<-time.After(time.Duration(1500+servertest.Randomly(t).IntN(1500)) * time.Millisecond)
	before, _ := tr.Told()
	w.Must(pair.Lose())
	tr.saysUnavailable(true)
	<-time.After(2 * time.Second) // whoever promotes standbys takes some time
	promoted := time.Now()
	w.Must(pair.Promote(t.Context()))
	tr.saysUnavailable(false)
	recovered := time.Since(promoted)
	end()
	endProbe()
	tr.Ends()
	acknowledged, refused := tr.Told()
	t.Logf("%d builds; %d messages acknowledged, %d of them by the primary that was lost; %d refused; "+
		"%d merge checks, %d of them unavailable, the longest %s; answering %s after the promotion was asked for",
		len(tr.Builds), acknowledged, before, refused, probe.Answers, probe.Unavailable,
		probe.Longest.Round(time.Millisecond), recovered.Round(time.Millisecond))
}
