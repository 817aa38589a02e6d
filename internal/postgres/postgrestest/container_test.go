package postgrestest

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/postgres/embedded"
)

// TestContainer runs against a stand-in engine whose container is the PostgreSQL installed here.
func TestContainer(t *testing.T) {
	e := startEngine(t)
	t.Setenv("DOCKER_HOST", e.url)

	address, stop, err := startContainer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := query(t, address, "select current_user::text"); got != "mergegate" {
		t.Errorf("connected as %q", got)
	}
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	want := []string{
		"GET /_ping",
		"GET /images/postgres:17/json",
		"POST /containers/create",
		"POST /containers/abc/start",
		"GET /containers/abc/json",
		"DELETE /containers/abc",
	}
	if diff := cmp.Diff(want, e.seen()); diff != "" {
		t.Errorf("asked of the engine (-want +got):\n%s", diff)
	}
	if !e.autoRemove {
		t.Error("the container isn't removed when it ends by itself")
	}
}

func TestNoEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "none.sock"))
	if _, _, err := startContainer(t.Context()); err == nil {
		t.Error("no error without an engine")
	}
}

// engine is the part of a container engine's API that startContainer uses.
type engine struct {
	url, port string

	mu         sync.Mutex
	requests   []string
	autoRemove bool
}

func startEngine(t *testing.T) *engine {
	t.Helper()
	db, err := embedded.Start(t.Context(), t.TempDir(), embedded.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Stop(); err != nil {
			t.Error(err)
		}
	})
	e := &engine{port: forward(t, db.URL())}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	e.url = server.URL
	return e
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.record(r)
	switch {
	case strings.HasSuffix(r.URL.Path, "/json") && strings.HasPrefix(r.URL.Path, "/containers/"):
		writeJSON(w, map[string]any{"Id": "abc", "NetworkSettings": map[string]any{"Ports": map[string]any{
			"5432/tcp": []map[string]string{{"HostIp": "127.0.0.1", "HostPort": e.port}},
		}}})
	case strings.HasSuffix(r.URL.Path, "/create"):
		w.WriteHeader(http.StatusCreated)
		writeJSON(w, map[string]string{"Id": "abc"})
	case strings.HasSuffix(r.URL.Path, "/json"):
		writeJSON(w, map[string]string{"Id": "sha256:1"})
	case r.Method == http.MethodGet:
		_, _ = io.WriteString(w, "OK")
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func (e *engine) record(r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var body struct {
		HostConfig struct{ AutoRemove bool }
	}
	if json.NewDecoder(r.Body).Decode(&body) == nil && body.HostConfig.AutoRemove {
		e.autoRemove = true
	}
	// The end of its lifetime is asked for at any moment, and the version is the client's business.
	if !strings.HasSuffix(r.URL.Path, "/stop") && r.URL.Path != "/version" {
		e.requests = append(e.requests, r.Method+" "+r.URL.Path)
	}
}

func (e *engine) seen() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.requests
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // the client's complaint is clear enough
}

// forward makes the database's socket reachable by TCP, as a container's is, and returns the port.
func forward(t *testing.T, address string) string {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(parsed.Query().Get("host"), ".s.PGSQL.5432")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); conns.Wait() })
	conns.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // the listener is closed
			}
			conns.Go(func() { pipe(t.Context(), client, socket) })
		}
	})
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// pipe ends when either side does; the client reports whatever went wrong.
func pipe(ctx context.Context, client net.Conn, socket string) {
	server, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		_ = client.Close()
		return
	}
	var ended sync.WaitGroup
	ended.Go(func() { _, _ = io.Copy(server, client); _ = server.Close() })
	ended.Go(func() { _, _ = io.Copy(client, server); _ = client.Close() })
	ended.Wait()
}
