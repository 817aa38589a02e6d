package server_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/server/servertest"
)

// TestAFailingRepositoryDoesNotHoldUpOthers has every post to one repository
// hang, with more of them waiting than there are workers.
func TestAFailingRepositoryDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const stuck = "ffe76500-0627-43f6-a9c5-4d6373a5e4eb"
	w.Must(w.AppVeyor.AddProject(appveyortest.Project{ID: 5, Account: "acme", Slug: "stuck", RepositoryName: "acme/stuck"}))
	w.Must(w.Bitbucket.AddRepository(bitbuckettest.Repository{WorkspaceUUID: workspaceUUID, UUID: stuck, FullName: "acme/stuck"}))
	w.Bitbucket.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		ofStuck := strings.Contains(r.URL.Path, "/acme/stuck/") || strings.Contains(r.URL.Path, stuck)
		return bitbuckettest.Fault{Hang: r.Method == http.MethodPost && ofStuck}
	})
	for i := range 40 {
		b, err := w.AppVeyor.PutBuild("acme", "stuck", appveyortest.Build{
			Branch: "main", PullRequestID: int64(i + 1), PullRequestHeadCommit: fmt.Sprintf("%040x", i+1), Status: "success",
		})
		w.Must(err)
		w.Notify(b)
	}
	w.Eventually("posts to the stuck repository hang", func() bool {
		posts := 0
		for _, r := range w.Bitbucket.Requests() {
			if r.Method == http.MethodPost {
				posts++
			}
		}
		return posts >= 4
	})
	w.Built(commit('1'), "success")
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
			request: "POST /webhooks/appveyor HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + servertest.WebhookSecret + "\r\nContent-Length: 1000\r\n\r\n{",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.URL, "http://"))
			w.Must(err)
			defer func() { _ = conn.Close() }()
			_, err = io.WriteString(conn, tt.request)
			w.Must(err)
			w.Must(conn.SetDeadline(time.Now().Add(servertest.Patience)))
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
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/webhooks/appveyor", http.NoBody)
			w.Must(err)
			req.Header.Set("X-Large", strings.Repeat("x", tt.size))
			if res := servertest.Send(t, req); res.Status != tt.status {
				t.Errorf("answered %d, want %d", res.Status, tt.status)
			}
		})
	}
}
