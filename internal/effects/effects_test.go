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
	for status, want := range map[int]postgres.EffectDelivery{
		400: postgres.EffectFailed, 401: postgres.EffectPending, 403: postgres.EffectFailed, 404: postgres.EffectFailed,
		423: postgres.EffectPending, 429: postgres.EffectPending, 503: postgres.EffectPending,
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			err := &bitbucket.Error{StatusCode: status}
			if got := (task{}).resultOf(postgres.Effect{Attempts: 1, PendingSince: time.Now()}, err); got.Delivery != want {
				t.Errorf("got %+v, want %s", got, want)
			}
			before := postgres.Effect{Attempts: 1, PendingSince: time.Now().Add(-25 * time.Hour)}
			if got := (task{}).resultOf(before, err); got.Delivery != postgres.EffectFailed {
				t.Errorf("after a day %+v", got)
			}
		})
	}
}
