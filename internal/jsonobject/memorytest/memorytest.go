// Package memorytest measures how much memory reading a body leaves in use.
package memorytest

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
)

// Check fails the test where what read returns keeps more than 64 KiB and eight
// times the body in memory. The body that read is given counts, if it is kept. The
// test must not run beside others.
func Check(t testing.TB, body []byte, read func(body []byte) any) {
	t.Helper()
	allowed := uint64(64<<10 + 8*len(body))
	kept := keptBy(body, read)
	for range 3 { // whatever else happens in the process only adds to it
		if kept > allowed {
			kept = min(kept, keptBy(body, read))
		}
	}
	if kept > allowed {
		t.Errorf("%d bytes of JSON, beginning with %.80q, keep %d bytes of memory; want %d at most", len(body), body, kept, allowed)
	}
}

func keptBy(body []byte, read func(body []byte) any) uint64 {
	before := inUse()
	value := read(bytes.Clone(body))
	after := inUse()
	runtime.KeepAlive(value)
	runtime.KeepAlive(body)
	return after - min(before, after)
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC() // the first one may have left what finalizers held
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// CheckAll is [Check] for all that read allocates, also what it lets go at once: many
// bodies are read at a time.
func CheckAll(t testing.TB, body []byte, read func(body []byte) any) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	value := read(bytes.Clone(body))
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(value)
	if allowed, used := uint64(64<<10+8*len(body)), after.TotalAlloc-before.TotalAlloc; used > allowed {
		t.Errorf("%d bytes of JSON, beginning with %.80q, take %d bytes of memory; want %d at most", len(body), body, used, allowed)
	}
}

// Repeated is before, a list of count copies of part with commas between them, and
// after.
func Repeated(before, part string, count int, after string) []byte {
	return []byte(before + strings.TrimSuffix(strings.Repeat(part+",", count), ",") + after)
}
