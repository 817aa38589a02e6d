package mergecheck

import "time"

// Freeze is a time in which merging is frozen: one window from From until Until,
// or a window every week.
type Freeze struct {
	Name   string
	Reason string
	// From and Until bound a single window; both zero for a weekly one.
	From, Until time.Time
	Weekly      *WeeklyWindow
}

// WeeklyWindow is from one moment of the week until another, on the clocks of a
// place. It is on exactly while those clocks show a time in it: where they skip
// its beginning or its end, it begins or ends with the skip, and a time that they
// show twice is in it both times. From equal to Until is the whole week.
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

// maxClockChanges bounds how many changes of the clocks one window is followed
// across. It ends at the first moment after Until that the clocks show, so it only
// goes on where they skip all the rest of the week, and then until the next.
const maxClockChanges = 32

// active follows the clocks from now to the first instant outside the window.
func (w WeeklyWindow) active(now time.Time) (until time.Time, active bool) {
	location := w.Location
	if location == nil {
		location = time.UTC
	}
	at := now.In(location)
	if !w.shows(at) {
		return time.Time{}, false
	}
	for range maxClockChanges {
		end := at.Add(w.left(at))
		if change := NextClockChange(at); !change.IsZero() && change.Before(end) {
			end = change
		}
		if !w.shows(end) || w.From == w.Until && inWeek(end) == w.Until.inWeek() {
			return end, true
		}
		at = end
	}
	return at, true
}

// NextClockChange is an instant after at up to which the clocks aren't changed; zero:
// they never are again. [time.Time.ZoneBounds] takes every year that is beyond the
// time-zone database's own list for one of 365 days: on the last day of a leap year
// its end has passed already.
func NextClockChange(at time.Time) time.Time {
	_, change := at.ZoneBounds()
	if !change.IsZero() && !change.After(at) {
		return at.Add(24 * time.Hour)
	}
	return change
}

const week = 7 * 24 * time.Hour

// shows reports whether the clocks show a time of the window.
func (w WeeklyWindow) shows(local time.Time) bool {
	length := cyclic(w.Until.inWeek() - w.From.inWeek())
	return length == 0 || cyclic(inWeek(local)-w.From.inWeek()) < length
}

// left is how long it takes until the clocks show the window's end, if nobody
// changes them.
func (w WeeklyWindow) left(local time.Time) time.Duration {
	if left := cyclic(w.Until.inWeek() - inWeek(local)); left > 0 {
		return left
	}
	return week
}

// cyclic is a distance within the week, forwards.
func cyclic(d time.Duration) time.Duration { return (d%week + week) % week }

// inWeek is how far into the week, from Sunday midnight, the clocks show a time to be.
func inWeek(local time.Time) time.Duration {
	hour, minute, second := local.Clock()
	return time.Duration(local.Weekday())*24*time.Hour + time.Duration(hour)*time.Hour +
		time.Duration(minute)*time.Minute + time.Duration(second)*time.Second + time.Duration(local.Nanosecond())
}

func (t WeekTime) inWeek() time.Duration {
	return time.Duration(t.Day)*24*time.Hour + time.Duration(t.Minute)*time.Minute
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
