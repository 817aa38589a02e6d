package policy

import (
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"mergegate/internal/mergecheck"
)

func (r *reader) freezes(n ast.Node) []mergecheck.Freeze {
	var list []mergecheck.Freeze
	for _, node := range r.list(n) {
		if e, ok := r.mapping(node, "a freeze", "name", "reason", "from", "until", "weekly", "time_zone"); ok {
			list = append(list, r.freeze(e))
		}
	}
	return list
}

func (r *reader) freeze(e entries) mergecheck.Freeze {
	f := mergecheck.Freeze{Name: r.name(e, "a freeze")}
	if n, ok := e.get("reason"); ok {
		f.Reason, _ = r.text(n, "`reason`")
	}
	zone := r.zone(e)
	switch {
	case e.has("weekly") && (e.has("from") || e.has("until")):
		r.fault(e.at, "a freeze takes `weekly`, or `from` and `until`, not both")
	case e.has("weekly"):
		if n, ok := e.get("weekly"); ok {
			f.Weekly = r.weekly(n, zone)
		}
	case !e.has("from") || !e.has("until"):
		r.fault(e.at, "a freeze needs `from` and `until`, or `weekly`")
	default:
		r.window(&f, e, zone)
	}
	return f
}

// name reads what everything with a name has to have: it is in what people are
// told.
func (r *reader) name(e entries, what string) string {
	n, ok := e.get("name")
	if !ok {
		if !e.has("name") {
			r.fault(e.at, "%s needs a `name`", what)
		}
		return ""
	}
	s, _ := r.text(n, "`name`")
	return s
}

func (r *reader) window(f *mergecheck.Freeze, e entries, zone *time.Location) {
	from, _, haveFrom := r.instant(e, "from", zone)
	_, until, haveUntil := r.instant(e, "until", zone)
	if haveFrom && haveUntil && !from.Before(until) {
		r.fault(e.values["until"].GetToken(), "`until` is before `from`")
	}
	f.From, f.Until = from, until
}

// Without an offset a time is of the freeze's zone.
var layouts = []string{"2006-01-02 15:04", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02T15:04:05", time.DateOnly}

// instant reads a time, and is the earliest and the latest instant it may mean.
func (r *reader) instant(e entries, key string, zone *time.Location) (first, last time.Time, ok bool) {
	n, ok := e.get(key)
	if !ok {
		return time.Time{}, time.Time{}, false
	}
	s, _ := scalar(n)
	if t, err := time.Parse(time.RFC3339, s); err == nil && t.Year() > 1 {
		return t, t, true
	}
	for _, layout := range layouts {
		if clock, err := time.Parse(layout, s); err == nil && clock.Year() > 1 {
			first, last = readings(clock, zone)
			return first, last, true
		}
	}
	r.fault(place(n), "`%s` is not a time like 2026-12-20 18:00", shown(s))
	return time.Time{}, time.Time{}, false
}

// readings are the first and the last instant that a time on a place's clocks may
// mean; clock has it as UTC. They differ where the clocks are changed: a time that
// they show twice is either, and one that they skip is the skip itself or, by the
// clocks before it, as long after it as they skipped. A freeze from the first until
// the last is the longest that may be meant.
func readings(clock time.Time, zone *time.Location) (first, last time.Time) {
	// No clocks differ from UTC by more than a day, before a change or after it.
	const most = 26 * time.Hour
	for at := clock.Add(-most); at.Before(clock.Add(most)); {
		end := unchanged(at, clock.Add(most), zone)
		reading := clock.Add(-offset(at, zone))
		if reading.Before(end) && first.IsZero() {
			first = at
			if reading.After(at) {
				first = reading
			}
		}
		if reading.Before(end) && !reading.Before(at) {
			last = reading
		}
		at = end
	}
	if last.IsZero() { // the clocks skip it
		last = clock.Add(-offset(first.Add(-1), zone))
	}
	return first.In(zone), last.In(zone)
}

// unchanged is an instant after at, and not after end, up to which a place's
// clocks aren't changed.
func unchanged(at, end time.Time, zone *time.Location) time.Time {
	change := mergecheck.NextClockChange(at.In(zone))
	if change.IsZero() || change.After(end) {
		return end
	}
	return change
}

// offset is how far a place's clocks are ahead of UTC.
func offset(at time.Time, zone *time.Location) time.Duration {
	_, seconds := at.In(zone).Zone()
	return time.Duration(seconds) * time.Second
}

func (r *reader) weekly(n ast.Node, zone *time.Location) *mergecheck.WeeklyWindow {
	e, ok := r.mapping(n, "`weekly`", "from", "until")
	if !ok {
		return nil
	}
	if !e.has("from") || !e.has("until") {
		r.fault(e.at, "`weekly` needs `from` and `until`, like {from: Fri 16:00, until: Mon 06:00}")
		return nil
	}
	from, haveFrom := r.weekTime(e, "from")
	until, haveUntil := r.weekTime(e, "until")
	if haveFrom && haveUntil && from == until {
		r.fault(e.values["until"].GetToken(), "the freeze would never end: `until` equals `from`")
	}
	return &mergecheck.WeeklyWindow{From: from, Until: until, Location: zone}
}

func (r *reader) weekTime(e entries, key string) (mergecheck.WeekTime, bool) {
	n, ok := e.get(key)
	if !ok {
		return mergecheck.WeekTime{}, false
	}
	s, _ := scalar(n)
	word, clock, _ := strings.Cut(strings.TrimSpace(s), " ")
	weekday, known := weekdayOf(word)
	t, err := time.Parse("15:04", strings.TrimSpace(clock))
	if !known || err != nil {
		r.fault(place(n), "`%s` is not a time of the week like Fri 16:00", shown(s))
		return mergecheck.WeekTime{}, false
	}
	return mergecheck.WeekTime{Day: weekday, Minute: t.Hour()*60 + t.Minute()}, true
}

// weekdayOf knows "Friday" and "Fri", in any case.
func weekdayOf(word string) (time.Weekday, bool) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(word, d.String()) || strings.EqualFold(word, d.String()[:3]) {
			return d, true
		}
	}
	return 0, false
}

func (r *reader) zone(e entries) *time.Location {
	n, ok := e.get("time_zone")
	if !ok {
		return time.UTC
	}
	name, ok := r.text(n, "`time_zone`")
	if !ok {
		return time.UTC
	}
	if zone := r.zones[name]; zone != nil {
		return zone
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" { // Local is wherever the program happens to run
		r.fault(place(n), "`%s` is not a time zone like Europe/Berlin", shown(name))
		return time.UTC
	}
	r.zones[name] = zone
	return zone
}
