package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
	"mergegate/internal/server/servertest"
)

// demoRun is the program running as "mergegate demo", with nothing in its home
// and a folder of its own for what is temporary.
type demoRun struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	temp   string
}

func newDemoRun(t *testing.T, env map[string]string, args ...string) *demoRun {
	t.Helper()
	r := &demoRun{temp: t.TempDir()}
	all := map[string]string{"HOME": t.TempDir(), "TMPDIR": r.temp}
	for name, value := range env {
		all[name] = value
	}
	r.cmd = programCommand(t, all, append([]string{"demo"}, args...)...)
	r.cmd.Stderr = &r.stderr
	t.Cleanup(func() { r.leavesNothing(t) })
	return r
}

// leavesNothing looks for files and, where the system shows them, for processes.
func (r *demoRun) leavesNothing(t *testing.T) {
	t.Helper()
	left, err := os.ReadDir(r.temp)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range commands {
		if line, _ := os.ReadFile(name); bytes.Contains(line, []byte(r.temp)) {
			t.Errorf("still running: %q", line)
		}
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	t.Run("with a database of its own", func(t *testing.T) {
		t.Parallel()
		r := newDemoRun(t, nil)
		out, err := r.cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s%s", err, out, r.stderr.String())
		}
		isWholeStory(t, string(out))
	})
	t.Run("on the server of DATABASE_URL", func(t *testing.T) {
		t.Parallel()
		database := postgrestest.Empty(t)
		r := newDemoRun(t, map[string]string{"DATABASE_URL": database})
		out, err := r.cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s%s", err, out, r.stderr.String())
		}
		isWholeStory(t, string(out))
		isUntouched(t, database, string(out))
	})
}

var demoHeading = regexp.MustCompile(`(?m)^(\d)\. `)

// isWholeStory checks that every step is there with something that held.
func isWholeStory(t *testing.T, out string) {
	t.Helper()
	steps := demoHeading.Split(out, -1)[1:]
	if len(steps) != 9 {
		t.Errorf("%d steps, want 9", len(steps))
	}
	for i, step := range steps {
		if !strings.Contains(step, "   ✓ ") {
			t.Errorf("step %d: %s", i+1, step)
		}
	}
	if strings.Contains(out, "✗") || strings.Contains(out, "\x1b") || !strings.Contains(out, "All 9 steps held") {
		t.Errorf("the output:\n%s", out)
	}
	for line := range strings.Lines(out) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 {
			t.Errorf("%d characters in a line: %s", n, line)
		}
	}
}

var demoScratch = regexp.MustCompile(`database +(mergegate_demo_[a-z2-7]{8}) `)

// isUntouched checks that the caller's database is as empty as it was, and that
// the one made beside it is gone.
func isUntouched(t *testing.T, database, out string) {
	t.Helper()
	store, err := postgres.Open(t.Context(), database, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "not migrated") {
		t.Errorf("the caller's database: %v", err)
	}
	scratch := demoScratch.FindStringSubmatch(out)
	if scratch == nil {
		t.Fatalf("the output names no database:\n%s", out)
	}
	own := regexp.MustCompile(`mergegate_test_\w+`).ReplaceAllString(database, scratch[1])
	if err := postgres.Reach(t.Context(), own); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("%s: %v", own, err)
	}
}

func TestDemoKeep(t *testing.T) {
	t.Parallel()
	database := postgrestest.Empty(t)
	r := newDemoRun(t, map[string]string{"DATABASE_URL": database}, "--keep")
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	give := time.AfterFunc(2*servertest.Patience, func() { _ = r.cmd.Process.Kill() })
	defer give.Stop()
	kept := readUntil(t, stdout, "-H 'Authorization: Bearer ey")
	canBeCopied(t, kept)
	_ = r.cmd.Process.Signal(syscall.SIGINT)
	_, _ = io.Copy(io.Discard, stdout)
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, r.stderr.String())
	}
	isUntouched(t, database, kept)
}

// canBeCopied does what the first line to copy does.
func canBeCopied(t *testing.T, kept string) {
	t.Helper()
	api := regexp.MustCompile(`curl -s -H 'Authorization: Bearer (mgt_\S+)' \\\n  (http\S+/builds)\n`).FindStringSubmatch(kept)
	if api == nil {
		t.Fatalf("no line to copy in:\n%s", kept)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api[2], nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+api[1])
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("%s answered %s", api[2], res.Status)
	}
}

// readUntil reads until the end of a text has come.
func readUntil(t *testing.T, r io.Reader, end string) string {
	t.Helper()
	var text strings.Builder
	buffer := make([]byte, 4096)
	for !strings.Contains(text.String(), end) {
		n, err := r.Read(buffer)
		text.Write(buffer[:n])
		if err != nil {
			t.Fatalf("ended with %v after:\n%s", err, text.String())
		}
	}
	return text.String()
}

func TestDemoIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, url, want string }{
		{name: "no URL", url: "::", want: "DATABASE_URL: is not a PostgreSQL URL"},
		{name: "a URL that names the database twice", url: "postgres://localhost/a?dbname=b", want: "write it as"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newDemoRun(t, map[string]string{"DATABASE_URL": tt.url})
			_ = r.cmd.Run()
			if code := r.cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(r.stderr.String(), tt.want) {
				t.Errorf("exit code %d: %s", code, r.stderr.String())
			}
		})
	}
}
