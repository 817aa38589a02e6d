package postgres_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/pullrequests"
)

// earlier is when Bitbucket told of something in the past, as all that it tells is.
var earlier = time.Now().UTC().Truncate(time.Microsecond).Add(-48 * time.Hour)

// then moves a build to that time.
func then(b *mergecheck.Build) {
	by := earlier.Sub(later)
	b.CreatedOn, b.StartedOn, b.FinishedOn = b.CreatedOn.Add(by), b.StartedOn.Add(by), b.FinishedOn.Add(by)
}

// pushed is the event of a push to a branch of r, so long after earlier.
func pushed(r postgres.Repository, branch, commit string, after time.Duration) mergecheck.Event {
	return mergecheck.Event{
		WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, On: earlier.Add(after),
		Branches: []mergecheck.BranchHead{{Branch: branch, Commit: commit}},
	}
}

// told is the event of a pull request from branch feature to main.
func told(r postgres.Repository, id int64, state, commit string, after time.Duration) mergecheck.Event {
	return mergecheck.Event{
		WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, On: earlier.Add(after),
		PullRequest: &mergecheck.PullRequestEvent{ID: id, State: state, SourceBranch: "feature", SourceCommit: commit, DestinationBranch: "main"},
	}
}

func apply(t *testing.T, store *postgres.Store, events ...mergecheck.Event) {
	t.Helper()
	for _, e := range events {
		if _, err := pullrequests.Record(t.Context(), store, postgres.Delivery{Source: "forge", Body: []byte("{}")}, e); err != nil {
			t.Fatal(err)
		}
	}
}

func heads(t testing.TB, store *postgres.Store, pr postgres.PullRequestKey) []mergecheck.Head {
	t.Helper()
	return facts(t, store, pr, other).Recorded.Heads
}

func TestEventsRecordHeads(t *testing.T) {
	t.Parallel()
	at := func(commit string, after time.Duration) mergecheck.Head {
		return mergecheck.Head{Commit: commit, FirstSeenOn: earlier.Add(after), LastSeenOn: earlier.Add(after)}
	}
	tests := []struct {
		name   string
		events func(postgres.Repository) []mergecheck.Event
		want   []mergecheck.Head
		looks  int // pull requests that Bitbucket has to be asked about
	}{
		{name: "the push came first", looks: 1, want: []mergecheck.Head{at(head, 0)}, events: func(r postgres.Repository) []mergecheck.Event {
			return []mergecheck.Event{pushed(r, "feature", head, 0), told(r, 7, "OPEN", head[:12], time.Second)}
		}},
		{name: "a push to an open pull request", looks: 1, want: []mergecheck.Head{at(other, time.Minute)}, events: func(r postgres.Repository) []mergecheck.Event {
			return []mergecheck.Event{told(r, 7, "OPEN", head[:12], 0), pushed(r, "feature", other, time.Minute)}
		}},
		{name: "a push to another branch", looks: 1, events: func(r postgres.Repository) []mergecheck.Event {
			return []mergecheck.Event{told(r, 7, "OPEN", head[:12], 0), pushed(r, "develop", other, time.Minute)}
		}},
		{name: "a push to the branch of a closed pull request", want: []mergecheck.Head{at(other, time.Minute)}, events: func(r postgres.Repository) []mergecheck.Event {
			return []mergecheck.Event{told(r, 7, "MERGED", head[:12], 0), pushed(r, "feature", other, time.Minute)}
		}},
		{name: "12 characters that fit twins", looks: 1, want: []mergecheck.Head{at(head, 0), at(twin, time.Second)}, events: func(r postgres.Repository) []mergecheck.Event {
			return []mergecheck.Event{pushed(r, "feature", head, 0), pushed(r, "feature", twin, time.Second), told(r, 7, "OPEN", head[:12], time.Minute)}
		}},
		{name: "nobody's repository", events: func(postgres.Repository) []mergecheck.Event {
			return []mergecheck.Event{{On: earlier, Branches: []mergecheck.BranchHead{{Branch: "feature", Commit: head}}}}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			r := link(t, store, repository(name))
			apply(t, store, tt.events(r)...)
			equal(t, "heads", tt.want, heads(t, store, pullRequest(r, 7)))
			if got := len(queued(t, store, postgres.LookAtPullRequest{}.Kind())); got != tt.looks {
				t.Errorf("%d pull requests to look at, want %d", got, tt.looks)
			}
		})
	}
}

// TestEventsInAnyOrder applies the same events in another order, some of them
// twice, and expects the same rows.
func TestEventsInAnyOrder(t *testing.T) {
	t.Parallel()
	store := open(t)
	rapid.Check(t, func(rt *rapid.T) {
		var events []mergecheck.Event
		r := repository(name)
		for i := range rapid.IntRange(1, 6).Draw(rt, "events") {
			commit := rapid.SampledFrom([]string{head, other}).Draw(rt, "commit")
			after := time.Duration(rapid.IntRange(0, 3).Draw(rt, "after")) * time.Minute
			state := rapid.SampledFrom([]string{"OPEN", "OPEN", "MERGED"}).Draw(rt, "state")
			if i%2 == 0 {
				events = append(events, told(r, 7, state, commit[:12], after))
			} else {
				events = append(events, pushed(r, "feature", commit, after))
			}
		}
		// The same rows, and the same heads at each time: stretches may differ in length.
		rows := func(r postgres.Repository, list []mergecheck.Event) []string {
			for i := range list {
				list[i].WorkspaceUUID, list[i].RepositoryUUID = r.WorkspaceUUID, r.RepositoryUUID
			}
			apply(t, store, list...)
			return query[string](t, store, `
				SELECT concat_ws(' ', state, source_branch, destination_branch, told_on) FROM pull_requests WHERE workspace_uuid = $1
				UNION ALL SELECT concat_ws(' ', branch, commit, pushed_on) FROM branch_heads WHERE workspace_uuid = $1 ORDER BY 1`, r.WorkspaceUUID)
		}
		want := rows(r, events)
		again := append(rapid.Permutation(events).Draw(rt, "another order"), rapid.SampledFrom(events).Draw(rt, "repeated"))
		equal(t, "rows", want, rows(repository(name), again))
	})
}

// looked ends all looks at pull requests that are waited for.
func looked(t *testing.T, store *postgres.Store) {
	t.Helper()
	exec(t, store, `UPDATE looks SET live = false WHERE kind = 'pull_request'`)
}

func TestClosingStopsWhatIsInProgress(t *testing.T) {
	t.Parallel()
	running := build(1, in(mergecheck.Running))
	tests := []struct {
		name string
		do   func(t *testing.T, store *postgres.Store, r postgres.Repository)
		want []string
	}{
		{name: "open", want: []string{head[:13] + " INPROGRESS"}, do: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			apply(t, store, told(r, 7, "OPEN", head[:12], 0))
			record(t, store, running)
		}},
		{name: "closed after the build began", want: []string{head[:13] + " STOPPED"}, do: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			record(t, store, running)
			apply(t, store, told(r, 7, "DECLINED", head[:12], 0))
		}},
		{name: "closed before the build was seen", want: []string{head[:13] + " STOPPED"}, do: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			apply(t, store, told(r, 7, "MERGED", head[:12], 0))
			record(t, store, running)
		}},
		{name: "a result stays", want: []string{head[:13] + " SUCCESSFUL"}, do: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			record(t, store, build(1))
			apply(t, store, told(r, 7, "MERGED", head[:12], 0))
		}},
		{name: "another pull request", want: []string{head[:13] + " INPROGRESS"}, do: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			record(t, store, running)
			apply(t, store, told(r, 8, "MERGED", head[:12], 0))
		}},
		{name: "an older telling comes late", want: []string{head[:13] + " STOPPED"}, do: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			apply(t, store, told(r, 7, "MERGED", head[:12], time.Minute), told(r, 7, "OPEN", head[:12], 0))
			record(t, store, running)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			r := link(t, store, repository(name))
			tt.do(t, store, r)
			equal(t, "statuses", tt.want, shown(statuses(t, store)))
		})
	}
}

func TestHeadsOverTimeSettleBuildsWithoutOne(t *testing.T) {
	t.Parallel()
	// The build runs for a minute from earlier on.
	tests := []struct {
		name string
		push time.Duration // of another head
		want string
	}{
		{name: "pushed after it ended", push: 2 * time.Minute, want: head},
		{name: "pushed while it ran", push: 30 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			r := link(t, store, repository(name))
			apply(t, store, pushed(r, "feature", head, -time.Hour), told(r, 7, "OPEN", head[:12], -time.Hour), pushed(r, "feature", other, tt.push))
			looked(t, store)
			rec := record(t, store, build(1, reported(""), then))
			if rec.Build.SourceCommit != tt.want {
				t.Errorf("settled as %q (%s), want %q", rec.Build.SourceCommit, rec.Unsettled, tt.want)
			}
		})
	}
}

func TestTheSameRequestIsOneDelivery(t *testing.T) {
	t.Parallel()
	store := open(t)
	d := postgres.Delivery{Source: "bitbucket", Event: "repo:push", RequestID: "one", Body: []byte("{}"), Outcome: postgres.Pending}
	first := addDelivery(t, store, d)
	if again := addDelivery(t, store, d); again != first {
		t.Errorf("stored again as %d", again)
	}
	d.RequestID = "two"
	if other := addDelivery(t, store, d); other == first {
		t.Error("another request was taken for the first")
	}
	if jobs := queued(t, store, postgres.ApplyEvent{}.Kind()); len(jobs) != 2 {
		t.Errorf("jobs %v", jobs)
	}
}

func TestOpenPullRequests(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	apply(t, store, told(r, 7, "OPEN", "", 0), told(r, 8, "MERGED", "", 0), told(r, 9, "OPEN", "", 0))
	exec(t, store, `UPDATE pull_requests SET looked_on = now() - interval '1 hour' WHERE pull_request_id <> 9`)
	list, err := store.OpenPullRequests(t.Context(), time.Minute, 10)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "open pull requests", []postgres.PullRequestKey{pullRequest(r, 7)}, list)
	if list, err = store.OpenPullRequests(t.Context(), time.Minute, 10); err != nil || len(list) != 0 {
		t.Errorf("looked at again at once: %v, %v", list, err)
	}
}

func TestUntoldPullRequestIsAskedForOnce(t *testing.T) {
	t.Parallel()
	store := open(t)
	link(t, store, repository(name))
	for i := range 3 { // as the watch of a build does, long after its last job was done
		record(t, store, build(1, in(mergecheck.Running), updated(time.Duration(i)*time.Second)))
		exec(t, store, `UPDATE river_job SET state = 'completed', finalized_at = now() WHERE kind = $1`, postgres.LookAtPullRequest{}.Kind())
	}
	if looks := queued(t, store, postgres.LookAtPullRequest{}.Kind()); len(looks) != 1 {
		t.Errorf("%d looks, want 1", len(looks))
	}
}
