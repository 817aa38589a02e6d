package postgres_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sync/errgroup"

	"mergegate/internal/builds"
	"mergegate/internal/commitstatus"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

const lease = time.Minute

func tryClaim(t *testing.T, store *postgres.Store, id int64) (s postgres.CommitStatus, claimed, busy bool) {
	t.Helper()
	s, c, err := claimFor(t.Context(), store, id, lease)
	if err != nil {
		t.Fatal(err)
	}
	return s, c == postgres.Claimed, c == postgres.Busy
}

// claimFor claims a commit status as it is then.
func claimFor(ctx context.Context, store *postgres.Store, id int64, lease time.Duration) (s postgres.CommitStatus, c postgres.Claim, err error) {
	e, c, err := store.ClaimEntry(ctx, id, lease, 4)
	if err != nil || c == postgres.Over {
		return s, c, err
	}
	s, err = store.CommitStatus(ctx, id)
	s.Entry = e
	return s, c, err
}

// settleStatus settles it as the outbox does.
func settleStatus(ctx context.Context, store *postgres.Store, s postgres.CommitStatus, a postgres.Attempt) error {
	a.Shown = s.State
	return store.InTx(ctx, func(tx *postgres.Tx) error {
		how, err := tx.SettleEntry(ctx, s.Entry, a)
		if err != nil {
			return err
		}
		return commitstatus.Settled(ctx, tx, s.Entry, a, how)
	})
}

func claim(t *testing.T, store *postgres.Store, id int64) postgres.CommitStatus {
	t.Helper()
	s, claimed, busy := tryClaim(t, store, id)
	if !claimed {
		t.Fatalf("not claimed; busy: %t", busy)
	}
	return s
}

func settle(t *testing.T, store *postgres.Store, s postgres.CommitStatus, delivery postgres.Outcome) {
	t.Helper()
	settleAs(t, store, s, postgres.Attempt{Outcome: delivery})
}

func settleAs(t *testing.T, store *postgres.Store, s postgres.CommitStatus, result postgres.Attempt) {
	t.Helper()
	if err := settleStatus(t.Context(), store, s, result); err != nil {
		t.Fatal(err)
	}
}

func only(t *testing.T, store *postgres.Store) postgres.CommitStatus {
	t.Helper()
	list := statuses(t, store)
	if len(list) != 1 {
		t.Fatalf("%d commit statuses, want one", len(list))
	}
	return list[0]
}

func TestStatusIsThatOfTheNewestBuild(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	steps := []struct {
		name    string
		b       mergecheck.Build
		state   string
		version int64
	}{
		{name: "running", b: build(2, in(mergecheck.Running)), state: "INPROGRESS", version: 1},
		{name: "repeated", b: build(2, in(mergecheck.Running)), state: "INPROGRESS", version: 1},
		{name: "nothing that shows", b: build(2, in(mergecheck.Running), updated(time.Second)), state: "INPROGRESS", version: 1},
		{name: "older build", b: build(1, in(mergecheck.Failed)), state: "INPROGRESS", version: 1},
		{name: "ended", b: build(2, updated(time.Minute)), state: "SUCCESSFUL", version: 2},
		{name: "late news", b: build(2, in(mergecheck.Queued)), state: "SUCCESSFUL", version: 2},
		{name: "newer build", b: build(3, in(mergecheck.Cancelled)), state: "STOPPED", version: 3},
	}
	for _, tt := range steps {
		record(t, store, tt.b)
		s := only(t, store)
		equal(t, tt.name, tt.state, s.State)
		equal(t, tt.name+": version", tt.version, s.Wanted)
		equal(t, tt.name+": jobs", int(tt.version), len(queued(t, store, "publish")))
	}
	want := postgres.CommitStatus{
		Entry:  postgres.Entry{Kind: postgres.StatusEntry, WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, Wanted: 3, Outcome: postgres.Pending},
		Commit: head, Repository: name, BuildID: 3,
		CommitStatus: mergecheck.CommitStatus{Key: "appveyor-1-pr-7", State: "STOPPED", Name: "AppVeyor PR #7 acme/app", URL: build(3).URL, Refname: "feature"},
	}
	equal(t, "status", want, only(t, store), cmpopts.IgnoreFields(postgres.CommitStatus{}, "Entry.ID", "CommitStatus.Description", "Entry.PendingSince", "Entry.UpdatedOn"))
}

// TestNewestOfBuildsAtOnce records the builds of one head for the first time, all
// at once.
func TestNewestOfBuildsAtOnce(t *testing.T) {
	t.Parallel()
	store := open(t)
	for pr := range int64(25) {
		var g errgroup.Group
		for i := range int64(4) {
			b := build(pr*10+i+1, func(b *mergecheck.Build) { b.PullRequestID = pr + 1 })
			g.Go(func() error { _, err := builds.Record(t.Context(), store, b, 0, false); return err })
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range statuses(t, store) {
		equal(t, s.Key, build(int64(i*10+4)).URL, s.URL)
	}
}

func TestStatusesAreApart(t *testing.T) {
	t.Parallel()
	store := open(t)
	record(
		t, store, build(1), build(2, reported(other)),
		build(3, func(b *mergecheck.Build) { b.PullRequestID = 8 }),
		build(4, func(b *mergecheck.Build) { b.Project.ID = 2 }),
		build(5, reported(twin[:12])), build(6, reported(""), func(b *mergecheck.Build) { b.CreatedOn = time.Time{} }),
	)
	equal(t, "statuses", 4, len(statuses(t, store)))
}

func TestSettleStatus(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		result postgres.Attempt
		want   postgres.CommitStatus
		open   bool // claimed once more
	}{
		{
			name: "posted", result: postgres.Attempt{Outcome: postgres.Posted, HTTPStatus: 201},
			want: postgres.CommitStatus{Entry: postgres.Entry{Outcome: postgres.Posted, Settled: 1, HTTPStatus: new(201)}, PostedState: "SUCCESSFUL"},
		},
		{
			name: "temporary", result: postgres.Attempt{Outcome: postgres.Pending, HTTPStatus: 503, Reason: "down", RetryIn: time.Hour},
			want: postgres.CommitStatus{Entry: postgres.Entry{Outcome: postgres.Pending, HTTPStatus: new(503), Reason: "down"}}, open: true,
		},
		{
			name: "no answer", result: postgres.Attempt{Outcome: postgres.Pending, Reason: "no answer"},
			want: postgres.CommitStatus{Entry: postgres.Entry{Outcome: postgres.Pending, Reason: "no answer"}}, open: true,
		},
		{
			name: "permanent", result: postgres.Attempt{Outcome: postgres.Failed, HTTPStatus: 403, Reason: "no"},
			want: postgres.CommitStatus{Entry: postgres.Entry{Outcome: postgres.Failed, Settled: 1, HTTPStatus: new(403), Reason: "no"}},
		},
		{
			name: "not postable", result: postgres.Attempt{Outcome: postgres.NotPostable, HTTPStatus: 404, Reason: "a fork's"},
			want: postgres.CommitStatus{Entry: postgres.Entry{Outcome: postgres.NotPostable, Settled: 1, HTTPStatus: new(404), Reason: "a fork's"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			record(t, store, build(1))
			settleAs(t, store, claim(t, store, only(t, store).ID), tt.result)
			s := only(t, store)
			got := postgres.CommitStatus{
				Entry:       postgres.Entry{Outcome: s.Outcome, Settled: s.Settled, HTTPStatus: s.HTTPStatus, Reason: s.Reason},
				PostedState: s.PostedState,
			}
			equal(t, "status", tt.want, got)
			equal(t, "attempts", 1, s.Attempts)
			equal(t, "next attempt is told", tt.open, s.NextAttemptOn != nil)
			due := tt.open && tt.result.RetryIn == 0
			_, claimed, busy := tryClaim(t, store, s.ID)
			equal(t, "claimed again", []bool{due, tt.open}, []bool{claimed, claimed || busy})
		})
	}
}

// TestUpdateDuringAPost has another state become wanted while one is posted.
func TestUpdateDuringAPost(t *testing.T) {
	t.Parallel()
	for _, delivery := range []postgres.Outcome{
		postgres.Posted, postgres.Pending, postgres.Failed, postgres.NotPostable,
	} {
		t.Run(string(delivery), func(t *testing.T) {
			t.Parallel()
			store := open(t)
			record(t, store, build(1, in(mergecheck.Running)))
			s := claim(t, store, only(t, store).ID)
			record(t, store, build(1, updated(time.Second)))
			if _, claimed, busy := tryClaim(t, store, s.ID); claimed || !busy {
				t.Errorf("claimed %t, busy %t during the post", claimed, busy)
			}
			jobs := len(queued(t, store, "publish"))
			settle(t, store, s, delivery)
			equal(t, "jobs after the post", jobs+1, len(queued(t, store, "publish")))
			equal(t, "delivery after the post", postgres.Pending, only(t, store).Outcome)
			next := claim(t, store, s.ID)
			equal(t, "posted next", "SUCCESSFUL", next.State)
			settle(t, store, next, postgres.Posted)
			last := only(t, store)
			equal(t, "in the end", []any{postgres.Posted, "SUCCESSFUL", last.Wanted}, []any{last.Outcome, last.PostedState, last.Settled})
		})
	}
}

func TestFailedStatusIsWantedAgain(t *testing.T) {
	t.Parallel()
	store := open(t)
	record(t, store, build(1, in(mergecheck.Running)))
	id := only(t, store).ID
	settleAs(t, store, claim(t, store, id), postgres.Attempt{Outcome: postgres.Failed, HTTPStatus: 403, Reason: "no"})
	record(t, store, build(1, in(mergecheck.Running)))
	equal(t, "after no change", postgres.Failed, only(t, store).Outcome)
	record(t, store, build(1, updated(time.Second)))
	s := only(t, store)
	equal(t, "after a change", []any{postgres.Pending, "", 0}, []any{s.Outcome, s.Reason, s.Attempts})
	settle(t, store, claim(t, store, id), postgres.Failed)

	retried, err := store.RetryStatus(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "retried", only(t, store), retried)
	equal(t, "after retrying", postgres.Pending, retried.Outcome)
	equal(t, "jobs", 3, len(queued(t, store, "publish")))
	settle(t, store, claim(t, store, id), postgres.Posted)
	if _, err := store.RetryStatus(t.Context(), 99); !isNotFound(err) {
		t.Errorf("a status that isn't there: %v, want ErrNotFound", err)
	}
}

func TestLease(t *testing.T) {
	t.Parallel()
	store := open(t)
	record(t, store, build(1))
	id := only(t, store).ID
	slow, c, err := claimFor(t.Context(), store, id, -time.Second) // runs out at once
	if err != nil || c != postgres.Claimed {
		t.Fatal(c, err)
	}
	quick := claim(t, store, id)
	settle(t, store, slow, postgres.Posted)
	if _, claimed, busy := tryClaim(t, store, id); claimed || !busy {
		t.Errorf("claimed %t, busy %t: the lease that ran out gave another's back", claimed, busy)
	}
	settle(t, store, quick, postgres.Posted)
	if s := only(t, store); s.Settled >= s.Wanted {
		t.Error("posted by two at once, and not posted once more")
	}
	settle(t, store, claim(t, store, id), postgres.Posted)
	if _, claimed, busy := tryClaim(t, store, id); claimed || busy {
		t.Errorf("claimed %t, busy %t: nothing is left to post", claimed, busy)
	}
	if _, claimed, busy := tryClaim(t, store, 99); claimed || busy {
		t.Errorf("claimed %t, busy %t: it isn't there", claimed, busy)
	}
}

func TestFourLeasesPerRepository(t *testing.T) {
	t.Parallel()
	store := open(t)
	link(t, store, repository("ws/elsewhere"))
	for i := range int64(10) {
		record(t, store, build(i+1, func(b *mergecheck.Build) { b.PullRequestID = i + 1 }))
	}
	record(t, store, build(11, of("ws/elsewhere")))
	var mu sync.Mutex
	var leased []postgres.CommitStatus
	var g errgroup.Group
	for _, s := range statuses(t, store) {
		g.Go(func() error {
			got, c, err := claimFor(t.Context(), store, s.ID, lease)
			mu.Lock()
			defer mu.Unlock()
			if c == postgres.Claimed {
				leased = append(leased, got)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	byName := map[string]int{}
	for _, s := range leased {
		byName[s.Repository]++
	}
	equal(t, "leased", map[string]int{name: 4, "ws/elsewhere": 1}, byName)
	settle(t, store, leased[0], postgres.Posted)
	settle(t, store, leased[1], postgres.Posted)
	free := 0
	for _, s := range statuses(t, store) {
		if _, claimed, _ := tryClaim(t, store, s.ID); claimed {
			free++
		}
	}
	if free == 0 {
		t.Error("what was settled made no room")
	}
}

// bitbucket shows what was posted last.
type bitbucket struct {
	mu    sync.Mutex
	shows string
}

func (b *bitbucket) post(s postgres.CommitStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shows = s.Description
}

// TestWhatBitbucketShowsEndsWanted posts from many goroutines while builds change.
func TestWhatBitbucketShowsEndsWanted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		lease time.Duration
	}{
		{name: "leases hold", lease: lease},
		{name: "leases run out at once", lease: -time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			record(t, store, build(1, in(mergecheck.Running)))
			id := only(t, store).ID
			shown := new(bitbucket)
			var g errgroup.Group
			for worker := range 6 {
				g.Go(func() error {
					for round := range 15 {
						if worker < 2 {
							b := build(1, in(mergecheck.States[round%5]), updated(time.Duration(round)*time.Second))
							b.Version = fmt.Sprintf("%d.%d", round, worker)
							if _, err := builds.Record(t.Context(), store, b, 0, false); err != nil {
								return err
							}
							continue
						}
						s, c, err := claimFor(t.Context(), store, id, tt.lease)
						if err != nil || c != postgres.Claimed {
							runtime.Gosched()
							continue
						}
						shown.post(s)
						result := postgres.Attempt{Outcome: []postgres.Outcome{postgres.Posted, postgres.Pending}[round%2]}
						if err := settleStatus(t.Context(), store, s, result); err != nil {
							return err
						}
					}
					return nil
				})
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			for { // what the jobs that are queued would do
				s, claimed, _ := tryClaim(t, store, id)
				if !claimed {
					break
				}
				shown.post(s)
				settle(t, store, s, postgres.Posted)
			}
			s := only(t, store)
			equal(t, "Bitbucket shows", s.Description, shown.shows)
			equal(t, "delivery", postgres.Posted, s.Outcome)
		})
	}
}

func TestCommitStatusesList(t *testing.T) {
	t.Parallel()
	store := open(t)
	for i := range int64(6) {
		record(t, store, build(i+1, func(b *mergecheck.Build) { b.PullRequestID = i + 1 }))
		if i%2 == 0 {
			settle(t, store, claim(t, store, i+1), postgres.Failed)
		}
	}
	tests := []struct {
		name     string
		delivery postgres.Outcome
		before   int64
		limit    int
		want     []int64
	}{
		{name: "all", limit: 10, want: []int64{6, 5, 4, 3, 2, 1}},
		{name: "failed", delivery: postgres.Failed, limit: 10, want: []int64{5, 3, 1}},
		{name: "page", before: 4, limit: 2, want: []int64{3, 2}},
		{name: "page of failed", delivery: postgres.Failed, before: 5, limit: 1, want: []int64{3}},
		{name: "none", delivery: postgres.Posted, limit: 10},
	}
	for _, tt := range tests {
		list, err := store.CommitStatuses(t.Context(), postgres.Everything, tt.delivery, tt.before, tt.limit)
		if err != nil {
			t.Fatal(err)
		}
		var ids []int64
		for _, s := range list {
			ids = append(ids, s.ID)
		}
		equal(t, tt.name, tt.want, ids)
	}
}

// TestBuildsOfAHistoryAreShownWhileOpen has a project's history tell of builds.
func TestBuildsOfAHistoryAreShownWhileOpen(t *testing.T) {
	t.Parallel()
	one := []string{"aaaaaaaaaaaab SUCCESSFUL"}
	tests := []struct {
		name          string
		before, after []mergecheck.Event
		also          bool // a webhook tells of the build too
		want          []string
	}{
		{name: "of a pull request nobody told of"},
		{name: "of a closed one", before: []mergecheck.Event{told(postgres.Repository{}, 7, "MERGED", "", 0)}},
		{name: "of an open one", before: []mergecheck.Event{told(postgres.Repository{}, 7, "OPEN", "", 0)}, want: one},
		{name: "of one that turns out to be open", after: []mergecheck.Event{told(postgres.Repository{}, 7, "OPEN", "", 0)}, want: one},
		{name: "of one that turns out to be closed", after: []mergecheck.Event{told(postgres.Repository{}, 7, "DECLINED", "", 0)}},
		{name: "told of by a webhook too", also: true, want: one},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			r := link(t, store, repository(name))
			happens := func(events []mergecheck.Event) {
				for _, e := range events {
					e.WorkspaceUUID, e.RepositoryUUID = r.WorkspaceUUID, r.RepositoryUUID
					apply(t, store, e)
				}
			}
			happens(tt.before)
			if _, err := builds.Record(t.Context(), store, build(1), 0, true); err != nil {
				t.Fatal(err)
			}
			if tt.also {
				record(t, store, build(1))
			}
			happens(tt.after)
			settleHeads(t, store, pullRequest(r, 7))
			equal(t, "statuses", tt.want, shown(statuses(t, store)))
		})
	}
}
