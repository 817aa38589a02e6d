package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/riverqueue/river"
)

// reasonGivenUp is why something failed whose job has used its last attempt. The log
// has the errors.
const reasonGivenUp = "mergegate could not process it, and has stopped trying; its log says why"

// GiveUp is for a job that has used its last attempt, whatever it is for: what waited
// for it fails with a reason, so that nothing stays pending without a job, and can be
// tried again by a person or by the next message.
func (s *Store) GiveUp(ctx context.Context, kind string, args []byte) error {
	for _, job := range []river.JobArgs{
		&ConfirmDelivery{}, &ApplyEvent{}, &Publish{},
		&LookAtPullRequest{}, &SettleHeads{}, &WatchBuild{}, &LearnRepository{}, &ReadName{},
	} {
		if job.Kind() != kind {
			continue
		}
		if err := json.Unmarshal(args, job); err != nil {
			return fmt.Errorf("read arguments of job %s: %w", kind, err)
		}
		return s.giveUp(ctx, job)
	}
	return nil // nothing waits for it: the next round, or message, has it done
}

func (s *Store) giveUp(ctx context.Context, job river.JobArgs) error {
	switch job := job.(type) {
	case *ConfirmDelivery:
		return s.giveUpDelivery(ctx, job.DeliveryID)
	case *ApplyEvent:
		return s.giveUpDelivery(ctx, job.DeliveryID)
	case *Publish:
		return s.giveUpEntry(ctx, job.EntryID)
	case *LookAtPullRequest:
		return s.giveUpLook(ctx, *job)
	case *SettleHeads:
		return s.giveUpLook(ctx, *job)
	case *WatchBuild:
		return s.giveUpLook(ctx, *job)
	case *LearnRepository:
		return s.giveUpLook(ctx, *job)
	case *ReadName:
		return s.giveUpLook(ctx, *job)
	}
	return nil
}

// giveUpEntry fails what is wanted of an entry. The next change is worth a job again.
func (s *Store) giveUpEntry(ctx context.Context, id int64) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE outbox SET outcome = 'failed', reason = $2, settled = wanted, begun = wanted, next_attempt_on = NULL, leased_until = NULL,
			updated_on = now()
		WHERE id = $1 AND settled < wanted`, id, reasonGivenUp)
	if err != nil {
		return fmt.Errorf("give up entry %d of the outbox: %w", id, err)
	}
	return nil
}

func (s *Store) giveUpDelivery(ctx context.Context, id int64) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE deliveries SET outcome = 'failed', reason = $2, processed_on = now() WHERE id = $1 AND outcome = 'pending'`, id, reasonGivenUp)
	if err != nil {
		return fmt.Errorf("give up delivery %d: %w", id, err)
	}
	return nil
}

// GiveUpDeliveries fails deliveries that are pending for longer than anything is tried:
// their jobs are gone. It returns how many.
func (s *Store) GiveUpDeliveries(ctx context.Context, after time.Duration) (n int64, err error) {
	tag, err := s.pool.Exec(ctx, `
		UPDATE deliveries SET outcome = 'failed', reason = $2, processed_on = now()
		WHERE outcome = 'pending' AND pending_since < now() - $1::interval`, after, reasonGivenUp)
	if err != nil {
		return 0, fmt.Errorf("give up old deliveries: %w", err)
	}
	return tag.RowsAffected(), nil
}
