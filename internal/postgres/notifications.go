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

// isSubscribed is whether somebody in workspace $1 is notified of verdicts that change.
const isSubscribed = `EXISTS (SELECT FROM subscriptions
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
	Previous       *NotifiedVerdict // nil: there was none before
	Waiver         *mergecheck.WaiverWithState
	Status         *CommitStatus
	SubscriptionID int64
}

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
	Entry
	SubscriptionID int64
	Event          string
	Body           string // JSON, as it is sent
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
	messageColumns      = entryColumns + `, subscription_id, event, body, created_on`
	fromNotifications   = ` FROM outbox JOIN notifications USING (id) `
)

// ErrTooManySubscriptions says that a workspace has as many as it may.
var ErrTooManySubscriptions = errors.New("the workspace has as many subscriptions as it may have")

// AddSubscription keeps a subscription, unless the workspace has most already.
func (s *Store) AddSubscription(ctx context.Context, sub Subscription, most int) (Subscription, error) {
	err := s.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.db.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('subscriptions ' || $1, 0))`, sub.WorkspaceUUID); err != nil {
			return err
		}
		rows, err := tx.db.Query(ctx, `
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
	err := s.InTx(ctx, func(tx *Tx) error {
		// Locked first: nobody is sent another message meanwhile.
		rows, err := tx.db.Query(ctx, `SELECT `+subscriptionColumns+` FROM subscriptions WHERE workspace_uuid = $1 AND id = $2 FOR UPDATE`, workspaceUUID, id)
		if _, err := one[Subscription](rows, err); err != nil {
			return err
		}
		_, err = tx.db.Exec(ctx, `DELETE FROM outbox WHERE id IN (SELECT id FROM notifications WHERE subscription_id = $1)`, id)
		if err != nil {
			return err
		}
		_, err = tx.db.Exec(ctx, `DELETE FROM subscriptions WHERE id = $1`, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete subscription %d: %w", id, err)
	}
	return nil
}

// Notify has whoever subscribed to an event in the workspace told of it.
func (tx *Tx) Notify(ctx context.Context, workspaceUUID string, event Event) error {
	return tx.notify(ctx, workspaceUUID, everySubscriber, event)
}

// TestSubscription sends one subscriber a message that says nothing.
func (s *Store) TestSubscription(ctx context.Context, sub Subscription) error {
	return s.InTx(ctx, func(tx *Tx) error {
		return tx.notify(ctx, sub.WorkspaceUUID, sub.ID, Event{Type: EventTest, SubscriptionID: sub.ID})
	})
}

// everySubscriber is in place of the id of one: whoever is enabled and subscribed to the event.
const everySubscriber = 0

// notify sends one subscriber of the workspace a message, whatever it subscribed to, or everySubscriber.
func (tx *Tx) notify(ctx context.Context, workspaceUUID string, subscriber int64, event Event) error {
	body, err := json.Marshal(tx.store.describe(event))
	if err != nil {
		return err
	}
	rows, err := tx.db.Query(ctx, `
		WITH notified AS (
			SELECT nextval(pg_get_serial_sequence('outbox', 'id')) AS id, id AS subscription_id FROM subscriptions
			WHERE workspace_uuid = $1 AND (id = $4 OR $4 = 0 AND disabled_on IS NULL AND $2 = ANY(events))
		), entries AS (
			INSERT INTO outbox (id, kind, workspace_uuid, lane) SELECT id, 'notification', $1, subscription_id::text FROM notified
		)
		INSERT INTO notifications (id, subscription_id, event, body)
		SELECT id, subscription_id, $2::text, jsonb_build_object('type', $2::text, 'data', $3::jsonb,
			'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))::text
		FROM notified RETURNING id`, workspaceUUID, event.Type, string(body), subscriber)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := tx.Enqueue(ctx, Publish{EntryID: id, EntryKind: NotificationEntry}); err != nil {
			return err
		}
	}
	return nil
}

// Notification returns a message with its subscription; [ErrNotFound] where they were
// deleted.
func (s *Store) Notification(ctx context.Context, id int64) (m Notification, sub Subscription, err error) {
	rows, err := s.pool.Query(ctx, `SELECT `+messageColumns+fromNotifications+`WHERE id = $1`, id)
	if m, err = one[Notification](rows, err); err == nil {
		sub, err = s.Subscription(ctx, m.WorkspaceUUID, m.SubscriptionID)
	}
	if err != nil {
		return m, sub, fmt.Errorf("read notification %d: %w", id, err)
	}
	return m, sub, nil
}

// AddNotificationAttempt keeps how an attempt ended.
func (tx *Tx) AddNotificationAttempt(ctx context.Context, id int64, a Attempt) error {
	_, err := tx.db.Exec(ctx, `
		INSERT INTO notification_attempts (notification_id, attempted_on, http_status, reason, duration_ms)
		VALUES ($1, clock_timestamp(), $2, $3, $4) ON CONFLICT DO NOTHING`, id, nullInt(a.HTTPStatus), a.Reason, a.Took.Milliseconds())
	return err
}

// Notifications lists what a subscriber was told, newest first, at most limit of
// those with an id below before (0: no bound).
func (s *Store) Notifications(ctx context.Context, sub Subscription, before int64, limit int) ([]Notification, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+messageColumns+fromNotifications+`
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
	if m, _, err = s.Notification(ctx, id); err == nil && m.SubscriptionID != sub.ID {
		err = ErrNotFound
	}
	if err == nil {
		err = s.InTx(ctx, func(tx *Tx) error { return tx.WantAgain(ctx, id) })
	}
	if err != nil {
		return m, fmt.Errorf("replay notification %d: %w", id, err)
	}
	m, _, err = s.Notification(ctx, id)
	return m, err
}
