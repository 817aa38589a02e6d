package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/postgres/embedded"
)

// stallable forwards to a PostgreSQL socket until it is told to hold everything
// back, as a server does that hangs.
type stallable struct {
	stalled atomic.Bool
	freed   chan struct{}
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
	dir := shortTempDir(t)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	p := &stallable{freed: make(chan struct{})}
	t.Cleanup(func() { close(p.freed); _ = listener.Close() })
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
	server, err := embedded.Start(t.Context(), shortTempDir(t), embedded.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	proxy, database := startStallable(t, server.URL())
	w := newWorld(t, "DATABASE_URL="+database)
	w.built(commit('1'), "success")
	proxy.stalled.Store(true)
	for range 3 {
		if a := w.checkInTime(event("on-merge", bringing(commit('1')))); a.Success {
			t.Errorf("passed without its database: %+v", a)
		}
	}
	start := time.Now()
	if res := w.post("/webhooks/appveyor", webhookSecret, string(w.appveyor.WebhookBody(1001))); res.status != http.StatusServiceUnavailable {
		t.Errorf("webhook answered %d %s", res.status, res.body)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("webhook answered after %s", took)
	}
}

// TestAFailingRepositoryDoesNotHoldUpOthers has every post to one repository
// hang, with more of them waiting than there are workers.
func TestAFailingRepositoryDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const stuck = "ffe76500-0627-43f6-a9c5-4d6373a5e4eb"
	w.must(w.appveyor.AddProject(appveyortest.Project{ID: 5, Account: "acme", Slug: "stuck", RepositoryName: "acme/stuck"}))
	w.must(w.bb.AddRepository(bitbuckettest.Repository{WorkspaceUUID: workspaceUUID, UUID: stuck, FullName: "acme/stuck"}))
	w.bb.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		ofStuck := strings.Contains(r.URL.Path, "/acme/stuck/") || strings.Contains(r.URL.Path, stuck)
		return bitbuckettest.Fault{Hang: r.Method == http.MethodPost && ofStuck}
	})
	for i := range 40 {
		b, err := w.appveyor.PutBuild("acme", "stuck", appveyortest.Build{
			Branch: "main", PullRequestID: int64(i + 1), PullRequestHeadCommit: fmt.Sprintf("%040x", i+1), Status: "success",
		})
		w.must(err)
		w.notify(b)
	}
	w.eventually("posts to the stuck repository hang", func() bool {
		posts := 0
		for _, r := range w.bb.Requests() {
			if r.Method == http.MethodPost {
				posts++
			}
		}
		return posts >= 4
	})
	w.built(commit('1'), "success")
}

// TestSlowClientsAreCutOff sends a part of a request, and then nothing or a byte
// now and then.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		name, request string
		trickles      bool
	}{
		{name: "a header that doesn't end", request: "POST /webhooks/appveyor HTTP/1.1\r\nHost: x\r\nX-Slow: "},
		{
			name: "a body a byte at a time", trickles: true,
			request: "POST /webhooks/appveyor HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + webhookSecret + "\r\nContent-Length: 1000\r\n\r\n{",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
			w.must(err)
			defer func() { _ = conn.Close() }()
			_, err = io.WriteString(conn, tt.request)
			w.must(err)
			w.must(conn.SetDeadline(time.Now().Add(patience)))
			if tt.trickles {
				drip := time.NewTicker(100 * time.Millisecond)
				defer drip.Stop()
				for err == nil { // until the other side has closed
					<-drip.C
					_, err = io.WriteString(conn, " ")
				}
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("still open")
				}
				return
			}
			if _, err := io.ReadAll(conn); err != nil {
				t.Errorf("still open: %v", err)
			}
		})
	}
}

// TestHeaderLimit sends as large a header as is read, and a larger one.
func TestHeaderLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		name   string
		size   int
		status int
	}{
		{name: "60 KiB", size: 60 << 10, status: http.StatusUnauthorized},
		{name: "80 KiB", size: 80 << 10, status: http.StatusRequestHeaderFieldsTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/webhooks/appveyor", http.NoBody)
			w.must(err)
			req.Header.Set("X-Large", strings.Repeat("x", tt.size))
			if res := send(t, req); res.status != tt.status {
				t.Errorf("answered %d, want %d", res.status, tt.status)
			}
		})
	}
}
