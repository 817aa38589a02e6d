package effects

import (
	"strconv"
	"testing"
	"time"

	"mergegate/internal/bitbucket"
	"mergegate/internal/postgres"
)

// TestWhatTimeMendsIsRetried: one refusal of a credential ends no effect.
func TestWhatTimeMendsIsRetried(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]postgres.Outcome{
		400: postgres.Failed, 401: postgres.Pending, 403: postgres.Failed, 404: postgres.Failed,
		423: postgres.Pending, 429: postgres.Pending, 503: postgres.Pending,
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			err := &bitbucket.Error{StatusCode: status}
			if got := (task{}).resultOf(postgres.Effect{Attempts: 1, PendingSince: time.Now()}, err); got.Outcome != want {
				t.Errorf("got %+v, want %s", got, want)
			}
			before := postgres.Effect{Attempts: 1, PendingSince: time.Now().Add(-25 * time.Hour)}
			if got := (task{}).resultOf(before, err); got.Outcome != postgres.Failed {
				t.Errorf("after a day %+v", got)
			}
		})
	}
}
