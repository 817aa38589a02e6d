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

// Due are the projects that AppVeyor wasn't looked at for within [FreshLook], and whose
// newest build decides: those that passed by AppVeyor's build, and those that are only
// required where they built the head. Where nothing passed, nothing is due.
func (v Verdict) Due(f Facts) (projects []int64) {
	if !v.Success || v.SkippedBy != "" {
		return nil
	}
	due := func(id int64) {
		if f.Now.Sub(f.look(id).On) > FreshLook && !slices.Contains(projects, id) {
			projects = append(projects, id)
		}
	}
	rests := false
	for _, p := range v.Projects {
		if p.restsOnLook() {
			rests = true
			due(p.Project.ID)
		}
	}
	for _, p := range f.Seen {
		if rests && !p.ReportsOnly && p.named(f.Policy.RequiredIfPresent) {
			due(p.ID)
		}
	}
	return projects
}

// restsOnLook reports whether the project passes by a build that AppVeyor confirmed.
// That may be one of the head itself: a newer one of the pull request counts too.
func (p ProjectVerdict) restsOnLook() bool {
	return p.Required && p.Code == Passed && p.Build != nil && p.Build.ConfirmedBy != ConfirmedByReport
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
