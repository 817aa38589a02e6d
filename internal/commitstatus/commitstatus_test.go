package commitstatus

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/bitbucket"
	"mergegate/internal/postgres"
)

func TestResultOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		err      error
		pending  time.Duration // for how long the status has been
		delivery postgres.StatusDelivery
		retry    bool
	}{
		{name: "posted", delivery: postgres.StatusPosted},
		{name: "429", err: &bitbucket.Error{StatusCode: 429, RetryAfter: time.Hour}, delivery: postgres.StatusPending, retry: true},
		{name: "500", err: &bitbucket.Error{StatusCode: 500}, delivery: postgres.StatusPending, retry: true},
		{name: "unreachable", err: &bitbucket.Error{}, delivery: postgres.StatusPending, retry: true},
		{name: "400", err: &bitbucket.Error{StatusCode: 400}, delivery: postgres.StatusFailed},
		{name: "401", err: &bitbucket.Error{StatusCode: 401}, delivery: postgres.StatusFailed},
		{name: "403", err: &bitbucket.Error{StatusCode: 403}, delivery: postgres.StatusFailed},
		{name: "500 for a day", err: &bitbucket.Error{StatusCode: 500}, pending: 25 * time.Hour, delivery: postgres.StatusFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := resultOf(postgres.CommitStatus{Attempts: 1, PendingSince: time.Now().Add(-tt.pending)}, tt.err)
			if got.Delivery != tt.delivery || (got.RetryIn > 0) != tt.retry {
				t.Errorf("result %+v", got)
			}
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	status := postgres.CommitStatus{Attempts: 1, PendingSince: time.Now()}
	if got := retry(status, 429, time.Hour, "").RetryIn; got != time.Hour {
		t.Errorf("waits %s", got)
	}
	if got := retry(status, 429, 100*time.Hour, "").RetryIn; got != giveUpAfter {
		t.Errorf("waits %s for a retry in 100 hours", got)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	least := []time.Duration{}
	for _, attempts := range []int{1, 2, 3, 5, 10, 1000} {
		got := backoff(attempts)
		floor := got.Truncate(time.Second)
		for _, step := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 16 * time.Second, 512 * time.Second, 10 * time.Minute} {
			if got >= step && got <= step+step/5 {
				floor = step
			}
		}
		least = append(least, floor)
	}
	want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 16 * time.Second, 512 * time.Second, 10 * time.Minute}
	if diff := cmp.Diff(want, least); diff != "" {
		t.Errorf("back-off (-want +got):\n%s", diff)
	}
}

func TestPausesAreForOneCredential(t *testing.T) {
	t.Parallel()
	var p pauses
	now := time.Now()
	p.pause("a", now.Add(time.Minute))
	p.pause("a", now.Add(time.Second)) // a shorter one changes nothing
	if got := p.left("a", now); got < time.Minute {
		t.Errorf("waits %s", got)
	}
	if got := p.left("b", now); got != 0 {
		t.Errorf("another credential waits %s", got)
	}
	if got := p.left("a", now.Add(2*time.Minute)); got != 0 {
		t.Errorf("waits %s after the pause", got)
	}
}
