package server

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"mergegate/internal/config"

	"github.com/gin-gonic/gin"
)

func TestFailuresAreLimitedPerSource(t *testing.T) {
	t.Parallel()
	s := New(Config{Log: slog.New(slog.DiscardHandler), AppVeyorSecrets: []string{"right"}})
	post := func(source, secret string) int {
		req := httptest.NewRequest(http.MethodPost, "/webhooks/appveyor", http.NoBody)
		req.RemoteAddr = source + ":1234"
		req.Header.Set("Authorization", "Bearer "+secret)
		res := httptest.NewRecorder()
		s.ServeHTTP(res, req)
		return res.Code
	}
	limited := 0
	for range failureBurst + 50 {
		switch got := post("192.0.2.1", "wrong"); got {
		case http.StatusUnauthorized:
		case http.StatusTooManyRequests:
			limited++
		default:
			t.Fatalf("answered %d", got)
		}
	}
	if limited == 0 {
		t.Error("no failure was limited")
	}
	if got := post("192.0.2.2", "wrong"); got != http.StatusUnauthorized {
		t.Errorf("another source is answered %d", got)
	}
	if got := post("192.0.2.1", "right"); got != http.StatusBadRequest { // an empty body
		t.Errorf("the right secret from a limited source is answered %d", got)
	}
}

func TestOverloadIsToldToComeBack(t *testing.T) {
	t.Parallel()
	s := New(Config{Log: slog.New(slog.DiscardHandler)})
	at := make(chan struct{})
	release := make(chan struct{})
	engine := gin.New()
	engine.GET("/", s.handle(bounded(newPlaces(2), func(c *gin.Context) error {
		at <- struct{}{}
		<-release
		c.Status(http.StatusNoContent)
		return nil
	})))
	answers := make(chan int, 3)
	ask := func() {
		res := httptest.NewRecorder()
		engine.ServeHTTP(res, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		answers <- res.Code
	}
	go ask()
	go ask()
	<-at
	<-at
	go ask() // finds no place
	if got := <-answers; got != http.StatusServiceUnavailable {
		t.Errorf("the third is answered %d", got)
	}
	close(release)
	for range 2 {
		if got := <-answers; got != http.StatusNoContent {
			t.Errorf("one that had a place is answered %d", got)
		}
	}
}

// TestRoutesDontShareTheirPlaces fills Bitbucket's with bodies that never come,
// which anybody can send.
func TestRoutesDontShareTheirPlaces(t *testing.T) {
	t.Parallel()
	s := New(Config{Log: slog.New(slog.DiscardHandler), AppVeyorSecrets: []string{"right"}, BitbucketSecrets: []config.WebhookSecret{{Secret: "x"}}})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	for range deliveriesAtOnce {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := io.WriteString(conn, "POST /webhooks/bitbucket HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		// The server asks for the body once it is being read: the place is taken.
		if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 100 Continue"))); err != nil {
			t.Fatal(err)
		}
	}
	req := httptest.NewRequest(http.MethodPost, "/webhooks/appveyor", http.NoBody)
	req.Header.Set("Authorization", "Bearer wrong")
	res := httptest.NewRecorder()
	s.ServeHTTP(res, req)
	if res.Code != http.StatusUnauthorized {
		t.Errorf("AppVeyor's webhook is answered %d", res.Code)
	}
}
