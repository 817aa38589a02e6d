package mergecheck

import (
	"fmt"
	"strings"
)

// Moved is what became of the destination branch since a build merged into it.
type Moved struct {
	Tested  string // the commit that the build merged into, 40 hex characters; "" when it isn't known
	Current string // the destination's commit now, as Bitbucket tells it
	Commits *int   // how many commits came since; nil when it isn't known
	AtLeast bool   // there are more than Commits
	Within  bool   // the policy's freshness is met
	Detail  string // the same in words, without full stop
}

// moved tells how fresh a build is by the policy. What isn't known is not fresh,
// except where the policy only warns.
func moved(f Facts, b Build) *Moved {
	m := &Moved{Tested: b.DestinationCommit, Current: f.PullRequest.DestinationCommit}
	branch := f.PullRequest.DestinationBranch
	switch d := distance(f, m.Tested); {
	case m.Tested == "":
		m.Detail = fmt.Sprintf("mergegate doesn't know which commit of %s build %s merged into", branch, b.Version)
	case m.Current == "":
		m.Detail = fmt.Sprintf("mergegate doesn't know the newest commit of %s", branch)
	case sameCommit(m.Tested, m.Current):
		m.Commits, m.Detail = new(0), fmt.Sprintf("%s hasn't moved since build %s", branch, b.Version)
	case d != nil:
		m.Commits, m.AtLeast = &d.Behind, !d.Complete
		m.Detail = fmt.Sprintf("%s has moved %s since build %s", branch, commits(d.Behind, m.AtLeast), b.Version)
	default:
		m.Detail = fmt.Sprintf("%s has moved since build %s", branch, b.Version)
	}
	if m.Commits == nil && f.Unread != "" {
		m.Detail += ", and mergegate can't count the commits: " + f.Unread
	}
	m.Within = f.Policy.Freshness.met(f, b, *m)
	return m
}

func (limit Freshness) met(f Facts, b Build, m Moved) bool {
	switch limit.Mode {
	case FreshnessOff, FreshnessWarn:
		return true
	case FreshnessStrict:
		return m.Tested != "" && sameCommit(m.Tested, m.Current)
	}
	if m.Tested != "" && sameCommit(m.Tested, m.Current) {
		return true
	}
	if limit.MaxBehind != nil && (m.Commits == nil || m.AtLeast || *m.Commits > *limit.MaxBehind) {
		return false
	}
	begun := started(b)
	return limit.MaxAge <= 0 || !begun.IsZero() && !f.Now.After(begun.Add(limit.MaxAge))
}

// words says what the policy allows.
func (limit Freshness) words() string {
	if limit.Mode != FreshnessLimit {
		return "limit 0 commits"
	}
	var parts []string
	if limit.MaxBehind != nil {
		parts = append(parts, commits(*limit.MaxBehind, false))
	}
	if limit.MaxAge > 0 {
		parts = append(parts, span(limit.MaxAge))
	}
	return "limit " + strings.Join(parts, " and ")
}

// outOfDate says how far the target branch has moved since the build, how old the build is
// where the policy limits that, and what to do. more counts the other builds like it.
func (p ProjectVerdict) outOfDate(f Facts, more string) (message, nextStep string) {
	version, m := p.Build.Version, p.Moved
	switch {
	case m.Commits == nil && f.Unread != "": // a count may show that it is fresh
		return fmt.Sprintf("AppVeyor build %s may be out of date%s: %s.", version, more, m.Detail), RetryLater
	case m.Tested == "" || m.Current == "":
		return fmt.Sprintf("AppVeyor build %s may be out of date%s: %s.", version, more, m.Detail), rebuildAndRerun
	}
	since := ""
	if begun := started(*p.Build); f.Policy.Freshness.MaxAge > 0 && !begun.IsZero() {
		since = lasted(" since the build started ", begun, f.Now) + " ago"
	}
	return fmt.Sprintf("AppVeyor build %s is out of date: %s (%s)%s.", version, p.movedSince(since), f.Policy.Freshness.words(), more), rebuildAndRerun
}

// movedSince is how far the target branch has moved, for a sentence that has named the build.
func (p ProjectVerdict) movedSince(since string) string {
	return strings.Replace(p.Moved.Detail, " since build "+p.Build.Version, since, 1)
}

// sameCommit compares a commit with one that Bitbucket may have abbreviated. Both
// are of the destination branch, which an author can't write to: no forgery of
// the first characters gets there.
func sameCommit(full, maybeShort string) bool {
	return len(maybeShort) >= shortestCommit && strings.HasPrefix(full, strings.ToLower(maybeShort))
}

// distance is how far the destination's commit now is from tested, nil when it
// isn't known.
func distance(f Facts, tested string) *Distance {
	if tested == "" || f.PullRequest.DestinationCommit == "" {
		return nil
	}
	for _, d := range f.Distances {
		if d.Tested == tested && strings.EqualFold(d.Destination, f.PullRequest.DestinationCommit) {
			return &d
		}
	}
	return nil
}

func commits(n int, atLeast bool) string {
	switch {
	case atLeast:
		return fmt.Sprintf("more than %d commits", n)
	case n == 0:
		return "0 commits"
	case n == 1:
		return "1 commit"
	default:
		return fmt.Sprintf("%d commits", n)
	}
}
