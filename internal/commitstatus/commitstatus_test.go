package commitstatus

import (
	"testing"
	"time"

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
	tests := []struct {
		attempts int
		least    time.Duration
	}{
		{attempts: 1, least: time.Second},
		{attempts: 2, least: 2 * time.Second},
		{attempts: 3, least: 4 * time.Second},
		{attempts: 5, least: 16 * time.Second},
		{attempts: 10, least: 512 * time.Second},
		{attempts: 1000, least: 10 * time.Minute},
	}
	for _, tt := range tests {
		if got := backoff(tt.attempts); got < tt.least || got > tt.least+tt.least/5 {
			t.Errorf("after %d attempts it waits %s, want %s and up to a fifth more", tt.attempts, got, tt.least)
		}
	}
}
