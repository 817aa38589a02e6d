package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc/PID/stat on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// cpuOf is what a process used so far, and what those of its children did that ended.
func cpuOf(pid int) (own, ended time.Duration, parent int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, 0 // it ended
	}
	// The name, in parentheses, may have spaces: fields are counted after it, from the third.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	number := func(field int) time.Duration {
		n, _ := strconv.ParseInt(fields[field-3], 10, 64) // the kernel writes numbers
		return time.Duration(n)
	}
	return (number(14) + number(15)) * tick, (number(16) + number(17)) * tick, int(number(4))
}

// treeCPU is what a process and its children used so far, those that ended too.
func treeCPU(pid int) time.Duration {
	own, ended, _ := cpuOf(pid)
	total := own + ended
	folders, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well formed
	for _, folder := range folders {
		child, _ := strconv.Atoi(filepath.Base(folder))
		if own, ended, parent := cpuOf(child); parent == pid {
			total += own + ended
		}
	}
	return total
}

// memoryOf is what a process holds in memory now, and the most that it ever did, in MiB.
func memoryOf(pid int) (now, most float64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // zero where it ended
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kib / 1024
		case "VmHWM:":
			most = kib / 1024
		}
	}
	return now, most
}
