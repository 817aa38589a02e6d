package policy_test

import (
	"fmt"
	"testing"
	"time"
	_ "time/tzdata" // the zones are the same wherever the test runs
)

// TestFreezeAtTimesThatClocksSkipOrShowTwice has single freezes begin and end where
// a time is none, or two: the longer freeze is meant.
func TestFreezeAtTimesThatClocksSkipOrShowTwice(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		zone        string
		from, until string
		want        [2]string // UTC
	}{
		{name: "plain", zone: "Europe/Berlin", from: "2026-12-20 18:00", until: "2027-01-04", want: [2]string{"2026-12-20 17:00", "2027-01-03 23:00"}},
		{name: "UTC", zone: "UTC", from: "2026-12-20", until: "2026-12-21", want: [2]string{"2026-12-20 00:00", "2026-12-21 00:00"}},
		{name: "from the skip", zone: "Europe/Berlin", from: "2026-03-29 02:30", until: "2026-03-30", want: [2]string{"2026-03-29 01:00", "2026-03-29 22:00"}},
		{name: "until after the skip", zone: "Europe/Berlin", from: "2026-03-28", until: "2026-03-29 02:30", want: [2]string{"2026-03-27 23:00", "2026-03-29 01:30"}},
		{name: "from the first of two", zone: "Europe/Berlin", from: "2026-10-25 02:30", until: "2026-10-26", want: [2]string{"2026-10-25 00:30", "2026-10-25 23:00"}},
		{name: "until the second of two", zone: "Europe/Berlin", from: "2026-10-24", until: "2026-10-25 02:30", want: [2]string{"2026-10-23 22:00", "2026-10-25 01:30"}},
		{name: "days without midnight", zone: "America/Santiago", from: "2026-09-06", until: "2027-04-04", want: [2]string{"2026-09-06 04:00", "2027-04-04 04:00"}},
		{name: "days without midnight, west", zone: "America/Sao_Paulo", from: "2018-11-04", until: "2019-02-17", want: [2]string{"2018-11-04 03:00", "2019-02-17 03:00"}},
		{name: "midnight twice", zone: "Asia/Beirut", from: "2026-10-24 23:30", until: "2026-10-24 23:45", want: [2]string{"2026-10-24 20:30", "2026-10-24 21:45"}},
		{name: "a day that wasn't", zone: "Pacific/Apia", from: "2011-12-30 12:00", until: "2012-01-02", want: [2]string{"2011-12-30 10:00", "2012-01-01 10:00"}},
		{name: "half an hour", zone: "Australia/Lord_Howe", from: "2026-10-04 02:15", until: "2027-04-04 01:45", want: [2]string{"2026-10-03 15:30", "2027-04-03 15:15"}},
		{name: "the end of a leap year", zone: "Europe/Berlin", from: "2040-12-31", until: "2041-01-01", want: [2]string{"2040-12-30 23:00", "2040-12-31 23:00"}},
		{name: "an offset of its own", zone: "Europe/Berlin", from: "2026-10-25T02:30:00+01:00", until: "2026-10-26T00:00:00Z", want: [2]string{"2026-10-25 01:30", "2026-10-26 00:00"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := parse(t, fmt.Sprintf("rules: [{freezes: [{name: x, from: '%s', until: '%s', time_zone: %s}]}]", tt.from, tt.until, tt.zone))
			freeze := d.For("acme/widgets", "main").Freezes[0]
			utc := func(at time.Time) string { return at.UTC().Format("2006-01-02 15:04") }
			equal(t, "freeze", tt.want, [2]string{utc(freeze.From), utc(freeze.Until)})
		})
	}
}
