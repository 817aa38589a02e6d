package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Delivery is one received webhook or event, stored as it came.
type Delivery struct {
	ID      int64
	Source  string
	Body    []byte
	BuildID int64

	// Hints out of the body: where to ask, and whom it may concern.
	Account           string
	Slug              string
	Version           string
	HintedRepository  string
	HintedPullRequest int64

	Outcome     Outcome
	Reason      string
	Attempts    int
	ReceivedOn  time.Time
	ProcessedOn *time.Time
}

// Outcome is what became of a delivery.
type Outcome string

// The outcomes of a delivery.
const (
	Pending   Outcome = "pending"
	Processed Outcome = "processed"
	Ignored   Outcome = "ignored" // Reason says by which rule
	Failed    Outcome = "failed"  // Reason says what stood in the way to the end
)

// AddDelivery stores d and, when it is pending, the job that processes it. Both
// are committed when it returns the new id.
func (s *Store) AddDelivery(ctx context.Context, d Delivery) (id int64, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			INSERT INTO deliveries (source, body, build_id, account, slug, version, hinted_repository,
				hinted_pull_request, outcome, reason, processed_on)
			VALUES (@source, @body, @build_id, @account, @slug, @version, @hinted_repository,
				@hinted_pull_request, @outcome, @reason, CASE WHEN @outcome = 'pending' THEN NULL ELSE now() END)
			RETURNING id`,
			pgx.NamedArgs{
				"source": d.Source, "body": d.Body, "build_id": d.BuildID, "account": d.Account, "slug": d.Slug,
				"version": d.Version, "hinted_repository": d.HintedRepository,
				"hinted_pull_request": d.HintedPullRequest, "outcome": d.Outcome, "reason": d.Reason,
			}).Scan(&id)
		if err != nil || d.Outcome != Pending {
			return err
		}
		return s.enqueue(ctx, tx, ConfirmDelivery{DeliveryID: id})
	})
	if err != nil {
		return 0, fmt.Errorf("add delivery: %w", err)
	}
	return id, nil
}

const deliveryColumns = `id, source, coalesce(build_id, 0) AS build_id, account, slug, version, hinted_repository,
	hinted_pull_request, outcome, reason, attempts, received_on, processed_on`

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
	return s.inTx(ctx, func(tx pgx.Tx) error { return settleDelivery(ctx, tx, id, outcome, reason) })
}

func settleDelivery(ctx context.Context, tx pgx.Tx, id int64, outcome Outcome, reason string) error {
	_, err := tx.Exec(ctx, `
		UPDATE deliveries SET outcome = $2, reason = $3, attempts = attempts + 1, processed_on = now() WHERE id = $1`,
		id, outcome, reason)
	if err != nil {
		return fmt.Errorf("settle delivery %d: %w", id, err)
	}
	return nil
}

// Deliveries lists deliveries, newest first, at most limit of those older than
// the one with id before; 0 starts at the newest.
func (s *Store) Deliveries(ctx context.Context, before int64, limit int) ([]Delivery, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT `+deliveryColumns+` FROM deliveries
		WHERE id < $1 ORDER BY id DESC LIMIT $2`, below(before), limit)
	list, err := all[Delivery](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	return list, nil
}
