package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/time/rate"
)

const (
	// deliveriesAtOnce times maxDelivery is what bodies may take of memory.
	deliveriesAtOnce = 32
	checksAtOnce     = 128
	apiAtOnce        = 64
	// waitForPlace is how long a request waits for one before it is told to come
	// back: bursts pass, overload is pushed back to who can retry.
	waitForPlace = 2 * time.Second

	// A source may fail to authenticate this often at once, and so many times a
	// second after that: a wrong secret in every project of an account is still
	// told what is wrong, and guessing a secret takes longer than it is worth.
	failureBurst = 2000
	failureRate  = 20
	// maxSources bounds what is remembered of sources.
	maxSources = 10_000
)

// places bounds how many requests are worked on at a time.
type places chan struct{}

// take waits for a place; give has to be called when it returns true.
func (p places) take(ctx context.Context) bool {
	select {
	case p <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(waitForPlace)
	defer timer.Stop()
	select {
	case p <- struct{}{}:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

func (p places) give() { <-p }

// bounded works on so many requests at a time as there are places.
func bounded(p places, f func(*gin.Context) error) func(*gin.Context) error {
	return func(c *gin.Context) error {
		if !p.take(c.Request.Context()) {
			return errUnavailable.with("too many requests at once; try again")
		}
		defer p.give()
		return f(c)
	}
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
