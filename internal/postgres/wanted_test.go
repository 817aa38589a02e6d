package postgres_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/pullrequests"
)

// looks are the kinds of looks, each with what wants one.
func looks(r postgres.Repository) map[string]struct {
	job  river.JobArgs
	want func(t *testing.T, store *postgres.Store)
} {
	pr := pullRequest(r, 7)
	running := build(1, in(mergecheck.Running))
	type look = struct {
		job  river.JobArgs
		want func(t *testing.T, store *postgres.Store)
	}
	minutes := time.Duration(0)
	return map[string]look{
		"pull request": {job: postgres.LookAtPullRequest(pr), want: func(t *testing.T, store *postgres.Store) {
			minutes += time.Minute
			apply(t, store, told(r, 7, "OPEN", head[:12], minutes))
		}},
		"heads": {job: postgres.SettleHeads(pr), want: func(t *testing.T, store *postgres.Store) {
			addDecision(t, store, pr, postgres.Decision{Trigger: "on-merge", Code: "passed"}, true)
		}},
		"build": {job: postgres.WatchBuild{Account: "acme", Slug: "app", BuildID: 1, Version: "1.0.1"}, want: func(t *testing.T, store *postgres.Store) {
			minutes += time.Minute
			running.UpdatedOn = running.UpdatedOn.Add(minutes)
			record(t, store, running)
		}},
		"repository that isn't linked": {job: postgres.LearnRepository{FullName: "ws/unlinked"}, want: func(t *testing.T, store *postgres.Store) {
			minutes += time.Minute
			unlinked := build(2, func(b *mergecheck.Build) { b.Repository = "ws/unlinked" })
			unlinked.UpdatedOn = unlinked.UpdatedOn.Add(minutes)
			record(t, store, unlinked)
		}},
		"name": {job: postgres.ReadName{WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID}, want: func(t *testing.T, store *postgres.Store) {
			e := pushed(r, "feature", head, 0)
			e.FullName = "ws/renamed"
			apply(t, store, e)
		}},
	}
}

// TestLooksAreNotSwallowed wants a look while another runs, which has read what there
// was before: it is worked again, and not queued twice.
func TestLooksAreNotSwallowed(t *testing.T) {
	t.Parallel()
	for name := range looks(repository("ws/repo")) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			look := looks(link(t, store, repository("ws/repo")))[name]
			look.want(t, store)
			look.want(t, store)
			equal(t, "jobs for two that were wanted", 1, len(queued(t, store, look.job.Kind())))
			var begun []string
			err := store.Looking(t.Context(), look.job, func(context.Context) error {
				look.want(t, store)
				begun = append(begun, "looked")
				return nil
			})
			var again *river.JobSnoozeError
			if !errors.As(err, &again) {
				t.Fatalf("wanted while it ran, and it ended with %v", err)
			}
			equal(t, "jobs", 1, len(queued(t, store, look.job.Kind())))
			err = store.Looking(t.Context(), look.job, func(context.Context) error {
				begun = append(begun, "looked again")
				return nil
			})
			if err != nil {
				t.Fatalf("nothing more was wanted, and it ended with %v", err)
			}
			equal(t, "looks", []string{"looked", "looked again"}, begun)
			look.want(t, store)
			equal(t, "jobs after it ended", 2, len(queued(t, store, look.job.Kind())))
		})
	}
}

func TestLostLookIsQueuedAgain(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	apply(t, store, told(r, 7, "OPEN", head[:12], 0))
	exec(t, store, `UPDATE looks SET tried_on = now() - interval '2 hours'`)
	apply(t, store, told(r, 7, "OPEN", head[:12], time.Minute))
	equal(t, "jobs", 2, len(queued(t, store, postgres.LookAtPullRequest{}.Kind())))
}

// TestEventCountsOnceItIsAcknowledged works no job at all: what an event tells in full
// is recorded with its delivery.
func TestEventCountsOnceItIsAcknowledged(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	apply(t, store, told(r, 7, "OPEN", "", 0), pushed(r, "feature", head, time.Second), pushed(r, "feature", twin, time.Minute))
	rec := record(t, store, build(1, reported(head[:12])))
	if rec.Build.SourceCommit != "" || !strings.Contains(rec.Unsettled, "several commits") {
		t.Errorf("twelve characters that fit two pushes are settled as %q (%s)", rec.Build.SourceCommit, rec.Unsettled)
	}
	retargeted := told(r, 7, "OPEN", "", 2*time.Minute)
	retargeted.PullRequest.DestinationBranch = "release"
	apply(t, store, retargeted)
	equal(t, "destination", "release", facts(t, store, pullRequest(r, 7), twin).Recorded.Newest.DestinationBranch)
	apply(t, store, told(r, 7, "MERGED", "", 3*time.Minute))
	equal(t, "state", "MERGED", facts(t, store, pullRequest(r, 7), twin).Recorded.Newest.State)
	equal(t, "deliveries", []string{"processed"}, query[string](t, store, `SELECT DISTINCT outcome FROM deliveries`))
}

// TestNothingIsAttributedWhileAHeadIsUnread has an event tell of a head by twelve
// characters, which fit a head that is recorded.
func TestNothingIsAttributedWhileAHeadIsUnread(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	pr := pullRequest(r, 7)
	see(t, store, pr, head)
	record(t, store, build(1, reported(head[:12])))
	equal(t, "before", []string{"aaaaaaaaaaaab SUCCESSFUL"}, shown(statuses(t, store)))
	e := told(r, 7, "OPEN", head[:12], 0)
	e.On = time.Now()
	apply(t, store, e)
	if f := facts(t, store, pr, head); !f.Recorded.Waiting {
		t.Error("nothing waits for the head to be read")
	}
	settleHeads(t, store, pr)
	equal(t, "while it is unread", []string{"aaaaaaaaaaaab STOPPED"}, shown(statuses(t, store)))
	err := store.Looking(t.Context(), postgres.LookAtPullRequest(pr), func(ctx context.Context) error {
		return pullrequests.See(ctx, store, pr, postgres.Sighting{Told: mergecheck.Told{State: "OPEN", Head: head, On: time.Now()}, SourceBranch: "feature"})
	})
	if err != nil {
		t.Fatal(err)
	}
	settleHeads(t, store, pr)
	equal(t, "once it was read", []string{"aaaaaaaaaaaab SUCCESSFUL"}, shown(statuses(t, store)))
}

// TestTextsOutOfBounds has one event tell of a branch that can't be indexed, and of
// another.
func TestTextsOutOfBounds(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	long := incompressible(3000)
	e := pushed(r, "feature", head, time.Second)
	e.Branches = append(e.Branches, mergecheck.BranchHead{Branch: mergecheck.BranchName(long), Commit: other})
	elsewhere := told(r, 8, "OPEN", "", 0)
	elsewhere.PullRequest.SourceBranch = mergecheck.BranchName(long)
	apply(t, store, told(r, 7, "OPEN", "", 0), elsewhere, e)
	equal(t, "head of the one", []string{head}, commits(facts(t, store, pullRequest(r, 7), head)))
	equal(t, "head of the other", []string{other}, commits(facts(t, store, pullRequest(r, 8), head)))
}

// TestEventThatCannotBeRecorded is kept, and left to a job that gives up some day.
func TestEventThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	e := pushed(r, incompressible(3000), head, 0) // no adapter lets such a name through
	id, err := pullrequests.Record(t.Context(), store, postgres.Delivery{Source: "forge", Body: []byte("{}")}, e)
	if err != nil {
		t.Fatal(err)
	}
	d, err := store.Delivery(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "outcome", postgres.Pending, d.Outcome)
	equal(t, "jobs", 1, len(queued(t, store, postgres.ApplyEvent{}.Kind())))
}

// incompressible is a text of so many characters that no index takes.
func incompressible(characters int) string {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // no secret
	text := make([]rune, characters)
	for i := range text {
		text[i] = rune(0x4e00 + random.IntN(0x5000))
	}
	return string(text)
}

func commits(f postgres.Facts) (list []string) {
	for _, h := range f.Recorded.Heads {
		if len(list) == 0 || list[len(list)-1] != h.Commit {
			list = append(list, h.Commit)
		}
	}
	return list
}
