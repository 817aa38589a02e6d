package embedded

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

// canPassFolders says that a child can use an opened folder through /proc/self/fd: the kernel
// goes straight to it, whatever the folders above allow.
const canPassFolders = true

// processAttributes makes a child that runs as the user, gets no Ctrl-C of ours, since its own
// group keeps it running while we still drain, and is shut down fast if we die without a word.
func processAttributes(as account) *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	if as.other() {
		attributes.Credential = &syscall.Credential{Uid: uint32(as.uid), Gid: uint32(as.gid)}
	}
	return attributes
}

// commandLine returns the arguments of a process; none when it has ended.
func commandLine(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	var args []string
	for arg := range bytes.SplitSeq(bytes.TrimRight(text, "\x00"), []byte{0}) {
		args = append(args, string(arg))
	}
	return args
}
