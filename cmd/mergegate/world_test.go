package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mergegate/internal/postgres/postgrestest"
	"mergegate/internal/server/servertest"
)

// asProgram makes the test binary be the program: tests start it as a process.
const asProgram = "TEST_AS_MERGEGATE"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(postgrestest.Main(m).Run())
}

// What nearly every test names.
const (
	repository     = servertest.Repository
	workspaceUUID  = servertest.WorkspaceUUID
	repositoryUUID = servertest.RepositoryUUID
)

func commit(digit byte) string { return servertest.Commit(digit) }

// world is one in which the service is the program, running as a process.
type world struct {
	*servertest.World
	program *process
}

func newWorld(t *testing.T, env ...string) *world {
	t.Helper()
	w := idleWorld(t, env...)
	w.start()
	w.Token = w.command("token", "create", "--name", "test", "--scope", "admin")
	return w
}

func idleWorld(t *testing.T, env ...string) *world {
	t.Helper()
	return &world{World: servertest.Idle(t, env...)}
}

// with is the same world for commands that have more in their environment.
func (w *world) with(env ...string) *world {
	changed := w.withEnv(maps.Clone(w.Env))
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		changed.Env[name] = value
	}
	return changed
}

// remotely is the same world for commands that ask the running service, and have
// no other configuration.
func (w *world) remotely(token string) *world {
	return w.withEnv(map[string]string{"MERGEGATE_URL": w.URL + "/", "MERGEGATE_TOKEN": token})
}

func (w *world) withEnv(env map[string]string) *world {
	changed := *w.World
	changed.Env = env
	return &world{World: &changed, program: w.program}
}

// replica starts another process on the same database, which ends with the test.
func (w *world) replica() *world {
	w.T.Helper()
	other := w.with()
	other.start()
	return other
}

// kill ends a replica without any warning.
func (w *world) kill() {
	w.T.Helper()
	_ = w.stop(syscall.SIGKILL)
}

// tokenOf makes an API token.
func (w *world) tokenOf(name, scope string, more ...string) string {
	w.T.Helper()
	return w.command(append([]string{"token", "create", "--name", name, "--scope", scope}, more...)...)
}

// command runs another command of the program and returns what it printed.
func (w *world) command(args ...string) string {
	w.T.Helper()
	cmd := programCommand(w.T, w.Env, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.T.Fatalf("mergegate %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// outcome runs a command that may fail.
func (w *world) outcome(stdin string, args ...string) (code int, stdout, stderr string) {
	w.T.Helper()
	cmd := programCommand(w.T, w.Env, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	_ = cmd.Run() // its code tells
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func programCommand(t *testing.T, env map[string]string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if program := os.Getenv("MERGEGATE_TEST_PROGRAM"); program != "" {
		self = program // what is shipped, without the race detector and the tests
	}
	cmd := exec.Command(self, args...)
	// The race detector would have every process wait for a second before it ends.
	cmd.Env = []string{asProgram + "=1", "GORACE=atexit_sleep_ms=0", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.Getenv("TMPDIR")}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// process is a running "mergegate serve".
type process struct {
	cmd  *exec.Cmd
	done chan error

	mu  sync.Mutex
	log bytes.Buffer
}

// start starts the program and waits until it serves.
func (w *world) start() {
	w.T.Helper()
	w.program = &process{cmd: programCommand(w.T, w.Env, "serve"), done: make(chan error, 1)}
	serving := make(chan string, 1)
	stderr, err := w.program.cmd.StderrPipe()
	w.Must(err)
	w.Must(w.program.cmd.Start())
	go w.program.follow(stderr, serving)
	w.T.Cleanup(func() { _ = w.stop(syscall.SIGTERM) })
	select {
	case address := <-serving:
		w.URL = "http://" + address
	case err := <-w.program.done:
		w.program.done <- err
		w.T.Fatalf("the program ended:\n%s", w.program.output())
	case <-time.After(servertest.Patience):
		w.T.Fatalf("the program does not serve:\n%s", w.program.output())
	}
}

// follow keeps the log and announces the address.
func (p *process) follow(stderr io.Reader, serving chan<- string) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		p.log.Write(append(lines.Bytes(), '\n'))
		p.mu.Unlock()
		var entry struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "serving" {
			serving <- entry.Address
		}
	}
	p.done <- p.cmd.Wait()
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// stop ends the program and returns how it ended. Stopping twice is fine.
func (w *world) stop(signal os.Signal) error {
	w.T.Helper()
	_ = w.program.cmd.Process.Signal(signal)
	select {
	case err := <-w.program.done:
		w.program.done <- err
		if w.T.Failed() && testing.Verbose() {
			w.T.Logf("the program's log:\n%s", w.program.output())
		}
		return err
	case <-time.After(servertest.Patience):
		_ = w.program.cmd.Process.Kill()
		w.T.Errorf("the program did not end:\n%s", w.program.output())
		return nil
	}
}
