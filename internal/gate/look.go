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
	until := time.Now().Add(lookBudget)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(-lookReserve).Before(until) {
		until = deadline.Add(-lookReserve)
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	looked, err := g.opts.Look(ctx, q.PullRequest.WorkspaceUUID, q.PullRequest.RepositoryUUID)
	if err != nil {
		g.log.WarnContext(ctx, "AppVeyor not looked at for a merge check", "error", err)
	}
	return looked
}

// recheck has AppVeyor looked at once more before a merge, where the builds that let it
// through were looked at a while ago. Where AppVeyor can't be reached what it confirmed
// stands, and the decision says so.
func (g *Gate) recheck(ctx context.Context, q Question, s Snapshot, j evaluation) evaluation {
	due := j.verdict.Due(j.facts)
	if q.Trigger != mergecheck.TriggerOnMerge || g.opts.Recheck == nil || len(due) == 0 {
		return j
	}
	deadline := time.Now().Add(lookBudget)
	if end, ok := ctx.Deadline(); ok && end.Add(-lookReserve).Before(deadline) {
		deadline = end.Add(-lookReserve)
	}
	look, cancel := context.WithDeadline(ctx, deadline)
	problems := g.opts.Recheck(look, q.PullRequest.WorkspaceUUID, q.PullRequest.RepositoryUUID, due)
	cancel()
	k := g.known(ctx, q, s)
	if k.stored.Now.IsZero() {
		return j // what was known a moment ago
	}
	for i, l := range k.stored.Looks {
		k.stored.Looks[i].Problem = problems[l.ProjectID]
	}
	return g.weigh(ctx, q, s, k)
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
