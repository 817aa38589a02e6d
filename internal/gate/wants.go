package gate

import (
	"context"
	"slices"
	"strings"
	"time"

	"mergegate/internal/bitbucket"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// wantsBudget is how long one thing that a policy wants is asked for.
const wantsBudget = 1200 * time.Millisecond

// complete has the domain decide, and reads what a policy wants to know besides
// as long as that could change the verdict. Only policies that ask for more than
// builds, and a missing build, cost anything here, and most of it once: commits don't
// change, so what was read of them is kept.
func (g *Gate) complete(ctx context.Context, q Question, facts *mergecheck.Facts, r postgres.Repository) mergecheck.Verdict {
	if q.seen != nil {
		q.seen.fill(facts)
	}
	verdict := mergecheck.Evaluate(*facts)
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-lookReserve))
		defer cancel()
	}
	for range 2 { // what is wanted second depends on what was read first
		wants := verdict.Wants(*facts)
		if q.seen != nil { // the rest was read a moment ago
			wants = mergecheck.Wants{Unconfirmed: wants.Unconfirmed}
		}
		if !wants.Any() {
			return verdict
		}
		g.readWanted(ctx, q, wants, facts, r)
		verdict = mergecheck.Evaluate(*facts)
	}
	return verdict
}

// readWanted reads what is wanted into facts. What can't be read stays unknown, and
// facts say why.
func (g *Gate) readWanted(ctx context.Context, q Question, wants mergecheck.Wants, facts *mergecheck.Facts, r postgres.Repository) {
	client := g.clientFor(ctx, q.PullRequest.WorkspaceUUID)
	note := func(err error) {
		if err != nil {
			facts.Unread = g.bitbucketProblem(ctx, client, err).text
		}
	}
	if wants.Author {
		note(g.readAuthor(ctx, client, q, facts))
	}
	if wants.Changed {
		note(g.readChanged(ctx, client, q, facts, r))
	}
	for _, tested := range wants.Tested {
		note(g.readDistance(ctx, client, q, facts, r, tested))
	}
	if wants.BranchBuilds {
		g.readBranchBuilds(ctx, facts, r)
	}
	if wants.Unconfirmed {
		g.readUnconfirmed(ctx, q, facts)
	}
}

// readUnconfirmed reads which deliveries may be why there is no build.
func (g *Gate) readUnconfirmed(ctx context.Context, q Question, facts *mergecheck.Facts) {
	list, err := g.store.Unconfirmed(ctx, q.PullRequest)
	if err != nil {
		p := g.storeProblem(ctx, err)
		facts.Problem, facts.ProblemNextStep = p.text, p.nextStep
		return
	}
	facts.Unconfirmed, facts.DeliveriesRead = append(facts.Unconfirmed, list...), true
}

func (g *Gate) readAuthor(ctx context.Context, client *bitbucket.Client, q Question, facts *mergecheck.Facts) error {
	ctx, cancel := context.WithTimeout(ctx, wantsBudget)
	defer cancel()
	pr, err := client.PullRequest(ctx, q.PullRequest.WorkspaceUUID, q.PullRequest.RepositoryUUID, q.PullRequest.PullRequestID)
	if err != nil || pr.Author == "" {
		return err
	}
	facts.PullRequest.Author = pr.Author
	g.logUnkept(ctx, g.store.KeepAuthor(ctx, q.PullRequest, pr.Author))
	return nil
}

func (g *Gate) readChanged(ctx context.Context, client *bitbucket.Client, q Question, facts *mergecheck.Facts, r postgres.Repository) error {
	ctx, cancel := context.WithTimeout(ctx, wantsBudget)
	defer cancel()
	pr := facts.PullRequest
	if pr.DestinationCommit == "" {
		return nil
	}
	paths, err := client.PathsOfHead(ctx, q.PullRequest.WorkspaceUUID, q.PullRequest.RepositoryUUID, q.PullRequest.PullRequestID, pr.Head, pr.DestinationCommit)
	if err != nil {
		return err
	}
	facts.Changed = paths
	g.logUnkept(ctx, g.store.KeepChanged(ctx, r, pr.Head, pr.DestinationCommit, paths))
	return nil
}

func (g *Gate) readDistance(ctx context.Context, client *bitbucket.Client, q Question, facts *mergecheck.Facts, r postgres.Repository, tested string) error {
	ctx, cancel := context.WithTimeout(ctx, wantsBudget)
	defer cancel()
	d := mergecheck.Distance{Destination: strings.ToLower(facts.PullRequest.DestinationCommit), Tested: tested}
	var err error
	if d.Behind, d.Complete, err = client.CommitsBehind(ctx, q.PullRequest.WorkspaceUUID, q.PullRequest.RepositoryUUID, d.Destination, tested); err != nil {
		return err
	}
	facts.Distances = append(slices.Clone(facts.Distances), d)
	g.logUnkept(ctx, g.store.KeepDistance(ctx, r, d))
	return nil
}

// readBranchBuilds asks AppVeyor, not the store: such builds prove something only
// at this moment.
func (g *Gate) readBranchBuilds(ctx context.Context, facts *mergecheck.Facts, r postgres.Repository) {
	if g.opts.BranchBuilds == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, wantsBudget)
	defer cancel()
	builds, err := g.opts.BranchBuilds(ctx, r, facts.PullRequest.SourceBranch, facts.PullRequest.Head)
	if err != nil {
		g.log.WarnContext(ctx, "reading branch builds from AppVeyor failed", "error", err)
	}
	facts.BranchBuilds = builds
}

func (g *Gate) logUnkept(ctx context.Context, err error) {
	if err != nil {
		g.log.WarnContext(ctx, "storing an answer of Bitbucket failed; mergegate will read it again", "error", err)
	}
}

// missingFor is how old a head without a build is before AppVeyor is asked to
// build it, where the policy sets no not_started_after.
const missingFor = 10 * time.Minute

// rebuild is what AppVeyor is to be asked for by the policy, nil where nothing.
func rebuild(q Question, j evaluation) *postgres.RebuildPullRequest {
	v, p := j.verdict, j.verdict.Policy
	if !p.RebuildStale && !p.RebuildMissing || v.Success || v.SkippedBy != "" || !mergecheck.IsFullCommit(v.PullRequest.Head) {
		return nil
	}
	if v.Code == mergecheck.PullRequestClosed || v.Code == mergecheck.Frozen {
		return nil
	}
	job := &postgres.RebuildPullRequest{
		PullRequestKey: q.PullRequest, Head: v.PullRequest.Head,
		DestinationBranch: v.PullRequest.DestinationBranch, DestinationCommit: v.PullRequest.DestinationCommit,
	}
	for _, project := range v.Projects {
		stale := p.RebuildStale && project.Code == mergecheck.StaleDestination
		missing := p.RebuildMissing && project.Build == nil && project.Waiver == nil && isOverdue(j)
		if project.Required && project.Project.ID != 0 && (stale || missing) {
			job.ProjectIDs = append(job.ProjectIDs, project.Project.ID)
		}
	}
	if len(job.ProjectIDs) == 0 {
		return nil
	}
	return job
}

// isOverdue reports whether AppVeyor had the time to start a build on its own.
func isOverdue(j evaluation) bool {
	after := j.verdict.Policy.NotStartedAfter
	if after == 0 {
		after = missingFor
	}
	since := j.facts.HeadSince()
	return !since.IsZero() && j.facts.Now.Sub(since) > after
}
