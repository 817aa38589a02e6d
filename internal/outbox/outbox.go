// Package outbox says when mergegate tries again to tell others something, and when it
// gives up: one way for commit statuses, effects and notifications.
//
// What is wanted, its lease and its attempts are rows of the store; each kind has its
// own job, which claims a row, tries, and settles it with a [postgres.Attempt].
package outbox

import (
	"math/rand/v2"
	"time"

	"mergegate/internal/postgres"
)

// GiveUpAfter is how long what Bitbucket doesn't take is tried, until something else is
// wanted.
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
		return GivenUp(a, "24 hours")
	}
	return Later(a, max(pause, asked))
}

// Later ends an attempt with Pending, to be tried after pause.
func Later(a postgres.Attempt, pause time.Duration) postgres.Attempt {
	a.Outcome, a.RetryIn = postgres.Pending, min(pause, GiveUpAfter)
	return a
}

// GivenUp ends the last attempt, after what.
func GivenUp(a postgres.Attempt, what string) postgres.Attempt {
	a.Outcome, a.RetryIn = postgres.Failed, 0
	a.Reason = "given up after " + what + ": " + a.Reason
	return a
}

// Pause is how long to wait after so many attempts: it doubles from one second to most,
// and up to a fifth more at random, so that what failed together doesn't come back
// together.
func Pause(attempts int, most time.Duration) time.Duration {
	d := min(firstPause<<min(max(attempts-1, 0), mostDoubling), most)
	return d + time.Duration(rand.Int64N(int64(d)/5)) //nolint:gosec // jitter, no secret
}
