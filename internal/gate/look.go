package gate

import (
	"context"
	"sync"
	"time"

	"mergegate/internal/mergecheck"
)

const (
	// lookBudget is how long AppVeyor is asked while somebody waits.
	lookBudget = 1500 * time.Millisecond
	// lookReserve is what has to be left after that: to read the facts again and
	// to keep the decision.
	lookReserve = 700 * time.Millisecond
	// lookGap is how long a repository isn't looked at again: Bitbucket asks the
	// same question several times where a check is set up at several levels.
	lookGap = 3 * time.Second
	// maxRecent bounds what is remembered of looks.
	maxRecent = 10_000
)

// look has AppVeyor looked at for a merge check, and returns what is known then. It reports
// false where that needn't be, or couldn't.
func (g *Gate) look(ctx context.Context, q Question, s Snapshot, j evaluation) (fresh known, looked bool) {
	if g.worthLooking(ctx, q, j.verdict) && g.lookNow(ctx, q) {
		return g.known(ctx, q, s), true
	}
	return g.recheck(ctx, q, s, j)
}

// worthLooking reports whether AppVeyor may have a build that changes the
// verdict: AppVeyor tells of no build that starts, runs or is cancelled, and
// cancels builds for newer ones.
func (g *Gate) worthLooking(ctx context.Context, q Question, v mergecheck.Verdict) bool {
	if g.opts.Look == nil || v.PullRequest.Head == "" {
		return false
	}
	switch v.Code {
	case mergecheck.NoBuild, mergecheck.MissingProject, mergecheck.CancelledCode, mergecheck.StaleDestination,
		mergecheck.RunningCode, mergecheck.QueuedCode, mergecheck.TimedOut:
	default:
		return false
	}
	deadline, ok := ctx.Deadline()
	if ok && time.Until(deadline) < lookBudget/2+lookReserve {
		return false
	}
	return g.looks.first(q.PullRequest.WorkspaceUUID+q.PullRequest.RepositoryUUID, time.Now())
}

// lookNow looks as long as there is time for it.
func (g *Gate) lookNow(ctx context.Context, q Question) bool {
	ctx, cancel := context.WithDeadline(ctx, lookUntil(ctx))
	defer cancel()
	looked, err := g.opts.Look(ctx, q.PullRequest.WorkspaceUUID, q.PullRequest.RepositoryUUID)
	if err != nil {
		g.log.WarnContext(ctx, "reading AppVeyor for a merge check failed", "error", err)
	}
	return looked
}

// recheck has AppVeyor looked at once more before a merge, where the builds that let it
// through were looked at a while ago. Where AppVeyor can't be reached what it confirmed
// stands, and the decision says so.
func (g *Gate) recheck(ctx context.Context, q Question, s Snapshot, j evaluation) (fresh known, looked bool) {
	due := j.verdict.Due(j.facts)
	if q.Trigger != mergecheck.TriggerOnMerge || g.opts.Recheck == nil || len(due) == 0 {
		return known{}, false
	}
	look, cancel := context.WithDeadline(ctx, lookUntil(ctx))
	problems := g.opts.Recheck(look, q.PullRequest.WorkspaceUUID, q.PullRequest.RepositoryUUID, due)
	cancel()
	k := g.known(ctx, q, s)
	for i, l := range k.stored.Looks {
		k.stored.Looks[i].Problem = problems[l.ProjectID]
	}
	return k, !k.stored.Now.IsZero() // else what was known a moment ago stands
}

// lookUntil is until when AppVeyor is looked at, with as much time left as the rest takes.
func lookUntil(ctx context.Context) time.Time {
	until := time.Now().Add(lookBudget)
	if end, ok := ctx.Deadline(); ok && end.Add(-lookReserve).Before(until) {
		until = end.Add(-lookReserve)
	}
	return until
}

// recent remembers what was done a moment ago. The zero value is ready to use.
type recent struct {
	mu sync.Mutex
	at map[string]time.Time
}

// first reports whether key was not done within lookGap, and notes that it is now.
func (r *recent) first(key string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.at[key]) < lookGap {
		return false
	}
	if r.at == nil || len(r.at) >= maxRecent {
		r.at = map[string]time.Time{} // what is forgotten is looked at once more
	}
	r.at[key] = now
	return true
}
