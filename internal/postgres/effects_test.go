package postgres_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sync/errgroup"

	"mergegate/internal/builds"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/pullrequests"
)

// anyLease is longer than a test takes.
const anyLease = time.Minute

func wantEffects(t testing.TB, store *postgres.Store, pr postgres.PullRequestKey) {
	t.Helper()
	if err := store.WantEffects(t.Context(), pr); err != nil {
		t.Fatal(err)
	}
}

// publishing is how many jobs were queued to make entries of a kind.
func publishing(t testing.TB, store *postgres.Store, kind postgres.EntryKind) int64 {
	t.Helper()
	return query[int64](t, store, `SELECT count(*) FROM river_job WHERE kind = 'publish' AND args->>'entry_kind' = $1`, kind)[0]
}

// jobs is how many were queued to make effects.
func jobs(t testing.TB, store *postgres.Store) int64 {
	t.Helper()
	return publishing(t, store, postgres.EffectsEntry)
}

// claimEffects claims the effects of a pull request, which have to be free.
func claimEffects(t testing.TB, store *postgres.Store, pr postgres.PullRequestKey) *postgres.Entry {
	t.Helper()
	id := query[int64](t, store, `SELECT id FROM outbox WHERE kind = 'effects' AND pull_request_id = $1`, pr.PullRequestID)[0]
	e, c, err := store.ClaimEntry(t.Context(), id, anyLease, 1)
	if err != nil || c != postgres.Claimed {
		t.Fatalf("claim %v, %v", c, err)
	}
	return &e
}

func begin(t testing.TB, store *postgres.Store, entry *postgres.Entry, e postgres.Effect) (begun postgres.Effect) {
	t.Helper()
	err := store.WhileHeld(t.Context(), entry, anyLease, func(tx *postgres.Tx) (err error) {
		begun, err = tx.BeginEffect(t.Context(), entry.PullRequest(), e)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return begun
}

func settleEffect(t testing.TB, store *postgres.Store, entry *postgres.Entry, e postgres.Effect, a postgres.Attempt) {
	t.Helper()
	err := store.WhileHeld(t.Context(), entry, anyLease, func(tx *postgres.Tx) error {
		return tx.SettleEffect(t.Context(), entry.PullRequest(), e, a)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func effectsOf(t testing.TB, store *postgres.Store, pr postgres.PullRequestKey) []postgres.Effect {
	t.Helper()
	list, err := store.Effects(t.Context(), pr)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// withPolicy is a linked repository in whose workspace a policy is in force.
func withPolicy(t testing.TB, store *postgres.Store) postgres.Repository {
	t.Helper()
	r := link(t, store, repository(name))
	if _, err := store.ApplyPolicy(t.Context(), r.WorkspaceUUID, "rules: []", "somebody"); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestEveryChangeIsSeen has changes at all moments of a job: one waits at most,
// and none of them is lost.
func TestEveryChangeIsSeen(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := withPolicy(t, store)
	pr := pullRequest(r, 7)
	wantEffects(t, store, pr)
	wantEffects(t, store, pr) // the queued job will see it
	equal(t, "jobs", int64(1), jobs(t, store))
	first := claimEffects(t, store, pr)
	wantEffects(t, store, pr) // the job may have read already
	wantEffects(t, store, pr)
	equal(t, "jobs", int64(2), jobs(t, store))
	if _, c, err := store.ClaimEntry(t.Context(), first.ID, anyLease, 1); c != postgres.Busy || err != nil {
		t.Errorf("while another is at it: claim %v, %v", c, err)
	}
	settle := func(e *postgres.Entry, want postgres.Settling) {
		t.Helper()
		inTx(t, store, func(tx *postgres.Tx) error {
			how, err := tx.SettleEntry(t.Context(), *e, postgres.Attempt{Outcome: postgres.Posted})
			equal(t, "settling", want, how)
			return err
		})
	}
	settle(first, postgres.Superseded)
	second := claimEffects(t, store, pr)
	settle(second, postgres.Settled)
	if _, c, err := store.ClaimEntry(t.Context(), first.ID, anyLease, 1); c != postgres.Over || err != nil {
		t.Errorf("with nothing left to make: claim %v, %v", c, err)
	}
	before := jobs(t, store)
	wantEffects(t, store, pr)
	exec(t, store, `UPDATE outbox SET wanted_on = now() - interval '2 hours'`) // its job was lost
	wantEffects(t, store, pr)
	equal(t, "jobs", before+2, jobs(t, store))
}

func TestChangesAtOnceQueueOneJob(t *testing.T) {
	t.Parallel()
	store := open(t)
	pr := pullRequest(withPolicy(t, store), 7)
	var g errgroup.Group
	for range 10 {
		g.Go(func() error { return store.WantEffects(t.Context(), pr) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	equal(t, "jobs", int64(1), jobs(t, store))
}

// TestWhatCanChangeAVerdict goes through the transactions that have effects
// looked at.
func TestWhatCanChangeAVerdict(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(t *testing.T, store *postgres.Store, r postgres.Repository)
	}{
		{name: "a build", change: func(t *testing.T, store *postgres.Store, _ postgres.Repository) { record(t, store, build(1)) }},
		{name: "an event", change: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			apply(t, store, told(r, 7, "OPEN", "", 0))
		}},
		{name: "a look", change: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			if err := pullrequests.See(t.Context(), store, pullRequest(r, 7), postgres.Sighting{Told: mergecheck.Told{State: "MERGED", On: time.Now()}}); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "a decision by a policy with effects", change: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			inTx(t, store, func(tx *postgres.Tx) error { return tx.WantEffects(t.Context(), pullRequest(r, 7)) })
		}},
		{name: "settled heads", change: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			if err := builds.SettleHeads(t.Context(), store, pullRequest(r, 7)); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "settled waivers", change: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			settleWaivers(t, store, pullRequest(r, 7))
		}},
		{name: "a report", change: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			b := build(9, func(b *mergecheck.Build) { b.ConfirmedBy = mergecheck.ConfirmedByReport })
			if _, _, err := store.RecordResultReport(t.Context(), r, postgres.ResultReport{Build: b, Attempt: 1, TokenID: 1}); !errors.Is(err, postgres.ErrOtherPlace) {
				t.Fatal(err) // there is no such token
			}
			id, err := store.AddToken(t.Context(), postgres.Token{Name: "t", Scopes: []string{"report"}, Repository: "**", ReportProject: new(int64(1))}, []byte("h"))
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := store.RecordResultReport(t.Context(), r, postgres.ResultReport{Build: b, Attempt: 1, TokenID: id}); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "builds that waited for their repository", change: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			record(t, store, build(1, of("ws/other")))
			other := repository("ws/other")
			other.WorkspaceUUID = r.WorkspaceUUID
			linkAndRecord(t, store, other)
		}},
		{name: "another policy", change: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			exec(t, store, `INSERT INTO pull_requests (workspace_uuid, repository_uuid, pull_request_id, state, told_on) VALUES ($1, $2, 7, 'OPEN', now())`,
				r.WorkspaceUUID, r.RepositoryUUID)
			if err := store.SpreadEffects(t.Context(), postgres.SpreadEffects{WorkspaceUUID: r.WorkspaceUUID}); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			tt.change(t, store, withPolicy(t, store))
			equal(t, "jobs", int64(1), jobs(t, store))
		})
	}
	t.Run("nothing without a policy", func(t *testing.T) {
		t.Parallel()
		store := open(t)
		r := link(t, store, repository(name))
		record(t, store, build(1))
		apply(t, store, told(r, 7, "OPEN", "", 0))
		equal(t, "jobs", int64(0), jobs(t, store))
	})
}

// TestSpreadGoesThroughAllPullRequests has more of them than one job looks at.
func TestSpreadGoesThroughAllPullRequests(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := withPolicy(t, store)
	exec(t, store, `INSERT INTO pull_requests (workspace_uuid, repository_uuid, pull_request_id, state, told_on)
		SELECT $1, $2, n, CASE WHEN n % 2 = 0 THEN 'OPEN' ELSE 'MERGED' END, now() FROM generate_series(1, 500) n`, r.WorkspaceUUID, r.RepositoryUUID)
	for done := 0; done < len(queued(t, store, "spread_effects")); done++ {
		var job postgres.SpreadEffects
		if err := json.Unmarshal([]byte(queued(t, store, "spread_effects")[done]), &job); err != nil {
			t.Fatal(err)
		}
		if err := store.SpreadEffects(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}
	if n := jobs(t, store); n != 250 {
		t.Errorf("%d jobs for 250 open pull requests", n)
	}
}

func TestEffectIsMadeAndUndone(t *testing.T) {
	t.Parallel()
	store := open(t)
	pr := pullRequest(withPolicy(t, store), 7)
	wantEffects(t, store, pr)
	run := claimEffects(t, store, pr)
	e := begin(t, store, run, postgres.Effect{Effect: "comment", Wanted: "shown", WantedContent: "a", Mark: "m", Head: head})
	if e.Attempts != 1 || e.Outcome != postgres.Pending || e.BegunOn == nil {
		t.Errorf("begun: %+v", e)
	}
	settleEffect(t, store, run, e, postgres.Attempt{Outcome: postgres.Pending, HTTPStatus: 503, Reason: "down", RetryIn: time.Hour})
	e = begin(t, store, run, postgres.Effect{Effect: "comment", Wanted: "shown", WantedContent: "a", Mark: "another", Head: other})
	if e.Attempts != 2 || e.Mark != "m" || e.Head != head || e.Reason != "down" {
		t.Errorf("begun again: %+v", e)
	}
	e.Made, e.MadeContent, e.RemoteID = "shown", "a", "12"
	settleEffect(t, store, run, e, postgres.Attempt{Outcome: postgres.Posted})
	want := []postgres.Effect{{
		Effect: "comment", Wanted: "shown", WantedContent: "a", Made: "shown", MadeContent: "a", RemoteID: "12", Mark: "m", Head: head,
		Outcome: postgres.Posted, Attempts: 2,
	}}
	equal(t, "made", want, effectsOf(t, store, pr), cmpopts.IgnoreFields(postgres.Effect{}, "BegunOn", "PendingSince", "UpdatedOn"))

	e = begin(t, store, run, postgres.Effect{Effect: "comment"})
	if e.Attempts != 1 || e.Made != "shown" {
		t.Errorf("to be undone: %+v", e)
	}
	e.Made = ""
	settleEffect(t, store, run, e, postgres.Attempt{Outcome: postgres.Posted})
	equal(t, "undone", nil, effectsOf(t, store, pr))
}

// TestALostLeaseRecordsNothing has a job come back after another took over: what
// it made is doubted, and looked for.
func TestALostLeaseRecordsNothing(t *testing.T) {
	t.Parallel()
	store := open(t)
	pr := pullRequest(withPolicy(t, store), 7)
	wantEffects(t, store, pr)
	slow := claimEffects(t, store, pr)
	e := begin(t, store, slow, postgres.Effect{Effect: "comment", Wanted: "shown", WantedContent: "a", Mark: "m"})
	exec(t, store, `UPDATE outbox SET leased_until = now() - interval '1 second'`)
	fast := claimEffects(t, store, pr)
	made := begin(t, store, fast, postgres.Effect{Effect: "comment", Wanted: "shown", WantedContent: "a", Mark: "n"})
	made.Made, made.MadeContent, made.RemoteID = "shown", "a", "2"
	settleEffect(t, store, fast, made, postgres.Attempt{Outcome: postgres.Posted})

	e.Made, e.RemoteID = "shown", "1"
	lost := func(*postgres.Tx) error { t.Error("written without a lease"); return nil }
	if err := store.WhileHeld(t.Context(), slow, anyLease, lost); !errors.Is(err, postgres.ErrLeaseLost) {
		t.Errorf("held: %v", err)
	}
	inTx(t, store, func(tx *postgres.Tx) error {
		how, err := tx.SettleEntry(t.Context(), *slow, postgres.Attempt{Outcome: postgres.Posted})
		equal(t, "settling", postgres.LeaseLost, how)
		return err
	})
	inTx(t, store, func(tx *postgres.Tx) error { return tx.DoubtEffect(t.Context(), pr, e.Effect) })
	for _, e := range effectsOf(t, store, pr) {
		if e.RemoteID != "" || e.Mark != "m" || e.Outcome != postgres.Pending {
			t.Errorf("not doubted: %+v", e)
		}
	}
	if n := jobs(t, store); n != 2 {
		t.Errorf("%d jobs, want another one", n)
	}
}

func TestFailedEffectsAreRetried(t *testing.T) {
	t.Parallel()
	store := open(t)
	pr := pullRequest(withPolicy(t, store), 7)
	wantEffects(t, store, pr)
	run := claimEffects(t, store, pr)
	e := begin(t, store, run, postgres.Effect{Effect: "approve", Wanted: "approved", Mark: "m"})
	settleEffect(t, store, run, e, postgres.Attempt{Outcome: postgres.Failed, HTTPStatus: 403, Reason: "no scope"})
	list, err := store.RetryEffects(t.Context(), pr)
	if err != nil || len(list) != 1 || list[0].Outcome != postgres.Pending || list[0].Reason != "" || list[0].HTTPStatus != nil {
		t.Errorf("%+v, %v", list, err)
	}
	equal(t, "jobs", int64(2), jobs(t, store))
}

func TestOldEffectsAreDeleted(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := withPolicy(t, store)
	for id, state := range map[int64]string{7: "OPEN", 8: "MERGED"} {
		apply(t, store, told(r, id, state, "", 0))
		begin(t, store, claimEffects(t, store, pullRequest(r, id)), postgres.Effect{Effect: "approve", Wanted: "approved"})
	}
	exec(t, store, `UPDATE effects SET updated_on = now() - interval '31 days'`)
	exec(t, store, `UPDATE outbox SET wanted_on = now() - interval '31 days'`)
	if _, err := store.DeleteOlder(t.Context(), "builds", 30*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	equal(t, "effects left", []int64{7}, query[int64](t, store, `SELECT pull_request_id FROM effects`))
	equal(t, "runs left", []int64{7}, query[int64](t, store, `SELECT pull_request_id FROM outbox`))
}
