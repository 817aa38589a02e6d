package commitstatus

import (
	"math/rand/v2"
	"sync"
	"time"
)

// maxPause bounds how long one answer keeps every status back. Each status waits
// as long as it was told itself; this only keeps the others from asking at once.
const maxPause = 10 * time.Second

// pauses holds every post back while Bitbucket's rate limit is used up: it is
// one for all requests of a credential, and asking on would only prolong it. The
// zero value pauses nothing.
type pauses struct {
	mu    sync.Mutex
	until map[string]time.Time // by credential; one for each workspace at most
}

func (p *pauses) pause(credential string, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if latest := time.Now().Add(maxPause); until.After(latest) {
		until = latest
	}
	if p.until == nil {
		p.until = map[string]time.Time{}
	}
	if until.After(p.until[credential]) {
		p.until[credential] = until
	}
}

// left is how long to wait, with some time at random so that not all that waits
// is posted at once; 0 when nothing is paused.
func (p *pauses) left(credential string, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := p.until[credential].Sub(now)
	if left <= 0 {
		delete(p.until, credential)
		return 0
	}
	return left + time.Duration(rand.Int64N(int64(2*time.Second))) //nolint:gosec // jitter, no secret
}
