// Package outbox makes what is wanted: whatever Bitbucket or a subscriber is to be shown.
//
// What is wanted is an entry in the store, wanted in the transaction of the facts that make
// it so. A job leases the entry, makes what is wanted when it runs, and settles it with a
// [postgres.Attempt]: repeated, late and reordered jobs end in the same. Whoever makes a
// kind of entry says how, in a [Kind]:
//
//	outbox.New(store, publisher.Kind(), shower.Kind(), notifier.Kind()).AddWorkers(workers)
//
// When to try again, and when to give up, is for [mergegate/internal/retry].
package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"mergegate/internal/postgres"
	"mergegate/internal/retry"
)

// settleWithin bounds recording how an attempt ended, also when the program is told to end:
// what was answered would have to be found out again.
const settleWithin = 5 * time.Second

// Kind is how entries of one kind are made.
type Kind struct {
	Name postgres.EntryKind
	// Lease is how long making one may take, or what is done between two times that the
	// lease is lengthened.
	Lease time.Duration
	// Most is how many of one lane are made at a time: one whose requests hang must not
	// take every worker.
	Most int
	// Make makes what is wanted of an entry now. It may lengthen the lease of the entry. An
	// error is ours, or the database's: the entry is tried again.
	Make func(ctx context.Context, e *postgres.Entry) (postgres.Attempt, error)
	// Settled adds to the transaction that records how an attempt ended; nil: nothing.
	Settled func(ctx context.Context, tx *postgres.Tx, e postgres.Entry, a postgres.Attempt, how postgres.Settling) error
}

// Outbox works the jobs that make entries.
type Outbox struct {
	store *postgres.Store
	kinds map[postgres.EntryKind]Kind
}

// New returns an outbox of these kinds.
func New(store *postgres.Store, kinds ...Kind) *Outbox {
	o := &Outbox{store: store, kinds: map[postgres.EntryKind]Kind{}}
	for _, kind := range kinds {
		o.kinds[kind.Name] = kind
	}
	return o
}

// AddWorkers registers the job of this package.
func (o *Outbox) AddWorkers(workers *river.Workers) {
	river.AddWorker(workers, river.WorkFunc(o.publish))
}

func (o *Outbox) publish(ctx context.Context, job *river.Job[postgres.Publish]) error {
	kind, known := o.kinds[job.Args.EntryKind]
	if !known {
		return fmt.Errorf("no publisher for outbox entries of kind %q", job.Args.EntryKind)
	}
	return o.Publish(ctx, kind, job.Args.EntryID)
}

// Publish makes one entry, and returns nil where nothing is left to do about it, a snooze
// where that is later, or an error.
func (o *Outbox) Publish(ctx context.Context, kind Kind, id int64) error {
	e, claim, err := o.store.ClaimEntry(ctx, id, kind.Lease, kind.Most)
	switch {
	case err != nil:
		return err
	case claim == postgres.Over:
		return nil
	case claim == postgres.Busy:
		return river.JobSnooze(untilDue(e))
	}
	a, err := kind.Make(ctx, &e)
	settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	if err != nil {
		return errors.Join(err, o.store.ReleaseEntry(settling, e))
	}
	if err := o.settle(settling, kind, e, a); err != nil {
		return err
	}
	if a.Outcome == postgres.Pending {
		return river.JobSnooze(a.RetryIn)
	}
	return nil
}

func (o *Outbox) settle(ctx context.Context, kind Kind, e postgres.Entry, a postgres.Attempt) error {
	err := o.store.InTx(ctx, func(tx *postgres.Tx) error {
		how, err := tx.SettleEntry(ctx, e, a)
		if err != nil || kind.Settled == nil || how == postgres.Gone {
			return err
		}
		return kind.Settled(ctx, tx, e, a, how)
	})
	if err != nil {
		return fmt.Errorf("settle entry %d of the outbox: %w", e.ID, err)
	}
	return nil
}

// untilDue is how long an entry that can't be claimed now is left alone.
func untilDue(e postgres.Entry) time.Duration {
	if e.NextAttemptOn == nil {
		return retry.BusyWait
	}
	return max(retry.BusyWait, time.Until(*e.NextAttemptOn))
}
