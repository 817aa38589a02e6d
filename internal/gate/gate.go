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
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"mergegate/internal/apptokens"
	"mergegate/internal/bitbucket"
	"mergegate/internal/mergecheck"
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
}

// Gate answers merge checks. It is safe for concurrent use.
type Gate struct {
	store  *postgres.Store
	client *bitbucket.Client
	tokens *apptokens.Tokens
	log    *slog.Logger
	look   func(ctx context.Context, workspaceUUID, repositoryUUID string) (bool, error)
	looks  recent

	answers  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	lost     prometheus.Counter
}

// New returns a gate that reads pull requests with the Forge app's token of the
// workspace, else as client.
func New(store *postgres.Store, client *bitbucket.Client, tokens *apptokens.Tokens, opts Options) *Gate {
	metrics := promauto.With(opts.Metrics)
	return &Gate{
		store: store, client: client, tokens: tokens, log: opts.Log, look: opts.Look,
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
}

// Ask answers q and keeps the answer as a decision. It never fails: what could
// not be read is a verdict too.
func (g *Gate) Ask(ctx context.Context, q Question) mergecheck.Verdict {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, Budget)
	defer cancel()
	g.tokens.Keep(ctx, q.PullRequest.WorkspaceUUID, q.SystemToken)

	verdict, unsettled := g.evaluate(ctx, q, true)
	took := time.Since(start)
	trigger := triggerLabel(q.Trigger)
	g.answers.WithLabelValues(trigger, string(verdict.Code)).Inc()
	g.duration.WithLabelValues(yesNo(q.Brought == nil)).Observe(took.Seconds())
	g.keep(ctx, q, verdict, unsettled, took)
	return verdict
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
	verdict, _ := g.evaluate(ctx, Question{FullName: r.FullName, PullRequest: postgres.PullRequestKey{
		WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, PullRequestID: pullRequestID,
	}}, false)
	return verdict
}

// evaluate answers q, and records the head as seen now where record is set.
// unsettled is set when a build is stored as of another head than it is of.
func (g *Gate) evaluate(ctx context.Context, q Question, record bool) (verdict mergecheck.Verdict, unsettled bool) {
	snapshot := g.snapshot(ctx, q)
	verdict, unsettled = g.judge(ctx, q, snapshot, record)
	if record && g.worthLooking(ctx, q, verdict) && g.lookNow(ctx, q) {
		return g.judge(ctx, q, snapshot, record)
	}
	return verdict, unsettled
}

// judge reads the facts of a pull request and has the domain decide.
func (g *Gate) judge(ctx context.Context, q Question, snapshot Snapshot, record bool) (verdict mergecheck.Verdict, unsettled bool) {
	pr := snapshot.pullRequest(q.PullRequest.PullRequestID)
	facts, problem := g.facts(ctx, q, snapshot, record)
	if problem != "" {
		return mergecheck.Unanswerable(pr, problem, time.Now()), false
	}
	return mergecheck.Evaluate(mergecheck.Facts{
		PullRequest: pr, Heads: facts.Heads, Builds: facts.Builds, Required: facts.Required,
		Unconfirmed: facts.Unconfirmed, Now: facts.Now,
	}), isUnsettled(facts)
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
	facts, err := g.store.Facts(ctx, q.PullRequest, snapshot.SourceCommit, record)
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
		facts, err = g.store.Facts(ctx, q.PullRequest, snapshot.SourceCommit, record)
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

func (g *Gate) keep(ctx context.Context, q Question, v mergecheck.Verdict, unsettled bool, took time.Duration) {
	err := g.store.AddDecision(ctx, q.PullRequest, postgres.Decision{
		Trigger: q.Trigger, Success: v.Success, Code: string(v.Code), Message: v.Message,
		Head: v.PullRequest.Head, Destination: v.PullRequest.DestinationBranch,
		Builds: buildIDs(v), DurationMs: int(took.Milliseconds()),
	}, unsettled)
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
