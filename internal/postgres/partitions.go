package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// partitioned is a table with a partition for each day or month, and a default one for what
// none was made for.
type partitioned struct {
	table  string
	layout string                                 // of the end of a partition's name: when it begins
	next   func(begin time.Time) time.Time        // when the one after it begins
	bound  func(begin time.Time) (literal string) // in the partition key
	ahead  int                                    // how many are made ahead
	keeps  string                                 // a condition for what a partition isn't dropped with
	// early is the least retention with which a partition goes once its first row is old:
	// with a shorter one, and where it is 0, once its last row is.
	early time.Duration
}

var partitions = map[string]partitioned{
	"deliveries": {
		table: "deliveries", layout: "20060102", ahead: 7,
		next:  func(day time.Time) time.Time { return day.AddDate(0, 0, 1) },
		bound: func(day time.Time) string { return fmt.Sprint(day.Unix() / 86400 << 32) }, // see next_delivery_id
		keeps: `outcome = 'pending'`, early: 7 * 24 * time.Hour,                           // no e-mail address stays for longer
	},
	"decisions": {
		table: "decisions", layout: "200601", ahead: 2,
		next:  func(month time.Time) time.Time { return month.AddDate(0, 1, 0) },
		bound: func(month time.Time) string { return month.Format("'2006-01-02 15:04:05Z'") },
		keeps: `false`,
	},
}

// partitionLock is how long making or dropping a partition waits for everybody else: they
// wait behind it meanwhile. What can't be had is tried again in the next round.
const partitionLock = "2s"

// MakePartitions makes the partitions of now and those to come.
func (s *Store) MakePartitions(ctx context.Context) error {
	for _, p := range partitions {
		now := time.Now().UTC()
		begin, err := time.Parse(p.layout, now.Format(p.layout))
		if err != nil {
			return err
		}
		for range p.ahead + 1 {
			name, end := p.table+"_"+begin.Format(p.layout), p.next(begin)
			err := s.partition(ctx, fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s PARTITION OF %s FOR VALUES FROM (%s) TO (%s)`, name, p.table, p.bound(begin), p.bound(end)))
			if err != nil {
				return fmt.Errorf("make partition %s: %w", name, err)
			}
			begin = end
		}
	}
	return nil
}

// dropPartitions drops the partitions that are older than kept.
func (s *Store) dropPartitions(ctx context.Context, kind string, kept time.Duration) error {
	p, is := partitions[kind]
	if !is {
		return nil
	}
	rows, err := s.pool.Query(ctx, `SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1`, p.table)
	var names []string
	if err == nil {
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		return fmt.Errorf("list partitions of %s: %w", p.table, err)
	}
	for _, name := range names {
		begin, err := time.Parse(p.table+"_"+p.layout, name)
		if err != nil {
			continue // the default one
		}
		old := p.next(begin)
		if p.early > 0 && kept >= p.early {
			old = begin
		}
		if old.After(time.Now().Add(-kept)) {
			continue
		}
		var needed bool
		if err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM `+name+` WHERE `+p.keeps+`)`).Scan(&needed); err != nil || needed {
			continue // another replica dropped it, or it is tried again
		}
		if err := s.partition(ctx, `DROP TABLE IF EXISTS `+name); err != nil {
			return fmt.Errorf("drop partition %s: %w", name, err)
		}
	}
	return nil
}

// partition runs a statement that changes which partitions there are, unless another
// replica does or the lock can't be had now.
func (s *Store) partition(ctx context.Context, statement string) error {
	err := s.InTx(ctx, func(tx *Tx) error {
		var mine bool
		if err := tx.db.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock(hashtextextended('partitions', 0))`).Scan(&mine); err != nil || !mine {
			return err
		}
		if _, err := tx.db.Exec(ctx, `SET LOCAL lock_timeout = '`+partitionLock+`'`); err != nil {
			return err
		}
		_, err := tx.db.Exec(ctx, statement)
		return err
	})
	var e *pgconn.PgError
	if errors.As(err, &e) && (e.Code == "55P03" || e.Code == "23514") {
		return nil // not to be had now; or the default partition has rows of that time, which stay there
	}
	return err
}
