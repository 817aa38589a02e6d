//go:build soak

package main

import (
	"math"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"mergegate/internal/postgres/postgrestest"
	"mergegate/internal/server/servertest"
)

// TestSoak runs the service under a steady load for as long as SOAK says and
// holds its memory, its goroutines and its tables to what they were.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("SOAK"))
	if err != nil {
		t.Fatalf("SOAK is not a duration like 20m: %v", err)
	}
	admin := servertest.FreeAddress(t)
	w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL=5s", "MERGEGATE_ADMIN_LISTEN="+admin,
		"MERGEGATE_RETENTION=deliveries=1d,decisions=1d,builds=1d")
	w.Built(commit('1'), "success") // now the project is known
	w.Must(w.Bitbucket.Decline(repository, 7))
	tr := servertest.NewTraffic(w.World, 8)
	tr.Keep()
	tr.Pace = time.Second
	end := tr.UnderLoad()
	probe, endProbe := tr.Probe(250 * time.Millisecond)

	samples := use(tr, length, admin)
	end()
	endProbe()
	acknowledged, refused := tr.Told()
	t.Logf("%s: %d builds, %d messages (%d not acknowledged), %d merge checks (the longest %s)",
		length, len(tr.Builds), acknowledged+refused, refused, probe.Answers, probe.Longest.Round(time.Millisecond))
	flat(t, "memory in MiB", samples, func(s usage) float64 { return s.rss / (1 << 20) }, 8)
	flat(t, "goroutines", samples, func(s usage) float64 { return s.goroutines }, 10)
	if refused > 0 {
		t.Errorf("%d messages were not acknowledged, %d were", refused, acknowledged)
	}
	full := postgrestest.Rows(t, w.Database)
	t.Logf("rows at the end: %v", full)
	tr.Bounded(func() { w.Must(w.stop(syscall.SIGTERM)) }, w.start)
}

// usage is what the service used at one moment.
type usage struct{ rss, goroutines float64 }

func use(tr *servertest.Traffic, length time.Duration, admin string) []usage {
	tr.T.Helper()
	var samples []usage
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	done := time.After(length)
	for i := 0; ; i++ {
		select {
		case <-done:
			return samples
		case <-tick.C:
		}
		s := scrape(tr, admin)
		samples = append(samples, s)
		if i%12 == 0 {
			tr.T.Logf("%s: %.1f MiB, %.0f goroutines", (time.Duration(i+1) * 5 * time.Second), s.rss/(1<<20), s.goroutines)
		}
	}
}

func scrape(tr *servertest.Traffic, admin string) usage {
	tr.T.Helper()
	values := tr.Metrics(admin)
	s := usage{rss: values["process_resident_memory_bytes"], goroutines: values["go_goroutines"]}
	if s.rss == 0 || s.goroutines == 0 {
		tr.T.Fatalf("the metrics tell neither memory nor goroutines")
	}
	return s
}

// flat holds the median of the last quarter to that of the second: the first one
// is for warming up.
func flat(t *testing.T, what string, samples []usage, of func(usage) float64, slack float64) {
	t.Helper()
	quarter := len(samples) / 4
	if quarter < 3 {
		t.Fatalf("%d samples are too few to tell", len(samples))
	}
	early, late := median(samples[quarter:2*quarter], of), median(samples[3*quarter:], of)
	t.Logf("%s: median %.1f in the second quarter, %.1f in the last", what, early, late)
	if late > early*1.1+slack {
		t.Errorf("%s grew from %.1f to %.1f", what, early, late)
	}
}

func median(samples []usage, of func(usage) float64) float64 {
	values := []float64{math.NaN()}[:0]
	for _, s := range samples {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
