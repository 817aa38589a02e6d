package server

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
)

const requestIDKey = "request_id"

var saneRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{8,64}$`)

// identify gives every request an id: the caller's, when it can be logged as it
// is, else a new one.
func (s *Server) identify(c *gin.Context) {
	id := c.GetHeader("X-Request-Id")
	if !saneRequestID.MatchString(id) {
		id = rand.Text()
	}
	c.Set(requestIDKey, id)
	c.Header("X-Request-Id", id)
	c.Header("X-Content-Type-Options", "nosniff")
	c.Next()
}

func requestID(c *gin.Context) string { return c.GetString(requestIDKey) }

// noteKey is what a request's line in the log says besides, as key and value in turn.
const noteKey = "note"

// note adds keys and values to the request's one line in the log. No secret may be among
// them, and no text of a caller's that has no bound.
func note(c *gin.Context, keysAndValues ...any) {
	noted, _ := c.Get(noteKey)
	before, _ := noted.([]any)
	c.Set(noteKey, append(before, keysAndValues...))
}

// observe logs and counts each request once. It logs the route, not the URL:
// what a caller puts into a URL by mistake may be a secret.
func (s *Server) observe(c *gin.Context) {
	start := time.Now()
	defer func() { s.observed(c, time.Since(start)) }() // also when the connection is broken off
	c.Next()
}

func (s *Server) observed(c *gin.Context, took time.Duration) {
	route, status := c.FullPath(), c.Writer.Status()
	if route == "" {
		route = "none"
	}
	s.requests.WithLabelValues(methodLabel(c.Request.Method), route, strconv.Itoa(status)).Observe(took.Seconds())
	if route == "/healthz" || route == readyPath {
		return // a line every few seconds would hide the others
	}
	noted, _ := c.Get(noteKey)
	about, _ := noted.([]any)
	s.Log.InfoContext(c.Request.Context(), "request", append([]any{
		"request_id", requestID(c), "method", c.Request.Method,
		"route", route, "status", status, "duration_ms", took.Milliseconds(), "remote", c.RemoteIP(),
	}, about...)...)
}

// methodLabel bounds a metric's label: a method can be any word.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	default:
		return "other"
	}
}

func (s *Server) recoverPanic(c *gin.Context) {
	defer func() {
		if value := recover(); value != nil {
			if value == http.ErrAbortHandler { //nolint:errorlint // a sentinel that is panicked with as it is
				panic(value) // the connection is to break off
			}
			s.fail(c, fmt.Errorf("panic: %v\n%s", value, debug.Stack()))
			c.Abort()
		}
	}()
	c.Next()
}
