package builds

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFaultsDoubleTheWait(t *testing.T) {
	t.Parallel()
	var f faults
	now := time.Now()
	var waits []time.Duration
	for range 12 {
		f.note(1, errors.New("down"), now)
		waits = append(waits, f.projects[1].until.Sub(now))
	}
	want := []time.Duration{
		2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, 64 * time.Second,
		128 * time.Second, 256 * time.Second, 512 * time.Second, 15 * time.Minute, 15 * time.Minute, 15 * time.Minute,
	}
	if diff := cmp.Diff(want, waits); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
	if f.over(1, now.Add(time.Minute)) || !f.over(2, now) || !f.over(1, now.Add(16*time.Minute)) {
		t.Error("the wait is not kept, or kept by another project")
	}
	f.note(1, nil, now)
	if !f.over(1, now) {
		t.Error("a success doesn't end the wait")
	}
}
