package retry_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/postgres"
	"mergegate/internal/retry"
)

func TestAgain(t *testing.T) {
	t.Parallel()
	failed := postgres.Attempt{HTTPStatus: 503, Reason: "down"}
	tests := []struct {
		name         string
		tried        time.Duration
		pause, asked time.Duration
		want         postgres.Attempt
	}{
		{
			name: "after its pause", pause: time.Second,
			want: postgres.Attempt{Outcome: postgres.Pending, HTTPStatus: 503, Reason: "down", RetryIn: time.Second},
		},
		{
			name: "when the answer asked for", pause: time.Second, asked: time.Hour,
			want: postgres.Attempt{Outcome: postgres.Pending, HTTPStatus: 503, Reason: "down", RetryIn: time.Hour},
		},
		{
			name: "no sooner than its pause", pause: time.Hour, asked: time.Second,
			want: postgres.Attempt{Outcome: postgres.Pending, HTTPStatus: 503, Reason: "down", RetryIn: time.Hour},
		},
		{
			name: "within a day", pause: time.Second, asked: 100 * time.Hour,
			want: postgres.Attempt{Outcome: postgres.Pending, HTTPStatus: 503, Reason: "down", RetryIn: 24 * time.Hour},
		},
		{
			name: "nearly for a day", tried: 24*time.Hour - time.Minute, pause: time.Minute,
			want: postgres.Attempt{Outcome: postgres.Pending, HTTPStatus: 503, Reason: "down", RetryIn: time.Minute},
		},
		{
			name: "for a day", tried: 24*time.Hour + time.Second, pause: time.Minute, asked: time.Hour,
			want: postgres.Attempt{Outcome: postgres.Failed, HTTPStatus: 503, Reason: "given up after 24 hours: down"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := retry.Again(failed, time.Now().Add(-tt.tried), tt.pause, tt.asked)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Again (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	tests := []struct {
		attempts    int
		most, least time.Duration
	}{
		{attempts: -1, most: time.Hour, least: time.Second},
		{attempts: 0, most: time.Hour, least: time.Second},
		{attempts: 1, most: time.Hour, least: time.Second},
		{attempts: 2, most: time.Hour, least: 2 * time.Second},
		{attempts: 5, most: time.Hour, least: 16 * time.Second},
		{attempts: 5, most: 10 * time.Second, least: 10 * time.Second},
		{attempts: 1000, most: time.Hour, least: time.Hour},
	}
	for _, tt := range tests {
		got := retry.Pause(tt.attempts, tt.most)
		if got < tt.least || got > tt.least+tt.least/5 {
			t.Errorf("Pause(%d, %s) = %s, want %s and up to a fifth more", tt.attempts, tt.most, got, tt.least)
		}
	}
}

func TestSlower(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		age, from, to time.Duration
	}{
		{name: "at first", age: 0, from: 2 * time.Second, to: 2400 * time.Millisecond},
		{name: "later", age: time.Minute, from: 30 * time.Second, to: 36 * time.Second},
		{name: "much later", age: 10 * time.Hour, from: 10 * time.Minute, to: 12 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := retry.Slower(tt.age, 2*time.Second, 10*time.Minute); got < tt.from || got > tt.to {
				t.Errorf("waits %s, want %s to %s", got, tt.from, tt.to)
			}
		})
	}
}
