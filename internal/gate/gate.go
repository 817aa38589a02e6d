// Package gate answers the question the service exists for: may this pull
// request be merged now?
//
//	verdict := gate.Ask(ctx, gate.Question{
//		PullRequest: postgres.PullRequestKey{…},
//		Trigger:     "on-merge",
//		Brought:     snapshot, // what the Forge function read, or nil
//	})
//
// It learns the head, reads the facts in one round trip, has the domain decide,
// and keeps the decision. Whatever is down, there is an answer within [Budget].
package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"mergegate/internal/apptokens"
	"mergegate/internal/bitbucket"
	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
	"mergegate/internal/postgres"
)

// Budget is how long answering takes at most. Forge waits 5 s in the worst
// reading of its documentation; the contract promises 4.
const Budget = 3500 * time.Millisecond

// bitbucketBudget leaves time to read the facts and to keep the decision.
const bitbucketBudget = 2500 * time.Millisecond

// Options are what a gate can do without. Log is required.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: not counted
	// Look asks AppVeyor at once for builds of a repository that nobody told of,
	// until its context ends, and has it looked at again for a while. It reports
	// whether it could. nil: nobody is asked.
	Look func(ctx context.Context, workspaceUUID, repositoryUUID string) (bool, error)
	// BranchBuilds reads AppVeyor's builds of a commit itself; nil: there are none.
	BranchBuilds func(ctx context.Context, r postgres.Repository, branch, commit string) ([]mergecheck.Build, error)
}

// Gate answers merge checks. It is safe for concurrent use.
type Gate struct {
	store  *postgres.Store
	client *bitbucket.Client
	tokens *apptokens.Tokens
	log    *slog.Logger
	opts   Options
	looks  recent
	// policies keeps documents that were read.
	policies policy.Cache
	shown    snapshotCache

	answers  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	lost     prometheus.Counter
}

// New returns a gate that reads pull requests with the Forge app's token of the
// workspace, else as client.
func New(store *postgres.Store, client *bitbucket.Client, tokens *apptokens.Tokens, opts Options) *Gate {
	metrics := promauto.With(opts.Metrics)
	return &Gate{
		store: store, client: client, tokens: tokens, log: opts.Log, opts: opts,
		answers: metrics.NewCounterVec(prometheus.CounterOpts{
			Name: "mergegate_merge_checks_total", Help: "Merge checks answered, by code.",
		}, []string{"trigger", "code"}),
		duration: metrics.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mergegate_merge_check_duration_seconds", Help: "Time to answer a merge check.",
			Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2, 4},
		}, []string{"asked_bitbucket"}),
		lost: metrics.NewCounter(prometheus.CounterOpts{
			Name: "mergegate_decisions_lost_total", Help: "Merge check answers that could not be kept as decisions.",
		}),
	}
}

// Question is one merge check.
type Question struct {
	PullRequest postgres.PullRequestKey
	FullName    string // "workspace/repo" where the asker named it so; else ""
	Trigger     string
	Brought     *Snapshot // nil: read it from Bitbucket
	SystemToken string    // the Forge app's, valid for this workspace; "" for none

	seen *extra // what was read a moment ago, instead of reading it; nil: it is read
}

// Ask answers q and keeps the answer as a decision. It never fails: what could
// not be read is a verdict too.
func (g *Gate) Ask(ctx context.Context, q Question) Answer {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, Budget)
	defer cancel()
	g.tokens.Keep(ctx, q.PullRequest.WorkspaceUUID, q.SystemToken)

	j := g.evaluate(ctx, q, true)
	took := time.Since(start)
	g.answers.WithLabelValues(triggerLabel(q.Trigger), string(j.verdict.Code)).Inc()
	g.duration.WithLabelValues(yesNo(q.Brought == nil)).Observe(took.Seconds())
	success, message := j.verdict.Answer(q.Trigger == onMerge)
	g.keep(ctx, q, j, postgres.Decision{Success: success, Message: message, DurationMs: int(took.Milliseconds())})
	return Answer{Success: success, Message: message, Verdict: j.verdict}
}

// onMerge is the trigger of a check that decides a merge.
const onMerge = "on-merge"

// Answer is what a merge check is told, and why.
type Answer struct {
	Success bool
	Message string // one line, at most 255 characters
	Verdict mergecheck.Verdict
}

// KeepToken keeps a Forge app system token that came with an event.
func (g *Gate) KeepToken(ctx context.Context, workspaceUUID, token string) {
	g.tokens.Keep(ctx, workspaceUUID, token)
}

// DropToken forgets the Forge app's token of a workspace: it is uninstalled there.
func (g *Gate) DropToken(ctx context.Context, workspaceUUID string) {
	g.tokens.Drop(ctx, workspaceUUID)
}

// Explain evaluates a pull request as [Gate.Ask] does, for people and programs
// that want to know; nothing is kept. The pull request is always read from
// Bitbucket: a verdict is for the head at the moment of asking.
func (g *Gate) Explain(ctx context.Context, r postgres.Repository, pullRequestID int64) mergecheck.Verdict {
	ctx, cancel := context.WithTimeout(ctx, Budget)
	defer cancel()
	return g.evaluate(ctx, Question{FullName: r.FullName, PullRequest: postgres.PullRequestKey{
		WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, PullRequestID: pullRequestID,
	}}, false).verdict
}

// judgement is a verdict with what it was given on.
type judgement struct {
	verdict mergecheck.Verdict
	facts   mergecheck.Facts
	// unsettled is set when a build is stored as of another head than it is of, or a
	// waiver may have ended.
	unsettled bool
	told      bool // somebody is told of verdicts that change
}

// evaluate answers q, and records the head as seen now where record is set.
func (g *Gate) evaluate(ctx context.Context, q Question, record bool) judgement {
	snapshot := g.snapshot(ctx, q)
	j := g.judge(ctx, q, snapshot, record)
	if record && g.worthLooking(ctx, q, j.verdict) && g.lookNow(ctx, q) {
		j = g.judge(ctx, q, snapshot, record)
	}
	return j
}

// judge reads the facts of a pull request and has the domain decide.
func (g *Gate) judge(ctx context.Context, q Question, snapshot Snapshot, record bool) judgement {
	pr := snapshot.pullRequest(q.PullRequest.PullRequestID)
	stored, problem := g.facts(ctx, q, snapshot, record)
	if problem != "" {
		return judgement{verdict: mergecheck.Unanswerable(pr, problem, time.Now())}
	}
	if pr.Author == "" {
		pr.Author = stored.Author
	}
	facts := mergecheck.Facts{
		PullRequest: pr, Heads: stored.Heads, Builds: stored.Builds, Seen: stored.Seen, Waivers: stored.Waivers,
		Unconfirmed: stored.Unconfirmed, Distances: stored.Distances, Changed: stored.Changed, Now: stored.Now,
	}
	facts.Policy, facts.Problem = g.policy(ctx, q, stored, pr.DestinationBranch)
	verdict := g.complete(ctx, q, &facts, stored.Repository)
	return judgement{verdict: verdict, facts: facts, unsettled: isUnsettled(stored) || stored.NewHead && len(stored.Waivers) > 0, told: stored.Told}
}

// policy is what the workspace asks of this repository and branch.
func (g *Gate) policy(ctx context.Context, q Question, stored postgres.Facts, branch string) (mergecheck.Policy, string) {
	if stored.Policy.Version == 0 {
		return mergecheck.Policy{}, ""
	}
	p, err := g.policies.For(q.PullRequest.WorkspaceUUID, stored.Policy.Version, stored.Policy.Document, stored.Repository.FullName, branch)
	if err != nil {
		g.log.ErrorContext(ctx, "policy can't be read", "workspace", q.PullRequest.WorkspaceUUID, "version", stored.Policy.Version, "error", err)
		return p, fmt.Sprintf("Version %d of the workspace's policy can't be read. Tell who runs mergegate to apply it again: mergegate policy apply.", stored.Policy.Version)
	}
	return p, ""
}

// isUnsettled reports whether the heads recorded meanwhile tell of a build that
// it is of another head than the store has it: its commit status has to follow.
func isUnsettled(facts postgres.Facts) bool {
	return slices.ContainsFunc(facts.Builds, func(b mergecheck.Build) bool {
		commit, _ := mergecheck.Attribute(b, facts.Heads)
		return commit != b.SourceCommit
	})
}

// facts reads what the store knows. A repository whose name it doesn't know, or
// that was renamed, is linked to its name first: AppVeyor knows only names.
func (g *Gate) facts(ctx context.Context, q Question, snapshot Snapshot, record bool) (facts postgres.Facts, problem string) {
	asked := postgres.Asked{
		PullRequest: q.PullRequest, Head: snapshot.SourceCommit,
		DestinationBranch: snapshot.DestinationBranch, DestinationCommit: snapshot.DestinationCommit, Seen: record,
	}
	facts, err := g.store.Facts(ctx, asked)
	if err != nil {
		return facts, g.storeProblem(ctx, err)
	}
	name, problem, err := g.newName(ctx, q, snapshot, facts.Repository)
	switch {
	case err != nil:
		return facts, g.storeProblem(ctx, err)
	case problem != "" || name == "":
		return facts, problem
	}
	err = g.store.LinkRepository(ctx, postgres.Repository{
		WorkspaceUUID: q.PullRequest.WorkspaceUUID, RepositoryUUID: q.PullRequest.RepositoryUUID, FullName: name,
	})
	if err == nil {
		facts, err = g.store.Facts(ctx, asked)
	}
	if err != nil {
		return facts, g.storeProblem(ctx, err)
	}
	return facts, ""
}

func (g *Gate) storeProblem(ctx context.Context, err error) string {
	g.log.ErrorContext(ctx, "merge check could not read its facts", "error", err)
	return "mergegate cannot read its database now, so this pull request is not let through. Re-run this check in a minute; if it lasts, tell who runs mergegate."
}

// keep adds what was decided and on what to d, and keeps it.
func (g *Gate) keep(ctx context.Context, q Question, j judgement, d postgres.Decision) {
	v := j.verdict
	d.Trigger, d.Code, d.Builds = q.Trigger, string(v.Code), buildIDs(v)
	d.Head, d.Destination = v.PullRequest.Head, v.PullRequest.DestinationBranch
	if v.Policy.Version != 0 {
		d.PolicyVersion = &v.Policy.Version
	}
	follow := postgres.FollowUps{SettleHeads: j.unsettled, Rebuild: rebuild(q, j), Effects: v.Policy.Effects.Any()}
	if j.told {
		follow.Verdict = &v
	}
	var err error
	if !j.facts.Now.IsZero() {
		d.Inputs, err = j.facts.Inputs()
	}
	if err == nil {
		err = g.store.AddDecision(ctx, q.PullRequest, d, follow)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		g.lost.Inc()
		g.log.ErrorContext(ctx, "decision not kept", "pull_request", q.PullRequest.PullRequestID,
			"trigger", q.Trigger, "code", v.Code, "head", v.PullRequest.Head, "error", err)
	}
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

// triggerLabel bounds a metric's label to the triggers Forge documents.
func triggerLabel(trigger string) string {
	switch trigger {
	case "on-merge", "on-code-pushed", "on-reviewer-status-changed":
		return trigger
	default:
		return "other"
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
