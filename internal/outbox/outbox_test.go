package outbox

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"go.uber.org/goleak"

	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
	"mergegate/internal/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }

// wanted is a store in which one notification waits to be sent, and its id.
func wanted(t *testing.T) (*postgres.Store, int64) {
	t.Helper()
	store, err := postgres.Open(t.Context(), postgrestest.New(t), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	sub, err := store.AddSubscription(t.Context(), postgres.Subscription{
		WorkspaceUUID: uuid.NewString(), URL: "https://example.com/", Events: []string{}, Secrets: []byte{}, CreatedBy: "somebody",
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.TestSubscription(t.Context(), sub); err != nil {
		t.Fatal(err)
	}
	list, err := store.Notifications(t.Context(), sub, 0, 2)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d notifications, %v", len(list), err)
	}
	return store, list[0].ID
}

var errOurs = errors.New("ours")

// TestPublish makes an entry once, in all the ways that can end.
func TestPublish(t *testing.T) {
	t.Parallel()
	type end struct {
		Outcome  postgres.Outcome
		Claim    postgres.Claim // of the next job
		Attempts int
		Snoozed  time.Duration
		Err      error
	}
	tests := []struct {
		name       string
		attempt    postgres.Attempt
		makeErr    error
		settledErr error
		want       end
	}{
		{name: "made", attempt: postgres.Attempt{Outcome: postgres.Delivered}, want: end{Outcome: postgres.Delivered, Claim: postgres.Over, Attempts: 1}},
		{name: "refused for good", attempt: postgres.Attempt{Outcome: postgres.Failed, HTTPStatus: 403, Reason: "no"}, want: end{Outcome: postgres.Failed, Claim: postgres.Over, Attempts: 1}},
		{
			name: "to be tried again", attempt: postgres.Attempt{Outcome: postgres.Pending, RetryIn: time.Hour},
			want: end{Outcome: postgres.Pending, Claim: postgres.Busy, Attempts: 1, Snoozed: time.Hour},
		},
		{
			name: "nobody was asked", attempt: postgres.Attempt{Outcome: postgres.Pending, RetryIn: time.Hour, Unasked: true},
			want: end{Outcome: postgres.Pending, Claim: postgres.Busy, Snoozed: time.Hour},
		},
		{name: "a fault of ours leaves it free", makeErr: errOurs, want: end{Outcome: postgres.Pending, Claim: postgres.Claimed, Attempts: 1, Err: errOurs}},
		{
			name: "what can't be recorded keeps its lease", attempt: postgres.Attempt{Outcome: postgres.Delivered}, settledErr: errOurs,
			want: end{Outcome: postgres.Pending, Claim: postgres.Busy, Attempts: 1, Err: errOurs},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store, id := wanted(t)
			kind := Kind{
				Name: postgres.NotificationEntry, Lease: time.Minute, Most: 1,
				Make: func(context.Context, *postgres.Entry) (postgres.Attempt, error) { return tt.attempt, tt.makeErr },
				Settled: func(context.Context, *postgres.Tx, postgres.Entry, postgres.Attempt, postgres.Settling) error {
					return tt.settledErr
				},
			}
			got := end{Err: New(store, kind).Publish(t.Context(), kind, id)}
			var snoozed *rivertype.JobSnoozeError
			if errors.As(got.Err, &snoozed) {
				got.Snoozed, got.Err = snoozed.Duration, nil
			}
			if errors.Is(got.Err, errOurs) {
				got.Err = errOurs
			}
			m, _, err := store.Notification(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			got.Outcome, got.Attempts = m.Outcome, m.Attempts
			if _, got.Claim, err = store.ClaimEntry(t.Context(), id, time.Minute, 1); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.Comparer(errors.Is)); diff != "" {
				t.Errorf("end (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBusyAndOver are entries that a job leaves alone.
func TestBusyAndOver(t *testing.T) {
	t.Parallel()
	store, id := wanted(t)
	kind := Kind{Name: postgres.NotificationEntry, Lease: time.Minute, Most: 1, Make: func(context.Context, *postgres.Entry) (postgres.Attempt, error) {
		t.Error("made")
		return postgres.Attempt{}, nil
	}}
	o := New(store, kind)
	if _, c, err := store.ClaimEntry(t.Context(), id, time.Minute, 1); c != postgres.Claimed || err != nil {
		t.Fatal(c, err)
	}
	var snoozed *rivertype.JobSnoozeError
	if err := o.Publish(t.Context(), kind, id); !errors.As(err, &snoozed) || snoozed.Duration != retry.BusyWait {
		t.Errorf("while another is at it: %v", err)
	}
	if err := o.Publish(t.Context(), kind, id+1); err != nil {
		t.Errorf("one that isn't there: %v", err)
	}
	job := &river.Job[postgres.Publish]{Args: postgres.Publish{EntryID: id, EntryKind: "another"}}
	if err := o.publish(t.Context(), job); err == nil {
		t.Error("a kind that nobody makes was made")
	}
}

// TestAShutdownLosesNoAnswer ends the job's context while an entry is made: how that ended
// is recorded all the same.
func TestAShutdownLosesNoAnswer(t *testing.T) {
	t.Parallel()
	store, id := wanted(t)
	ctx, cancel := context.WithCancel(t.Context())
	kind := Kind{Name: postgres.NotificationEntry, Lease: time.Minute, Most: 1, Make: func(context.Context, *postgres.Entry) (postgres.Attempt, error) {
		cancel()
		return postgres.Attempt{Outcome: postgres.Delivered}, nil
	}}
	if err := New(store, kind).Publish(ctx, kind, id); err != nil {
		t.Fatal(err)
	}
	m, _, err := store.Notification(t.Context(), id)
	if err != nil || m.Outcome != postgres.Delivered {
		t.Errorf("%s, %v", m.Outcome, err)
	}
}
