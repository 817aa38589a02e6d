package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"mergegate/internal/builds"
	"mergegate/internal/commitstatus"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/pullrequests"
)

// place is what is kept of a repository, and how many builds wait for theirs.
type place struct {
	Builds, Statuses, Projects, Heads int64
	Waiting                           int64
}

func placeOf(t *testing.T, store *postgres.Store, r postgres.Repository) place {
	t.Helper()
	count := func(table string) int64 {
		return query[int64](t, store, "SELECT count(*) FROM "+table+" WHERE workspace_uuid = $1 AND repository_uuid = $2", r.WorkspaceUUID, r.RepositoryUUID)[0]
	}
	return place{
		Builds: count("builds"), Statuses: count("outbox"), Projects: count("projects"), Heads: count("pull_request_heads"),
		Waiting: query[int64](t, store, `SELECT count(*) FROM unlinked_builds`)[0],
	}
}

// linkAndRecord links a repository and works the job that this queues.
func linkAndRecord(t *testing.T, store *postgres.Store, r postgres.Repository) {
	t.Helper()
	link(t, store, r)
	recordWaiting(t, store, r, 0)
}

func recordWaiting(t *testing.T, store *postgres.Store, r postgres.Repository, pullRequestID int64) {
	t.Helper()
	if err := builds.RecordWaiting(t.Context(), store, pullRequest(r, pullRequestID)); err != nil {
		t.Fatal(err)
	}
}

// TestBuildsDoNotWaitForAJobThatIsGone gives up the job that records what waited.
func TestBuildsDoNotWaitForAJobThatIsGone(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	record(t, store, build(1))
	r := link(t, store, repository(name))
	round := func(want int) {
		t.Helper()
		exec(t, store, `DELETE FROM river_job`)
		for range 2 {
			if err := store.QueueUnlinked(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		equal(t, "jobs of the next rounds", want, len(queued(t, store, "record_unlinked")))
	}
	round(1)
	recordWaiting(t, store, r, 0)
	round(0)
}

// TestBuildsWaitForTheirRepository has nothing in the tables of facts until Bitbucket has
// told of the repository, and then all of it.
func TestBuildsWaitForTheirRepository(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	rec := record(t, store, build(1, of("WS/Repo")), build(2, in(mergecheck.Running)), build(2, in(mergecheck.Failed), updated(time.Second)))
	if rec.Repository.RepositoryUUID != "" || rec.Unsettled != builds.ReasonUnlinked {
		t.Fatalf("recorded %+v before anybody told of the repository", rec)
	}
	r := repository(name)
	equal(t, "kept before", place{Waiting: 2}, placeOf(t, store, r))
	link(t, store, r)
	equal(t, "jobs", 1, len(queued(t, store, "record_unlinked")))
	recordWaiting(t, store, r, 0)
	equal(t, "kept", place{Builds: 2, Statuses: 1, Projects: 1}, placeOf(t, store, r))
	equal(t, "statuses", []string{"aaaaaaaaaaaab FAILED"}, shown(statuses(t, store)))
	rec = record(t, store, build(2), build(3))
	equal(t, "recorded under", r, rec.Repository)
	link(t, store, r) // again changes nothing
	recordWaiting(t, store, r, 0)
	equal(t, "kept", place{Builds: 3, Statuses: 1, Projects: 1}, placeOf(t, store, r))
	equal(t, "jobs after that", 1, len(queued(t, store, "record_unlinked")))
}

// TestWhatWaitedIsMerged has a delivery come between linking and the job that records what
// waited.
func TestWhatWaitedIsMerged(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	r := repository(name)
	record(t, store, build(1, in(mergecheck.Failed), updated(time.Minute)))
	link(t, store, r)
	rec := record(t, store, build(1, in(mergecheck.Running)))
	equal(t, "state", mergecheck.Failed, rec.Build.State)
	recordWaiting(t, store, r, 0)
	equal(t, "kept", place{Builds: 1, Statuses: 1, Projects: 1}, placeOf(t, store, r))
}

// TestAPullRequestsBuildsAreRecordedFirst is for a merge check that waits.
func TestAPullRequestsBuildsAreRecordedFirst(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	r := repository(name)
	record(t, store, build(1), build(2, func(b *mergecheck.Build) { b.PullRequestID = 8 }))
	link(t, store, r)
	recordWaiting(t, store, r, 8)
	equal(t, "kept", place{Builds: 1, Statuses: 1, Projects: 1, Waiting: 1}, placeOf(t, store, r))
}

func TestADeliveryWhoseBuildWaits(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	id := addDelivery(t, store, postgres.Delivery{Source: "appveyor", Body: []byte("{}"), BuildID: 1, Outcome: postgres.Pending})
	if _, err := builds.Record(t.Context(), store, build(1), id, false); err != nil {
		t.Fatal(err)
	}
	d, err := store.Delivery(t.Context(), id)
	equal(t, "delivery", []any{postgres.Processed, builds.ReasonUnlinked, error(nil)}, []any{d.Outcome, d.Reason, err})
}

// TestFewBuildsWait bounds what is kept of a name that Bitbucket never tells of.
func TestFewBuildsWait(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	exec(t, store, `INSERT INTO unlinked_builds (build_id, name, document, found) SELECT n, 'ws/repo', '{}', false FROM generate_series(1, 1005) n`)
	record(t, store, build(2000), build(3000, of("ws/another")))
	equal(t, "of the name", []int64{1000, 7, 2000}, query[int64](t, store, `SELECT unnest(ARRAY[count(*), min(build_id), max(build_id)]) FROM unlinked_builds WHERE name = 'ws/repo'`))
	exec(t, store, `UPDATE unlinked_builds SET recorded_on = now() - interval '31 days' WHERE name = 'ws/repo'`)
	if _, err := store.DeleteOlder(t.Context(), "deliveries", 1000*time.Hour); err != nil {
		t.Fatal(err)
	}
	equal(t, "after a month", int64(1), query[int64](t, store, `SELECT count(*) FROM unlinked_builds`)[0])
}

func TestLinkSettlesHeads(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	r := repository(name)
	see(t, store, pullRequest(r, 7), head)
	record(t, store, build(1, reported(head[:12])))
	linkAndRecord(t, store, r)
	equal(t, "statuses", []string{"aaaaaaaaaaaab SUCCESSFUL"}, shown(statuses(t, store)))
}

func TestLinkStopsWhatClosedBefore(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, state, want string }{
		{name: "merged", state: "MERGED", want: "aaaaaaaaaaaab STOPPED"},
		{name: "open", state: "OPEN", want: "aaaaaaaaaaaab INPROGRESS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := openEmpty(t)
			r := repository(name)
			record(t, store, build(1, in(mergecheck.Running)))
			if err := pullrequests.See(t.Context(), store, pullRequest(r, 7), postgres.Sighting{Told: mergecheck.Told{State: tt.state, On: time.Now()}}); err != nil {
				t.Fatal(err)
			}
			linkAndRecord(t, store, r)
			equal(t, "status", []string{tt.want}, shown(statuses(t, store)))
		})
	}
}

func TestRenameKeepsHistory(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	r := link(t, store, repository("ws/old"))
	record(t, store, build(1, of("ws/old")))
	r.FullName = "ws/new"
	link(t, store, r)
	if _, err := store.RepositoryByName(t.Context(), "ws/old"); !isNotFound(err) {
		t.Errorf("the old name: %v, want ErrNotFound", err)
	}
	rec := record(t, store, build(2, of("ws/new")), build(1, of("ws/old"), updated(time.Second)))
	equal(t, "recorded under", r, rec.Repository)
	equal(t, "kept", place{Builds: 2, Statuses: 1, Projects: 1}, placeOf(t, store, r))
	for _, s := range statuses(t, store) {
		equal(t, "posted to", []string{"ws/new", ""}, []string{s.Repository, s.Fork})
	}
}

// TestAppVeyorKeepsTheFormerName has AppVeyor go on building under the name that it was
// told, until another repository gets it.
func TestAppVeyorKeepsTheFormerName(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	r := link(t, store, repository("ws/old"))
	record(t, store, build(1, of("ws/old")))
	r.FullName = "ws/new"
	link(t, store, r)
	for _, d := range []postgres.Delivery{
		{BuildID: 2, HintedRepository: "ws/Old"},
		{BuildID: 9, HintedRepository: "ws/elsewhere"},
	} {
		d.Source, d.Body, d.Outcome, d.HintedPullRequest = "appveyor", []byte("{}"), postgres.Pending, 7
		addDelivery(t, store, d)
	}
	equal(t, "unconfirmed", []mergecheck.Unconfirmed{{BuildID: 2}}, unconfirmed(t, store, pullRequest(r, 7)))
	equal(t, "recorded under", r, record(t, store, build(2, of("ws/Old"))).Repository)
	former, err := store.RepositoryFormerly(t.Context(), "WS/old")
	equal(t, "which was called ws/old", []any{r, error(nil)}, []any{former, err})
	for _, name := range []string{"ws/new", "ws/other"} {
		if _, err := store.RepositoryFormerly(t.Context(), name); !isNotFound(err) {
			t.Errorf("%s is a former name: %v", name, err)
		}
	}

	second := link(t, store, repository("ws/old"))
	equal(t, "recorded under, with the name taken", second, record(t, store, build(3, of("ws/old"))).Repository)
	if _, err := store.RepositoryFormerly(t.Context(), "ws/old"); !isNotFound(err) {
		t.Errorf("the name that was taken is a former one: %v", err)
	}
}

// TestLinkWithAFormerName learns the name that AppVeyor has and the one that Bitbucket
// has at once.
func TestLinkWithAFormerName(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	record(t, store, build(1, of("ws/old")))
	r := repository("ws/new")
	if err := store.LinkRepository(t.Context(), r, "ws/old"); err != nil {
		t.Fatal(err)
	}
	recordWaiting(t, store, r, 0)
	equal(t, "kept", place{Builds: 1, Statuses: 1, Projects: 1}, placeOf(t, store, r))
	equal(t, "recorded under", r, record(t, store, build(2, of("ws/old"))).Repository)
	now, err := store.RepositoryByName(t.Context(), "ws/new")
	equal(t, "called ws/new", []any{r, error(nil)}, []any{now, err})
}

func TestForkKeepsItsNameInARename(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	r := link(t, store, repository("ws/old"))
	record(t, store, build(1, of("ws/old"), func(b *mergecheck.Build) { b.SourceRepository = "me/fork" }))
	r.FullName = "ws/new"
	link(t, store, r)
	s := statuses(t, store)[0]
	equal(t, "posted to", []string{"ws/new", "me/fork"}, []string{s.Repository, s.Fork})
}

// TestRenameBeforeItIsTold has both names of one repository build the same head: the
// status is of the newest build, under whichever name it was.
func TestRenameBeforeItIsTold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		old, new int64
		want     string
	}{
		{name: "newer under the new name", old: 1, new: 2, want: mergecheck.StatusFailed},
		{name: "newer under the old name", old: 2, new: 1, want: mergecheck.StatusSuccessful},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := openEmpty(t)
			r := link(t, store, repository("ws/old"))
			record(t, store, build(tt.old, of("ws/old")), build(tt.new, of("ws/new"), in(mergecheck.Failed)))
			equal(t, "kept before", place{Builds: 1, Statuses: 1, Projects: 1, Waiting: 1}, placeOf(t, store, r))
			r.FullName = "ws/new"
			linkAndRecord(t, store, r)
			equal(t, "kept", place{Builds: 2, Statuses: 1, Projects: 1}, placeOf(t, store, r))
			equal(t, "state", tt.want, statuses(t, store)[0].State)
		})
	}
}

func TestNameTakenOver(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	first := link(t, store, repository(name))
	record(t, store, build(1))
	second := link(t, store, repository(name))
	equal(t, "first", place{Builds: 1, Statuses: 1, Projects: 1}, placeOf(t, store, first))
	equal(t, "second", place{}, placeOf(t, store, second))

	rec := record(t, store, build(2))
	equal(t, "a new build is recorded under", second, rec.Repository)
	rec = record(t, store, build(1, updated(time.Second)))
	equal(t, "a known build is recorded under", first, rec.Repository)
	equal(t, "names in the store", []string{"", name}, query[string](t, store, `SELECT coalesce(full_name, '') FROM repositories ORDER BY 1`))
}

func TestProjectsOfBothNamesBecomeOne(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	r := link(t, store, repository("ws/old"))
	named := func(slug string) func(*mergecheck.Build) {
		return func(b *mergecheck.Build) { b.Project.Slug = slug }
	}
	record(t, store, build(1, of("ws/old"), named("app")))
	if err := commitstatus.Forget(t.Context(), store, 1); err != nil {
		t.Fatal(err)
	}
	record(t, store, build(2, of("ws/new"), named("renamed")))
	r.FullName = "ws/new"
	linkAndRecord(t, store, r)
	want := []postgres.SeenProject{{
		WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, Repository: "ws/new",
		ProjectID: 1, Account: "acme", Slug: "renamed", NewestBuildID: 2, OldestBuildID: 1, Forgotten: true,
	}}
	equal(t, "projects", want, projects(t, store))
}

// TestLinkingWhileRecording leaves no build waiting, whatever name it is told under
// meanwhile.
func TestLinkingWhileRecording(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	for round := range 8 {
		fullName := fmt.Sprintf("ws/race%d", round)
		first := int64(round * 100)
		record(t, store, build(first+1, of(fullName)))
		r := repository(fullName)
		var g errgroup.Group
		for i := range int64(12) {
			told := fullName
			if i%4 == 3 {
				told = fullName + "-renamed"
			}
			b := build(first+1+i%4, of(told), in(mergecheck.States[i%5]), updated(time.Duration(i)*time.Second))
			if i%4 == 3 {
				b.BuildID = first + 1
			}
			g.Go(func() error { _, err := builds.Record(t.Context(), store, b, 0, false); return err })
			if i == 5 {
				g.Go(func() error { return store.LinkRepository(t.Context(), r) })
			}
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		recordWaiting(t, store, r, 0)
		got := placeOf(t, store, r)
		equal(t, fullName, place{Builds: 3, Statuses: 1, Projects: 1}, got)
	}
}

// TestRenamingWhileRecording has builds told under the old and the new name while
// the rename is told.
func TestRenamingWhileRecording(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	for round := range 20 {
		before, after := fmt.Sprintf("ws/old%d", round), fmt.Sprintf("ws/new%d", round)
		first := int64(round*100 + 1)
		r := link(t, store, repository(before))
		record(t, store, build(first, of(before)), build(first+1, of(after)))
		var g errgroup.Group
		for i := range int64(8) {
			b := build(first+i, of([]string{before, after}[i%2]), in(mergecheck.Failed), updated(time.Second))
			g.Go(func() error { _, err := builds.Record(t.Context(), store, b, 0, false); return err })
			if i == 3 {
				r.FullName = after
				g.Go(func() error { return store.LinkRepository(t.Context(), r) })
			}
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		recordWaiting(t, store, r, 0)
		got := query[int64](t, store, `SELECT count(*) FROM builds WHERE repository = $1`, after)[0]
		moved := query[int64](t, store, `SELECT count(*) FROM builds WHERE repository = $1 AND repository_uuid = $2`, after, r.RepositoryUUID)[0]
		equal(t, after, []int64{4, 4}, []int64{got, moved})
	}
}

// TestSwappingNames links repositories under each other's names at once.
func TestSwappingNames(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	a, b := link(t, store, repository("ws/a")), link(t, store, repository("ws/b"))
	for range 60 {
		a.FullName, b.FullName = b.FullName, a.FullName
		var g errgroup.Group
		for _, r := range []postgres.Repository{a, b} {
			g.Go(func() error { return store.LinkRepository(t.Context(), r) })
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		link(t, store, a) // whoever came first lost the name to the other
		link(t, store, b)
		for _, r := range []postgres.Repository{a, b} {
			got, err := store.RepositoryByName(t.Context(), r.FullName)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, r.FullName, r, got)
		}
	}
}
