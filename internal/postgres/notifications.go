package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/mergecheck"
)

// The events that subscribers can be notified of.
const (
	EventVerdictChanged = "verdict.changed"
	EventBuildConfirmed = "build.confirmed"
	EventWaiverGiven    = "waiver.given"
	EventStatusRefused  = "status.refused"
	EventTest           = "subscription.test"
)

// isTold is whether somebody in workspace $1 is told of verdicts that change.
const isTold = `EXISTS (SELECT FROM subscriptions
	WHERE workspace_uuid = $1 AND disabled_on IS NULL AND '` + EventVerdictChanged + `' = ANY(events))`

// NotificationEvents are those that can be subscribed to.
var NotificationEvents = []string{EventVerdictChanged, EventBuildConfirmed, EventWaiverGiven, EventStatusRefused}

// Event is something that happened in a workspace, with what was so then. What there is
// depends on its type.
type Event struct {
	Type           string // one of [NotificationEvents], or [EventTest]
	Repository     Repository
	PullRequestID  int64
	Build          *mergecheck.Build
	Verdict        *mergecheck.Verdict
	Previous       *ToldVerdict // nil: none was told before
	Waiver         *mergecheck.WaiverVerdict
	Status         *CommitStatus
	SubscriptionID int64
}

// ToldVerdict is what is kept of a verdict that was told.
type ToldVerdict struct {
	Head    string // "": it wasn't known
	Code    string
	Success bool
}

// maxPerSubscription is how many notifications one subscriber is sent at a time: one
// that hangs must not take every worker.
const maxPerSubscription = 2

// Subscription says whom to tell of what.
type Subscription struct {
	ID             int64
	WorkspaceUUID  string
	URL            string
	Events         []string
	Secrets        []byte // sealed
	CreatedBy      string
	CreatedOn      time.Time
	DisabledOn     *time.Time
	DisabledReason string
}

// Notification is something that one subscriber is told.
type Notification struct {
	ID             int64
	WorkspaceUUID  string
	SubscriptionID int64
	Event          string
	Body           string // JSON, as it is sent
	Outcome        Outcome
	Attempts       int
	NextAttemptOn  *time.Time
	LeasedUntil    *time.Time
	CreatedOn      time.Time
}

// NotificationAttempt is one try at delivering a message.
type NotificationAttempt struct {
	NotificationID int64
	AttemptedOn    time.Time
	HTTPStatus     *int
	Reason         string // "" where it was taken
	DurationMs     int
}

const (
	subscriptionColumns = `id, workspace_uuid, url, events, secrets, created_by, created_on, disabled_on, disabled_reason`
	messageColumns      = `id, workspace_uuid, subscription_id, event, body, outcome, attempts, next_attempt_on, leased_until, created_on`
)

// ErrTooManySubscriptions says that a workspace has as many as it may.
var ErrTooManySubscriptions = errors.New("the workspace has as many subscriptions as it may have")

// AddSubscription keeps a subscription, unless the workspace has most already.
func (s *Store) AddSubscription(ctx context.Context, sub Subscription, most int) (Subscription, error) {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('subscriptions ' || $1, 0))`, sub.WorkspaceUUID); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `
			INSERT INTO subscriptions (workspace_uuid, url, events, secrets, created_by)
			SELECT $1, $2, $3, $4, $5 WHERE (SELECT count(*) FROM subscriptions WHERE workspace_uuid = $1) < $6
			RETURNING `+subscriptionColumns, sub.WorkspaceUUID, sub.URL, sub.Events, sub.Secrets, sub.CreatedBy, most)
		if sub, err = one[Subscription](rows, err); errors.Is(err, ErrNotFound) {
			return ErrTooManySubscriptions
		}
		return err
	})
	if err != nil {
		return sub, fmt.Errorf("add subscription: %w", err)
	}
	return sub, nil
}

// Subscription returns one of a workspace's subscriptions.
func (s *Store) Subscription(ctx context.Context, workspaceUUID string, id int64) (Subscription, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+subscriptionColumns+` FROM subscriptions WHERE workspace_uuid = $1 AND id = $2`, workspaceUUID, id)
	sub, err := one[Subscription](rows, err)
	if err != nil {
		return sub, fmt.Errorf("read subscription %d: %w", id, err)
	}
	return sub, nil
}

// Subscriptions lists a workspace's subscriptions, newest first, at most limit of
// those with an id below before (0: no bound).
func (s *Store) Subscriptions(ctx context.Context, workspaceUUID string, before int64, limit int) ([]Subscription, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+subscriptionColumns+` FROM subscriptions
		WHERE workspace_uuid = $1 AND id < $2 ORDER BY id DESC LIMIT $3`, workspaceUUID, below(before), limit)
	list, err := all[Subscription](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list subscriptions: %w", err)
	}
	return list, nil
}

// SetSecrets replaces a subscription's secrets, unless somebody else did since
// they were read as before. It enables the subscription again.
func (s *Store) SetSecrets(ctx context.Context, sub Subscription, secrets []byte) error {
	tag, err := s.pool.Exec(ctx, `
		UPDATE subscriptions SET secrets = $3, disabled_on = NULL, disabled_reason = ''
		WHERE workspace_uuid = $1 AND id = $2 AND secrets = $4`, sub.WorkspaceUUID, sub.ID, secrets, sub.Secrets)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("change secrets of subscription %d: %w", sub.ID, err)
	}
	return nil
}

// DisableSubscription has nobody told any more, and says why.
func (s *Store) DisableSubscription(ctx context.Context, id int64, reason string) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE subscriptions SET disabled_on = coalesce(disabled_on, now()), disabled_reason = $2 WHERE id = $1`, id, reason)
	if err != nil {
		return fmt.Errorf("disable subscription %d: %w", id, err)
	}
	return nil
}

// DeleteSubscription ends a subscription, its messages included.
func (s *Store) DeleteSubscription(ctx context.Context, workspaceUUID string, id int64) error {
	tag, err := s.pool.Exec(ctx, `DELETE FROM subscriptions WHERE workspace_uuid = $1 AND id = $2`, workspaceUUID, id)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("delete subscription %d: %w", id, err)
	}
	return nil
}

// notify tells whoever subscribed to an event in the workspace, in the
// transaction that makes it so.
func (s *Store) notify(ctx context.Context, tx pgx.Tx, workspaceUUID string, event Event) error {
	return s.tell(ctx, tx, workspaceUUID, everySubscriber, event)
}

// TestSubscription sends one subscriber a message that says nothing.
func (s *Store) TestSubscription(ctx context.Context, sub Subscription) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		return s.tell(ctx, tx, sub.WorkspaceUUID, sub.ID, Event{Type: EventTest, SubscriptionID: sub.ID})
	})
}

// everySubscriber is in place of the id of one: whoever is enabled and subscribed to the event.
const everySubscriber = 0

// tell sends one subscriber of the workspace a message, whatever it subscribed to, or everySubscriber.
func (s *Store) tell(ctx context.Context, tx pgx.Tx, workspaceUUID string, subscriber int64, event Event) error {
	body, err := json.Marshal(s.describe(event))
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `
		INSERT INTO notifications (workspace_uuid, subscription_id, event, body)
		SELECT $1, id, $2::text, jsonb_build_object('type', $2::text, 'data', $3::jsonb,
			'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))::text
		FROM subscriptions
		WHERE workspace_uuid = $1 AND (id = $4 OR $4 = 0 AND disabled_on IS NULL AND $2 = ANY(events))
		RETURNING id`, workspaceUUID, event.Type, string(body), subscriber)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.enqueue(ctx, tx, DeliverNotification{NotificationID: id}); err != nil {
			return err
		}
	}
	return nil
}

// ClaimNotification leases a message that is not settled, for lease, with its
// subscription. busy says that its subscriber is sent enough at this moment.
func (s *Store) ClaimNotification(ctx context.Context, id int64, lease time.Duration) (m Notification, sub Subscription, claimed, busy bool, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT `+messageColumns+` FROM notifications WHERE id = $1`, id)
		if m, err = one[Notification](rows, err); errors.Is(err, ErrNotFound) || err == nil && m.Outcome != Pending {
			return nil // deleted with its subscription, or settled
		}
		if err != nil {
			return err
		}
		// One claim of a subscriber at a time, or several see the same free place.
		rows, err = tx.Query(ctx, `SELECT `+subscriptionColumns+` FROM subscriptions WHERE id = $1 FOR UPDATE`, m.SubscriptionID)
		if sub, err = one[Subscription](rows, err); err != nil {
			return ignoreNotFound(err)
		}
		rows, err = tx.Query(ctx, `
			UPDATE notifications SET leased_until = now() + $2::interval, attempts = attempts + 1
			WHERE id = $1 AND outcome = 'pending' AND coalesce(leased_until <= now(), true)
				AND (SELECT count(*) FROM notifications o WHERE o.subscription_id = $3 AND o.leased_until > now()) < $4
			RETURNING `+messageColumns, id, lease, m.SubscriptionID, maxPerSubscription)
		list, err := all[Notification](rows, err)
		if busy = err == nil && len(list) == 0; len(list) == 1 {
			m, claimed = list[0], true
		}
		return err
	})
	if err != nil {
		return m, sub, false, false, fmt.Errorf("claim notification %d: %w", id, err)
	}
	return m, sub, claimed, busy, nil
}

func ignoreNotFound(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// SettleNotification records an attempt, and by it what became of the notification.
func (s *Store) SettleNotification(ctx context.Context, m Notification, a Attempt) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE notifications SET outcome = $2, leased_until = NULL,
				next_attempt_on = CASE WHEN $2 = 'pending' THEN now() + $3::interval END
			WHERE id = $1 AND leased_until IS NOT DISTINCT FROM $4`, m.ID, a.Outcome, a.RetryIn, m.LeasedUntil)
		if err != nil || tag.RowsAffected() == 0 {
			return err // somebody else has it by now
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO notification_attempts (workspace_uuid, notification_id, attempted_on, http_status, reason, duration_ms)
			VALUES ($1, $2, clock_timestamp(), $3, $4, $5) ON CONFLICT DO NOTHING`, m.WorkspaceUUID, m.ID, nullInt(a.HTTPStatus), a.Reason, a.Took.Milliseconds())
		return err
	})
	if err != nil {
		return fmt.Errorf("settle notification %d: %w", m.ID, err)
	}
	return nil
}

// Notifications lists what a subscriber was told, newest first, at most limit of
// those with an id below before (0: no bound).
func (s *Store) Notifications(ctx context.Context, sub Subscription, before int64, limit int) ([]Notification, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+messageColumns+` FROM notifications
		WHERE subscription_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3`, sub.ID, below(before), limit)
	list, err := all[Notification](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list messages of subscription %d: %w", sub.ID, err)
	}
	return list, nil
}

// NotificationAttempts lists the attempts of messages, oldest first.
func (s *Store) NotificationAttempts(ctx context.Context, messages []Notification) (map[int64][]NotificationAttempt, error) {
	ids := make([]int64, len(messages))
	for i, m := range messages {
		ids[i] = m.ID
	}
	rows, err := s.pool.Query(ctx, `
		SELECT notification_id, attempted_on, http_status, reason, duration_ms FROM notification_attempts
		WHERE notification_id = ANY($1) ORDER BY notification_id, attempted_on`, ids)
	list, err := all[NotificationAttempt](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list attempts at notifications: %w", err)
	}
	attempts := map[int64][]NotificationAttempt{}
	for _, a := range list {
		attempts[a.NotificationID] = append(attempts[a.NotificationID], a)
	}
	return attempts, nil
}

// ReplayNotification has a message sent again, whatever became of it.
func (s *Store) ReplayNotification(ctx context.Context, sub Subscription, id int64) (m Notification, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			UPDATE notifications SET outcome = 'pending', attempts = 0, next_attempt_on = NULL
			WHERE subscription_id = $1 AND id = $2 RETURNING `+messageColumns, sub.ID, id)
		if m, err = one[Notification](rows, err); err != nil {
			return err
		}
		return s.enqueue(ctx, tx, DeliverNotification{NotificationID: id})
	})
	if err != nil {
		return m, fmt.Errorf("replay notification %d: %w", id, err)
	}
	return m, nil
}

// NoteVerdict tells whoever wants to know when the verdict on a pull request is
// another than the one noted before.
func (s *Store) NoteVerdict(ctx context.Context, pr PullRequestKey, v mergecheck.Verdict) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error { return s.noteVerdict(ctx, tx, pr, v) })
	if err != nil {
		return fmt.Errorf("note verdict on pull request %d: %w", pr.PullRequestID, err)
	}
	return nil
}

func (s *Store) noteVerdict(ctx context.Context, tx pgx.Tx, pr PullRequestKey, v mergecheck.Verdict) error {
	if err := lockPullRequest(ctx, tx, pr, exclusive); err != nil {
		return err
	}
	var before ToldVerdict
	err := tx.QueryRow(ctx, `
		SELECT head, code, success FROM pull_request_verdicts
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID).Scan(&before.Head, &before.Code, &before.Success)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if before.Head == v.PullRequest.Head && before.Code == string(v.Code) {
		return nil
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO pull_request_verdicts (workspace_uuid, repository_uuid, pull_request_id, head, code, success)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (workspace_uuid, repository_uuid, pull_request_id) DO UPDATE
			SET head = excluded.head, code = excluded.code, success = excluded.success, changed_on = now()`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, v.PullRequest.Head, string(v.Code), v.Success)
	if err != nil {
		return err
	}
	r, err := repositoryOf(ctx, tx, pr.WorkspaceUUID, pr.RepositoryUUID)
	if err != nil {
		return ignoreNotFound(err)
	}
	event := Event{Type: EventVerdictChanged, Repository: r, PullRequestID: pr.PullRequestID, Verdict: &v}
	if before.Code != "" {
		event.Previous = &before
	}
	return s.notify(ctx, tx, pr.WorkspaceUUID, event)
}
