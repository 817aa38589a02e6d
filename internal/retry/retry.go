// Package retry says when mergegate tries again, and when it gives up: to tell others
// something (commit statuses, effects, notifications), and to ask AppVeyor and Bitbucket.
//
// What is told has a row with its lease and its attempts, and a job that claims the row,
// tries, and settles it with a [postgres.Attempt]. What is asked has a job that snoozes.
package retry

import (
	"fmt"
	"math/rand/v2"
	"time"

	"mergegate/internal/postgres"
)

// GiveUpAfter is how long anything is tried. A new fact, or a person, begins it anew.
const GiveUpAfter = 24 * time.Hour

// BusyWait is how long what somebody else is at, or too many like it, is left alone.
const BusyWait = time.Second

const (
	firstPause   = time.Second
	mostDoubling = 12 // from one second to more than an hour
)

// Again ends an attempt that failed and may do better: with Pending, to be tried after
// pause, or after asked where the answer asked for more; or with Failed where it has
// been tried since a day ago.
func Again(a postgres.Attempt, since time.Time, pause, asked time.Duration) postgres.Attempt {
	if time.Since(since) > GiveUpAfter {
		return GivenUp(a)
	}
	return Later(a, max(pause, asked))
}

// Later ends an attempt with Pending, to be tried after pause.
func Later(a postgres.Attempt, pause time.Duration) postgres.Attempt {
	a.Outcome, a.RetryIn = postgres.Pending, min(pause, GiveUpAfter)
	return a
}

// GivenUp ends the last attempt within [GiveUpAfter].
func GivenUp(a postgres.Attempt) postgres.Attempt {
	return givenUp(a, fmt.Sprintf("%.0f hours", GiveUpAfter.Hours()))
}

// GivenUpAfter ends the last of so many attempts.
func GivenUpAfter(a postgres.Attempt, attempts int) postgres.Attempt {
	return givenUp(a, fmt.Sprintf("%d attempts", attempts))
}

func givenUp(a postgres.Attempt, what string) postgres.Attempt {
	a.Outcome, a.RetryIn = postgres.Failed, 0
	a.Reason = "given up after " + what + ": " + a.Reason
	return a
}

// Pause is how long to wait after so many attempts: it doubles from one second to most,
// and up to a fifth more at random.
func Pause(attempts int, most time.Duration) time.Duration {
	return jittered(min(firstPause<<min(max(attempts-1, 0), mostDoubling), most))
}

// Slower is how long to wait before the next try at something first tried age ago: half
// as long again as it took so far, within bounds, and up to a fifth more at random.
func Slower(age, least, most time.Duration) time.Duration {
	return jittered(min(max(age/2, least), most))
}

// jittered is d and up to a fifth more, so that what failed together doesn't come back
// together.
func jittered(d time.Duration) time.Duration {
	return d + time.Duration(rand.Int64N(int64(d)/5+1)) //nolint:gosec // jitter, no secret
}
