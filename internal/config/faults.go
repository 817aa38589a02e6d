package config

import (
	"fmt"
	"slices"
	"strings"
)

// Faults are what is wrong with the environment, each as "VARIABLE: what".
type Faults []string

// Error lists every fault on a line of its own.
func (f Faults) Error() string {
	heading := "the configuration has a fault:"
	if len(f) > 1 {
		heading = fmt.Sprintf("the configuration has %d faults:", len(f))
	}
	return heading + "\n  " + strings.Join(f, "\n  ")
}

// faults collects them. A variable whose text is damaged is named once: what follows from
// the damage would hide it.
type faults struct {
	list    Faults
	damaged []string // names of variables
}

func (f *faults) add(variable, format string, args ...any) {
	if slices.Contains(f.damaged, variable) {
		return
	}
	f.list = append(f.list, variable+": "+fmt.Sprintf(format, args...))
}

// damage adds the only fault that is told of a variable. The fault is in source, which is
// the variable itself or the name with _FILE.
func (f *faults) damage(variable, source, format string, args ...any) {
	f.add(source, format, args...)
	f.damaged = append(f.damaged, variable)
}

func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return Error{f.list}
}
