package mergecheck_test

import (
	"strings"
	"testing"
	"time"

	"mergegate/internal/mergecheck"
)

func TestBareUUID(t *testing.T) {
	t.Parallel()
	const want = "b7ea02c9-0871-4858-a2a6-a190d7de977c"
	tests := []struct{ name, given, want string }{
		{name: "bare", given: want, want: want},
		{name: "in braces and upper case", given: "{" + strings.ToUpper(want) + "}", want: want},
		{name: "a slug", given: "acme"},
		{name: "32 digits", given: strings.ReplaceAll(want, "-", "")},
		{name: "something behind it", given: want + "/x"},
		{name: "a line behind it", given: want + "\n"},
		{name: "empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := mergecheck.BareUUID(tt.given); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCommitHash(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, given, want string }{
		{name: "12 characters", given: "CC2758d231fc", want: "cc2758d231fc"},
		{name: "40 characters", given: head, want: head},
		{name: "6 characters", given: "cc2758"},
		{name: "41 characters", given: head + "a"},
		{name: "not hexadecimal", given: "zz2758d231fc"},
		{name: "empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := mergecheck.CommitHash(tt.given); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestEventTime(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, given string
		want        time.Time
	}{
		{name: "Forge's", given: "2026-03-23T06:03:12.361017Z", want: time.Date(2026, 3, 23, 6, 3, 12, 361017000, time.UTC)},
		{name: "another zone, nanoseconds", given: "2026-03-23T08:03:12.361017999+02:00", want: time.Date(2026, 3, 23, 6, 3, 12, 361017000, time.UTC)},
		{name: "long ago", given: "0001-01-01T00:00:00Z"},
		{name: "far away", given: "9999-01-01T00:00:00Z"},
		{name: "none", given: "yesterday"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := mergecheck.EventTime(tt.given); !got.Equal(tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
