package server

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/mergecheck"
)

func TestDurationOfABuild(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ms := func(n int64) *int64 { return &n }
	tests := []struct {
		name              string
		started, finished time.Time
		want              *int64
	}{
		{name: "ended", started: began, finished: began.Add(90*time.Second + 250*time.Millisecond), want: ms(90250)},
		{name: "in no time", started: began, finished: began, want: ms(0)},
		{name: "queued"},
		{name: "running", started: began},
		{name: "cancelled before it began", finished: began},
		{name: "ended before it began", started: began, finished: began.Add(-time.Minute), want: ms(0)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := durationOf(mergecheck.Build{StartedOn: tt.started, FinishedOn: tt.finished})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("durationOf (-want +got):\n%s", diff)
			}
		})
	}
}
