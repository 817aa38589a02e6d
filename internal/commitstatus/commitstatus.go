// Package commitstatus makes Bitbucket show what is wanted: the fallback where
// custom merge checks can't be used.
//
// Which status is wanted is decided in the transaction of the facts, by [Want] and its
// like. The outbox posts it:
//
//	publisher := commitstatus.New(store, client, tokens, commitstatus.Options{Log: log})
//	outbox.New(store, publisher.Kind()).AddWorkers(workers)
package commitstatus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"mergegate/internal/apptokens"
	"mergegate/internal/bitbucket"
	"mergegate/internal/mergecheck"
	"mergegate/internal/outbox"
	"mergegate/internal/postgres"
	"mergegate/internal/retry"
)

const (
	// lease is as long as a look and two posts may take, the second being to a fork.
	lease = 30 * time.Second
	// maxPerRepository is how many statuses of one repository are posted at a time.
	maxPerRepository = 4
)

// Options are what a publisher can do without. Log is required.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: not counted
}

// Publisher posts commit statuses.
type Publisher struct {
	store  *postgres.Store
	client *bitbucket.Client
	tokens *apptokens.Tokens
	log    *slog.Logger
	posts  *prometheus.CounterVec
}

// New returns a publisher that posts as client, or where that has no credential
// with the Forge app's token of the workspace.
func New(store *postgres.Store, client *bitbucket.Client, tokens *apptokens.Tokens, opts Options) *Publisher {
	return &Publisher{
		store: store, client: client, tokens: tokens, log: opts.Log,
		posts: promauto.With(opts.Metrics).NewCounterVec(prometheus.CounterOpts{
			Name: "mergegate_commit_status_posts_total", Help: "Attempts to post a commit status, by how they ended.",
		}, []string{"result"}),
	}
}

// Kind is how commit statuses are made.
func (p *Publisher) Kind() outbox.Kind {
	return outbox.Kind{Name: postgres.StatusEntry, Lease: lease, Most: maxPerRepository, Make: p.make, Settled: Settled}
}

func (p *Publisher) make(ctx context.Context, e *postgres.Entry) (postgres.Attempt, error) {
	status, err := p.store.CommitStatus(ctx, e.ID)
	if err != nil {
		return postgres.Attempt{}, err
	}
	result := p.post(ctx, status)
	result.Shown = status.State
	p.posts.WithLabelValues(resultLabel(result)).Inc()
	level, message := logged(result.Outcome)
	p.log.Log(ctx, level, message, "repository", status.Repository, "commit", status.Commit, "key", status.Key,
		"state", status.State, "outcome", result.Outcome, "http_status", result.HTTPStatus, "reason", result.Reason)
	return result, nil
}

// logged is how an attempt is logged: a status that failed for good wants a look, a retry
// is normal.
func logged(outcome postgres.Outcome) (slog.Level, string) {
	switch outcome {
	case postgres.Posted:
		return slog.LevelInfo, "commit status posted"
	case postgres.Pending:
		return slog.LevelInfo, "commit status will be retried"
	case postgres.NotPostable: // a fork that mergegate may not write to
		return slog.LevelInfo, "commit status not postable"
	default:
		return slog.LevelWarn, "commit status failed"
	}
}

// Settled stores what Bitbucket shows now, and sends a notification of a status that failed,
// unless it failed for the same reason before. Where the lease was lost, another replica may
// have posted another state: which of the two Bitbucket shows isn't known, so the status is
// posted once more.
func Settled(ctx context.Context, tx *postgres.Tx, e postgres.Entry, a postgres.Attempt, how postgres.Settling) error {
	if how == postgres.LeaseLost {
		return tx.WantAgain(ctx, e.ID)
	}
	if a.Outcome == postgres.Posted {
		return tx.NotePosted(ctx, e.ID, a.Shown)
	}
	if how == postgres.Superseded || a.Outcome == postgres.Pending || e.Reason == a.Reason {
		return nil
	}
	status, err := tx.CommitStatus(ctx, e.ID)
	if err != nil {
		return err
	}
	return tx.Notify(ctx, e.WorkspaceUUID, postgres.Event{Type: postgres.EventStatusRefused, Status: &status})
}

// resultLabel tells what Bitbucket didn't take from what it wasn't asked.
func resultLabel(r postgres.Attempt) string {
	if r.Unasked {
		return "held"
	}
	return string(r.Outcome)
}

// post tries the repository of the pull request and, where that doesn't have the
// commit because it is a fork's, the fork. A refusal is of this status alone.
func (p *Publisher) post(ctx context.Context, s postgres.CommitStatus) postgres.Attempt {
	client := p.client.AsMaker(ctx, p.tokens, s.WorkspaceUUID)
	if !client.HasCredential() {
		return again(s, 0, 0, "mergegate has no Bitbucket credential: install the Forge app or set MERGEGATE_BITBUCKET_TOKEN")
	}
	if left := client.Wait(urgency(s)); left > 0 {
		return postgres.Attempt{Outcome: postgres.Pending, Reason: "waiting for Bitbucket's rate limit", RetryIn: left, Unasked: true}
	}
	return p.postWith(ctx, client, s)
}

// urgency has results go on where there is little left of the rate limit, and
// statuses in progress give way.
func urgency(s postgres.CommitStatus) bitbucket.Urgency {
	if s.State == mergecheck.StatusInProgress {
		return bitbucket.Spare
	}
	return bitbucket.Background
}

func (p *Publisher) postWith(ctx context.Context, client *bitbucket.Client, s postgres.CommitStatus) postgres.Attempt {
	if owner := p.otherOwner(ctx, client, s); owner != "" {
		return postgres.Attempt{
			Outcome: postgres.Failed,
			Reason:  fmt.Sprintf("another account posted status %s (%q), and Bitbucket lets only that account change it", s.Key, owner),
		}
	}
	err := p.postTo(ctx, client, s.WorkspaceUUID, s.RepositoryUUID, s)
	if !isNotFound(err) || s.Fork == "" {
		return resultOf(s, err)
	}
	workspace, repo, _ := strings.Cut(s.Fork, "/")
	err = p.postTo(ctx, client, workspace, repo, s)
	result := resultOf(s, err)
	if isClosedTo(err) {
		result.Outcome, result.RetryIn = postgres.NotPostable, 0
		result.Reason = fmt.Sprintf("%s doesn't have the fork's commit, and %s rejected the status: %s", s.Repository, s.Fork, reason(err))
	}
	return result
}

// otherOwner looks, before the first post of a status, whether somebody else has
// its key already, and returns what they call it. Where that can't be read the
// post tells: Bitbucket lets only the creator overwrite a status.
// https://developer.atlassian.com/cloud/bitbucket/bitbucket-api-changes-commit-status/
func (p *Publisher) otherOwner(ctx context.Context, client *bitbucket.Client, s postgres.CommitStatus) string {
	if s.Settled > 0 || s.Attempts > 1 {
		return ""
	}
	shown, err := client.CommitStatus(ctx, s.WorkspaceUUID, s.RepositoryUUID, s.Commit, s.Key)
	if err != nil || shown.Key != s.Key || strings.HasPrefix(shown.Name, mergecheck.StatusNamePrefix) {
		return ""
	}
	return cmp.Or(shown.Name, shown.URL, "nothing")
}

func (p *Publisher) postTo(ctx context.Context, client *bitbucket.Client, workspace, repo string, s postgres.CommitStatus) error {
	return client.PostCommitStatus(ctx, workspace, repo, s.Commit, bitbucket.CommitStatus{
		Key: s.Key, State: s.State, Name: s.Name, Description: s.Description, URL: s.URL, Refname: s.Refname,
	})
}

func isNotFound(err error) bool { return bitbucket.StatusOf(err) == http.StatusNotFound }

// isClosedTo reports whether a fork refuses mergegate: waiting changes nothing.
func isClosedTo(err error) bool {
	switch bitbucket.StatusOf(err) {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return true
	default:
		return false
	}
}

// isMended reports whether time alone can mend a refusal: another token arrives, the
// commit does, or what had the status locked lets go.
func isMended(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusNotFound, http.StatusConflict, http.StatusLocked:
		return true
	default:
		return false
	}
}

func resultOf(s postgres.CommitStatus, err error) postgres.Attempt {
	if err == nil {
		return postgres.Attempt{Outcome: postgres.Posted, HTTPStatus: http.StatusCreated}
	}
	var e *bitbucket.Error
	if !errors.As(err, &e) {
		return again(s, 0, 0, reason(err))
	}
	if e.Temporary() || isMended(e.StatusCode) {
		return again(s, e.StatusCode, e.RetryAfter, reason(err))
	}
	return postgres.Attempt{Outcome: postgres.Failed, HTTPStatus: e.StatusCode, Reason: reason(err)}
}

// reason is what an operator reads of a refusal: Bitbucket's own words, where it
// had any.
func reason(err error) string {
	var e *bitbucket.Error
	switch {
	case !errors.As(err, &e):
		return "mergegate can't reach Bitbucket"
	case e.StatusCode == 0:
		return e.Cause()
	default:
		return fmt.Sprintf("Bitbucket answered %d: %s", e.StatusCode, e.Message)
	}
}

// again says when to try again.
func again(s postgres.CommitStatus, httpStatus int, asked time.Duration, reason string) postgres.Attempt {
	return retry.Again(postgres.Attempt{HTTPStatus: httpStatus, Reason: reason}, s.PendingSince, pause(s, httpStatus), asked)
}

const (
	mostPause    = 10 * time.Minute
	refusedPause = time.Hour // where Bitbucket answered, and said no
)

// pause is how long after this attempt the next one comes. What is in progress is worth
// fewer attempts than a result, which nothing will replace: its pauses grow twice as
// fast.
func pause(s postgres.CommitStatus, httpStatus int) time.Duration {
	most, attempts := mostPause, s.Attempts
	if isMended(httpStatus) {
		most = refusedPause
	}
	if s.State == mergecheck.StatusInProgress {
		attempts = 2*attempts - 1
	}
	return retry.Pause(attempts, most)
}
