//go:build soak

package main

import (
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"mergegate/internal/postgres/postgrestest"
)

// TestSoak runs the service under a steady load for as long as SOAK says and
// holds its memory, its goroutines and its tables to what they were.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("SOAK"))
	if err != nil {
		t.Fatalf("SOAK is not a duration like 20m: %v", err)
	}
	admin := freeAddress(t)
	w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL=5s", "MERGEGATE_ADMIN_LISTEN="+admin,
		"MERGEGATE_RETENTION=deliveries=1d,decisions=1d,builds=1d")
	w.built(commit('1'), "success") // now the project is known
	w.must(w.bb.Decline(repository, 7))
	tr := newTraffic(w, 8)
	tr.keep(w)
	tr.pace = time.Second
	end := tr.underLoad()
	probe, endProbe := tr.probe(250 * time.Millisecond)

	samples := tr.use(length, admin)
	end()
	endProbe()
	messages := len(tr.acknowledged) + tr.refused
	t.Logf("%s: %d builds, %d messages (%d not acknowledged), %d merge checks (the longest %s)",
		length, len(tr.builds), messages, tr.refused, probe.answers, probe.longest.Round(time.Millisecond))
	flat(t, "memory in MiB", samples, func(s usage) float64 { return s.rss / (1 << 20) }, 8)
	flat(t, "goroutines", samples, func(s usage) float64 { return s.goroutines }, 10)
	if n := len(tr.acknowledged); tr.refused > 0 {
		t.Errorf("%d messages were not acknowledged, %d were", tr.refused, n)
	}
	full := postgrestest.Rows(t, w.database)
	t.Logf("rows at the end: %v", full)
	tr.bounded()
}

// usage is what the service used at one moment.
type usage struct{ rss, goroutines float64 }

func (tr *traffic) use(length time.Duration, admin string) []usage {
	tr.t.Helper()
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
		s := tr.scrape(admin)
		samples = append(samples, s)
		if i%12 == 0 {
			tr.t.Logf("%s: %.1f MiB, %.0f goroutines", (time.Duration(i+1) * 5 * time.Second), s.rss/(1<<20), s.goroutines)
		}
	}
}

func (tr *traffic) scrape(admin string) usage {
	tr.t.Helper()
	values := tr.metrics(admin)
	s := usage{rss: values["process_resident_memory_bytes"], goroutines: values["go_goroutines"]}
	if s.rss == 0 || s.goroutines == 0 {
		tr.t.Fatalf("the metrics tell neither memory nor goroutines")
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
