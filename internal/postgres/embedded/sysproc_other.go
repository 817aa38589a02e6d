//go:build !linux

package embedded

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// canPassFolders is false without Linux's /proc: as root the folder must be one that the
// unprivileged user can reach by its path.
const canPassFolders = false

// processAttributes makes a child that runs as the user and gets no Ctrl-C of ours. There is no
// parent death signal here: an orphan is stopped by the next start.
func processAttributes(as account) *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if as.other() {
		attributes.Credential = &syscall.Credential{Uid: uint32(as.uid), Gid: uint32(as.gid)}
	}
	return attributes
}

// commandLine returns the arguments of a process as ps shows them; none when it has ended.
func commandLine(pid int) []string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	text, err := exec.CommandContext(ctx, "ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return nil
	}
	return strings.Fields(string(text))
}
