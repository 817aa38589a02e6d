package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// takeOver ends the server that an earlier life of ours may have left on the folder. The caller
// holds the lock, so nobody else is responsible for it.
func (c *cluster) takeOver(ctx context.Context, log *slog.Logger) error {
	pid, err := c.recordedPID()
	if err != nil || pid == 0 {
		return err
	}
	args := commandLine(pid)
	switch {
	case len(args) == 0:
		return nil // PostgreSQL itself checks that nothing of the dead server is left
	case c.isOurs(args):
		log.WarnContext(ctx, "stopping the PostgreSQL that an earlier run left behind", "pid", pid)
		return c.end(ctx, pid)
	case filepath.Base(args[0]) == "postgres":
		return fmt.Errorf("%s seems to be used by a PostgreSQL that mergegate did not start (process %d): "+
			"stop it, or remove %s if that one runs on another folder", c.data(), pid, c.pidFile())
	}
	return c.removeStalePID()
}

// removeStalePID is for when the recorded number belongs to another process or thread by now, as
// it often does after a container's restart: PostgreSQL would take that for a running server.
func (c *cluster) removeStalePID() error {
	if err := os.Remove(c.pidFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the earlier server's record: %w", err)
	}
	return nil
}

func (c *cluster) pidFile() string { return filepath.Join(c.data(), "postmaster.pid") }

// recordedPID returns the process that last ran on the data and didn't say that it ended; zero
// when there is none.
func (c *cluster) recordedPID() (int, error) {
	text, err := os.ReadFile(c.pidFile())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for an earlier server: %w", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("look for an earlier server: %s names no process: %q", c.pidFile(), first)
	}
	return pid, nil
}

// isOurs compares with the whole line, since not every system keeps the arguments apart.
func (c *cluster) isOurs(args []string) bool {
	return strings.Contains(strings.Join(args, " ")+" ", " "+c.mark()+" ")
}

// end stops a server that isn't our child: fast, then immediately.
func (c *cluster) end(ctx context.Context, pid int) error {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop the earlier server (process %d): %w", pid, err)
		}
		if c.awaitEnd(ctx, pid) {
			return nil
		}
	}
	return fmt.Errorf("the earlier server (process %d) does not stop", pid)
}

// awaitEnd polls, as only a parent is told of a process's end. Half of the start's time is left
// for the start.
func (c *cluster) awaitEnd(ctx context.Context, pid int) bool {
	ctx, cancel := context.WithTimeout(ctx, startTimeout/4)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for c.isOurs(commandLine(pid)) {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}
