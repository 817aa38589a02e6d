package bitbucket_test

import (
	"testing"
	"time"

	"mergegate/internal/bitbucket"
)

// TestWhenAPullRequestWasAsRead tells the moment that a reading is of, by Bitbucket's
// clock: never a later one than it surely is.
func TestWhenAPullRequestWasAsRead(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name       string
		pr         bitbucket.PullRequest
		on, latest time.Time
	}{
		{name: "nothing is told"},
		{name: "changed", pr: bitbucket.PullRequest{UpdatedOn: noon}, on: noon, latest: noon},
		{name: "read later", pr: bitbucket.PullRequest{UpdatedOn: noon.Add(-time.Hour), ReadOn: noon, Took: 20 * time.Millisecond}, on: noon.Add(-20 * time.Millisecond), latest: noon.Add(time.Second - time.Microsecond)},
		{name: "a slow answer", pr: bitbucket.PullRequest{UpdatedOn: noon.Add(-time.Hour), ReadOn: noon, Took: 3 * time.Second}, on: noon.Add(-3 * time.Second), latest: noon.Add(time.Second - time.Microsecond)},
		{name: "changed while it was read", pr: bitbucket.PullRequest{UpdatedOn: noon.Add(-time.Second), ReadOn: noon, Took: 3 * time.Second}, on: noon.Add(-time.Second), latest: noon.Add(time.Second - time.Microsecond)},
		{name: "changed within the second", pr: bitbucket.PullRequest{UpdatedOn: noon.Add(900 * time.Millisecond), ReadOn: noon}, on: noon.Add(900 * time.Millisecond), latest: noon.Add(time.Second - time.Microsecond)},
	}
	for _, tt := range tests {
		if on, latest := tt.pr.Told().On, tt.pr.Latest(); !on.Equal(tt.on) || !latest.Equal(tt.latest) {
			t.Errorf("%s: on %s, at the latest on %s; want %s and %s", tt.name, on, latest, tt.on, tt.latest)
		}
	}
}
