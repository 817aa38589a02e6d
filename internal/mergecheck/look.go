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
// newest build decides. Where nothing passed, nothing is due.
func (v Verdict) Due(f Facts) (projects []int64) {
	for _, l := range v.looks(f) {
		if f.Now.Sub(l.On) > FreshLook {
			projects = append(projects, l.ProjectID)
		}
	}
	return projects
}

// looks are those that a verdict which lets a merge through rests on: at the projects
// that passed by AppVeyor's build, and at those that are only required where they built
// the head.
func (v Verdict) looks(f Facts) (looks []Look) {
	if !v.Success || v.SkippedBy != "" {
		return nil
	}
	for _, p := range v.Projects {
		if p.restsOnLook() {
			looks = append(looks, f.look(p.Project.ID))
		}
	}
	if len(looks) == 0 {
		return nil
	}
	for _, p := range f.Seen {
		at := f.look(p.ID)
		if !p.ReportsOnly && p.named(f.Policy.RequiredIfPresent) && !slices.Contains(looks, at) {
			looks = append(looks, at)
		}
	}
	return looks
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

// checked says what the look at AppVeyor that is longest ago came to, or why one of them
// failed just now: then what was confirmed last stands.
func checked(f Facts, v Verdict) string {
	looks := v.looks(f)
	if len(looks) == 0 {
		return ""
	}
	for _, l := range looks {
		if l.Problem != "" {
			return fmt.Sprintf("%s, so this result is from %s", l.Problem, clock(v.confirmedOn(l.ProjectID), f.Now))
		}
	}
	oldest := slices.MinFunc(looks, func(a, b Look) int { return a.On.Compare(b.On) })
	if oldest.On.IsZero() {
		return ""
	}
	return "checked with AppVeyor " + span(max(0, f.Now.Sub(oldest.On))) + " ago"
}

// confirmedOn is when the project's build ended that the verdict rests on; the newest of
// all where it rests on none of the project.
func (v Verdict) confirmedOn(projectID int64) (on time.Time) {
	for _, p := range v.Projects {
		if !p.restsOnLook() {
			continue
		}
		ended := confirmedOn(*p.Build)
		if p.Project.ID == projectID {
			return ended
		}
		if ended.After(on) {
			on = ended
		}
	}
	return on
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
