package commitstatus

import (
	"testing"
	"time"

	"mergegate/internal/bitbucket"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/retry"
)

func TestResultOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		err      error
		pending  time.Duration // for how long the status has been
		delivery postgres.Outcome
		retry    bool
	}{
		{name: "posted", delivery: postgres.Posted},
		{name: "429", err: &bitbucket.Error{StatusCode: 429, RetryAfter: time.Hour}, delivery: postgres.Pending, retry: true},
		{name: "500", err: &bitbucket.Error{StatusCode: 500}, delivery: postgres.Pending, retry: true},
		{name: "unreachable", err: &bitbucket.Error{}, delivery: postgres.Pending, retry: true},
		{name: "400", err: &bitbucket.Error{StatusCode: 400}, delivery: postgres.Failed},
		{name: "401", err: &bitbucket.Error{StatusCode: 401}, delivery: postgres.Pending, retry: true},
		{name: "403", err: &bitbucket.Error{StatusCode: 403}, delivery: postgres.Failed},
		{name: "404", err: &bitbucket.Error{StatusCode: 404}, delivery: postgres.Pending, retry: true},
		{name: "409", err: &bitbucket.Error{StatusCode: 409}, delivery: postgres.Pending, retry: true},
		{name: "422", err: &bitbucket.Error{StatusCode: 422}, delivery: postgres.Failed},
		{name: "423", err: &bitbucket.Error{StatusCode: 423, RetryAfter: time.Hour}, delivery: postgres.Pending, retry: true},
		{name: "500 for a day", err: &bitbucket.Error{StatusCode: 500}, pending: 25 * time.Hour, delivery: postgres.Failed},
		{name: "401 for a day", err: &bitbucket.Error{StatusCode: 401}, pending: 25 * time.Hour, delivery: postgres.Failed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := resultOf(postgres.CommitStatus{Entry: postgres.Entry{Attempts: 1, PendingSince: time.Now().Add(-tt.pending)}}, tt.err)
			if got.Outcome != tt.delivery || (got.RetryIn > 0) != tt.retry {
				t.Errorf("result %+v", got)
			}
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	status := postgres.CommitStatus{Entry: postgres.Entry{Attempts: 1, PendingSince: time.Now()}}
	if got := again(status, 429, time.Hour, "").RetryIn; got != time.Hour {
		t.Errorf("waits %s", got)
	}
	if got := again(status, 429, 100*time.Hour, "").RetryIn; got != retry.GiveUpAfter {
		t.Errorf("waits %s for a retry in 100 hours", got)
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	tests := []struct {
		attempts int
		state    string
		status   int
		least    time.Duration
	}{
		{attempts: 0, least: time.Second},
		{attempts: 1, least: time.Second},
		{attempts: 2, least: 2 * time.Second},
		{attempts: 3, least: 4 * time.Second},
		{attempts: 5, least: 16 * time.Second},
		{attempts: 10, least: 512 * time.Second},
		{attempts: 1000, least: 10 * time.Minute},
		{attempts: 1000, status: 503, least: 10 * time.Minute},
		{attempts: 10, status: 401, least: 512 * time.Second},
		{attempts: 1000, status: 404, least: time.Hour},
		{attempts: 1, state: mergecheck.StatusInProgress, least: time.Second},
		{attempts: 3, state: mergecheck.StatusInProgress, least: 16 * time.Second},
		{attempts: 10, state: mergecheck.StatusInProgress, status: 401, least: time.Hour},
	}
	for _, tt := range tests {
		got := pause(status(tt.attempts, tt.state), tt.status)
		if got < tt.least || got > tt.least+tt.least/5 {
			t.Errorf("%d after %d attempts it waits %s, want %s and up to a fifth more", tt.status, tt.attempts, got, tt.least)
		}
	}
}

// status is one in a state, after so many attempts.
func status(attempts int, state string) postgres.CommitStatus {
	return postgres.CommitStatus{Entry: postgres.Entry{Attempts: attempts}, CommitStatus: mergecheck.CommitStatus{State: state}}
}

// TestAResultIsWorthMoreAttempts counts how often each is tried in a day.
func TestAResultIsWorthMoreAttempts(t *testing.T) {
	t.Parallel()
	for _, code := range []int{401, 503} {
		tries := map[string]int{}
		for _, state := range []string{mergecheck.StatusInProgress, "SUCCESSFUL"} {
			for passed := time.Duration(0); passed < retry.GiveUpAfter; tries[state]++ {
				passed += pause(status(tries[state]+1, state), code)
			}
		}
		if tries["SUCCESSFUL"] <= tries[mergecheck.StatusInProgress] || tries["SUCCESSFUL"] > 200 {
			t.Errorf("%d: tried %v times", code, tries)
		}
	}
}
