package postgres_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/notifications"
	"mergegate/internal/postgres"
)

func subscribe(t testing.TB, store *postgres.Store, r postgres.Repository, events ...string) postgres.Subscription {
	t.Helper()
	sub, err := store.AddSubscription(t.Context(), postgres.Subscription{
		WorkspaceUUID: r.WorkspaceUUID, URL: "https://example.com/", Events: events, Secrets: []byte("sealed"), CreatedBy: "somebody",
	}, 3)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// attempt claims the oldest message that waits, and settles it.
func attempt(t testing.TB, store *postgres.Store, outcome postgres.Outcome) {
	t.Helper()
	id := query[int64](t, store, `SELECT id FROM outbox WHERE kind = 'notification' AND outcome = 'pending' ORDER BY id LIMIT 1`)[0]
	e, c, err := store.ClaimEntry(t.Context(), id, time.Minute, 2)
	if err != nil || c != postgres.Claimed {
		t.Fatal(c, err)
	}
	inTx(t, store, func(tx *postgres.Tx) error {
		a := postgres.Attempt{Outcome: outcome, Reason: "no", RetryIn: time.Hour}
		if _, err := tx.SettleEntry(t.Context(), e, a); err != nil {
			return err
		}
		return tx.AddNotificationAttempt(t.Context(), id, a)
	})
}

// describe tells of an event what these tests look at.
func describe(e postgres.Event) any {
	switch {
	case e.Build != nil:
		return string(e.Build.State)
	case e.Waiver != nil:
		return string(e.Waiver.State) + " " + e.Waiver.Reason
	default:
		return e.Type
	}
}

func TestSubscribersAreToldWhatTheyAskedFor(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	elsewhere := r
	elsewhere.WorkspaceUUID = "0c3a7799-53ae-4a5b-9e7e-03338980abb5"
	builds := subscribe(t, store, r, postgres.EventBuildConfirmed)
	both := subscribe(t, store, r, postgres.EventBuildConfirmed, postgres.EventWaiverGiven)
	gone := subscribe(t, store, r, postgres.EventBuildConfirmed)
	other := subscribe(t, store, elsewhere, postgres.EventBuildConfirmed)
	if err := store.DisableSubscription(t.Context(), gone.ID, "it is gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.AddSubscription(t.Context(), postgres.Subscription{WorkspaceUUID: r.WorkspaceUUID, Events: []string{}, Secrets: []byte{}}, 3); !errors.Is(err, postgres.ErrTooManySubscriptions) {
		t.Errorf("a fourth of three: %v", err)
	}
	record(t, store, build(1, in(mergecheck.Running)), build(1, in(mergecheck.Running)), build(1, in(mergecheck.Failed), func(b *mergecheck.Build) { b.UpdatedOn = b.UpdatedOn.Add(time.Minute) }))
	waive(t, store, pullRequest(r, 7), mergecheck.Waiver{})
	events := func(sub postgres.Subscription) (events []string) {
		t.Helper()
		list, err := store.Notifications(t.Context(), sub, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			var body struct{ Type, Data string }
			if err := json.Unmarshal([]byte(m.Body), &body); err != nil || body.Type != m.Event {
				t.Errorf("body %s: %v", m.Body, err)
			}
			events = append(events, m.Event+" "+body.Data)
		}
		return events
	}
	equal(t, "builds", []string{"build.confirmed failed", "build.confirmed running"}, events(builds))
	equal(t, "builds and waivers", []string{"waiver.given live because", "build.confirmed failed", "build.confirmed running"}, events(both))
	equal(t, "disabled", nil, events(gone))
	equal(t, "another workspace", nil, events(other))
	equal(t, "jobs", int64(5), publishing(t, store, postgres.NotificationEntry))
	if err := store.DeleteSubscription(t.Context(), other.WorkspaceUUID, both.ID); !errors.Is(err, postgres.ErrNotFound) {
		t.Errorf("another workspace's subscription was deleted: %v", err)
	}
}

// TestATestGoesToOneSubscriber has others that would be told of anything.
func TestATestGoesToOneSubscriber(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	var want []int64
	for _, disabled := range []bool{false, true} {
		sub := subscribe(t, store, r, postgres.EventTest)
		if disabled {
			if err := store.DisableSubscription(t.Context(), sub.ID, "it is gone"); err != nil {
				t.Fatal(err)
			}
		}
		if err := store.TestSubscription(t.Context(), sub); err != nil {
			t.Fatal(err)
		}
		want = append(want, sub.ID)
	}
	equal(t, "told", want, query[int64](t, store, `SELECT subscription_id FROM notifications ORDER BY id`))
}

func TestVerdictsAreToldWhenTheyChange(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	sub := subscribe(t, store, r, postgres.EventVerdictChanged)
	verdict := func(commit string, code mergecheck.Code) mergecheck.Verdict {
		return mergecheck.Verdict{Code: code, Success: code.Success(), PullRequest: mergecheck.PullRequest{Head: commit}}
	}
	for _, v := range []mergecheck.Verdict{
		verdict(head, mergecheck.NoBuild), verdict(head, mergecheck.NoBuild), verdict(head, mergecheck.FailedCode),
		verdict(other, mergecheck.FailedCode), verdict(other, mergecheck.FailedCode),
	} {
		inTx(t, store, func(tx *postgres.Tx) error { return notifications.NotifyVerdict(t.Context(), tx, pullRequest(r, 7), v) })
	}
	list, err := store.Notifications(t.Context(), sub, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "messages", 3, len(list))
}

// TestASlowSubscriberIsSentLittleAtATime claims more than one may be sent.
func TestASlowSubscriberIsSentLittleAtATime(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	sub := subscribe(t, store, r, postgres.EventWaiverGiven)
	for range 3 {
		if err := store.TestSubscription(t.Context(), sub); err != nil {
			t.Fatal(err)
		}
	}
	list, err := store.Notifications(t.Context(), sub, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var claimed []postgres.Entry
	for i, m := range list {
		got, c, err := store.ClaimEntry(t.Context(), m.ID, time.Minute, 2)
		if want := []postgres.Claim{postgres.Claimed, postgres.Claimed, postgres.Busy}[i]; err != nil || c != want {
			t.Fatalf("message %d: claim %v, %v", i, c, err)
		}
		claimed = append(claimed, got)
	}
	inTx(t, store, func(tx *postgres.Tx) error {
		_, err := tx.SettleEntry(t.Context(), claimed[0], postgres.Attempt{Outcome: postgres.Delivered})
		return err
	})
	if _, c, err := store.ClaimEntry(t.Context(), list[2].ID, time.Minute, 2); err != nil || c != postgres.Claimed {
		t.Errorf("the third is not claimed after the first is taken: %v", err)
	}
	if _, c, err := store.ClaimEntry(t.Context(), list[0].ID, time.Minute, 2); err != nil || c != postgres.Over {
		t.Errorf("what was taken is claimed again: %v", err)
	}
	if _, err := store.ReplayNotification(t.Context(), sub, list[0].ID); err != nil {
		t.Error(err)
	}
}
