package postgres_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"mergegate/internal/builds"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

func genObservation() *rapid.Generator[mergecheck.Build] {
	return rapid.Custom(func(t *rapid.T) mergecheck.Build {
		return build(1, func(b *mergecheck.Build) {
			b.State = rapid.SampledFrom(mergecheck.States).Draw(t, "state")
			b.UpdatedOn = later.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "updated")) * time.Second)
			b.ReportedCommit = rapid.SampledFrom([]string{"", head[:10], head[:12], head}).Draw(t, "reported")
			b.Project.ID = rapid.SampledFrom([]int64{0, 1}).Draw(t, "project")
			b.Project.Slug = rapid.SampledFrom([]string{"app", "renamed"}).Draw(t, "slug")
			b.Jobs, b.JobsUpdatedOn, b.JobsState = nil, time.Time{}, ""
			if rapid.Bool().Draw(t, "with jobs") {
				b.Jobs = []mergecheck.Job{{ID: "j", Tests: mergecheck.Tests{Total: rapid.IntRange(1, 2).Draw(t, "tests")}}}
				b.JobsUpdatedOn, b.JobsState = b.UpdatedOn, b.State
			}
		})
	})
}

// end is what recording leaves behind.
type end struct {
	Build   mergecheck.Build
	Project []string
	Status  []string // of the commit that the build is of
}

// TestAnyOrderEndsTheSame records the same observations in two orders and at once.
func TestAnyOrderEndsTheSame(t *testing.T) {
	t.Parallel()
	store := open(t)
	var last atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		observations := rapid.SliceOfN(genObservation(), 1, 4).Draw(rt, "observations")
		again := append(rapid.Permutation(observations).Draw(rt, "another order"),
			rapid.SliceOfN(rapid.SampledFrom(observations), 0, 3).Draw(rt, "repetitions")...)
		heads := rapid.SampledFrom([][]string{{}, {head}, {head, twin}}).Draw(rt, "heads")
		run := func(observations []mergecheck.Build, atOnce int) end {
			id := last.Add(1)
			r := link(t, store, repository(fmt.Sprintf("ws/r%d", id)))
			for _, commit := range heads {
				see(t, store, pullRequest(r, 7), commit)
			}
			var g errgroup.Group
			g.SetLimit(atOnce)
			for _, b := range observations {
				b.BuildID, b.Repository, b.SourceRepository = id, r.FullName, r.FullName
				g.Go(func() error { _, err := builds.Record(t.Context(), store, b, 0, false); return err })
			}
			if err := g.Wait(); err != nil {
				rt.Fatal(err)
			}
			return endOf(t, store, r)
		}
		want := run(observations, 1)
		for name, got := range map[string]end{"another order": run(again, 1), "at once": run(again, 4)} {
			if diff := cmp.Diff(want, got); diff != "" {
				rt.Fatalf("%s ends differently (-first +%s):\n%s", name, name, diff)
			}
		}
		merged := observations[0]
		for _, b := range observations[1:] {
			merged = merged.Merge(b)
		}
		if got := want.Build; got.State != merged.State || !got.UpdatedOn.Equal(merged.UpdatedOn) || got.ReportedCommit != merged.ReportedCommit {
			rt.Fatalf("recorded %+v, want %+v", got, merged)
		}
		if merged.Project.ID != 0 && merged.ReportedCommit == head && len(want.Status) != 1 {
			rt.Fatalf("%d commit statuses, want one", len(want.Status))
		}
	})
}

func endOf(t *testing.T, store *postgres.Store, r postgres.Repository) end {
	t.Helper()
	list, err := store.Builds(t.Context(), r, postgres.BuildFilter{Limit: 10})
	if err != nil || len(list) != 1 {
		t.Fatalf("%d builds, %v; want one", len(list), err)
	}
	e := end{Build: list[0]}
	e.Build.ID, e.Build.BuildID, e.Build.Repository, e.Build.SourceRepository = 0, 0, "", ""
	e.Project = query[string](t, store, `SELECT project_id || account || '/' || slug FROM projects WHERE repository_uuid = $1`, r.RepositoryUUID)
	e.Status = query[string](t, store, `SELECT concat_ws('|', key, state, name, description, url, refname) FROM outbox JOIN commit_statuses USING (id)
		WHERE repository_uuid = $1 AND commit = $2`, r.RepositoryUUID, e.Build.SourceCommit)
	return e
}

func TestBuildIsReadAsRecorded(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	for _, tt := range []struct {
		name string
		b    mergecheck.Build
		head string
	}{
		{name: "everything", b: build(1), head: head},
		{name: "as little as there can be", b: mergecheck.Build{
			BuildID: 2, Project: mergecheck.Project{ID: 1}, Repository: name, PullRequestID: 8, State: mergecheck.Queued, ConfirmedBy: "appveyor",
			Jobs: []mergecheck.Job{},
		}},
	} {
		rec := record(t, store, tt.b)
		want := tt.b
		want.ID, want.SourceCommit = rec.Build.ID, tt.head
		got, in, err := store.Build(t.Context(), postgres.BuildID{WorkspaceUUID: r.WorkspaceUUID, ID: rec.Build.ID})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, tt.name, want, got)
		equal(t, tt.name+" repository", r, in)
		equal(t, tt.name+" recorded", builds.Recorded{Build: want, Repository: r, Unsettled: rec.Unsettled}, rec)
	}
	for name, id := range map[string]postgres.BuildID{
		"a build that isn't there": {WorkspaceUUID: r.WorkspaceUUID, ID: 99}, "a report": {WorkspaceUUID: r.WorkspaceUUID, ID: 1, Reported: true},
		"another workspace's": {WorkspaceUUID: r.RepositoryUUID, ID: 1},
	} {
		if _, _, err := store.Build(t.Context(), id); !isNotFound(err) {
			t.Errorf("%s: %v, want ErrNotFound", name, err)
		}
	}
}

func TestRecordingSettlesTheDelivery(t *testing.T) {
	t.Parallel()
	store := open(t)
	for _, tt := range []struct {
		name, reported string
		reason         bool
	}{
		{name: "head told", reported: head},
		{name: "head not told", reported: head[:12], reason: true},
	} {
		id, err := store.AddDelivery(t.Context(), postgres.Delivery{Source: "appveyor", Body: []byte("{}"), BuildID: 1, Outcome: postgres.Pending})
		if err != nil {
			t.Fatal(err)
		}
		rec, err := builds.Record(t.Context(), store, build(id, reported(tt.reported)), id, false)
		if err != nil {
			t.Fatal(err)
		}
		d, err := store.Delivery(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if d.Outcome != postgres.Processed || d.Reason != rec.Unsettled || (d.Reason != "") != tt.reason {
			t.Errorf("%s: %s because of %q; unsettled: %q", tt.name, d.Outcome, d.Reason, rec.Unsettled)
		}
	}
}

// TestRecordingIsAllOrNothing breaks the first and the last thing that recording
// does beside the build.
func TestRecordingIsAllOrNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, table string }{
		{name: "no queue", table: "river_job"},
		{name: "no deliveries", table: "deliveries"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			exec(t, store, "ALTER TABLE "+tt.table+" RENAME TO away")
			if _, err := builds.Record(t.Context(), store, build(1, in(mergecheck.Running)), 1, false); err == nil {
				t.Fatal("no error")
			}
			exec(t, store, "ALTER TABLE away RENAME TO "+tt.table)
			for _, table := range []string{"builds", "unlinked_builds", "projects", "commit_statuses", "river_job"} {
				if n := query[int64](t, store, "SELECT count(*) FROM "+table)[0]; n != 0 {
					t.Errorf("%d rows in %s, want none", n, table)
				}
			}
		})
	}
}

func TestFollowUps(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		linked       bool
		builds       []mergecheck.Build
		watch, learn int
	}{
		{name: "finished", linked: true, builds: []mergecheck.Build{build(1)}},
		{name: "running", linked: true, builds: []mergecheck.Build{build(1, in(mergecheck.Running))}, watch: 1},
		{name: "running, seen twice", linked: true, builds: []mergecheck.Build{build(1, in(mergecheck.Queued)), build(1, in(mergecheck.Running))}, watch: 1},
		{name: "two running", linked: true, builds: []mergecheck.Build{build(1, in(mergecheck.Queued)), build(2, in(mergecheck.Queued))}, watch: 2},
		{name: "unlinked", builds: []mergecheck.Build{build(1), build(2)}, learn: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := openEmpty(t)
			if tt.linked {
				link(t, store, repository(name))
			}
			record(t, store, tt.builds...)
			equal(t, "jobs that watch", tt.watch, len(queued(t, store, "watch_build")))
			equal(t, "jobs that learn", tt.learn, len(queued(t, store, "learn_repository")))
		})
	}
}

func TestBuildsFilters(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	record(t, store, build(100, of("ws/elsewhere")))
	for id := int64(1); id <= 8; id++ {
		record(t, store, build(id, func(b *mergecheck.Build) {
			b.CreatedOn = later.Add(time.Duration(id) * time.Hour)
			if id > 4 {
				b.PullRequestID, b.ReportedCommit = 8, other
			}
			if id%2 == 0 {
				b.State = mergecheck.Failed
			}
			if id%4 == 0 {
				b.Project = mergecheck.Project{ID: 2, Account: "Acme", Slug: "Lib_1"}
			}
		}))
	}
	hour := func(n int) time.Time { return later.Add(time.Duration(n) * time.Hour) }
	tests := []struct {
		name   string
		filter postgres.BuildFilter
		want   []int64
	}{
		{name: "none", want: []int64{8, 7, 6, 5, 4, 3, 2, 1}},
		{name: "limit", filter: postgres.BuildFilter{Limit: 3}, want: []int64{8, 7, 6}},
		{name: "page", filter: postgres.BuildFilter{Limit: 3, Before: 6}, want: []int64{5, 4, 3}},
		{name: "pull request", filter: postgres.BuildFilter{PullRequestID: 7}, want: []int64{4, 3, 2, 1}},
		{name: "commit", filter: postgres.BuildFilter{Commit: other}, want: []int64{8, 7, 6, 5}},
		{name: "commit prefix", filter: postgres.BuildFilter{Commit: head[:7]}, want: []int64{4, 3, 2, 1}},
		{name: "commit is no pattern", filter: postgres.BuildFilter{Commit: "%aaaaaa"}},
		{name: "no such commit", filter: postgres.BuildFilter{Commit: "eeeeeee"}},
		{name: "project name in any case", filter: postgres.BuildFilter{Project: "aCME/lIB_1"}, want: []int64{8, 4}},
		{name: "project name is no pattern", filter: postgres.BuildFilter{Project: "acme/lib%"}},
		{name: "project id", filter: postgres.BuildFilter{Project: "2"}, want: []int64{8, 4}},
		{name: "project id out of range", filter: postgres.BuildFilter{Project: "999999999999999999999"}},
		{name: "state", filter: postgres.BuildFilter{State: mergecheck.Success}, want: []int64{7, 5, 3, 1}},
		{name: "since is inclusive", filter: postgres.BuildFilter{Since: hour(7)}, want: []int64{8, 7}},
		{name: "until is exclusive", filter: postgres.BuildFilter{Until: hour(3)}, want: []int64{2, 1}},
		{name: "all at once", want: []int64{4}, filter: postgres.BuildFilter{
			PullRequestID: 7, Commit: head[:12], Project: "acme/lib_1", State: mergecheck.Failed, Since: hour(1), Until: hour(9), Before: 8,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.filter.Limit == 0 {
				tt.filter.Limit = 100
			}
			list, err := store.Builds(t.Context(), r, tt.filter)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "builds", tt.want, buildIDs(list))
		})
	}
}

// TestPagesUnderInserts reads pages while builds are recorded around them: what
// was there before is on exactly one page.
func TestPagesUnderInserts(t *testing.T) {
	t.Parallel()
	store := open(t)
	rounds := 0
	rapid.Check(t, func(rt *rapid.T) {
		if rounds++; rounds > 20 {
			return // each needs dozens of builds
		}
		r := link(t, store, repository(fmt.Sprintf("ws/p%d", rounds)))
		first := int64(rounds * 1000)
		ids := rapid.SliceOfNDistinct(rapid.Int64Range(first, first+200), 1, 12, rapid.ID[int64]).Draw(rt, "builds")
		added := rapid.SliceOfNDistinct(rapid.Int64Range(first, first+200), 0, 12, rapid.ID[int64]).Draw(rt, "added")
		length := rapid.IntRange(1, 5).Draw(rt, "page length")
		for _, id := range ids {
			record(t, store, build(id, of(r.FullName)))
		}
		var g errgroup.Group
		for _, id := range added {
			g.Go(func() error {
				_, err := builds.Record(t.Context(), store, build(id, of(r.FullName)), 0, false)
				return err
			})
		}
		seen := map[int64]int{}
		for before := int64(0); ; {
			list, err := store.Builds(t.Context(), r, postgres.BuildFilter{Before: before, Limit: length})
			if err != nil {
				rt.Fatal(err)
			}
			for _, b := range list {
				seen[b.BuildID]++
			}
			if len(list) < length {
				break
			}
			before = list[len(list)-1].BuildID
		}
		if err := g.Wait(); err != nil {
			rt.Fatal(err)
		}
		for id, n := range seen {
			if n != 1 {
				rt.Errorf("build %d is on %d pages", id, n)
			}
		}
		for _, id := range ids {
			if seen[id] == 0 {
				rt.Errorf("build %d is on no page", id)
			}
		}
	})
}

func TestUpdatedOn(t *testing.T) {
	t.Parallel()
	store := open(t)
	record(t, store, build(1), build(2, updated(time.Hour)), build(3, func(b *mergecheck.Build) { b.UpdatedOn = time.Time{} }))
	got, err := store.UpdatedOn(t.Context(), []int64{1, 2, 3, 4})
	if err != nil {
		t.Fatal(err)
	}
	want := map[int64]time.Time{1: later.Add(time.Minute), 2: later.Add(time.Minute + time.Hour), 3: {}}
	equal(t, "times", want, got)
}

// TestManyBuildsOfOneProject records builds that share everything from several
// goroutines: none waits for another forever.
func TestManyBuildsOfOneProject(t *testing.T) {
	t.Parallel()
	store := open(t)
	var g errgroup.Group
	for i := range 60 {
		b := build(int64(i%10+1), in(mergecheck.States[i%5]), updated(time.Duration(i)*time.Second), func(b *mergecheck.Build) {
			b.PullRequestID = int64(i%2 + 1)
			b.Project.Slug = fmt.Sprintf("app%d", i%3)
		})
		g.Go(func() error { _, err := builds.Record(t.Context(), store, b, 0, false); return err })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	r, err := store.RepositoryByName(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	list, err := store.Builds(t.Context(), r, postgres.BuildFilter{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "builds", []int64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, buildIDs(list))
	shown := statuses(t, store)
	equal(t, "statuses, one of each pull request", 2, len(shown))
	for _, s := range shown {
		i := slices.IndexFunc(list, func(b mergecheck.Build) bool { return mergecheck.StatusKey(1, b.PullRequestID) == s.Key })
		if want := mergecheck.StatusOf(list[i], nil); s.State != want.State || s.URL != want.URL || s.Name != want.Name {
			t.Errorf("status %s is %s for %s, want %s for %s", s.Key, s.State, s.URL, want.State, want.URL)
		}
	}
}
