// Package commitstatus makes Bitbucket show what is wanted: the fallback where
// custom merge checks can't be used.
//
// The wanted state is a row in the store. A job posts whatever is wanted when it
// runs, so repeated, late and reordered jobs end in the same status:
//
//	publisher := commitstatus.New(store, client, tokens, commitstatus.Options{Log: log})
//	publisher.AddWorkers(workers)
package commitstatus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/riverqueue/river"

	"mergegate/internal/apptokens"
	"mergegate/internal/bitbucket"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

const (
	// lease is longer than two posts may take, the second being to a fork.
	lease = 30 * time.Second
	// busyWait is how long to leave a status to the worker that has it.
	busyWait = 2 * time.Second
	// giveUpAfter is how long a status is retried that Bitbucket doesn't take.
	giveUpAfter = 24 * time.Hour
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

// AddWorkers registers the job of this package.
func (p *Publisher) AddWorkers(workers *river.Workers) {
	river.AddWorker(workers, river.WorkFunc(p.publish))
}

func (p *Publisher) publish(ctx context.Context, job *river.Job[postgres.PublishStatus]) error {
	status, claimed, busy, err := p.store.ClaimStatus(ctx, job.Args.StatusID, lease)
	switch {
	case err != nil:
		return err
	case busy:
		return river.JobSnooze(busyWait)
	case !claimed:
		return nil // settled by another job
	}
	result := p.post(ctx, status)
	p.posts.WithLabelValues(resultLabel(result)).Inc()
	p.log.InfoContext(ctx, "commit status", "repository", status.Repository, "commit", status.Commit, "key", status.Key,
		"state", status.State, "delivery", result.Delivery, "http_status", result.HTTPStatus, "reason", result.Reason)
	if err := p.store.SettleStatus(ctx, status, result); err != nil {
		return err
	}
	if result.Delivery == postgres.StatusPending {
		return river.JobSnooze(result.RetryIn)
	}
	return nil
}

// resultLabel tells what Bitbucket didn't take from what it wasn't asked.
func resultLabel(r postgres.StatusResult) string {
	if r.Unasked {
		return "held"
	}
	return string(r.Delivery)
}

// post tries the repository of the pull request and, where that doesn't have the
// commit because it is a fork's, the fork.
func (p *Publisher) post(ctx context.Context, s postgres.CommitStatus) postgres.StatusResult {
	client := p.clientFor(ctx, s.WorkspaceUUID)
	if !client.HasCredential() {
		return retry(s, 0, 0, "no Bitbucket credential: set MERGEGATE_BITBUCKET_TOKEN or install the Forge app")
	}
	if left := client.Wait(urgency(s)); left > 0 {
		return postgres.StatusResult{Delivery: postgres.StatusPending, Reason: "waits for Bitbucket's rate limit", RetryIn: left, Unasked: true}
	}
	result := p.postWith(ctx, client, s)
	if result.HTTPStatus == http.StatusUnauthorized && client.CredentialKind() == bitbucket.KindApp {
		// The app's token has ended. The next call of Forge brings another one.
		return retry(s, result.HTTPStatus, 0, result.Reason)
	}
	return result
}

// urgency has results go on where there is little left of the rate limit, and
// statuses in progress give way.
func urgency(s postgres.CommitStatus) bitbucket.Urgency {
	if s.State == mergecheck.StatusInProgress {
		return bitbucket.Spare
	}
	return bitbucket.Background
}

func (p *Publisher) postWith(ctx context.Context, client *bitbucket.Client, s postgres.CommitStatus) postgres.StatusResult {
	if owner := p.otherOwner(ctx, client, s); owner != "" {
		return postgres.StatusResult{
			Delivery: postgres.StatusFailed,
			Reason:   fmt.Sprintf("the key %s is somebody else's, who calls it %q: only who made a status may overwrite it", s.Key, owner),
		}
	}
	err := p.postTo(ctx, client, s.Repository, s)
	if !isNotFound(err) || !isFork(s) {
		return resultOf(s, err)
	}
	if err = p.postTo(ctx, client, s.SourceRepository, s); err == nil || isTemporary(err) {
		return resultOf(s, err)
	}
	refused := resultOf(s, err)
	refused.Delivery = postgres.StatusNotPostable
	refused.Reason = fmt.Sprintf("%s does not have the fork's commit, and %s refused it: %s", s.Repository, s.SourceRepository, refused.Reason)
	return refused
}

// otherOwner looks, before the first post of a status, whether somebody else has
// its key already, and returns what they call it. Where that can't be read the
// post tells: Bitbucket lets only the creator overwrite a status.
// https://developer.atlassian.com/cloud/bitbucket/bitbucket-api-changes-commit-status/
func (p *Publisher) otherOwner(ctx context.Context, client *bitbucket.Client, s postgres.CommitStatus) string {
	if s.PostedVersion > 0 || s.Attempts > 1 {
		return ""
	}
	workspace, slug, _ := strings.Cut(s.Repository, "/")
	shown, err := client.CommitStatus(ctx, workspace, slug, s.Commit, s.Key)
	if err != nil || shown.Key != s.Key || strings.HasPrefix(shown.Name, mergecheck.StatusNamePrefix) {
		return ""
	}
	return cmp.Or(shown.Name, shown.URL, "nothing")
}

// clientFor prefers the configured credential over the app's: only the creator
// of a status may overwrite it, so it has to stay the same one.
func (p *Publisher) clientFor(ctx context.Context, workspaceUUID string) *bitbucket.Client {
	if p.client.HasCredential() {
		return p.client
	}
	return p.client.AsApp(ctx, p.tokens, workspaceUUID)
}

func (p *Publisher) postTo(ctx context.Context, client *bitbucket.Client, repository string, s postgres.CommitStatus) error {
	workspace, slug, _ := strings.Cut(repository, "/")
	return client.PostCommitStatus(ctx, workspace, slug, s.Commit, bitbucket.CommitStatus{
		Key: s.Key, State: s.State, Name: s.Name, Description: s.Description, URL: s.URL, Refname: s.Refname,
	})
}

func isFork(s postgres.CommitStatus) bool {
	return s.SourceRepository != "" && !strings.EqualFold(s.SourceRepository, s.Repository)
}

func isNotFound(err error) bool {
	var e *bitbucket.Error
	return errors.As(err, &e) && e.StatusCode == http.StatusNotFound
}

func isTemporary(err error) bool {
	var e *bitbucket.Error
	return !errors.As(err, &e) || e.Temporary()
}

func resultOf(s postgres.CommitStatus, err error) postgres.StatusResult {
	if err == nil {
		return postgres.StatusResult{Delivery: postgres.StatusPosted, HTTPStatus: http.StatusCreated}
	}
	var e *bitbucket.Error
	if !errors.As(err, &e) {
		return retry(s, 0, 0, "Bitbucket could not be asked")
	}
	if e.Temporary() {
		return retry(s, e.StatusCode, e.RetryAfter, e.Error())
	}
	return postgres.StatusResult{Delivery: postgres.StatusFailed, HTTPStatus: e.StatusCode, Reason: e.Error()}
}

// retry says when to try again: when Bitbucket asked for, else later each time.
// What failed for a day is given up until another state is wanted.
func retry(s postgres.CommitStatus, httpStatus int, after time.Duration, reason string) postgres.StatusResult {
	result := postgres.StatusResult{Delivery: postgres.StatusPending, HTTPStatus: httpStatus, Reason: reason}
	if time.Since(s.PendingSince) > giveUpAfter {
		result.Delivery = postgres.StatusFailed
		result.Reason = "given up after 24 hours: " + reason
		return result
	}
	result.RetryIn = min(max(after, backoff(s.Attempts)), giveUpAfter)
	return result
}

// backoff doubles from one second to ten minutes, a fifth of it at random.
func backoff(attempts int) time.Duration {
	d := min(time.Second<<min(attempts-1, 12), 10*time.Minute)
	return d + time.Duration(rand.Int64N(int64(d)/5)) //nolint:gosec // jitter, no secret
}
