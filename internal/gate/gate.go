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
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"mergegate/internal/apptokens"
	"mergegate/internal/bitbucket"
	"mergegate/internal/builds"
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
	// Look reads a repository's builds from AppVeyor at once, until its context ends, and
	// schedules more looks for a while. It reports whether it could. nil: no looks.
	Look func(ctx context.Context, workspaceUUID, repositoryUUID string) (bool, error)
	// Recheck reads the newest builds of projects from AppVeyor once more, until its
	// context ends. It returns why it couldn't, by project id. nil: no rechecks.
	Recheck func(ctx context.Context, workspaceUUID, repositoryUUID string, projects []int64) map[int64]string
	// Accounts are the AppVeyor accounts that are trusted for each workspace. A build of an
	// account that is no longer trusted no longer counts. The zero value trusts none.
	Accounts mergecheck.Accounts
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
			Name: "mergegate_decisions_lost_total", Help: "Merge check answers that mergegate failed to store as decisions.",
		}),
	}
}

// Question is one merge check.
type Question struct {
	PullRequest postgres.PullRequestKey
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
	success, message := j.verdict.Answer(q.Trigger == mergecheck.TriggerOnMerge)
	g.keep(ctx, q, j, postgres.Decision{Success: success, Message: message, DurationMs: int(took.Milliseconds())})
	return Answer{Success: success, Message: message, Verdict: j.verdict, Repository: j.repository.FullName}
}

// Answer is what a merge check is told, and why.
type Answer struct {
	Success bool
	Message string // one line, at most 255 characters
	Verdict mergecheck.Verdict
	// Repository is "workspace/repo", "" while Bitbucket has not told it.
	Repository string
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
// that want to know. It stores nothing, except that a waiver has ended. It always reads the
// pull request from Bitbucket: a verdict is for the head at the moment of asking.
func (g *Gate) Explain(ctx context.Context, r postgres.Repository, pullRequestID int64) mergecheck.Verdict {
	ctx, cancel := context.WithTimeout(ctx, Budget)
	defer cancel()
	q := Question{PullRequest: postgres.PullRequestKey{
		WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, PullRequestID: pullRequestID,
	}}
	j := g.evaluate(ctx, q, false)
	g.keepEnds(ctx, q, j)
	return j.verdict
}

// evaluation is a verdict with what it was given on.
type evaluation struct {
	verdict mergecheck.Verdict
	facts   mergecheck.Facts
	// repository is as it is stored: the zero value where it couldn't be read.
	repository postgres.Repository
	// seen is the pull request as it was seen, where that is news; nil: it isn't.
	seen *postgres.Sighting
	// unsettled is set when a build is stored as of another head than it is of.
	unsettled  bool
	subscribed bool // the workspace has a subscription for changed verdicts
	// rename is set where Bitbucket is to be asked later what the repository is called.
	rename bool
}

// evaluate answers q: the head, the facts, the verdict. Where record is set AppVeyor is
// looked at before that counts, if a build may be missing, or for a merge.
func (g *Gate) evaluate(ctx context.Context, q Question, record bool) evaluation {
	s := g.snapshot(ctx, q)
	k := g.known(ctx, q, s)
	if s.Problem == "" && k.problem == nil && k.contradicts(s) {
		g.keepBrought(ctx, q, s, k.stored.Recorded)
		s = g.readAgain(ctx, q, s, k.stored.Recorded)
		k = g.known(ctx, q, s)
	}
	j := g.weigh(ctx, q, s, k)
	if !record {
		return j
	}
	if fresh, looked := g.look(ctx, q, s, j); looked {
		return g.weigh(ctx, q, s, fresh)
	}
	return j
}

// known is what is stored of a pull request, or why that can't be read.
type known struct {
	stored    postgres.Facts
	untrusted []mergecheck.Unconfirmed // builds that are stored and don't count any more
	policy    mergecheck.Policy
	problem   *problem // nil: everything was read
	rename    bool
}

// known reads what is stored, and what the workspace asks for.
func (g *Gate) known(ctx context.Context, q Question, s Snapshot) (k known) {
	var unnamed *problem
	if k.stored, unnamed, k.problem = g.facts(ctx, q, s); k.problem != nil {
		return k
	}
	k.untrusted = g.dropUntrusted(&k.stored)
	if unnamed != nil && (k.stored.Repository.FullName == "" || k.stored.Policy.Version != 0) {
		k.problem = unnamed // rules go by names, and so do AppVeyor's builds
		return k
	}
	k.rename = unnamed != nil
	k.policy, k.problem = g.policy(ctx, q, k.stored, s.DestinationBranch)
	return k
}

// contradicts reports whether something is recorded that may be newer than s.
func (k known) contradicts(s Snapshot) bool {
	r := k.stored.Recorded
	return r.Contradicts(s.told()) || (k.policy.Freshness.Mode != mergecheck.FreshnessOff || k.policy.AcceptBranchBuilds) && r.ContradictsDestination(s.told())
}

// weigh has the domain decide.
func (g *Gate) weigh(ctx context.Context, q Question, s Snapshot, k known) evaluation {
	pr, stored := s.pullRequest(q.PullRequest.PullRequestID), k.stored
	if stored.Now.IsZero() { // the facts themselves couldn't be read
		why := problemDatabase
		if k.problem != nil {
			why = *k.problem
		}
		return evaluation{verdict: mergecheck.Unanswerable(pr, why.text, why.nextStep, time.Now())}
	}
	if pr.Author == "" {
		pr.Author = stored.Author
	}
	facts := mergecheck.Facts{
		PullRequest: pr, Heads: stored.Recorded.Heads, Waiting: stored.Recorded.Waiting, Builds: stored.Builds, Seen: stored.Seen,
		Looks: stored.Looks, Waivers: stored.Waivers, Unconfirmed: k.untrusted, Distances: stored.Distances, Changed: stored.Changed,
		Policy: k.policy, Now: stored.Now,
	}
	if k.problem != nil {
		facts.Problem, facts.ProblemNextStep = k.problem.text, k.problem.nextStep
	}
	j := evaluation{verdict: g.complete(ctx, q, &facts, stored.Repository), unsettled: isUnsettled(facts), subscribed: stored.Subscribed, rename: k.rename}
	j.facts, j.repository = facts, stored.Repository
	if seen := s.sighting(); stored.IsNews(seen) {
		j.seen = &seen
	}
	return j
}

// policy is what the workspace asks of this repository and branch.
func (g *Gate) policy(ctx context.Context, q Question, stored postgres.Facts, branch string) (mergecheck.Policy, *problem) {
	if stored.Policy.Version == 0 {
		return mergecheck.Policy{}, nil
	}
	p, err := g.policies.For(q.PullRequest.WorkspaceUUID, stored.Policy.Version, stored.Policy.Document, stored.Repository.FullName, branch)
	if err != nil {
		g.log.ErrorContext(ctx, "reading the policy failed", "workspace", q.PullRequest.WorkspaceUUID, "version", stored.Policy.Version, "error", err)
		return p, new(problemPolicy(stored.Policy.Version))
	}
	return p, nil
}

// isUnsettled reports whether the heads recorded meanwhile tell of a build that
// it is of another head than the store has it: its commit status has to follow.
func isUnsettled(f mergecheck.Facts) bool {
	return slices.ContainsFunc(f.Builds, func(b mergecheck.Build) bool {
		commit, _ := mergecheck.Attribute(b, mergecheck.History{Heads: f.Heads, Waiting: f.Waiting})
		return commit != b.SourceCommit
	})
}

// facts reads what the store knows. A repository whose name it doesn't know, or
// that was renamed, is linked to its name first: AppVeyor knows only names. unnamed
// says why its name can't be told now.
func (g *Gate) facts(ctx context.Context, q Question, s Snapshot) (facts postgres.Facts, unnamed, unread *problem) {
	asked := postgres.Asked{PullRequest: q.PullRequest, Told: s.told(), SourceRepository: s.SourceRepositoryUUID, SourceBranch: s.SourceBranch}
	facts, err := g.store.Facts(ctx, asked)
	if err != nil {
		return postgres.Facts{}, nil, new(g.storeProblem(ctx, err))
	}
	name, unnamed := g.newName(ctx, q, s, facts.Repository)
	if name == "" {
		return facts, unnamed, nil
	}
	err = g.store.LinkRepository(ctx, postgres.Repository{
		WorkspaceUUID: q.PullRequest.WorkspaceUUID, RepositoryUUID: q.PullRequest.RepositoryUUID, FullName: name,
	})
	if err == nil { // builds of this pull request that waited for the name are wanted now
		err = builds.RecordWaiting(ctx, g.store, q.PullRequest)
	}
	if err == nil {
		facts, err = g.store.Facts(ctx, asked)
	}
	if err != nil {
		return postgres.Facts{}, nil, new(g.storeProblem(ctx, err))
	}
	return facts, nil, nil
}

// dropUntrusted has builds of accounts that may not speak for the repository any more be as
// if they had come only now: ignored. Their projects stay: what was required isn't let
// through by that.
func (g *Gate) dropUntrusted(stored *postgres.Facts) (untrusted []mergecheck.Unconfirmed) {
	r := stored.Repository
	stored.Builds = slices.DeleteFunc(stored.Builds, func(b mergecheck.Build) bool {
		if b.ConfirmedBy == mergecheck.ConfirmedByReport || g.opts.Accounts.MaySpeakFor(b.Project.Account, r.WorkspaceUUID, r.FullName) {
			return false
		}
		untrusted = append(untrusted, mergecheck.Unconfirmed{BuildID: b.BuildID, Untrusted: b.Project.Account})
		return true
	})
	return untrusted
}

// triggerLabel bounds a metric's label to the triggers Forge documents.
func triggerLabel(trigger string) string {
	switch trigger {
	case mergecheck.TriggerOnMerge, mergecheck.TriggerOnCodePushed, "on-reviewer-status-changed":
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
