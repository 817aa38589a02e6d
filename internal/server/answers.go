package server

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/semaphore"
)

const (
	// answersAtOnce is what answers that are being written may take of memory; those
	// under smallAnswer aren't counted.
	answersAtOnce = 64 << 20
	smallAnswer   = 16 << 10
	// slowestReader is how many bytes a reader has to take in a second. It begins with
	// readerStart in hand, and never has more than readerMost: who takes nothing is cut
	// off after that.
	slowestReader = 16 << 10
	readerStart   = 5 * time.Second
	readerMost    = 20 * time.Second
)

// answer keeps what a handler writes.
type answer struct {
	gin.ResponseWriter
	body bytes.Buffer
}

func keepAnswer(c *gin.Context) *answer {
	kept := &answer{ResponseWriter: c.Writer}
	c.Writer = kept
	return kept
}

func (a *answer) Write(p []byte) (int, error)       { return a.body.Write(p) }
func (a *answer) WriteString(s string) (int, error) { return a.body.WriteString(s) }

// WriteHeaderNow has nothing to do: the status is kept by the writer below.
func (a *answer) WriteHeaderNow() {}

// Flush has nothing to do: nothing is sent before all of it is there.
func (a *answer) Flush() {}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// drop forgets what was written, and is done before an error is.
func (a *answer) drop(c *gin.Context) { c.Writer = a.ResponseWriter }

// send writes an answer to a reader who takes it in time.
func (s *Server) send(c *gin.Context, a *answer) error {
	a.drop(c)
	size := int64(a.body.Len())
	if size > smallAnswer {
		ctx, cancel := context.WithTimeout(c.Request.Context(), waitForPlace)
		defer cancel()
		size = min(size, answersAtOnce)
		if s.answers.Acquire(ctx, size) != nil {
			return errBusy
		}
		defer s.answers.Release(size)
	}
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(allowance(readerStart, a.body.Len()))) // a writer in memory has none
	c.Writer.WriteHeaderNow()
	_, _ = c.Writer.Write(a.body.Bytes()) // whoever asked may be gone
	return nil
}

// allowance is how long a reader may take over so many bytes, with what was left.
func allowance(left time.Duration, size int) time.Duration {
	return min(left+time.Duration(size)*time.Second/slowestReader, readerMost)
}

func newAnswers() *semaphore.Weighted { return semaphore.NewWeighted(answersAtOnce) }

// stream writes to a reader who keeps up: one that takes less than slowestReader is cut
// off. What making the stream takes isn't held against it.
type stream struct {
	gin.ResponseWriter
	control *http.ResponseController
	left    time.Duration
}

func newStream(c *gin.Context) *stream {
	return &stream{ResponseWriter: c.Writer, control: http.NewResponseController(c.Writer), left: readerStart}
}

// Write writes in pieces, each within what is left of the reader's time.
func (s *stream) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		piece := p[:min(len(p), smallAnswer)]
		start := time.Now()
		s.left = allowance(s.left, len(piece))
		_ = s.control.SetWriteDeadline(start.Add(s.left)) // a writer in memory has none
		m, err := s.ResponseWriter.Write(piece)
		s.left -= time.Since(start)
		n += m
		if err != nil {
			return n, err
		}
		p = p[len(piece):]
	}
	return n, nil
}

// Flush sends what compression kept back.
func (s *stream) Flush() {
	start := time.Now()
	s.ResponseWriter.Flush()
	s.left -= time.Since(start)
}
