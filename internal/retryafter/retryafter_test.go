package retryafter_test

import (
	"net/http"
	"testing"
	"time"

	"mergegate/internal/retryafter"
)

func TestRead(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name, header string
		want         time.Duration
	}{
		{name: "none"},
		{name: "seconds", header: "17", want: 17 * time.Second},
		{name: "no seconds", header: "0"},
		{name: "a date", header: "Sun, 01 Mar 2026 12:00:30 GMT", want: 30 * time.Second},
		{name: "now", header: "Sun, 01 Mar 2026 12:00:00 GMT"},
		{name: "a date that is past", header: "Sun, 01 Mar 2026 11:00:00 GMT"},
		{name: "a date in another form", header: "Sunday, 01-Mar-26 12:01:00 GMT", want: time.Minute},
		{name: "a far date", header: "Fri, 31 Dec 9999 23:59:59 GMT", want: retryafter.Longest},
		{name: "as long as it may be", header: "86400", want: retryafter.Longest},
		{name: "longer", header: "86401", want: retryafter.Longest},
		{name: "the most seconds there are", header: "18446744073709551615", want: retryafter.Longest},
		{name: "more than there are", header: "18446744073709551616"},
		{name: "less than none", header: "-5"},
		{name: "neither", header: "soon"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			header := http.Header{}
			if tt.header != "" {
				header.Set("Retry-After", tt.header)
			}
			if got := retryafter.Read(header, now); got != tt.want {
				t.Errorf("Read(%q) = %s, want %s", tt.header, got, tt.want)
			}
		})
	}
}
