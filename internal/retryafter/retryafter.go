// Package retryafter reads how long an answer asks its client to wait.
package retryafter

import (
	"net/http"
	"strconv"
	"time"
)

// Longest is the longest wait that an answer can ask for: nothing is tried again
// after more than a day.
const Longest = 24 * time.Hour

// Read returns how long header asks to wait from now, at most [Longest], in either
// form of RFC 9110 §10.2.3: seconds, or a date. It is 0 where header has no
// Retry-After, one that can't be read, or one that is past.
func Read(header http.Header, now time.Time) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(Longest/time.Second))) * time.Second
	}
	on, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return max(0, min(on.Sub(now), Longest))
}
