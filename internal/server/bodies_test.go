package server

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mergegate/internal/config"

	"github.com/gin-gonic/gin"
)

// TestBodiesGiveWayToOthers goes by a clock of its own.
func TestBodiesGiveWayToOthers(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_000_000, 0)
	const room = 100
	type body struct {
		source string
		size   int64
		after  time.Duration
	}
	many := func(n int, source string, size int64) (list []body) {
		for i := range n {
			list = append(list, body{source: source, size: size, after: time.Duration(i) * time.Millisecond})
		}
		return list
	}
	tests := []struct {
		name    string
		coming  []body
		next    body
		admit   bool
		givenUp int // of those coming, the first so many
	}{
		{name: "the first, however large", next: body{size: 1000}, admit: true},
		{name: "there is room", coming: many(3, "a", 10), next: body{source: "a", size: 70}, admit: true},
		{name: "no room yet", coming: many(3, "a", 30), next: body{source: "b", size: 20, after: 5 * time.Millisecond}},
		{name: "the oldest gives way", coming: many(3, "a", 30), next: body{source: "b", size: 20, after: time.Second}, admit: true, givenUp: 1},
		{name: "as many as it takes", coming: many(3, "a", 30), next: body{source: "b", size: 60, after: time.Second}, admit: true, givenUp: 2},
		{name: "a source has its number", coming: many(readersPerSource, "a", 1), next: body{source: "a", size: 1, after: time.Second}, admit: true, givenUp: 1},
		{name: "another source hasn't", coming: many(readersPerSource, "a", 1), next: body{source: "b", size: 1, after: time.Second}, admit: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := newIntake(room)
			var givenUp []int
			for i, b := range tt.coming {
				r := &reader{source: b.source, size: b.size, giveUp: func() { givenUp = append(givenUp, i) }}
				if wait, _ := in.admit(r, start.Add(b.after)); wait != 0 {
					t.Fatalf("body %d waits %s", i, wait)
				}
			}
			wait, _ := in.admit(&reader{source: tt.next.source, size: tt.next.size}, start.Add(tt.next.after))
			if (wait == 0) != tt.admit || len(givenUp) != tt.givenUp {
				t.Errorf("waits %s, %v were given up", wait, givenUp)
			}
			for i, n := range givenUp {
				if n != i {
					t.Errorf("given up in the order %v", givenUp)
				}
			}
		})
	}
}

func TestBodiesThatAreThereAreNotGivenUp(t *testing.T) {
	t.Parallel()
	in := newIntake(100)
	r := &reader{size: 90, giveUp: func() { t.Error("it was given up") }}
	in.admit(r, time.Unix(1, 0))
	in.arrived(r)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if in.enter(ctx, &reader{size: 20}) {
		t.Error("there was room")
	}
	entered := make(chan bool)
	go func() { entered <- in.enter(t.Context(), &reader{size: 20}) }()
	in.leave(r)
	if !<-entered {
		t.Error("there is no room after it left")
	}
}

// TestSlowBodiesAreCutOff sends bodies that don't end to routes that read one before
// anything else is known, and asks how long that goes on.
func TestSlowBodiesAreCutOff(t *testing.T) {
	t.Parallel()
	s := New(Config{Log: slog.New(slog.DiscardHandler), BitbucketSecrets: []config.WebhookSecret{{Secret: "x"}}})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	start := time.Now()
	if _, err := io.WriteString(conn, "POST /webhooks/bitbucket HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1"); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(start.Add(30 * time.Second))
	answered, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answered), "HTTP/1.1 400 ") {
		t.Errorf("answered %q, %v", answered, err)
	}
	if took := time.Since(start); took < bodyTime/2 || took > 2*bodyTime {
		t.Errorf("after %s", took)
	}
}

// TestReadersHoldNoPlace has many clients ask for an answer and not read it.
func TestReadersHoldNoPlace(t *testing.T) {
	t.Parallel()
	s := New(Config{Log: slog.New(slog.DiscardHandler)})
	engine := gin.New()
	large := strings.Repeat("x", 4<<20)
	one := kind{places: newPlaces(1), full: errBusy}
	engine.GET("/large", s.handle(s.within(one, func(c *gin.Context) error { c.String(http.StatusOK, large); return nil })))
	engine.GET("/small", s.handle(s.within(one, func(c *gin.Context) error { c.String(http.StatusOK, "yes"); return nil })))
	server := httptest.NewServer(engine)
	t.Cleanup(server.Close)
	for range 4 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		if _, err := io.WriteString(conn, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 100)); err != nil { // it is being answered
			t.Fatal(err)
		}
	}
	res, err := server.Client().Get(server.URL + "/small")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("answered %d", res.StatusCode)
	}
}

// TestStreamsNeedReadersWhoKeepUp has a reader that takes nothing.
func TestStreamsNeedReadersWhoKeepUp(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	engine := gin.New()
	engine.GET("/", func(c *gin.Context) {
		out := newStream(c)
		out.left = 100*time.Millisecond - readerMost // as after a long time
		var err error
		for range 10_000 {
			out.left = min(out.left, 100*time.Millisecond)
			if _, err = out.Write(make([]byte, smallAnswer)); err != nil {
				break
			}
		}
		ended <- err
	})
	server := httptest.NewServer(engine)
	t.Cleanup(server.Close)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("everything was written to a reader that takes nothing")
		}
	case <-time.After(readerMost):
		t.Error("it is written to still")
	}
}

func TestAllowance(t *testing.T) {
	t.Parallel()
	tests := []struct {
		left time.Duration
		size int
		want time.Duration
	}{
		{left: readerStart, want: readerStart},
		{left: readerStart, size: slowestReader, want: readerStart + time.Second},
		{left: time.Second, size: 2 * slowestReader, want: 3 * time.Second},
		{left: readerStart, size: 100 << 20, want: readerMost},
		{left: -time.Second, size: slowestReader, want: 0},
	}
	for _, tt := range tests {
		if got := allowance(tt.left, tt.size); got != tt.want {
			t.Errorf("%s left, %d bytes: %s, want %s", tt.left, tt.size, got, tt.want)
		}
	}
}
