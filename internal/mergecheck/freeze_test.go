package mergecheck_test

import (
	_ "embed"
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
	_ "time/tzdata" // the zones are the same wherever the test runs

	"pgregory.net/rapid"

	"mergegate/internal/mergecheck"
)

// zoneNames are the names of the time-zone database, one a line.
//
//go:embed testdata/zones.txt
var zoneNames string

// clocks is a place, and when its clocks are changed from 2000 to 2040.
type clocks struct {
	location *time.Location
	changes  []time.Time
}

// places are one zone for each way of changing the clocks: most names of the
// database are other names of the same.
var places = sync.OnceValues(func() ([]clocks, error) {
	from, until := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2041, 1, 1, 0, 0, 0, 0, time.UTC)
	same := map[string]bool{}
	var list []clocks
	for name := range strings.FieldsSeq(zoneNames) {
		location, err := time.LoadLocation(name)
		if err != nil {
			return nil, fmt.Errorf("load %s: %w", name, err)
		}
		place, key := clocks{location: location}, fmt.Sprint(offset(from, location))
		for at := from; at.Before(until); at = at.Add(6 * time.Hour) {
			if offset(at, location) == offset(at.Add(6*time.Hour), location) {
				continue
			}
			seconds := sort.Search(6*3600, func(i int) bool {
				return offset(at.Add(time.Duration(i)*time.Second), location) != offset(at, location)
			})
			change := at.Add(time.Duration(seconds) * time.Second)
			place.changes = append(place.changes, change)
			key += fmt.Sprint(" ", change.Unix(), offset(change, location))
		}
		if !same[key] {
			same[key] = true
			list = append(list, place)
		}
	}
	return list, nil
})

func offset(at time.Time, location *time.Location) int {
	_, seconds := at.In(location).Zone()
	return seconds
}

func allPlaces(t *testing.T) []clocks {
	t.Helper()
	list, err := places()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 150 {
		t.Fatalf("%d ways of changing the clocks", len(list))
	}
	return list
}

const minutesOfWeek = 7 * 24 * 60

// minuteOfWeek is what the clocks of a place show.
func minuteOfWeek(at time.Time, location *time.Location) int {
	local := at.In(location)
	return int(local.Weekday())*24*60 + local.Hour()*60 + local.Minute()
}

func weekTime(minute int) mergecheck.WeekTime {
	minute = (minute%minutesOfWeek + minutesOfWeek) % minutesOfWeek
	return mergecheck.WeekTime{Day: time.Weekday(minute / (24 * 60)), Minute: minute % (24 * 60)}
}

// inWindow says by the clocks' minute alone whether a time is in the window.
func inWindow(w mergecheck.WeeklyWindow, at time.Time) bool {
	minute := minuteOfWeek(at, w.Location)
	from, until := int(w.From.Day)*24*60+w.From.Minute, int(w.Until.Day)*24*60+w.Until.Minute
	if from < until {
		return from <= minute && minute < until
	}
	return minute >= from || minute < until
}

// checkWindow holds what a freeze says at a moment against the clocks.
func checkWindow(t interface{ Fatalf(string, ...any) }, w mergecheck.WeeklyWindow, at time.Time) (until time.Time) {
	freeze := mergecheck.Freeze{Weekly: &w}
	until, active := freeze.Active(at)
	if want := inWindow(w, at); active != want {
		t.Fatalf("%s, %v–%v at %s: active %v, want %v", w.Location, w.From, w.Until, at.In(w.Location), active, want)
	}
	if !active {
		return time.Time{}
	}
	if last := until.Add(-1); !until.After(at) || !inWindow(w, last) || inWindow(w, until) {
		t.Fatalf("%s, %v–%v at %s: until %s is not where it ends", w.Location, w.From, w.Until, at.In(w.Location), until)
	}
	return until
}

// TestWeeklyFreezeAroundEveryChangeOfClocks lays windows across, up to and from
// every change of every zone.
func TestWeeklyFreezeAroundEveryChangeOfClocks(t *testing.T) {
	t.Parallel()
	windows := [][2]int{{-18 * 60, 6 * 60}, {-90, 30}, {-30, 15}, {0, 60}, {-60, 0}, {30, -30}, {1, 0}, {-2 * 24 * 60, 24 * 60}}
	moments := []time.Duration{-24 * time.Hour, -61 * time.Minute, -30 * time.Minute, -1, 0, 29 * time.Minute, time.Hour, 25 * time.Hour}
	for _, place := range allPlaces(t) {
		for _, change := range place.changes {
			before, after := minuteOfWeek(change.Add(-1), place.location)+1, minuteOfWeek(change, place.location)
			for _, w := range windows {
				for _, from := range []int{before, after} {
					window := mergecheck.WeeklyWindow{From: weekTime(from + w[0]), Until: weekTime(after + w[1]), Location: place.location}
					if window.From == window.Until {
						continue // the whole week
					}
					for _, moment := range moments {
						checkWindow(t, window, change.Add(moment))
					}
				}
			}
		}
	}
}

// TestWeeklyFreezeIsWhatTheClocksShow follows random windows minute by minute.
func TestWeeklyFreezeIsWhatTheClocksShow(t *testing.T) {
	t.Parallel()
	list := allPlaces(t)
	rapid.Check(t, func(t *rapid.T) {
		place := rapid.SampledFrom(list).Draw(t, "place")
		at := time.Unix(rapid.Int64Range(946_684_800, 2_240_524_800).Draw(t, "seconds"), 0)
		if len(place.changes) > 0 && rapid.Bool().Draw(t, "near a change") {
			at = rapid.SampledFrom(place.changes).Draw(t, "change").Add(time.Duration(rapid.IntRange(-4*24*3600, 24*3600).Draw(t, "off")) * time.Second)
		}
		from, length := rapid.IntRange(0, minutesOfWeek-1).Draw(t, "from"), rapid.IntRange(1, minutesOfWeek-1).Draw(t, "length")
		window := mergecheck.WeeklyWindow{From: weekTime(from), Until: weekTime(from + length), Location: place.location}
		until := checkWindow(t, window, at)
		for minute := at.Truncate(time.Minute); minute.Before(until); minute = minute.Add(time.Minute) {
			if !minute.Before(at) && !inWindow(window, minute) {
				t.Fatalf("until %s, but outside at %s", until, minute.In(place.location))
			}
		}
	})
}

// TestWeeklyFreezeWhereMidnightIsSkipped is the weekend of clocks that go from
// midnight to one, or leave a whole day out.
func TestWeeklyFreezeWhereMidnightIsSkipped(t *testing.T) {
	t.Parallel()
	day := func(day time.Weekday, hour int) mergecheck.WeekTime {
		return mergecheck.WeekTime{Day: day, Minute: hour * 60}
	}
	tests := []struct {
		zone        string
		from, until mergecheck.WeekTime
		at          string // UTC
		ends        string // "": it isn't on
	}{
		{zone: "America/Santiago", from: day(time.Sunday, 18), until: day(time.Monday, 6), at: "2026-09-07 04:30", ends: "2026-09-07 09:00"},
		{zone: "America/Santiago", from: day(time.Saturday, 18), until: day(time.Sunday, 6), at: "2026-09-06 04:30", ends: "2026-09-06 09:00"},
		{zone: "America/Santiago", from: day(time.Sunday, 0), until: day(time.Monday, 0), at: "2026-09-06 04:00", ends: "2026-09-07 03:00"},
		{zone: "Asia/Beirut", from: day(time.Saturday, 0), until: day(time.Sunday, 0), at: "2026-03-28 21:59", ends: "2026-03-28 22:00"},
		{zone: "Africa/Cairo", from: day(time.Friday, 0), until: day(time.Friday, 12), at: "2026-04-23 22:00", ends: "2026-04-24 09:00"},
		{zone: "Pacific/Apia", from: day(time.Friday, 8), until: day(time.Saturday, 12), at: "2011-12-30 10:00", ends: "2011-12-30 22:00"},
		{zone: "Pacific/Apia", from: day(time.Thursday, 8), until: day(time.Friday, 12), at: "2011-12-30 09:59", ends: "2011-12-30 10:00"},
		{zone: "Pacific/Apia", from: day(time.Friday, 8), until: day(time.Friday, 12), at: "2011-12-30 10:00"},
		{zone: "Australia/Lord_Howe", from: day(time.Sunday, 2), until: day(time.Sunday, 3), at: "2026-10-03 15:30", ends: "2026-10-03 16:00"},
		{zone: "Europe/Berlin", from: day(time.Sunday, 1), until: day(time.Sunday, 2), at: "2026-03-29 00:59", ends: "2026-03-29 01:00"},
		{zone: "Europe/Berlin", from: day(time.Sunday, 2), until: day(time.Sunday, 3), at: "2026-10-25 01:30", ends: "2026-10-25 02:00"},
		{zone: "Europe/Berlin", from: day(time.Sunday, 12), until: day(time.Tuesday, 12), at: "2040-12-31 12:00", ends: "2041-01-01 11:00"},
	}
	for _, tt := range tests {
		t.Run(tt.zone+" "+tt.at, func(t *testing.T) {
			t.Parallel()
			location, err := time.LoadLocation(tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse("2006-01-02 15:04", tt.at)
			if err != nil {
				t.Fatal(err)
			}
			until, active := mergecheck.Freeze{Weekly: &mergecheck.WeeklyWindow{From: tt.from, Until: tt.until, Location: location}}.Active(at)
			ends := ""
			if active {
				ends = until.UTC().Format("2006-01-02 15:04")
			}
			if ends != tt.ends {
				t.Errorf("active %v until %q, want %q", active, ends, tt.ends)
			}
		})
	}
}
