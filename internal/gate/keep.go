package gate

import (
	"context"
	"errors"
	"slices"

	"mergegate/internal/mergecheck"
	"mergegate/internal/notifications"
	"mergegate/internal/postgres"
	"mergegate/internal/pullrequests"
)

// keep adds what was decided and on what to d, and keeps it.
func (g *Gate) keep(ctx context.Context, q Question, j evaluation, d postgres.Decision) {
	v := j.verdict
	d.Trigger, d.Code, d.Builds = q.Trigger, string(v.Code), buildIDs(v)
	d.Head, d.Destination = v.PullRequest.Head, v.PullRequest.DestinationBranch
	if v.Policy.Version != 0 {
		d.PolicyVersion = &v.Policy.Version
	}
	d.Checked = v.Checked
	var err error
	if !j.facts.Now.IsZero() {
		d.Inputs, err = j.facts.Inputs()
	}
	if err == nil {
		err = g.keepAll(ctx, q, j, d)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		g.lost.Inc()
		g.log.ErrorContext(ctx, "storing a decision failed", "pull_request", q.PullRequest.PullRequestID,
			"trigger", q.Trigger, "code", v.Code, "head", v.PullRequest.Head, "error", err)
	}
}

// keepAll keeps d with what follows from it. Most have nothing, and need no transaction of
// their own.
func (g *Gate) keepAll(ctx context.Context, q Question, j evaluation, d postgres.Decision) error {
	jobs, effects := jobsOf(q, j), j.verdict.Policy.Effects.Any()
	if len(jobs) == 0 && j.seen == nil && !j.subscribed && !effects {
		return g.store.AddDecision(ctx, q.PullRequest, d)
	}
	return g.store.InTx(ctx, func(tx *postgres.Tx) error {
		if err := tx.AddDecision(ctx, q.PullRequest, d); err != nil {
			return err
		}
		if j.seen != nil {
			if err := pullrequests.Saw(ctx, tx, q.PullRequest, *j.seen); err != nil {
				return err
			}
		}
		if j.subscribed {
			if err := notifications.NotifyVerdict(ctx, tx, q.PullRequest, j.verdict); err != nil {
				return err
			}
		}
		if err := tx.Enqueue(ctx, jobs...); err != nil || !effects {
			return err
		}
		return tx.WantEffects(ctx, q.PullRequest)
	})
}

// jobsOf are the jobs that an evaluation makes necessary.
func jobsOf(q Question, j evaluation) (jobs []postgres.Job) {
	if j.unsettled {
		jobs = append(jobs, postgres.SettleHeads(q.PullRequest))
	}
	if j.rename {
		jobs = append(jobs, postgres.ReadName{WorkspaceUUID: q.PullRequest.WorkspaceUUID, RepositoryUUID: q.PullRequest.RepositoryUUID})
	}
	if r := rebuild(q, j); r != nil {
		jobs = append(jobs, *r)
	}
	return jobs
}

func buildIDs(v mergecheck.Verdict) []int64 {
	ids := []int64{}
	for _, p := range v.Projects {
		if p.Build != nil {
			ids = append(ids, p.Build.BuildID)
		}
	}
	return ids
}

// keepEnds records what somebody saw who only looked, where it ends a waiver: whoever
// sees that, it doesn't live again.
func (g *Gate) keepEnds(ctx context.Context, q Question, j evaluation) {
	if j.seen == nil || !slices.ContainsFunc(j.facts.Waivers, func(w mergecheck.Waiver) bool {
		return w.EndedBy == "" && w.EndedByFact(j.seen.Head, j.seen.DestinationBranch, j.seen.Latest) != ""
	}) {
		return
	}
	if err := pullrequests.See(ctx, g.store, q.PullRequest, *j.seen); err != nil {
		g.log.WarnContext(ctx, "storing the end of a waiver failed", "pull_request", q.PullRequest.PullRequestID, "error", err)
	}
}

// keepBrought records what was brought along, though it may be over: its head was one
// at that time, which twelve characters may be of, and it may have ended a waiver. What
// was read is recorded with the answer.
func (g *Gate) keepBrought(ctx context.Context, q Question, s Snapshot, recorded mergecheck.Recorded) {
	if s.read {
		return
	}
	var err error
	if recorded.HasTwin(s.SourceCommit) { // then its time may be its twin's: it was a head then or later
		err = pullrequests.NoteHead(ctx, g.store, q.PullRequest, s.sighting())
	} else {
		err = pullrequests.See(ctx, g.store, q.PullRequest, s.sighting())
	}
	if err != nil {
		g.log.WarnContext(ctx, "storing the pull request of a merge check failed", "pull_request", q.PullRequest.PullRequestID, "error", err)
	}
}
