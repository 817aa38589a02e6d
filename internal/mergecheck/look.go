package mergecheck

import (
	"fmt"
	"slices"
	"time"
)

// FreshLook is how old the last look at a project may be where its build lets a merge
// through: AppVeyor sends each webhook once, and one that was lost may tell of a newer
// build that failed.
const FreshLook = 30 * time.Second

// Due are the required projects whose AppVeyor build passed, and that AppVeyor wasn't
// looked at for within [FreshLook]. Where nothing passed, nothing is due.
func (v Verdict) Due(f Facts) (projects []int64) {
	if !v.Success {
		return nil
	}
	for _, p := range v.Projects {
		if p.restsOnLook() && f.Now.Sub(f.look(p.Project.ID).On) > FreshLook {
			projects = append(projects, p.Project.ID)
		}
	}
	return projects
}

// restsOnLook reports whether the project passes by a pull request build that AppVeyor
// confirmed. Builds of the head itself are read when they are asked for.
func (p ProjectVerdict) restsOnLook() bool {
	return p.Required && p.Code == Passed && p.Build != nil && p.Build.ConfirmedBy != ConfirmedByReport && p.Build.PullRequestID != 0
}

// lookFailed reports whether AppVeyor couldn't be read just now.
func (f Facts) lookFailed() bool {
	return slices.ContainsFunc(f.Looks, func(l Look) bool { return l.Problem != "" })
}

func (f Facts) look(projectID int64) Look {
	for _, l := range f.Looks {
		if l.ProjectID == projectID {
			return l
		}
	}
	return Look{ProjectID: projectID}
}

// checked says what the look at AppVeyor that is longest ago came to.
func checked(f Facts, v Verdict) string {
	var oldest Look
	found := false
	for _, p := range v.Projects {
		if !v.Success || !p.restsOnLook() {
			continue
		}
		l := f.look(p.Project.ID)
		if l.Problem != "" {
			return fmt.Sprintf("%s, result of %s", l.Problem, clock(confirmedOn(*p.Build), f.Now))
		}
		if !found || l.On.Before(oldest.On) {
			oldest, found = l, true
		}
	}
	if !found || oldest.On.IsZero() {
		return ""
	}
	return "checked with AppVeyor " + span(max(0, f.Now.Sub(oldest.On))) + " ago"
}

func confirmedOn(b Build) time.Time {
	if b.FinishedOn.IsZero() {
		return b.UpdatedOn
	}
	return b.FinishedOn
}

// clock is a time of this day, or a moment of another.
func clock(t, now time.Time) string {
	if t.UTC().Format(time.DateOnly) == now.UTC().Format(time.DateOnly) {
		return t.UTC().Format("15:04") + " UTC"
	}
	return instant(t)
}
