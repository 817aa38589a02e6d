// Package pullrequests keeps what is known of pull requests fresh: their heads
// over time, where they go to, and whether they are still open.
//
// Events of Forge and webhooks of Bitbucket are stored as deliveries, and count from
// the transaction that stores them; a job reads what they leave open. A sweep looks at
// open pull requests again, so that a lost event is made up for:
//
//	service := pullrequests.New(store, client, tokens, pullrequests.Options{Log: log})
//	id, err := service.Receive(ctx, pullrequests.Delivery{Source: pullrequests.SourceForge, Body: body})
//	service.AddWorkers(workers)
//
// A merge check brings or reads the head itself. What is kept here says whether a newer
// one was told meanwhile.
package pullrequests

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/riverqueue/river"

	"mergegate/internal/apptokens"
	"mergegate/internal/bitbucket"
	"mergegate/internal/forge"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/retry"
)

// Where events come from.
const (
	SourceForge     = "forge"
	SourceBitbucket = "bitbucket"
)

const (
	// sweepSize bounds a round of the sweep: each pull request takes two requests,
	// and with the default interval of 2 minutes that is 300 an hour of the 1,000
	// that Bitbucket allows. Those looked at longest ago come first.
	sweepSize = 5
)

// Options are what a service can do without. Log is required.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: not counted
}

// Service records what Bitbucket tells. It is safe for concurrent use.
type Service struct {
	store  *postgres.Store
	client *bitbucket.Client
	tokens *apptokens.Tokens
	log    *slog.Logger
	events *prometheus.CounterVec
}

// New returns a service that reads pull requests with the Forge app's token of
// the workspace, else as client.
func New(store *postgres.Store, client *bitbucket.Client, tokens *apptokens.Tokens, opts Options) *Service {
	return &Service{
		store: store, client: client, tokens: tokens, log: opts.Log,
		events: promauto.With(opts.Metrics).NewCounterVec(prometheus.CounterOpts{
			Name: "mergegate_events_total", Help: "Events received, by where from.",
		}, []string{"source"}),
	}
}

// WithStore returns the same service on other connections, so that receiving
// events need not wait behind applying them.
func (s *Service) WithStore(store *postgres.Store) *Service {
	other := *s
	other.store = store
	return &other
}

// Delivery is one received event.
type Delivery struct {
	Source    string // SourceForge or SourceBitbucket
	Event     string // X-Event-Key, or Forge's eventType
	RequestID string // the same on retries; "" when not told
	Body      []byte
	Told      mergecheck.Event // what Body tells

	// The repository it is of, "" where it doesn't tell: who may see the delivery.
	WorkspaceUUID, RepositoryUUID string
}

// Receive stores an event, records what it tells in full, and returns its delivery's
// id once both are committed.
func (s *Service) Receive(ctx context.Context, d Delivery) (id int64, err error) {
	delivery := postgres.Delivery{
		Source: d.Source, Event: strings.ToValidUTF8(d.Event[:min(len(d.Event), maxHeader)], ""), RequestID: requestID(d.RequestID), Body: d.Body,
		WorkspaceUUID: d.WorkspaceUUID, RepositoryUUID: d.RepositoryUUID,
	}
	if id, err = Record(ctx, s.store, delivery, d.Told); err != nil {
		return 0, err
	}
	s.events.WithLabelValues(d.Source).Inc()
	return id, nil
}

// maxHeader is the most bytes of what comes in headers. Bitbucket's have some dozens.
const maxHeader = 128

// requestID is what a request is known by: a longer id by its hash, so that it can be
// looked up.
func requestID(id string) string {
	if len(id) <= maxHeader {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// AddWorkers registers the jobs of this package.
func (s *Service) AddWorkers(workers *river.Workers) {
	river.AddWorker(workers, river.WorkFunc(s.applyEvent))
	river.AddWorker(workers, river.WorkFunc(s.lookAtPullRequest))
	river.AddWorker(workers, river.WorkFunc(s.readName))
	river.AddWorker(workers, river.WorkFunc(s.sweep))
}

func (s *Service) applyEvent(ctx context.Context, job *river.Job[postgres.ApplyEvent]) error {
	d, err := s.store.Delivery(ctx, job.Args.DeliveryID)
	if errors.Is(err, postgres.ErrNotFound) || err == nil && d.Outcome != postgres.Pending {
		return nil
	}
	if err != nil {
		return err
	}
	body, err := s.store.DeliveryBody(ctx, d.ID)
	if err != nil {
		return err
	}
	event, err := parse(d, body)
	if err != nil {
		return s.store.SettleDelivery(ctx, d.ID, postgres.Failed, err.Error())
	}
	err = s.store.InTx(ctx, func(tx *postgres.Tx) error {
		if err := apply(ctx, tx, event, d.ReceivedOn); err != nil {
			return err
		}
		return tx.SettleDelivery(ctx, d.ID, postgres.Processed, "")
	})
	if err != nil {
		return fmt.Errorf("apply event of delivery %d: %w", d.ID, err)
	}
	s.log.InfoContext(ctx, "event applied", "delivery", d.ID, "source", d.Source, "event", d.Event)
	return nil
}

func parse(d postgres.Delivery, body []byte) (mergecheck.Event, error) {
	if d.Source == SourceBitbucket {
		return bitbucket.ParseWebhook(d.Event, body)
	}
	event, err := forge.ParseEvent(body)
	return event.Event, err
}

func (s *Service) lookAtPullRequest(ctx context.Context, job *river.Job[postgres.LookAtPullRequest]) error {
	key := postgres.PullRequestKey(job.Args)
	return s.store.Looking(ctx, job.Args, func(ctx context.Context) error {
		urgency, err := s.urgency(ctx, key)
		if err != nil {
			return err
		}
		if wait := s.client.AsApp(ctx, s.tokens, key.WorkspaceUUID).Wait(urgency); wait > 0 {
			return river.JobSnooze(wait)
		}
		return s.later(ctx, s.look(ctx, key), job.CreatedAt, "reading a pull request failed", "pull_request", key.PullRequestID)
	})
}

// urgency lets looks go before others where a verdict may wait for the head.
func (s *Service) urgency(ctx context.Context, key postgres.PullRequestKey) (bitbucket.Urgency, error) {
	waiting, err := s.store.HeadUnread(ctx, key)
	if err != nil || !waiting {
		return bitbucket.Spare, err
	}
	return bitbucket.Background, nil
}

// later tells when to ask Bitbucket again after err. Nothing is asked for longer than
// [retry.GiveUpAfter], nor what only a person can mend.
func (s *Service) later(ctx context.Context, err error, since time.Time, failure string, what ...any) error {
	var e *bitbucket.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &e) && !errors.Is(err, bitbucket.ErrHeadUnknown):
		return err // the database's
	case time.Since(since) > retry.GiveUpAfter || e != nil && !e.Temporary():
		s.log.WarnContext(ctx, failure, append(what, "error", err)...)
		return nil
	}
	delay := retry.Slower(time.Since(since), 10*time.Second, 10*time.Minute)
	if e != nil {
		delay = max(delay, e.RetryAfter)
	}
	return river.JobSnooze(delay)
}

// readName reads what a repository is called now, by its UUIDs, and has what is kept
// under that name, and what is yet to be posted, follow it.
func (s *Service) readName(ctx context.Context, job *river.Job[postgres.ReadName]) error {
	workspace, repository := job.Args.WorkspaceUUID, job.Args.RepositoryUUID
	return s.store.Looking(ctx, job.Args, func(ctx context.Context) error {
		client := s.client.AsApp(ctx, s.tokens, workspace)
		if wait := client.Wait(bitbucket.Background); wait > 0 {
			return river.JobSnooze(wait)
		}
		name, err := client.NameOf(ctx, workspace, repository)
		if err != nil {
			return s.later(ctx, err, job.CreatedAt, "reading a repository's name failed", "repository", repository)
		}
		return s.store.LinkRepository(ctx, postgres.Repository{WorkspaceUUID: workspace, RepositoryUUID: repository, FullName: name})
	})
}

// look reads a pull request from Bitbucket and records what it is now. One that
// Bitbucket doesn't show changes nothing: that may only mean that access is lost.
func (s *Service) look(ctx context.Context, key postgres.PullRequestKey) error {
	client := s.client.AsApp(ctx, s.tokens, key.WorkspaceUUID)
	pr, head, err := client.PullRequestAndHead(ctx, key.WorkspaceUUID, key.RepositoryUUID, key.PullRequestID)
	if err != nil {
		return fmt.Errorf("read pull request %d: %w", key.PullRequestID, err)
	}
	seen := postgres.Sighting{Told: pr.Told(), Latest: pr.Latest(), SourceRepository: pr.Source.Repository.UUID, SourceBranch: pr.Source.Branch}
	if head != "" {
		seen.Head = head
	}
	return See(ctx, s.store, key, seen)
}

// Sweep is the round that makes up for lost events.
func (s *Service) Sweep(every time.Duration) *river.PeriodicJob {
	return postgres.Round(postgres.SweepPullRequests{NotFor: min(every, time.Minute)}, postgres.Every(every), false)
}

func (s *Service) sweep(ctx context.Context, job *river.Job[postgres.SweepPullRequests]) error {
	open, err := s.store.OpenPullRequests(ctx, job.Args.NotFor, sweepSize)
	if err != nil {
		return err
	}
	for _, key := range open {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.client.AsApp(ctx, s.tokens, key.WorkspaceUUID).Wait(bitbucket.Spare) > 0 {
			continue // the next round looks at it first
		}
		if err := s.look(ctx, key); err != nil {
			// One that can't be read must not keep the others from it.
			s.log.WarnContext(ctx, "reading a pull request failed, next round retries", "pull_request", key.PullRequestID, "error", err)
		}
	}
	return nil
}
