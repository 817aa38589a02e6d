// Package waivers lets people allow a merge without a passing build, and records who did,
// why, and until when.
//
//	waiver, err := service.Give(ctx, verdict, waivers.Request{
//		PullRequest: key, Reason: "the build agents are down", Life: 4 * time.Hour, By: "release", Owner: uuid,
//	})
//
// A waiver is for one head and one destination. It is never changed: it ends when it
// expires or is revoked, with a new head or another destination. [mergecheck.WithStates]
// decides which waivers are live.
package waivers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"mergegate/internal/commitstatus"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/pullrequests"
)

// DefaultLife is how long a waiver is valid if the request doesn't say.
const DefaultLife = 24 * time.Hour

// maxReason is how many characters a reason may have.
const maxReason = 500

// The kinds of errors of [Service.Give].
var (
	// ErrInvalid says that the request itself is wrong.
	ErrInvalid = errors.New("the waiver is not valid")
	// ErrRefused says that the policy doesn't allow the waiver, or not from this token.
	ErrRefused = errors.New("the waiver is refused")
	// ErrConflict says that the pull request can't be waived in its present state.
	ErrConflict = errors.New("the pull request can't be waived now")
)

// refusal is an error of one of these kinds that says only what is wrong and what to do.
type refusal struct {
	kind error
	text string
}

func (r refusal) Error() string { return r.text }

func (r refusal) Unwrap() error { return r.kind }

func refuse(kind error, format string, args ...any) error {
	return refusal{kind: kind, text: fmt.Sprintf(format, args...)}
}

// Service gives and revokes waivers. It is safe for concurrent use.
type Service struct{ store *postgres.Store }

// New returns a service on a store.
func New(store *postgres.Store) *Service { return &Service{store: store} }

// Request is a request for a waiver.
type Request struct {
	PullRequest postgres.PullRequestKey
	Project     string        // a project's id or "account/slug"; "": every project
	Commit      string        // the head that was looked at; "": the one it is now
	Reason      string        // required
	Life        time.Duration // 0: [DefaultLife], or less where the policy allows less
	By          string        // the token's name
	Owner       string        // the token's owner, UUID without braces, or ""
}

// Give waives what r asks for on the pull request as the verdict found it. Errors
// wrap [ErrInvalid], [ErrRefused] or [ErrConflict] and say what to do, or are the
// store's.
func (s *Service) Give(ctx context.Context, v mergecheck.Verdict, r Request) (mergecheck.Waiver, error) {
	w, life, err := waiver(v, r)
	if err != nil {
		return w, err
	}
	err = s.store.InTx(ctx, func(tx *postgres.Tx) error {
		w, err = give(ctx, tx, v, r, w, life)
		return err
	})
	if err != nil {
		return w, fmt.Errorf("add waiver on pull request %d: %w", r.PullRequest.PullRequestID, err)
	}
	return w, nil
}

// give keeps a waiver with what follows from it, now and when it ends.
func give(ctx context.Context, tx *postgres.Tx, v mergecheck.Verdict, r Request, w mergecheck.Waiver, life time.Duration) (mergecheck.Waiver, error) {
	// What the pull request was when it was waived: what comes later ends the waiver.
	err := pullrequests.Saw(ctx, tx, r.PullRequest, postgres.Sighting{
		Told: mergecheck.Told{
			State: v.PullRequest.State, Head: w.Head, DestinationBranch: w.Destination, DestinationCommit: v.PullRequest.DestinationCommit, On: v.PullRequest.On,
		},
		Latest: v.PullRequest.On, SourceRepository: v.PullRequest.SourceRepository, SourceBranch: v.PullRequest.SourceBranch,
	})
	if err != nil {
		return w, err
	}
	return Add(ctx, tx, r.PullRequest, w, life)
}

// Add keeps a waiver, tells of it, and queues what follows from it and from its end. It
// returns the waiver as kept.
func Add(ctx context.Context, tx *postgres.Tx, pr postgres.PullRequestKey, w mergecheck.Waiver, life time.Duration) (mergecheck.Waiver, error) {
	w, err := tx.AddWaiver(ctx, pr, w, life)
	if err != nil {
		return w, err
	}
	repository, err := tx.Repository(ctx, pr.WorkspaceUUID, pr.RepositoryUUID)
	if err != nil {
		return w, err
	}
	list, err := tx.NewestWaivers(ctx, pr)
	if err != nil {
		return w, err
	}
	given := mergecheck.StateAsGiven(list, w)
	err = tx.Notify(ctx, pr.WorkspaceUUID, postgres.Event{Type: postgres.EventWaiverGiven, Repository: repository, PullRequestID: pr.PullRequestID, Waiver: &given})
	if err != nil {
		return w, err
	}
	return w, tx.Enqueue(ctx, postgres.SettleWaivers{PullRequestKey: pr}, postgres.SettleWaivers{PullRequestKey: pr, ExpiresOn: w.ExpiresOn})
}

func waiver(v mergecheck.Verdict, r Request) (w mergecheck.Waiver, life time.Duration, err error) {
	pr, rules := v.PullRequest, v.Policy.Waivers
	w = mergecheck.Waiver{
		Head: pr.Head, Destination: pr.DestinationBranch, Reason: mergecheck.OneLine(r.Reason, maxReason+1),
		By: r.By, Owner: r.Owner, Author: pr.Author, TwoPerson: rules.TwoPerson,
	}
	switch {
	case w.Reason == "":
		return w, 0, refuse(ErrInvalid, "reason: empty; say why this may be merged without a passing build")
	case len([]rune(w.Reason)) > maxReason:
		return w, 0, refuse(ErrInvalid, "reason: over the limit of %d characters", maxReason)
	}
	if life, err = lifeOf(r, rules); err != nil {
		return w, 0, err
	}
	if err := possible(pr, r); err != nil {
		return w, 0, err
	}
	if err := allowed(w, rules); err != nil {
		return w, 0, err
	}
	if r.Project == "" {
		return w, life, nil
	}
	for _, p := range v.Projects {
		if p.Project.Named(r.Project) {
			w.ProjectID, w.ProjectName = p.Project.ID, p.Project.Name()
		}
	}
	if w.ProjectID == 0 {
		return w, 0, refuse(ErrInvalid, "project: %q is not an AppVeyor project of this pull request; leave it out to waive every project", r.Project)
	}
	return w, life, nil
}

func lifeOf(r Request, rules mergecheck.WaiverRules) (time.Duration, error) {
	most := mergecheck.MaxWaiverLife
	if rules.MaxLife > 0 {
		most = min(most, rules.MaxLife)
	}
	switch {
	case r.Life < 0:
		return 0, refuse(ErrInvalid, "expires: in the past")
	case r.Life == 0:
		return min(DefaultLife, most), nil
	case r.Life > most:
		return 0, refuse(ErrInvalid, "expires: the policy limits waivers to %s", most)
	default:
		return r.Life, nil
	}
}

func possible(pr mergecheck.PullRequest, r Request) error {
	switch {
	case pr.Head == "":
		return refuse(ErrConflict, "mergegate can't tell the head of pull request %d: %s", pr.ID, pr.HeadProblem)
	case !strings.EqualFold(pr.State, "OPEN"):
		return refuse(ErrConflict, "pull request %d is %s", pr.ID, strings.ToLower(pr.State))
	case r.Commit != "" && !strings.EqualFold(r.Commit, pr.Head):
		return refuse(ErrConflict, "commit: the head of pull request %d is %s now", pr.ID, pr.Head)
	default:
		return nil
	}
}

func allowed(w mergecheck.Waiver, rules mergecheck.WaiverRules) error {
	switch {
	case rules.Refused:
		return refuse(ErrRefused, "the policy doesn't allow waivers for this branch")
	case !rules.TwoPerson:
		return nil
	case w.Owner == "":
		return refuse(ErrRefused, "the policy requires two people, and this API token has no owner; create one with `mergegate token create --owner UUID`")
	case w.Author == "":
		return refuse(ErrConflict, "the policy requires two people other than the author, and Bitbucket doesn't name the author; try again later")
	case w.Owner == w.Author:
		return refuse(ErrRefused, "the policy requires two people other than the author, and the author owns this API token")
	default:
		return nil
	}
}

// AddWorkers registers the jobs of this package.
func (s *Service) AddWorkers(workers *river.Workers) {
	river.AddWorker(workers, river.WorkFunc(s.settle))
}

// settle makes commit statuses follow the waivers that live, at once or when one ends.
func (s *Service) settle(ctx context.Context, job *river.Job[postgres.SettleWaivers]) error {
	now, err := s.store.Now(ctx)
	if err != nil {
		return err
	}
	if early := job.Args.ExpiresOn.Sub(now); early > 0 && !job.Args.ExpiresOn.IsZero() {
		return river.JobSnooze(early + time.Second)
	}
	err = s.store.InTx(ctx, func(tx *postgres.Tx) error { return commitstatus.WantWaived(ctx, tx, job.Args.PullRequestKey) })
	if err != nil {
		return fmt.Errorf("settle waivers of pull request %d: %w", job.Args.PullRequestID, err)
	}
	return nil
}
