package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

const (
	// bodyTime is how long a sender may take over a body; largeBodyTime over one of
	// some megabytes, and checkBodyTime over that of a merge check, whose answer is due
	// in 4 s.
	bodyTime      = 5 * time.Second
	largeBodyTime = 10 * time.Second
	checkBodyTime = 2 * time.Second

	// readersAtOnce and readersPerSource bound the bodies that are being read.
	readersAtOnce    = 256
	readersPerSource = 32
	// readerGrace is how long a body is read before it may give way to another: what is
	// sent at once has come by then.
	readerGrace = 200 * time.Millisecond
)

// intake reads the bodies of a route into memory that is bounded. A body that is still
// coming holds nothing that others need: where there is no room the one that has been
// coming for longest is given up for the next.
type intake struct {
	room int64 // bytes

	mu      sync.Mutex
	taken   int64
	readers []*reader     // whose bodies are coming, the oldest first
	freed   chan struct{} // closed when there is room again
}

// reader is one whose body is coming, or is there and being worked on.
type reader struct {
	source string
	size   int64
	since  time.Time
	giveUp func()
}

func newIntake(room int64) *intake { return &intake{room: room, freed: make(chan struct{})} }

// read reads a body of at most limit bytes that has to come within a time. done gives
// the memory back; it may be called in any case, once.
func (in *intake) read(c *gin.Context, limit int64, within time.Duration) (body []byte, done func(), err error) {
	if c.Request.ContentLength > limit {
		return nil, func() {}, refuseUnread(c, limit)
	}
	size := c.Request.ContentLength
	if size < 0 {
		size = limit // it doesn't say
	}
	control := http.NewResponseController(c.Writer)
	until := func(t time.Time) { _ = control.SetReadDeadline(t) } // a body in memory has no deadlines
	r := &reader{source: c.RemoteIP(), size: size, giveUp: func() { until(time.Unix(1, 0)) }}
	if !in.enter(c.Request.Context(), r) {
		c.Header("Connection", "close")
		return nil, func() {}, errBusy
	}
	until(time.Now().Add(within))
	body, err = readBody(c, limit)
	in.arrived(r)
	if err != nil {
		c.Header("Connection", "close") // the deadline stays, for what is left of the body
	} else {
		until(time.Time{}) // or it would end the request while it is worked on
	}
	return body, func() { in.leave(r) }, err
}

// enter waits until there is room for a body.
func (in *intake) enter(ctx context.Context, r *reader) bool {
	ctx, cancel := context.WithTimeout(ctx, waitForPlace)
	defer cancel()
	for {
		wait, freed := in.admit(r, time.Now())
		if wait == 0 {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-freed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// admit lets a body in and returns 0, or returns how long to wait at most before the
// next try. It gives others up that have been coming for too long, if that makes room.
func (in *intake) admit(r *reader, now time.Time) (wait time.Duration, freed <-chan struct{}) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.full(r) {
		victim := in.oldest(r)
		if victim == nil {
			return waitForPlace, in.freed
		}
		if age := now.Sub(victim.since); age < readerGrace {
			return readerGrace - age, in.freed
		}
		victim.giveUp()
		in.remove(victim)
		in.release(victim)
	}
	r.since = now
	in.taken += r.size
	in.readers = append(in.readers, r)
	return 0, nil
}

func (in *intake) full(r *reader) bool {
	return in.taken > 0 && in.taken+r.size > in.room || len(in.readers) >= readersAtOnce || in.from(r.source) >= readersPerSource
}

func (in *intake) from(source string) (n int) {
	for _, other := range in.readers {
		if other.source == source {
			n++
		}
	}
	return n
}

// oldest is who has to go for r: of the same source, if that has too many.
func (in *intake) oldest(r *reader) *reader {
	same := in.from(r.source) >= readersPerSource
	for _, other := range in.readers {
		if !same || other.source == r.source {
			return other
		}
	}
	return nil
}

// arrived notes that a body is there, or never will be: it is given up no more.
func (in *intake) arrived(r *reader) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.remove(r)
	in.wake()
}

// leave gives the memory of a body back.
func (in *intake) leave(r *reader) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.release(r)
}

func (in *intake) remove(r *reader) {
	in.readers = slices.DeleteFunc(in.readers, func(other *reader) bool { return other == r })
}

func (in *intake) release(r *reader) {
	in.taken -= r.size
	r.size = 0 // once
	in.wake()
}

func (in *intake) wake() {
	close(in.freed)
	in.freed = make(chan struct{})
}

// keepBody reads the body of a request that was authenticated, so that it can be read
// again without waiting for its sender. One that says it is longer than any may be is
// left to whoever knows its limit.
func (in *intake) keepBody(c *gin.Context, limit int64) (done func(), err error) {
	if c.Request.Body == nil || c.Request.Body == http.NoBody || c.Request.ContentLength == 0 || c.Request.ContentLength > limit {
		return func() {}, nil
	}
	body, done, err := in.read(c, limit, bodyTime)
	if err != nil {
		done()
		return func() {}, err
	}
	c.Request.Body, c.Request.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return done, nil
}

// readBody reads at most limit bytes. A longer body is refused unread when it
// says so, and where it goes over otherwise.
func readBody(c *gin.Context, limit int64) ([]byte, error) {
	if c.Request.ContentLength > limit {
		return nil, refuseUnread(c, limit)
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, err
	case err != nil:
		return nil, errBadBody
	}
	return body, nil
}

// refuseUnread has the connection closed: nothing of the body was read.
func refuseUnread(c *gin.Context, limit int64) error {
	c.Header("Connection", "close")
	return &http.MaxBytesError{Limit: limit}
}
