//go:build slow

package server_test

import (
	"testing"
	"time"
)

// TestRetentionBoundsEveryTable ages what was stored of pull requests that are
// closed by now, and has nothing left that grows.
func TestRetentionBoundsEveryTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL=10s", "MERGEGATE_RETENTION=deliveries=1d,decisions=1d,builds=1d")
	w.Built(commit('1'), "success")
	w.Must(w.Bitbucket.Decline(repository, 7))
	tr := newTraffic(w, 3)
	tr.Keep()
	tr.Pace = 10 * time.Millisecond
	tr.Run(t.Context(), 6)
	tr.Ends()
	tr.Bounded(w.Stop, w.Start)
}
