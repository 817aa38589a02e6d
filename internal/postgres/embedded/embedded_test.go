package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

// holdVariable makes the test binary run a server on the named folder until it is killed.
const holdVariable = "MERGEGATE_TEST_HOLD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdVariable); dir != "" {
		hold(dir)
	}
	goleak.VerifyTestMain(m)
}

func hold(dir string) {
	s, err := Start(context.Background(), dir, Options{NoSync: true})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.URL())
	select {}
}

func TestDataIsKeptBetweenRuns(t *testing.T) {
	t.Parallel()
	dir := privateFolder(t)

	first, err := Start(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	execute(t, first.URL(), "create table kept as select 'all of it' as content")
	for range 2 {
		if err := first.Stop(); err != nil {
			t.Fatalf("Stop: %v", err)
		}
	}
	second := start(t, dir)
	if diff := cmp.Diff("all of it", query(t, second.URL(), "select content from kept")); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s, err := Start(t.Context(), privateFolder(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	want := map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "data_checksums": "on",
		"listen_addresses": "", "server_encoding": "UTF8", "max_connections": "100", "TimeZone": "UTC",
	}
	got := map[string]string{}
	for name := range want {
		got[name] = query(t, s.URL(), "show "+name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if locale := query(t, s.URL(), "select datcollate from pg_database where datname = current_database()"); locale != "C" {
		t.Errorf("collation %q, want C", locale)
	}
}

func TestServerDoesNotRunAsRoot(t *testing.T) {
	t.Parallel()
	dir := privateFolder(t)
	s := start(t, dir)
	owner, err := ownerOf(s.cluster.data())
	if err != nil {
		t.Fatal(err)
	}
	if owner == 0 {
		t.Error("the data belongs to root, so the server runs as root")
	}
}

func TestSecondStartIsRefused(t *testing.T) {
	t.Parallel()
	dir := privateFolder(t)
	s := start(t, dir)

	if _, err := Start(t.Context(), dir, Options{NoSync: true}); !errors.Is(err, ErrInUse) {
		t.Errorf("second Start: %v, want ErrInUse", err)
	}
	url, err := Attach(t.Context(), dir)
	if err != nil {
		t.Fatalf("Attach: %v", err)
	}
	if diff := cmp.Diff(s.URL(), url); diff != "" {
		t.Errorf("attached URL (-want +got):\n%s", diff)
	}
	stop(t, s)
	if _, err := Attach(t.Context(), dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Attach after Stop: %v, want ErrNotRunning", err)
	}
}

func TestAttachWithoutServer(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for _, dir := range []string{empty, filepath.Join(empty, "missing")} {
		if _, err := Attach(t.Context(), dir); !errors.Is(err, ErrNotRunning) {
			t.Errorf("Attach(%q): %v, want ErrNotRunning", dir, err)
		}
	}
}

func TestDeepFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(privateFolder(t), strings.Repeat("deep/", 30))
	s := start(t, dir)
	url, err := Attach(t.Context(), dir)
	if err != nil {
		t.Fatalf("Attach: %v", err)
	}
	if diff := cmp.Diff(s.URL(), url); diff != "" {
		t.Errorf("attached URL (-want +got):\n%s", diff)
	}
	socket := s.cluster.socketFolder()
	stop(t, s)
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's folder is still there: %v", err)
	}
}

func TestDoneWhenTheChildDies(t *testing.T) {
	t.Parallel()
	s, err := Start(t.Context(), privateFolder(t), Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.process.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	err = s.Stop()
	if err == nil || !strings.Contains(err.Error(), "ended by itself") || !strings.Contains(err.Error(), "immediate shutdown") {
		t.Errorf("Stop: %v, want that it ended by itself, and the log", err)
	}
	if err := s.Stop(); err == nil {
		t.Error("second Stop: no error, want the first's")
	}
}

func TestStartFailureShowsTheLog(t *testing.T) {
	t.Parallel()
	dir := privateFolder(t)
	s := start(t, dir)
	stop(t, s)
	if err := os.WriteFile(filepath.Join(s.cluster.data(), "postgresql.conf"), []byte("no = such = thing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), dir, Options{NoSync: true})
	if err == nil || !strings.Contains(err.Error(), `syntax error in file "`) {
		t.Fatalf("Start: %v, want what PostgreSQL says", err)
	}
	lock, err := s.cluster.lock()
	if err != nil {
		t.Fatalf("the failed Start kept the folder: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
}

func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	at, err := openFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name       string
		size, want int64
	}{
		{name: "up to the limit", size: maxLog, want: maxLog},
		{name: "over the limit", size: maxLog + 1, want: 0},
	} {
		if err := errors.Join(os.WriteFile(at.logFile(), nil, 0o600), os.Truncate(at.logFile(), tt.size)); err != nil {
			t.Fatal(err)
		}
		log, err := at.openLog()
		if err != nil {
			t.Fatal(err)
		}
		info, err := log.Stat()
		if err = errors.Join(err, log.Close()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, info.Size()); diff != "" {
			t.Errorf("%s: size (-want +got):\n%s", tt.name, diff)
		}
	}
}

// privateFolder returns a folder to be made under one that only the test's own user may enter.
func privateFolder(t *testing.T) string {
	t.Helper()
	private := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(private, "data")
}

// start runs a server until the test's end.
func start(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := Start(t.Context(), dir, Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func disconnect(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := conn.Close(ctx); err != nil {
		t.Error(err)
	}
}

func execute(t *testing.T, url, statement string) {
	t.Helper()
	conn := connect(t, url)
	defer disconnect(t, conn)
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func query(t *testing.T, url, statement string) string {
	t.Helper()
	conn := connect(t, url)
	defer disconnect(t, conn)
	var value string
	if err := conn.QueryRow(t.Context(), statement).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}
