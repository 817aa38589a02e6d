package postgres_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sync/errgroup"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// anyLease is longer than a test takes.
const anyLease = time.Minute

func wantEffects(t testing.TB, store *postgres.Store, pr postgres.PullRequestKey) {
	t.Helper()
	if err := store.WantEffects(t.Context(), pr); err != nil {
		t.Fatal(err)
	}
}

// turns are those of the queued jobs for a pull request's effects, oldest first.
func turns(t testing.TB, store *postgres.Store) (list []int64) {
	t.Helper()
	for _, args := range queued(t, store, "sync_effects") {
		var job postgres.SyncEffects
		if err := json.Unmarshal([]byte(args), &job); err != nil {
			t.Fatal(err)
		}
		list = append(list, job.Turn)
	}
	return list
}

// claimEffects claims with the newest turn, which has to be free.
func claimEffects(t testing.TB, store *postgres.Store, pr postgres.PullRequestKey) *postgres.EffectRun {
	t.Helper()
	all := turns(t, store)
	run, claimed, _, err := store.ClaimEffects(t.Context(), postgres.SyncEffects{PullRequestKey: pr, Turn: all[len(all)-1]}, anyLease)
	if err != nil || !claimed {
		t.Fatalf("claimed %v, %v", claimed, err)
	}
	return run
}

func begin(t testing.TB, store *postgres.Store, run *postgres.EffectRun, e postgres.Effect) postgres.Effect {
	t.Helper()
	e, err := store.BeginEffect(t.Context(), run, e)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func settleEffect(t testing.TB, store *postgres.Store, run *postgres.EffectRun, e postgres.Effect, result postgres.Attempt) {
	t.Helper()
	if err := store.SettleEffect(t.Context(), run, e, result); err != nil {
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
	equal(t, "turns", []int64{1}, turns(t, store))
	run := claimEffects(t, store, pr)
	wantEffects(t, store, pr) // the job may have read already
	wantEffects(t, store, pr)
	equal(t, "turns", []int64{1, 3}, turns(t, store))
	if _, claimed, busy, err := store.ClaimEffects(t.Context(), postgres.SyncEffects{PullRequestKey: pr, Turn: 3}, anyLease); claimed || !busy || err != nil {
		t.Errorf("while another is at it: claimed %v, busy %v, %v", claimed, busy, err)
	}
	if err := store.ReleaseEffects(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	if _, claimed, busy, err := store.ClaimEffects(t.Context(), postgres.SyncEffects{PullRequestKey: pr, Turn: 1}, anyLease); claimed || busy || err != nil {
		t.Errorf("a turn that is over: claimed %v, busy %v, %v", claimed, busy, err)
	}
	claimEffects(t, store, pr)

	wantEffects(t, store, pr)
	exec(t, store, `UPDATE effect_runs SET wanted_on = now() - interval '2 hours'`) // its job was lost
	wantEffects(t, store, pr)
	equal(t, "turns", []int64{1, 3, 5, 6}, turns(t, store))
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
	equal(t, "turns", []int64{1}, turns(t, store))
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
			if err := store.See(t.Context(), pullRequest(r, 7), postgres.Sighting{Told: mergecheck.Told{State: "MERGED", On: time.Now()}}); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "a decision by a policy with effects", change: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			if err := store.AddDecision(t.Context(), pullRequest(r, 7), postgres.Decision{Trigger: "on-merge"}, postgres.FollowUps{Effects: true}); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "settled heads", change: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			if err := store.SettleHeads(t.Context(), postgres.SettleHeads(pullRequest(r, 7))); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "settled waivers", change: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			if _, err := store.SettleWaivers(t.Context(), postgres.SettleWaivers{PullRequestKey: pullRequest(r, 7)}); err != nil {
				t.Fatal(err)
			}
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
			equal(t, "turns", []int64{1}, turns(t, store))
		})
	}
	t.Run("nothing without a policy", func(t *testing.T) {
		t.Parallel()
		store := open(t)
		r := link(t, store, repository(name))
		record(t, store, build(1))
		apply(t, store, told(r, 7, "OPEN", "", 0))
		equal(t, "turns", nil, turns(t, store))
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
	if n := len(turns(t, store)); n != 250 {
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
	exec(t, store, `UPDATE effect_runs SET leased_until = now() - interval '1 second'`)
	fast := claimEffects(t, store, pr)
	made := begin(t, store, fast, postgres.Effect{Effect: "comment", Wanted: "shown", WantedContent: "a", Mark: "n"})
	made.Made, made.MadeContent, made.RemoteID = "shown", "a", "2"
	settleEffect(t, store, fast, made, postgres.Attempt{Outcome: postgres.Posted})

	e.Made, e.RemoteID = "shown", "1"
	if err := store.SettleEffect(t.Context(), slow, e, postgres.Attempt{Outcome: postgres.Posted}); !errors.Is(err, postgres.ErrLeaseLost) {
		t.Errorf("settled: %v", err)
	}
	for _, e := range effectsOf(t, store, pr) {
		if e.RemoteID != "" || e.Mark != "m" || e.Outcome != postgres.Pending {
			t.Errorf("not doubted: %+v", e)
		}
	}
	if n := len(turns(t, store)); n != 2 {
		t.Errorf("%d jobs, want another one", n)
	}
	if _, err := store.BeginEffect(t.Context(), slow, e); !errors.Is(err, postgres.ErrLeaseLost) {
		t.Errorf("begun: %v", err)
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
	equal(t, "turns", []int64{1, 2}, turns(t, store))
}

func TestOldEffectsAreDeleted(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := withPolicy(t, store)
	for id, state := range map[int64]string{7: "OPEN", 8: "MERGED"} {
		apply(t, store, told(r, id, state, "", 0))
		begin(t, store, mustClaim(t, store, pullRequest(r, id)), postgres.Effect{Effect: "approve", Wanted: "approved"})
	}
	exec(t, store, `UPDATE effects SET updated_on = now() - interval '31 days'`)
	exec(t, store, `UPDATE effect_runs SET wanted_on = now() - interval '31 days'`)
	if _, err := store.DeleteOlder(t.Context(), "builds", 30*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	equal(t, "effects left", []int64{7}, query[int64](t, store, `SELECT pull_request_id FROM effects`))
	equal(t, "runs left", []int64{7}, query[int64](t, store, `SELECT pull_request_id FROM effect_runs`))
}

func mustClaim(t testing.TB, store *postgres.Store, pr postgres.PullRequestKey) *postgres.EffectRun {
	t.Helper()
	run, claimed, _, err := store.ClaimEffects(t.Context(), postgres.SyncEffects{PullRequestKey: pr, Turn: 1}, anyLease)
	if err != nil || !claimed {
		t.Fatalf("claimed %v, %v", claimed, err)
	}
	return run
}
