package server

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"mergegate/internal/postgres"
)

// What is worked on at once. Each kind has places of its own, so that none takes those
// of another: merge checks above all. Nothing slow holds a place: bodies are read before
// one is taken, and answers are written after it was given back. How many connections
// to the database each kind has is told in internal/app/pools.go.
const (
	checksAtOnce     = 128
	deliveriesAtOnce = 32 // of each webhook and event route
	apiAtOnce        = 64 // API, pages and badges
	loginsAtOnce     = 32 // looking tokens up, also those that are none
	statsAtOnce      = 2
	simulatedAtOnce  = 1 // it takes all cores
	streamsAtOnce    = 4

	// waitForPlace is how long a request waits for one before it is told to come
	// back: bursts pass, overload is pushed back to who can retry.
	waitForPlace = 2 * time.Second
	// checkWaits leaves a merge check its time to be answered: it waits no longer.
	checkWaits = 300 * time.Millisecond
	// apiTime is how long an API request or page takes at most.
	apiTime = 10 * time.Second

	// A source may fail to authenticate this often at once, and so many times a
	// second after that: a wrong secret in every project of an account is still
	// told what is wrong, and guessing a secret takes longer than it is worth.
	failureBurst = 2000
	failureRate  = 20
	// maxSources bounds what is remembered of sources.
	maxSources = 10_000
)

// places bounds how many requests are worked on at a time.
type places struct{ *semaphore.Weighted }

func newPlaces(n int64) places { return places{semaphore.NewWeighted(n)} }

// take waits for a place; give has to be called when it returns true.
func (p places) take(ctx context.Context, wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return p.Acquire(ctx, 1) == nil
}

func (p places) give() { p.Release(1) }

// bounded works on so many requests at a time as there are places.
func bounded(p places, f func(*gin.Context) error) func(*gin.Context) error {
	return func(c *gin.Context) error {
		if !p.take(c.Request.Context(), waitForPlace) {
			return errBusy
		}
		defer p.give()
		return f(c)
	}
}

// kind is a kind of request: how many are worked on at once, and how.
type kind struct {
	places places
	full   problem       // the answer where no place becomes free
	time   time.Duration // how long one may take; 0: it bounds itself
	// streams says that the answer is written while it is made, at a rate that the
	// handler sees to. Other answers are kept until the place is given back: who
	// reads slowly holds none.
	streams bool
}

// within works on a request of a kind.
func (s *Server) within(k kind, f func(*gin.Context) error) func(*gin.Context) error {
	return func(c *gin.Context) error {
		if !k.places.take(c.Request.Context(), waitForPlace) {
			return k.full
		}
		if k.streams {
			defer k.places.give()
			return f(c)
		}
		kept := keepAnswer(c)
		defer kept.drop(c)
		if err := s.timed(c, k, f); err != nil {
			return err
		}
		return s.send(c, kept)
	}
}

// timed runs f within the time of its kind, and gives its place back.
func (s *Server) timed(c *gin.Context, k kind, f func(*gin.Context) error) error {
	defer k.places.give()
	if k.time == 0 {
		return tooSlow(f(c), false)
	}
	asked := c.Request
	ctx, cancel := context.WithTimeout(asked.Context(), k.time)
	defer cancel()
	c.Request = asked.WithContext(ctx)
	err := f(c)
	c.Request = asked
	return tooSlow(err, errors.Is(ctx.Err(), context.DeadlineExceeded))
}

// tooSlow says so of a read that was given up for its cost: the database is well.
func tooSlow(err error, late bool) error {
	if err != nil && (late || postgres.IsTooSlow(err)) {
		return errors.Join(errTooSlow, err)
	}
	return err
}

// failures limits how often a source may fail to authenticate. Only what fails
// is limited: behind a proxy everybody is one source, and nobody may be locked
// out by what others get wrong.
type failures struct {
	mu      sync.Mutex
	sources map[string]*rate.Limiter
}

// allowed notes a failure of source and reports whether it may be told why.
func (f *failures) allowed(source string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sources == nil || len(f.sources) >= maxSources {
		f.sources = map[string]*rate.Limiter{}
	}
	limiter, ok := f.sources[source]
	if !ok {
		limiter = rate.NewLimiter(failureRate, failureBurst)
		f.sources[source] = limiter
	}
	return limiter.Allow()
}

// limited turns a 401 into a 429 for a source that has had too many.
func (s *Server) limited(c *gin.Context, p problem) problem {
	if p.Status != http.StatusUnauthorized || s.failures.allowed(c.RemoteIP()) {
		return p
	}
	c.Header("Retry-After", "1")
	return errTooMany
}
