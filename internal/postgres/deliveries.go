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

// AddDelivery stores d and, when it is pending, the job that processes it. Both are
// committed when it returns the id, with those of others who ask at the same time. A request
// that was stored before is not stored again: the id is that delivery's.
func (s *Store) AddDelivery(ctx context.Context, d Delivery) (id int64, err error) {
	if d.RequestID == "" {
		id, err = s.deliveries.do(ctx, d)
	} else {
		id, err = s.addRequest(ctx, d)
	}
	if err != nil {
		return 0, fmt.Errorf("add delivery: %w", err)
	}
	return id, nil
}

// addRequest stores a delivery that others may store at the same time.
func (s *Store) addRequest(ctx context.Context, d Delivery) (id int64, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		var before bool
		if id, before, err = tx.AddDelivery(ctx, d); err != nil || before || d.Outcome != Pending {
			return err
		}
		d.ID = id
		return tx.Enqueue(ctx, jobOf(d))
	})
	return id, err
}

// addDeliveries stores deliveries, and the jobs that process them, and returns their ids.
func (s *Store) addDeliveries(ctx context.Context, list []Delivery) (ids []int64, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		if ids, err = insertDeliveries(ctx, tx.db, list); err != nil {
			return err
		}
		var jobs []river.InsertManyParams
		for i, d := range list {
			if d.ID = ids[i]; d.Outcome == Pending {
				jobs = append(jobs, river.InsertManyParams{Args: jobOf(d), InsertOpts: insertOpts(jobOf(d))})
			}
		}
		if len(jobs) == 0 {
			return nil
		}
		_, err = s.jobs.InsertManyFastTx(ctx, tx.db, jobs)
		return err
	})
	return ids, err
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
	d.ID = id
	ids, err := insertDeliveries(ctx, tx.db, []Delivery{d})
	if err != nil {
		return 0, false, err
	}
	return ids[0], false, nil
}

// insertDeliveries stores deliveries in their order, and returns their ids: new ones where
// they have none.
func insertDeliveries(ctx context.Context, db querier, list []Delivery) ([]int64, error) {
	n := len(list)
	texts := [10][]string{}
	for i := range texts {
		texts[i] = make([]string, n)
	}
	given, bodies, buildIDs, pullRequests := make([]int64, n), make([][]byte, n), make([]int64, n), make([]int64, n)
	for i, d := range list {
		for column, text := range [...]string{
			d.Source, d.Event, d.Account, d.Slug, d.Version, d.HintedRepository,
			mergecheck.BareUUID(d.WorkspaceUUID), mergecheck.BareUUID(d.RepositoryUUID), string(d.Outcome), d.Reason,
		} {
			texts[column][i] = text
		}
		given[i], bodies[i], buildIDs[i], pullRequests[i] = d.ID, d.Body, d.BuildID, d.HintedPullRequest
	}
	rows, err := db.Query(ctx, `
		INSERT INTO deliveries (id, source, event, account, slug, version, hinted_repository, workspace_uuid, repository_uuid,
			outcome, reason, processed_on, body, build_id, hinted_pull_request)
		SELECT coalesce(nullif(id, 0), next_delivery_id()), source, event, account, slug, version, repository, nullif(workspace, '')::uuid, nullif(uuid, '')::uuid,
			outcome, reason, CASE WHEN outcome = 'pending' THEN NULL ELSE now() END, body, nullif(build, 0), pull_request
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
			$12::bytea[], $13::bigint[], $14::bigint[]) WITH ORDINALITY
			AS d(id, source, event, account, slug, version, repository, workspace, uuid, outcome, reason, body, build, pull_request, n)
		ORDER BY n
		RETURNING id`, given, texts[0], texts[1], texts[2], texts[3], texts[4], texts[5], texts[6], texts[7], texts[8], texts[9], bodies, buildIDs, pullRequests)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
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
