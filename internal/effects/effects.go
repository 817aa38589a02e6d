// Package effects makes Bitbucket show a verdict where the policy asks for it: by
// an approval, a request for changes, a comment, a task, a report.
//
// What can change a verdict only says that a pull request is to be looked at
// again. A job evaluates it and makes Bitbucket show what is so then, so repeated,
// late and reordered jobs end in the same:
//
//	service := effects.New(store, gate, client, tokens, effects.Options{Log: log})
//	outbox.New(store, service.Kind()).AddWorkers(workers)
//
// Only what was made here is ever changed or taken back.
package effects

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/riverqueue/river"

	"mergegate/internal/apptokens"
	"mergegate/internal/bitbucket"
	"mergegate/internal/gate"
	"mergegate/internal/mergecheck"
	"mergegate/internal/notifications"
	"mergegate/internal/outbox"
	"mergegate/internal/policy"
	"mergegate/internal/postgres"
	"mergegate/internal/retry"
)

const (
	// oneBudget is how long making one effect may take.
	oneBudget = 15 * time.Second
	// lease is longer than what is done between two times it is lengthened:
	// evaluating, or one effect.
	lease = oneBudget + 5*time.Second
	// mostPause is the longest time between two tries at one effect.
	mostPause = 10 * time.Minute
	// settleWithin bounds recording what Bitbucket answered, also when the program
	// is told to end.
	settleWithin = 5 * time.Second
)

// Options are what a service can do without. Log is required.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: not counted
}

// Service makes effects. It is safe for concurrent use.
type Service struct {
	store    *postgres.Store
	gate     *gate.Gate
	client   *bitbucket.Client
	tokens   *apptokens.Tokens
	log      *slog.Logger
	policies policy.Cache
	made     *prometheus.CounterVec
}

// New returns a service that asks g for verdicts and makes effects as client, or
// where that has no credential with the Forge app's token of the workspace.
func New(store *postgres.Store, g *gate.Gate, client *bitbucket.Client, tokens *apptokens.Tokens, opts Options) *Service {
	return &Service{
		store: store, gate: g, client: client, tokens: tokens, log: opts.Log,
		made: promauto.With(opts.Metrics).NewCounterVec(prometheus.CounterOpts{
			Name: "mergegate_effects_total", Help: "Attempts to make an effect, by effect and how they ended.",
		}, []string{"effect", "result"}),
	}
}

// Kind is how the effects of a pull request are made.
func (s *Service) Kind() outbox.Kind {
	return outbox.Kind{Name: postgres.EffectsEntry, Lease: lease, Most: 1, Make: s.make}
}

// AddWorkers registers the other jobs of this package.
func (s *Service) AddWorkers(workers *river.Workers) {
	river.AddWorker(workers, river.WorkFunc(s.wake))
	river.AddWorker(workers, river.WorkFunc(s.spread))
}

func (s *Service) wake(ctx context.Context, job *river.Job[postgres.WakeEffects]) error {
	now, err := s.store.Now(ctx)
	if err != nil {
		return err
	}
	if early := job.Args.On.Sub(now); early > 0 {
		return river.JobSnooze(early + time.Second)
	}
	return s.store.WantEffects(ctx, job.Args.PullRequestKey)
}

func (s *Service) spread(ctx context.Context, job *river.Job[postgres.SpreadEffects]) error {
	return s.store.SpreadEffects(ctx, job.Args)
}

func (s *Service) make(ctx context.Context, e *postgres.Entry) (postgres.Attempt, error) {
	wait, err := s.show(ctx, e)
	if err != nil || wait == 0 {
		return postgres.Attempt{Outcome: postgres.Posted}, err
	}
	return postgres.Attempt{Outcome: postgres.Pending, RetryIn: wait}, nil
}

// show makes Bitbucket show the verdict of a pull request, and returns after
// how long to try again what could not be done; 0: all is done.
func (s *Service) show(ctx context.Context, entry *postgres.Entry) (time.Duration, error) {
	pr := entry.PullRequest()
	facts, err := s.store.EffectFacts(ctx, pr)
	if err != nil {
		return 0, err
	}
	asked, err := s.effectsOf(ctx, facts, facts.Branch)
	if err != nil || !asked.Any() && len(facts.Effects) == 0 && !facts.Subscribed {
		return 0, err // a policy that can't be read asks for nothing and takes nothing back
	}
	t := task{Service: s, entry: entry, pr: pr, facts: facts, client: s.client.AsMaker(ctx, s.tokens, pr.WorkspaceUUID)}
	if !t.client.HasCredential() {
		return t.hold(ctx, asked, postgres.Attempt{
			Reason: "mergegate has no Bitbucket credential: install the Forge app or set MERGEGATE_BITBUCKET_TOKEN",
		})
	}
	if left := t.client.Wait(bitbucket.Background); left > 0 {
		return left, nil
	}
	verdict := s.gate.Explain(ctx, facts.Repository, pr.PullRequestID)
	if verdict.PullRequest.State == "" {
		return t.hold(ctx, asked, postgres.Attempt{Reason: "mergegate can't read the pull request: " + verdict.PullRequest.HeadProblem})
	}
	if verdict.Policy.Version != facts.Policy.Version { // it was changed meanwhile, or the facts could not be read
		return t.hold(ctx, asked, postgres.Attempt{Reason: verdict.Message})
	}
	if facts.Subscribed {
		err := s.store.InTx(ctx, func(tx *postgres.Tx) error { return notifications.NotifyVerdict(ctx, tx, pr, verdict) })
		if err != nil {
			return 0, fmt.Errorf("notify of the verdict on pull request %d: %w", pr.PullRequestID, err)
		}
	}
	if verdict.Code == mergecheck.PullRequestClosed {
		return t.close(ctx)
	}
	if asked, err = s.effectsOf(ctx, facts, verdict.PullRequest.DestinationBranch); err != nil {
		return 0, err
	}
	wait, err := t.makeAll(ctx, wanted(verdict, asked))
	if err != nil {
		return 0, err
	}
	return wait, s.wakeFor(ctx, pr, verdict, asked.Any() || facts.Subscribed)
}

// effectsOf are those that the policy asks for. One that can't be read changes
// nothing until another is applied.
func (s *Service) effectsOf(ctx context.Context, facts postgres.EffectFacts, branch string) (mergecheck.Effects, error) {
	p, err := s.policies.For(facts.Repository.WorkspaceUUID, facts.Policy.Version, facts.Policy.Document, facts.Repository.FullName, branch)
	if err != nil {
		s.log.ErrorContext(ctx, "reading the policy failed, effects not changed", "workspace", facts.Repository.WorkspaceUUID, "error", err)
		return mergecheck.Effects{}, river.JobCancel(err)
	}
	return p.Effects, nil
}

// wakeFor has the pull request looked at again when the next time comes that
// changes the verdict by itself.
func (s *Service) wakeFor(ctx context.Context, pr postgres.PullRequestKey, v mergecheck.Verdict, shown bool) error {
	if !shown {
		return nil
	}
	next := v.FrozenUntil
	for _, t := range v.Timers {
		if !t.Expired && (next.IsZero() || t.DeadlineOn.Before(next)) {
			next = t.DeadlineOn
		}
	}
	if next.IsZero() || !next.After(v.EvaluatedOn) {
		return nil
	}
	return s.store.Enqueue(ctx, postgres.WakeEffects{PullRequestKey: pr, On: next})
}

// task is making the effects of one pull request, once.
type task struct {
	*Service
	entry  *postgres.Entry
	pr     postgres.PullRequestKey
	facts  postgres.EffectFacts
	client *bitbucket.Client
}

// hold records why nothing can be done now for whatever is asked for or was made.
func (t task) hold(ctx context.Context, asked mergecheck.Effects, result postgres.Attempt) (time.Duration, error) {
	var held []string
	for _, e := range t.facts.Effects {
		held = append(held, e.Effect)
	}
	for name, on := range map[string]bool{
		postgres.EffectComment: asked.Comment, postgres.EffectTask: asked.Task != "", postgres.EffectReport: asked.Report,
	} {
		if on && t.effect(name).Effect == "" {
			held = append(held, name)
		}
	}
	result.Outcome = postgres.Pending
	since, err := t.keepHeld(ctx, held, result)
	if err != nil {
		return 0, err
	}
	if len(held) == 0 {
		since = t.entry.PendingSince
	}
	lasts := time.Since(since)
	switch {
	case lasts > retry.GiveUpAfter:
		_, err := t.keepHeld(ctx, held, retry.GivenUp(result))
		return 0, err
	case t.facts.Closed:
		return 0, nil // nobody waits for it
	default:
		return min(max(lasts/2, leastHold), mostHold), nil
	}
}

func (t task) keepHeld(ctx context.Context, held []string, a postgres.Attempt) (since time.Time, err error) {
	err = t.whileHeld(ctx, "hold effects", func(tx *postgres.Tx) error {
		since, err = tx.HoldEffects(ctx, t.pr, held, a)
		return err
	})
	return since, err
}

// whileHeld runs f in a transaction in which the lease is held, and lengthened.
func (t task) whileHeld(ctx context.Context, what string, f func(*postgres.Tx) error) error {
	if err := t.store.WhileHeld(ctx, t.entry, lease, f); err != nil {
		return fmt.Errorf("%s of pull request %d: %w", what, t.pr.PullRequestID, err)
	}
	return nil
}

// How long it takes until what holds all effects up is looked at again.
const (
	leastHold = 3 * time.Second
	mostHold  = 10 * time.Minute
)

// close leaves what is there on a pull request that is closed: it is how things
// were then. What was not done by then isn't any more, and a report that waits is
// taken back, since nothing comes after it.
func (t task) close(ctx context.Context) (time.Duration, error) {
	if report := t.effect(postgres.EffectReport); report.Made == bitbucket.ReportPending || report.Made == "" && report.Mark != "" {
		gone := want{effect: postgres.EffectReport}
		gone.make = reportMaker(gone, bitbucket.Report{})
		if wait, err := t.makeAll(ctx, []want{gone}); wait > 0 || err != nil {
			return wait, err
		}
	}
	for _, e := range t.facts.Effects {
		if e.Outcome != postgres.Pending || e.Effect == postgres.EffectReport {
			continue
		}
		err := t.settle(ctx, e, postgres.Attempt{Outcome: postgres.Failed, Reason: "pull request closed before mergegate did this"})
		if err != nil {
			return 0, err
		}
	}
	return 0, nil
}

func (t task) effect(name string) postgres.Effect {
	for _, e := range t.facts.Effects {
		if e.Effect == name {
			return e
		}
	}
	return postgres.Effect{}
}

// makeAll makes one effect after the other. One that fails keeps no other from
// being made.
func (t task) makeAll(ctx context.Context, wants []want) (wait time.Duration, err error) {
	soonest := func(d time.Duration) {
		if d > 0 && (wait == 0 || d < wait) {
			wait = d
		}
	}
	for _, w := range wants {
		e := t.effect(w.effect)
		todo, later := w.todo(e, time.Now())
		soonest(later)
		if !todo {
			continue
		}
		again, err := t.makeOne(ctx, e, w)
		if err != nil {
			return 0, err
		}
		soonest(again)
	}
	return wait, nil
}

// makeOne notes what it is about to do, does it, and records how it ended.
func (t task) makeOne(ctx context.Context, before postgres.Effect, w want) (again time.Duration, err error) {
	if w.state == "" && before.Made == "" && before.Mark == "" { // nothing was ever made
		before.Wanted = ""
		return 0, t.settle(ctx, before, postgres.Attempt{Outcome: postgres.Posted})
	}
	e := postgres.Effect{Effect: w.effect, Wanted: w.state, WantedContent: w.content, Head: w.head}
	if w.state != "" {
		e.Mark = w.newMark()
	}
	err = t.whileHeld(ctx, "begin effect "+e.Effect, func(tx *postgres.Tx) error {
		e, err = tx.BeginEffect(ctx, t.pr, e)
		return err
	})
	if err != nil {
		return 0, err
	}
	limited, cancel := context.WithTimeout(ctx, oneBudget)
	defer cancel()
	e, err = w.make(limited, t, e, before.Mark != "")
	if ours := (*bitbucket.Error)(nil); err != nil && !errors.As(err, &ours) {
		return 0, err // of the database: what was done is found out next time
	}
	result := t.resultOf(e, err)
	if before.Mark == "" && e.RemoteID == "" && isRefused(err) {
		e.Mark = "" // nothing can have been made
	}
	t.made.WithLabelValues(w.effect, string(result.Outcome)).Inc()
	level, message := logged(result.Outcome)
	t.log.Log(ctx, level, message, "repository", t.facts.Repository.FullName, "pull_request", t.pr.PullRequestID, "effect", w.effect,
		"wanted", w.state, "outcome", result.Outcome, "http_status", result.HTTPStatus, "reason", result.Reason)
	return result.RetryIn, t.settle(ctx, e, result)
}

// settle records also where the program is told to end: what Bitbucket answered
// would have to be found out again. Where the lease is lost nothing is recorded, and what
// was made is looked for: another job may have made it a second time.
func (t task) settle(ctx context.Context, e postgres.Effect, result postgres.Attempt) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	err := t.whileHeld(ctx, "settle effect "+e.Effect, func(tx *postgres.Tx) error { return tx.SettleEffect(ctx, t.pr, e, result) })
	if !errors.Is(err, postgres.ErrLeaseLost) {
		return err
	}
	return errors.Join(err, t.store.InTx(ctx, func(tx *postgres.Tx) error { return tx.DoubtEffect(ctx, t.pr, e.Effect) }))
}

// note keeps where making an effect has got to.
func (t task) note(ctx context.Context, e postgres.Effect) error {
	return t.whileHeld(ctx, "note effect "+e.Effect, func(tx *postgres.Tx) error { return tx.NoteEffect(ctx, t.pr, e) })
}

// logged is how an attempt is logged: an effect that failed for good wants a look, a retry
// is normal.
func logged(outcome postgres.Outcome) (slog.Level, string) {
	switch outcome {
	case postgres.Posted:
		return slog.LevelInfo, "effect made"
	case postgres.Pending:
		return slog.LevelInfo, "effect will be retried"
	default:
		return slog.LevelWarn, "effect failed"
	}
}

func (t task) resultOf(e postgres.Effect, err error) postgres.Attempt {
	if err == nil {
		return postgres.Attempt{Outcome: postgres.Posted}
	}
	var refused *bitbucket.Error
	errors.As(err, &refused)
	result := postgres.Attempt{Outcome: postgres.Failed, HTTPStatus: refused.StatusCode, Reason: err.Error()}
	switch code := refused.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusLocked:
		// Time mends these: another token arrives, or what has it locked lets go.
	case !refused.Temporary():
		return result
	}
	return retry.Again(result, e.PendingSince, retry.Pause(e.Attempts, mostPause), refused.RetryAfter)
}

// isRefused reports whether Bitbucket answered that it did not do what it was
// asked for.
func isRefused(err error) bool {
	var e *bitbucket.Error
	return errors.As(err, &e) && e.StatusCode >= 400 && e.StatusCode < 500 && !e.Temporary()
}

func isGone(err error) bool {
	var e *bitbucket.Error
	return errors.As(err, &e) && (e.StatusCode == http.StatusNotFound || e.StatusCode == http.StatusGone)
}

func isConflict(err error) bool {
	var e *bitbucket.Error
	return errors.As(err, &e) && e.StatusCode == http.StatusConflict
}
