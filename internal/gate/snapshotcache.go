package gate

import (
	"context"
	"sync"
	"time"

	"mergegate/internal/postgres"
)

const (
	// shownFor is how long what was read of a pull request is shown again.
	shownFor = 15 * time.Second
	// maxShown bounds what is remembered.
	maxShown = 2000
)

// seen is what was read of a pull request to be shown.
type seen struct {
	snapshot Snapshot
	extra    extra
}

// snapshotCache remembers for a short while what was read of pull requests, so that
// pages and programs that ask again and again don't use up what merge checks may ask of
// Bitbucket. What could not be read is remembered as well. Merge checks don't use it.
// The zero value is ready to use.
type snapshotCache struct {
	mu   sync.Mutex
	kept map[postgres.PullRequestKey]*reading
	now  func() time.Time // nil: [time.Now]
}

// reading is one reading of a pull request, under way or done.
type reading struct {
	mark string        // of what was recorded when it began
	done chan struct{} // closed when seen and at are there
	seen seen
	at   time.Time
}

// get returns what read returned in the last shownFor with the same mark of what is
// recorded, else what it returns now. It reads one pull request once at a time, and goes
// on reading for the others when ctx ends. ok is false when it ends.
func (c *snapshotCache) get(ctx context.Context, key postgres.PullRequestKey, mark string, read func(context.Context) seen) (s seen, ok bool) {
	for {
		r, mine := c.take(key, mark)
		if mine {
			go c.fill(context.WithoutCancel(ctx), r, read)
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return seen{}, false
		}
		if r.mark == mark {
			return r.seen, true
		}
		// What was under way began before something newer was recorded.
	}
}

// take returns the reading to wait for, and whether the caller has to do it.
func (c *snapshotCache) take(key postgres.PullRequestKey, mark string) (r *reading, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.kept[key]; ok && (!r.isDone() || r.mark == mark && c.time().Sub(r.at) < shownFor) {
		return r, false
	}
	c.makeRoom()
	r = &reading{mark: mark, done: make(chan struct{})}
	c.kept[key] = r
	return r, true
}

func (c *snapshotCache) fill(ctx context.Context, r *reading, read func(context.Context) seen) {
	ctx, cancel := context.WithTimeout(ctx, Budget)
	defer cancel()
	defer close(r.done)
	r.seen = read(ctx)
	r.at = c.time()
}

// makeRoom forgets what is too old, and where that isn't enough everything that isn't
// under way: it is read once more.
func (c *snapshotCache) makeRoom() {
	if c.kept == nil {
		c.kept = map[postgres.PullRequestKey]*reading{}
	}
	for _, age := range []time.Duration{shownFor, 0} {
		if len(c.kept) < maxShown {
			return
		}
		for key, r := range c.kept {
			if r.isDone() && c.time().Sub(r.at) >= age {
				delete(c.kept, key)
			}
		}
	}
}

func (c *snapshotCache) time() time.Time {
	if c.now == nil {
		return time.Now()
	}
	return c.now()
}

func (r *reading) isDone() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}
