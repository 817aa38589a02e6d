package gate

import (
	"context"
	"time"

	"mergegate/internal/bitbucket"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// Show evaluates a pull request as [Gate.Explain] does, for readers that don't decide: what is
// recorded is read each time, and Bitbucket at most every 15 s for one pull request unless
// something newer was recorded of it. It leaves a fifth of Bitbucket's limit to merge
// checks.
func (g *Gate) Show(ctx context.Context, r postgres.Repository, pullRequestID int64) mergecheck.Verdict {
	ctx, cancel := context.WithTimeout(ctx, Budget)
	defer cancel()
	q := Question{PullRequest: postgres.PullRequestKey{
		WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, PullRequestID: pullRequestID,
	}}
	mark, err := g.store.PullRequestMark(ctx, q.PullRequest)
	if err != nil {
		p := g.storeProblem(ctx, err)
		return mergecheck.Unanswerable(unread(problemLate).pullRequest(pullRequestID), p.text, p.nextStep, time.Now())
	}
	s, ok := g.shown.get(ctx, q.PullRequest, mark, func(ctx context.Context) seen { return g.see(ctx, q) })
	if !ok {
		s.snapshot.set(problemLate)
	}
	q.seen = &s.extra
	j := g.weigh(ctx, q, s.snapshot, g.known(ctx, q, s.snapshot))
	g.keepEnds(ctx, q, j)
	return j.verdict
}

// unread is a pull request that can't be read because of p.
func unread(p problem) (s Snapshot) {
	s.set(p)
	return s
}

// see reads a pull request to be shown, unless what is left of Bitbucket's limit is for
// merge checks.
func (g *Gate) see(ctx context.Context, q Question) seen {
	if g.clientFor(ctx, q.PullRequest.WorkspaceUUID).Wait(bitbucket.Background) > 0 {
		return seen{snapshot: unread(problemRateKept)}
	}
	s := seen{snapshot: g.read(ctx, q)}
	s.extra = extraOf(g.weigh(ctx, q, s.snapshot, g.known(ctx, q, s.snapshot)).facts)
	return s
}

// extra is what a policy wanted to know besides builds and was read elsewhere.
type extra struct {
	author       string
	changed      []string
	distances    []mergecheck.Distance
	branchBuilds []mergecheck.Build
	unread       string
}

func extraOf(f mergecheck.Facts) extra {
	return extra{
		author: f.PullRequest.Author, changed: f.Changed, distances: f.Distances, branchBuilds: f.BranchBuilds, unread: f.Unread,
	}
}

// fill adds to facts what isn't recorded.
func (e extra) fill(f *mergecheck.Facts) {
	if f.PullRequest.Author == "" {
		f.PullRequest.Author = e.author
	}
	if f.Changed == nil {
		f.Changed = e.changed
	}
	if len(f.Distances) < len(e.distances) {
		f.Distances = e.distances
	}
	f.BranchBuilds, f.Unread = e.branchBuilds, e.unread
}
