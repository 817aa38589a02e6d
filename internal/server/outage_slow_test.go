//go:build slow

package server_test

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/postgres/embedded"
	"mergegate/internal/server/servertest"
)

func TestBitbucketDown(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		fault   bitbuckettest.Fault
		message string
	}{
		{name: "hangs", fault: bitbuckettest.Fault{Hang: true}, message: "Bitbucket didn't answer in time"},
		{name: "trickles", fault: bitbuckettest.Fault{Trickle: true}, message: "Bitbucket didn't answer in time"},
		{name: "breaks off", fault: bitbuckettest.Fault{Reset: true}, message: "mergegate can't reach Bitbucket"},
		{name: "503", fault: bitbuckettest.Fault{Status: 503}, message: "503"},
		{name: "429", fault: bitbuckettest.Fault{Status: 429, RetryAfter: "60"}, message: "429"},
		{name: "a page", fault: bitbuckettest.Fault{HTML: true}, message: "mergegate can't tell which commit is the head"},
		{name: "another document", fault: bitbuckettest.Fault{Body: `{"id":7}`}, message: "mergegate can't tell which commit is the head"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Built(commit('1'), "success")
			w.Bitbucket.OnRequest(func(*http.Request) bitbuckettest.Fault { return tt.fault })
			if a := w.CheckInTime(event("on-merge")); a.Success || !strings.Contains(a.Message, tt.message) {
				t.Errorf("answer %+v; want %q", a, tt.message)
			}
			// What the Forge function brings along is enough.
			if a := w.CheckInTime(event("on-merge", bringing(commit('1')))); !a.Success {
				t.Errorf("answer %+v", a)
			}
		})
	}
}

// TestDatabaseDown runs the program on a PostgreSQL of its own and stops that.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	dir := servertest.ShortTempDir(t)
	server, err := embedded.Start(t.Context(), dir, embedded.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	w := newWorld(t, "DATABASE_URL="+server.URL())
	w.Built(commit('1'), "success")
	w.Expect("passed", "")

	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	a := w.CheckInTime(event("on-merge", bringing(commit('1'))))
	if a.Success || !strings.Contains(a.Message, "mergegate can't reach its database") {
		t.Errorf("answer %+v", a)
	}
	res := w.Post("/webhooks/appveyor", servertest.WebhookSecret, `{"eventName":"build_success","eventData":{"buildId":1}}`)
	if code := problemOf(t, res); res.Status != http.StatusServiceUnavailable || code != "unavailable" {
		t.Errorf("webhook answered %d %s", res.Status, res.Body)
	}
	if res := w.Do(http.MethodGet, "/api/v1/deliveries", w.Token, nil); res.Status != http.StatusServiceUnavailable {
		t.Errorf("the API answered %d %s", res.Status, res.Body)
	}
	if res := w.Do(http.MethodGet, "/readyz", "", nil); res.Status != http.StatusServiceUnavailable {
		t.Errorf("readyz answered %d", res.Status)
	}
	if res := w.Do(http.MethodGet, "/healthz", "", nil); res.Status != http.StatusOK {
		t.Errorf("healthz answered %d", res.Status)
	}

	if server, err = embedded.Start(t.Context(), dir, embedded.Options{NoSync: true}); err != nil {
		t.Fatal(err)
	}
	w.Eventually("it works again without a restart", func() bool {
		return w.Do(http.MethodGet, "/readyz", "", nil).Status == http.StatusOK && w.Check(event("on-merge")).Success
	})
}

// stallable forwards to a PostgreSQL socket until it is told to hold everything
// back, as a server does that hangs.
type stallable struct {
	stalled atomic.Bool
	freed   chan struct{}
	free    func() // lets go of what is held back, for good
}

// startStallable listens in a folder of its own and returns the URL to use
// instead of target.
func startStallable(t *testing.T, target string) (*stallable, string) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	socket := filepath.Join(query.Get("host"), ".s.PGSQL.5432")
	dir := servertest.ShortTempDir(t)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	p := &stallable{freed: make(chan struct{})}
	p.free = sync.OnceFunc(func() { p.stalled.Store(false); close(p.freed) })
	t.Cleanup(func() { p.free(); _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go p.forward(t, conn, socket)
		}
	}()
	query.Set("host", dir)
	u.RawQuery = query.Encode()
	return p, u.String()
}

func (p *stallable) forward(t *testing.T, client net.Conn, socket string) {
	defer func() { _ = client.Close() }()
	server, err := new(net.Dialer).DialContext(t.Context(), "unix", socket)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() { _, _ = io.Copy(server, client) }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := server.Read(buffer)
		if err != nil {
			return
		}
		if p.stalled.Load() {
			<-p.freed
			return
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func TestDatabaseHangs(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(t.Context(), servertest.ShortTempDir(t), embedded.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	proxy, database := startStallable(t, server.URL())
	w := newWorld(t, "DATABASE_URL="+database)
	w.Built(commit('1'), "success")
	defer proxy.free() // else the service waits for its jobs when it ends
	proxy.stalled.Store(true)
	for range 3 {
		if a := w.CheckInTime(event("on-merge", bringing(commit('1')))); a.Success {
			t.Errorf("passed without its database: %+v", a)
		}
	}
	start := time.Now()
	if res := w.Post("/webhooks/appveyor", servertest.WebhookSecret, string(w.AppVeyor.WebhookBody(1001))); res.Status != http.StatusServiceUnavailable {
		t.Errorf("webhook answered %d %s", res.Status, res.Body)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("webhook answered after %s", took)
	}
}

func TestForgeAppWithoutBitbucket(t *testing.T) {
	t.Parallel()
	a := newWorld(t).install("manifest.yml")
	a.Built(commit('1'), "success")
	for _, fault := range []bitbuckettest.Fault{
		{Status: http.StatusServiceUnavailable},
		{Status: http.StatusTooManyRequests, RetryAfter: "60"},
		{HTML: true},
		{Hang: true},
	} {
		a.Bitbucket.OnRequest(func(*http.Request) bitbuckettest.Fault { return fault })
		began := time.Now()
		a.refused("Bitbucket")
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%+v: it took %s; Forge waits 25 s", fault, took)
		}
	}
	var asked atomic.Bool
	a.Bitbucket.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		if strings.Contains(r.URL.Path, "/pullrequests/") && asked.CompareAndSwap(false, true) {
			return bitbuckettest.Fault{Status: http.StatusBadGateway}
		}
		return bitbuckettest.Fault{}
	})
	if shown := a.asked("on-merge"); !shown.Success {
		t.Errorf("a user sees %+v, though the program could read the pull request itself", shown)
	}
}
