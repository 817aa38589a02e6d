package postgres_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"

	"mergegate/internal/postgres"
)

func addDelivery(t *testing.T, store *postgres.Store, d postgres.Delivery) int64 {
	t.Helper()
	id, err := store.AddDelivery(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAddDelivery(t *testing.T) {
	t.Parallel()
	store := open(t)
	for _, tt := range []struct {
		name string
		d    postgres.Delivery
		jobs int
	}{
		{name: "pending", d: postgres.Delivery{
			Source: "appveyor", Body: []byte("\x00\xff"), BuildID: 5, Account: "acme", Slug: "app", Version: "1.0",
			HintedRepository: name, HintedPullRequest: 7, Outcome: postgres.Pending,
		}, jobs: 1},
		{name: "ignored", d: postgres.Delivery{Source: "appveyor", Body: []byte("{}"), Outcome: postgres.Ignored, Reason: "other_host"}, jobs: 1},
		{name: "failed", d: postgres.Delivery{Source: "appveyor", Body: []byte("{}"), Outcome: postgres.Failed}, jobs: 1},
	} {
		id := addDelivery(t, store, tt.d)
		got, err := store.Delivery(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		want := tt.d
		want.ID, want.Body = id, nil
		equal(t, tt.name, want, got, cmpopts.IgnoreFields(postgres.Delivery{}, "PendingSince", "ReceivedOn", "ProcessedOn"))
		equal(t, tt.name+": processed", tt.d.Outcome != postgres.Pending, got.ProcessedOn != nil)
		equal(t, tt.name+": jobs", tt.jobs, len(queued(t, store, "confirm_delivery")))
		equal(t, tt.name+": body", [][]byte{tt.d.Body}, query[[]byte](t, store, `SELECT body FROM deliveries WHERE id = $1`, id))
	}
	if _, err := store.Delivery(t.Context(), 99); !isNotFound(err) {
		t.Errorf("a delivery that isn't there: %v, want ErrNotFound", err)
	}
}

// TestDeliveriesAtOnce has deliveries come while the table is locked, so that they are stored
// together: each has its own id and its own job, and a bad one fails alone.
func TestDeliveriesAtOnce(t *testing.T) {
	t.Parallel()
	store := open(t)
	tx, err := store.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE deliveries IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	const bad, ignored = 3, 4
	ids, errs := make([]int64, 20), make([]error, 20)
	var callers sync.WaitGroup
	for i := range ids {
		d := postgres.Delivery{Source: "appveyor", Body: fmt.Append(nil, i), BuildID: int64(i + 1), Outcome: postgres.Pending}
		switch i {
		case bad:
			d.Source = "nobody"
		case ignored:
			d.Outcome = postgres.Ignored
		}
		callers.Go(func() { ids[i], errs[i] = store.AddDelivery(t.Context(), d) })
		if i == 0 {
			awaitInsert(t, store, "deliveries")
		}
	}
	unlock(t, tx)
	callers.Wait()
	jobs := queued(t, store, "confirm_delivery")
	equal(t, "jobs", len(ids)-2, len(jobs))
	for i, id := range ids {
		if i == bad {
			if errs[i] == nil {
				t.Error("a bad delivery is stored")
			}
			continue
		}
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		body, err := store.DeliveryBody(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "body", fmt.Sprint(i), string(body))
		equal(t, fmt.Sprintf("delivery %d has a job", i), i != ignored, slices.Contains(jobs, fmt.Sprintf(`{"delivery_id": %d}`, id)))
	}
}

func TestAddDeliveryIsAllOrNothing(t *testing.T) {
	t.Parallel()
	store := open(t)
	exec(t, store, "ALTER TABLE river_job RENAME TO away")
	if _, err := store.AddDelivery(t.Context(), postgres.Delivery{Source: "appveyor", Body: []byte("{}"), Outcome: postgres.Pending}); err == nil {
		t.Fatal("no error without a queue")
	}
	equal(t, "deliveries", 0, query[int64](t, store, "SELECT count(*) FROM deliveries")[0])
}

func TestDeliveryAttempts(t *testing.T) {
	t.Parallel()
	store := open(t)
	id := addDelivery(t, store, postgres.Delivery{Source: "appveyor", Body: []byte("{}"), Outcome: postgres.Pending})
	steps := []struct {
		name     string
		do       func() error
		outcome  postgres.Outcome
		reason   string
		attempts int
	}{
		{name: "attempt", do: func() error { return store.NoteAttempt(t.Context(), id, "down") }, outcome: postgres.Pending, reason: "down", attempts: 1},
		{name: "ignored", do: func() error { return store.SettleDelivery(t.Context(), id, postgres.Ignored, "not_pull_request") }, outcome: postgres.Ignored, reason: "not_pull_request", attempts: 2},
		{name: "late attempt", do: func() error { return store.NoteAttempt(t.Context(), id, "down") }, outcome: postgres.Ignored, reason: "not_pull_request", attempts: 2},
	}
	for _, tt := range steps {
		if err := tt.do(); err != nil {
			t.Fatal(err)
		}
		d, err := store.Delivery(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, tt.name, []any{tt.outcome, tt.reason, tt.attempts}, []any{d.Outcome, d.Reason, d.Attempts})
	}
}

func TestDeliveriesList(t *testing.T) {
	t.Parallel()
	store := open(t)
	for i := range 7 {
		addDelivery(t, store, postgres.Delivery{Source: "appveyor", Body: []byte("{}"), Outcome: postgres.Ignored, Reason: fmt.Sprint(i)})
	}
	var got []string
	for before := int64(0); ; {
		list, err := store.Deliveries(t.Context(), postgres.Everything, before, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
		for _, d := range list {
			got = append(got, d.Reason)
		}
		before = list[len(list)-1].ID
		addDelivery(t, store, postgres.Delivery{Source: "appveyor", Body: []byte("{}"), Outcome: postgres.Ignored, Reason: "new"})
	}
	equal(t, "newest first", []string{"6", "5", "4", "3", "2", "1", "0"}, got)
}
