package builds

import (
	"sync"
	"time"
)

const (
	leastFaultWait = 2 * time.Second
	mostFaultWait  = 15 * time.Minute
)

// faults keeps projects whose history can't be read from being asked for it at
// every round: each failure in a row doubles the wait. The zero value is ready
// to use.
type faults struct {
	mu       sync.Mutex
	projects map[int64]fault
}

type fault struct {
	inARow int
	until  time.Time
}

// over reports whether a project may be asked again.
func (f *faults) over(project int64, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !now.Before(f.projects[project].until)
}

// note keeps how reading a project's history went.
func (f *faults) note(project int64, err error, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		delete(f.projects, project)
		return
	}
	if f.projects == nil {
		f.projects = map[int64]fault{}
	}
	last := f.projects[project]
	wait := min(leastFaultWait<<min(last.inARow, 20), mostFaultWait)
	f.projects[project] = fault{inARow: last.inARow + 1, until: now.Add(wait)}
}
