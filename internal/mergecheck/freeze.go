package mergecheck

import "time"

// Freeze is a time in which nothing is merged: one window from From until Until,
// or a window every week.
type Freeze struct {
	Name   string
	Reason string
	// From and Until bound a single window; both zero for a weekly one.
	From, Until time.Time
	Weekly      *WeeklyWindow
}

// WeeklyWindow is from one moment of the week until another, on the clocks of a
// place: it is as long as it looks there, daylight saving or not.
type WeeklyWindow struct {
	From, Until WeekTime
	Location    *time.Location // nil: UTC
}

// WeekTime is a moment of a week.
type WeekTime struct {
	Day    time.Weekday
	Minute int // since midnight
}

// Active returns when the freeze that is on at now ends, and whether one is.
func (f Freeze) Active(now time.Time) (until time.Time, active bool) {
	if f.Weekly != nil {
		return f.Weekly.active(now)
	}
	return f.Until, !now.Before(f.From) && now.Before(f.Until)
}

// active looks at the windows that began in the week before now: one of them is
// the one that may still be open.
func (w WeeklyWindow) active(now time.Time) (until time.Time, active bool) {
	location := w.Location
	if location == nil {
		location = time.UTC
	}
	local := now.In(location)
	for back := 0; back <= 7; back++ {
		day := local.AddDate(0, 0, -back)
		if day.Weekday() != w.From.Day {
			continue
		}
		from := w.From.on(day)
		until := w.Until.on(day.AddDate(0, 0, w.days()))
		if !now.Before(from) && now.Before(until) {
			return until, true
		}
	}
	return time.Time{}, false
}

// days is how many days after its beginning's day the window ends: 7 for one
// that ends on the same day of the week, but not later in it.
func (w WeeklyWindow) days() int {
	days := (int(w.Until.Day) - int(w.From.Day) + 7) % 7
	if days == 0 && w.Until.Minute <= w.From.Minute {
		return 7
	}
	return days
}

// on is the moment on that day, at its place's clocks.
func (t WeekTime) on(day time.Time) time.Time {
	return time.Date(day.Year(), day.Month(), day.Day(), t.Minute/60, t.Minute%60, 0, 0, day.Location())
}

// frozen is the freeze that ends last of those that are on, if any is.
func frozen(freezes []Freeze, now time.Time) (freeze Freeze, until time.Time, is bool) {
	for _, f := range freezes {
		if end, active := f.Active(now); active && end.After(until) {
			freeze, until, is = f, end, true
		}
	}
	return freeze, until, is
}
