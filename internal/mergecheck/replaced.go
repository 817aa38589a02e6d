package mergecheck

import (
	"fmt"
	"strings"
)

// markAlike notes which projects have the name of another one.
func markAlike(list []ProjectVerdict) {
	names := map[string]int{}
	for _, p := range list {
		names[strings.ToLower(p.Project.Name())]++
	}
	for i := range list {
		list[i].Alike = names[strings.ToLower(list[i].Project.Name())] > 1
	}
}

// name is the project's name, with its id where the name alone could be another's.
func (p ProjectVerdict) name() string {
	if p.Alike && p.Project.ID != 0 {
		return fmt.Sprintf("%s (project %d)", p.Project.Name(), p.Project.ID)
	}
	return p.Project.Name()
}

// replaced says whose place the project has taken, "" where it is nobody's.
func (p ProjectVerdict) replaced() string {
	if p.Project.Replaces == 0 {
		return ""
	}
	return fmt.Sprintf("project %d replaces %d, which was deleted on AppVeyor", p.Project.ID, p.Project.Replaces)
}

// missingStep says what to do about a missing project. One whose name another has
// was probably deleted on AppVeyor and created again.
func missingStep(v Verdict) string {
	for _, p := range v.Projects {
		if p.Required && p.Code == NoBuild && p.Alike && p.Project.ID != 0 {
			return fmt.Sprintf("If project %d was deleted on AppVeyor, ask your mergegate admin to run `mergegate projects forget %d`.", p.Project.ID, p.Project.ID)
		}
	}
	return waitOrStart
}
