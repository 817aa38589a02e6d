package embedded

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a child that has been started.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when the child has ended
	err   error         // how it ended; set before ended is closed
}

// launch starts a child and watches over it. The goroutine that starts it keeps its thread until
// the child has ended: the system counts the death of that thread as the parent's.
func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
		close(p.ended)
	}()
	return p, <-started
}

// stop asks PostgreSQL for a fast shutdown and insists when that takes too long.
func (p *process) stop() error {
	select {
	case <-p.ended:
		return fmt.Errorf("PostgreSQL ended by itself: %w", p.reason())
	default:
	}
	if p.signal(syscall.SIGINT, stopTimeout) {
		return p.err
	}
	if p.signal(syscall.SIGQUIT, immediateTimeout) || p.signal(syscall.SIGKILL, immediateTimeout) {
		return fmt.Errorf("PostgreSQL did not stop within %s and was forced to; it will recover at the next start", stopTimeout)
	}
	return errors.New("PostgreSQL does not stop")
}

// signal reports whether the child ended within the time after the signal.
func (p *process) signal(sig syscall.Signal, within time.Duration) bool {
	_ = p.cmd.Process.Signal(sig) // fails only when the child has ended, which is what is waited for
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	select {
	case <-p.ended:
		return true
	case <-timeout.C:
		return false
	}
}

func (p *process) reason() error {
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}
