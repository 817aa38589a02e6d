package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"mergegate/internal/mergecheck"
)

// Delivery is one received webhook or event, stored as it came.
type Delivery struct {
	ID      int64
	Source  string
	Event   string // Bitbucket's X-Event-Key, or Forge's eventType
	Body    []byte
	BuildID int64 // 0 for events
	// RequestID is the same when the same request is sent again; "" when the
	// sender doesn't tell.
	RequestID string

	// Hints out of the body: where to ask, and whom it may concern.
	Account           string
	Slug              string
	Version           string
	HintedRepository  string
	HintedPullRequest int64

	// The repository of an event, as Bitbucket signed it; "" for AppVeyor's.
	WorkspaceUUID  string
	RepositoryUUID string

	Outcome    Outcome
	Reason     string
	Attempts   int
	ReceivedOn time.Time
	// PendingSince is when it was received, or replayed last.
	PendingSince time.Time
	ProcessedOn  *time.Time
}

// AddDelivery stores d and, when it is pending, the job that processes it. Both
// are committed when it returns the id. A request that was stored before is not
// stored again: the id is that delivery's.
func (s *Store) AddDelivery(ctx context.Context, d Delivery) (id int64, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		var before bool
		if id, before, err = tx.AddDelivery(ctx, d); err != nil || before || d.Outcome != Pending {
			return err
		}
		d.ID = id
		return tx.Enqueue(ctx, jobOf(d))
	})
	if err != nil {
		return 0, fmt.Errorf("add delivery: %w", err)
	}
	return id, nil
}

// AddDelivery stores d as it is. Of a request that was stored before it returns the id, and
// before, and stores nothing.
func (tx *Tx) AddDelivery(ctx context.Context, d Delivery) (id int64, before bool, err error) {
	if d.RequestID != "" {
		err := tx.db.QueryRow(ctx, `
			INSERT INTO delivery_requests (source, request_id, delivery_id) VALUES ($1, $2, next_delivery_id())
			ON CONFLICT (source, request_id) DO UPDATE SET request_id = excluded.request_id
			RETURNING delivery_id, xmax <> 0`, d.Source, d.RequestID).Scan(&id, &before) // xmax is set on a row that was there
		if err != nil || before {
			return id, before, err
		}
	}
	err = tx.db.QueryRow(ctx, `
		INSERT INTO deliveries (id, source, event, body, build_id, account, slug, version, hinted_repository,
			hinted_pull_request, workspace_uuid, repository_uuid, outcome, reason, processed_on)
		VALUES (coalesce(nullif(@id::bigint, 0), next_delivery_id()), @source, @event, @body, nullif(@build_id::bigint, 0), @account, @slug, @version,
			@hinted_repository, @hinted_pull_request, nullif(@workspace_uuid, '')::uuid, nullif(@repository_uuid, '')::uuid, @outcome, @reason,
			CASE WHEN @outcome = 'pending' THEN NULL ELSE now() END)
		RETURNING id`, pgx.NamedArgs{
		"id": id, "source": d.Source, "event": d.Event, "body": d.Body, "build_id": d.BuildID,
		"account": d.Account, "slug": d.Slug, "version": d.Version, "hinted_repository": d.HintedRepository,
		"hinted_pull_request": d.HintedPullRequest, "workspace_uuid": mergecheck.BareUUID(d.WorkspaceUUID),
		"repository_uuid": mergecheck.BareUUID(d.RepositoryUUID), "outcome": d.Outcome, "reason": d.Reason,
	}).Scan(&id)
	return id, false, err
}

// DeliveryBody returns what was received, as it came.
func (s *Store) DeliveryBody(ctx context.Context, id int64) ([]byte, error) {
	var body []byte
	if err := s.pool.QueryRow(ctx, `SELECT body FROM deliveries WHERE id = $1`, id).Scan(&body); err != nil {
		return nil, fmt.Errorf("read body of delivery %d: %w", id, err)
	}
	return body, nil
}

const deliveryColumns = `id, source, event, coalesce(build_id, 0) AS build_id, account, slug, version, hinted_repository,
	hinted_pull_request, coalesce(workspace_uuid::text, '') AS workspace_uuid, coalesce(repository_uuid::text, '') AS repository_uuid,
	outcome, reason, attempts, received_on, pending_since, processed_on`

// Delivery returns one delivery, without its body.
func (s *Store) Delivery(ctx context.Context, id int64) (Delivery, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+deliveryColumns+` FROM deliveries WHERE id = $1`, id)
	d, err := one[Delivery](rows, err)
	if err != nil {
		return d, fmt.Errorf("read delivery %d: %w", id, err)
	}
	return d, nil
}

// NoteAttempt records why a pending delivery could not be processed this time.
func (s *Store) NoteAttempt(ctx context.Context, id int64, reason string) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE deliveries SET attempts = attempts + 1, reason = $2 WHERE id = $1 AND outcome = 'pending'`, id, reason)
	if err != nil {
		return fmt.Errorf("note attempt at delivery %d: %w", id, err)
	}
	return nil
}

// SettleDelivery gives a delivery its outcome.
func (s *Store) SettleDelivery(ctx context.Context, id int64, outcome Outcome, reason string) error {
	return s.InTx(ctx, func(tx *Tx) error { return tx.SettleDelivery(ctx, id, outcome, reason) })
}

// SettleDelivery gives a delivery its outcome.
func (tx *Tx) SettleDelivery(ctx context.Context, id int64, outcome Outcome, reason string) error {
	_, err := tx.db.Exec(ctx, `
		UPDATE deliveries SET outcome = $2, reason = $3, attempts = attempts + 1, processed_on = now() WHERE id = $1`,
		id, outcome, reason)
	if err != nil {
		return fmt.Errorf("settle delivery %d: %w", id, err)
	}
	return nil
}

// ReplayDelivery has a delivery processed anew, whatever came of it. One that isn't
// covered is not there.
func (s *Store) ReplayDelivery(ctx context.Context, cover Cover, id int64) (d Delivery, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		rows, err := tx.db.Query(ctx, `
			UPDATE deliveries d SET outcome = 'pending', reason = '', processed_on = NULL, pending_since = now()
			WHERE `+coveredDelivery+` AND id = $3 RETURNING `+deliveryColumns, cover.everything, cover.repositories, id)
		if d, err = one[Delivery](rows, err); err != nil {
			return err
		}
		return tx.Enqueue(ctx, jobOf(d))
	})
	if err != nil {
		return d, fmt.Errorf("replay delivery %d: %w", id, err)
	}
	return d, nil
}

// jobOf is the job that processes a delivery.
func jobOf(d Delivery) river.JobArgs {
	if d.BuildID == 0 {
		return ApplyEvent{DeliveryID: d.ID}
	}
	return ConfirmDelivery{DeliveryID: d.ID}
}

// DeliveriesSince returns the ids of deliveries that are covered and were received since a
// time, oldest first.
func (s *Store) DeliveriesSince(ctx context.Context, cover Cover, since time.Time) ([]int64, error) {
	rows, err := s.pool.Query(ctx, `SELECT id FROM deliveries d WHERE `+coveredDelivery+` AND received_on >= $3 ORDER BY id`,
		cover.everything, cover.repositories, since)
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// Deliveries lists deliveries that are covered, newest first, at most limit of those
// older than the one with id before; 0 starts at the newest.
func (s *Store) Deliveries(ctx context.Context, cover Cover, before int64, limit int) ([]Delivery, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT `+deliveryColumns+` FROM deliveries d
		WHERE `+coveredDelivery+` AND id < $3 ORDER BY id DESC LIMIT $4`, cover.everything, cover.repositories, below(before), limit)
	list, err := all[Delivery](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	return list, nil
}
