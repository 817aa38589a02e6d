// Package standin is what the stand-ins for remote systems have in common: a real HTTP server on loopback that logs
// its requests and misbehaves when asked to.
//
//	server, err := standin.Start(handler)
//	defer server.Close()
//	server.OnRequest(func(r *http.Request) standin.Fault {
//		return standin.Fault{Status: http.StatusTooManyRequests, RetryAfter: "1"}
//	})
//
// It uses no *testing.T: the stand-ins serve the demonstration as well as the tests.
package standin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxBody bounds a request's body; nothing that a stand-in is sent is near it.
const maxBody = 8 << 20

// Request is one request that was received.
type Request struct {
	Method string
	Path   string // escaped as it was sent, with the query
	Auth   string // "", "bearer", "basic" or "other"; never the secret
	Body   string
}

// Server is a running HTTP server.
type Server struct {
	URL string // http://127.0.0.1:port

	http    *http.Server
	handler http.Handler
	closing chan struct{} // closed by Close: ends what hangs
	served  chan struct{} // closed when the listener has ended
	close   sync.Once

	mu       sync.Mutex
	decide   func(*http.Request) Fault
	requests []Request
}

// Start serves handler on a free port of the loopback interface until Close.
func Start(handler http.Handler) (*Server, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen on loopback: %w", err)
	}
	s := &Server{
		URL:     "http://" + listener.Addr().String(),
		handler: handler,
		closing: make(chan struct{}),
		served:  make(chan struct{}),
	}
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(s.served)
		_ = s.http.Serve(listener) // always http.ErrServerClosed
	}()
	return s, nil
}

// Close ends the server and every open connection. It may be called twice.
func (s *Server) Close() {
	s.close.Do(func() {
		close(s.closing)
		_ = s.http.Close()
	})
	<-s.served
}

// OnRequest has decide asked about every request from now on, one at a time; nil ends it. The request's body can be read.
func (s *Server) OnRequest(decide func(*http.Request) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decide = decide
}

// Requests answers what was received so far, the faulty ones included, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		return // the client is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	fault := s.record(r, body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	fault.serve(w, r, s.handler, s.closing)
}

func (s *Server) record(r *http.Request, body []byte) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Request{
		Method: r.Method,
		Path:   r.URL.RequestURI(),
		Auth:   authKind(r.Header.Get("Authorization")),
		Body:   string(body),
	})
	if s.decide == nil {
		return Fault{}
	}
	return s.decide(r)
}

func authKind(header string) string {
	scheme, _, _ := strings.Cut(header, " ")
	switch scheme = strings.ToLower(scheme); scheme {
	case "", "bearer", "basic":
		return scheme
	default:
		return "other"
	}
}
