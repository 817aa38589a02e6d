package embedded

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// self runs this test binary again, wherever it lies and whoever may pass through there.
const self = "/proc/self/exe"

func TestKilledParentLeavesNoOrphan(t *testing.T) {
	t.Parallel()
	dir := privateFolder(t)
	parent := exec.CommandContext(t.Context(), self)
	parent.Env = append(os.Environ(), holdVariable+"="+dir)
	alive, url := holdServer(t, parent)
	execute(t, url, "create table kept as select 'all of it' as content")

	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	if _, err := io.Copy(io.Discard, alive); err != nil {
		t.Fatal(err) // the end of the pipe: no process has it open any more
	}
	next := start(t, dir)
	if diff := cmp.Diff("all of it", query(t, next.URL(), "select content from kept")); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
}

func TestStartRightAfterAKill(t *testing.T) {
	t.Parallel()
	dir := privateFolder(t)
	parent := exec.CommandContext(t.Context(), self)
	parent.Env = append(os.Environ(), holdVariable+"="+dir)
	_, url := holdServer(t, parent)
	execute(t, url, "create table kept as select 'all of it' as content")

	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	next := start(t, dir)
	if diff := cmp.Diff("all of it", query(t, next.URL(), "select content from kept")); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
}

// holdServer starts a process that runs a server, and returns the server's URL and a pipe that
// ends with the last process of both: each inherits its other end. It is descriptor 5, since a
// server run as another user has its folders in 3 and 4.
func holdServer(t *testing.T, parent *exec.Cmd) (alive io.Reader, url string) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = read.Close() })
	parent.ExtraFiles = []*os.File{nil, nil, write}
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return read, strings.TrimSpace(line)
}

// TestAsOrdinaryUser repeats the tests of what root's rights change. Without them, the tests
// themselves are that run.
func TestAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return
	}
	ordinary, err := unprivileged()
	if err != nil {
		t.Fatal(err)
	}
	again := exec.CommandContext(t.Context(), self, "-test.timeout=5m",
		"-test.run=^(TestDataIsKeptBetweenRuns|TestSecondStartIsRefused|TestDeepFolder|TestKilledParentLeavesNoOrphan|TestStartEndsAnEarlierServer)$")
	again.Dir = "/"
	again.Env = append(os.Environ(), "HOME=/", "TMPDIR=/tmp", "GOCOVERDIR=/tmp")
	again.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(ordinary.uid), Gid: uint32(ordinary.gid)}}
	if out, err := again.CombinedOutput(); err != nil {
		t.Fatalf("as %s: %v\n%s", ordinary.name, err, out)
	}
}

// TestOtherProgramsOfTheUserPostgresStayOutside looks through /proc as processes do that run as
// the users whom other servers run as.
func TestOtherProgramsOfTheUserPostgresStayOutside(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // the server runs as us, and everything that we run may reach it
	}
	s := start(t, privateFolder(t))
	pid := s.process.cmd.Process.Pid
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue // nobody can be it
		}
		as, err := newAccount(u, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, place := range []string{"fd/", "fd/3/", "fd/4/", "cwd/", "environ"} {
			look := exec.CommandContext(t.Context(), "/bin/sh", "-c", `ls "$0" >/dev/null && cat "$0" >/dev/null 2>&1 || ls "$0/"`, fmt.Sprintf("/proc/%d/%s", pid, place))
			look.SysProcAttr = processAttributes(as)
			if out, err := look.CombinedOutput(); err == nil {
				t.Errorf("user %s sees %s: %s", name, place, out)
			}
		}
	}
}
