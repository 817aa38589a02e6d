package postgres_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// nothingWaits are the kinds of jobs whose end leaves nothing pending, and why.
var nothingWaits = map[string]string{
	"reconcile":            "the next round",
	"sweep_pull_requests":  "the next round",
	"delete_old":           "the next round",
	"look_again":           "the next merge check asks again",
	"rebuild_pull_request": "the next merge check asks again",
	"record_unlinked":      "the next round",
	"settle_waivers":       "the verdict is what counts, and the next build settles its status",
	"wake_effects":         "whatever changes the verdict next",
	"spread_effects":       "whatever changes the verdict next",
}

// TestNothingStaysPendingWithoutAJob gives up the last attempt of each kind of job
// that something waits for.
func TestNothingStaysPendingWithoutAJob(t *testing.T) {
	t.Parallel()
	r := repository(name)
	pr := pullRequest(r, 7)
	live := `SELECT CASE WHEN live THEN 'live' ELSE 'over' END FROM looks WHERE kind = `
	tests := []struct {
		name string
		want func(t *testing.T, store *postgres.Store) river.JobArgs // and returns its job
		sql  string
		left string
	}{
		{name: "an AppVeyor delivery", sql: `SELECT outcome FROM deliveries`, left: "failed", want: func(t *testing.T, store *postgres.Store) river.JobArgs {
			return postgres.ConfirmDelivery{DeliveryID: addDelivery(t, store, postgres.Delivery{Source: "appveyor", Body: []byte("{}"), BuildID: 9, Outcome: postgres.Pending})}
		}},
		{name: "an event", sql: `SELECT outcome FROM deliveries`, left: "failed", want: func(t *testing.T, store *postgres.Store) river.JobArgs {
			return postgres.ApplyEvent{DeliveryID: addDelivery(t, store, postgres.Delivery{Source: "forge", Body: []byte("{}"), Outcome: postgres.Pending})}
		}},
		{name: "a commit status", sql: `SELECT outcome FROM outbox`, left: "failed", want: func(t *testing.T, store *postgres.Store) river.JobArgs {
			record(t, store, build(1))
			return postgres.Publish{EntryID: statuses(t, store)[0].ID}
		}},
		{name: "a look at a pull request", sql: live + `'pull_request'`, left: "over", want: func(t *testing.T, store *postgres.Store) river.JobArgs {
			apply(t, store, told(r, 7, "OPEN", head[:12], 0))
			return postgres.LookAtPullRequest(pr)
		}},
		{name: "a look at heads", sql: live + `'heads'`, left: "over", want: func(t *testing.T, store *postgres.Store) river.JobArgs {
			addDecision(t, store, pr, postgres.Decision{Trigger: "on-merge", Code: "passed"}, true)
			return postgres.SettleHeads(pr)
		}},
		{name: "a watch", sql: live + `'build'`, left: "over", want: func(t *testing.T, store *postgres.Store) river.JobArgs {
			record(t, store, build(1, in(mergecheck.Running)))
			return postgres.WatchBuild{BuildID: 1}
		}},
		{name: "effects", sql: `SELECT CASE WHEN settled < wanted THEN 'waiting' ELSE 'over' END FROM outbox`, left: "over", want: func(t *testing.T, store *postgres.Store) river.JobArgs {
			if _, err := store.ApplyPolicy(t.Context(), r.WorkspaceUUID, "rules: []", "somebody"); err != nil {
				t.Fatal(err)
			}
			apply(t, store, told(r, 7, "OPEN", "", 0))
			return postgres.Publish{EntryID: query[int64](t, store, `SELECT id FROM outbox`)[0]}
		}},
		{name: "a notification", sql: `SELECT outcome FROM outbox`, left: "failed", want: func(t *testing.T, store *postgres.Store) river.JobArgs {
			if err := store.TestSubscription(t.Context(), subscribe(t, store, r, postgres.EventTest)); err != nil {
				t.Fatal(err)
			}
			return postgres.Publish{EntryID: query[int64](t, store, `SELECT id FROM notifications`)[0]}
		}},
		{name: "a look at a repository", sql: live + `'repository'`, left: "over", want: func(t *testing.T, store *postgres.Store) river.JobArgs {
			e := pushed(r, "feature", head, 0)
			e.FullName = "ws/renamed"
			apply(t, store, e)
			return postgres.ReadName{WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID}
		}},
		{name: "a look at a name", sql: live + `'repository_name'`, left: "over", want: func(t *testing.T, store *postgres.Store) river.JobArgs {
			record(t, store, build(1, func(b *mergecheck.Build) { b.Repository = "ws/unlinked" }))
			return postgres.LearnRepository{FullName: "ws/unlinked"}
		}},
	}
	t.Run("every kind", func(t *testing.T) {
		t.Parallel()
		known := slices.Collect(maps.Keys(nothingWaits))
		for _, tt := range tests {
			known = append(known, tt.want(t, openLinked(t, r)).Kind())
		}
		slices.Sort(known)
		equal(t, "kinds", kindsOfJobs(t), slices.Compact(known))
	})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := openLinked(t, r)
			job := tt.want(t, store)
			if before := query[string](t, store, tt.sql)[0]; before == tt.left {
				t.Fatalf("it is %s before", before)
			}
			args, err := json.Marshal(job)
			if err != nil {
				t.Fatal(err)
			}
			if err := store.GiveUp(t.Context(), job.Kind(), args); err != nil {
				t.Fatal(err)
			}
			equal(t, "after", tt.left, query[string](t, store, tt.sql)[0])
		})
	}
}

func openLinked(t *testing.T, r postgres.Repository) *postgres.Store {
	t.Helper()
	store := open(t)
	link(t, store, r)
	return store
}

// kindsOfJobs are those that jobs.go has.
func kindsOfJobs(t *testing.T) (kinds []string) {
	t.Helper()
	source, err := os.ReadFile("jobs.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`\) Kind\(\) string \{ return "(\w+)" \}`).FindAllSubmatch(source, -1) {
		kinds = append(kinds, string(match[1]))
	}
	slices.Sort(kinds)
	return kinds
}

func TestDeliveriesWhoseJobsAreGone(t *testing.T) {
	t.Parallel()
	store := open(t)
	for range 2 {
		addDelivery(t, store, postgres.Delivery{Source: "forge", Body: []byte("{}"), Outcome: postgres.Pending})
	}
	exec(t, store, `UPDATE deliveries SET pending_since = now() - interval '26 hours' WHERE id = (SELECT min(id) FROM deliveries)`)
	if n, err := store.GiveUpDeliveries(t.Context(), 25*time.Hour); err != nil || n != 1 {
		t.Errorf("gave up %d, %v", n, err)
	}
	equal(t, "outcomes", []string{"failed", "pending"}, query[string](t, store, `SELECT outcome FROM deliveries ORDER BY id`))
}
