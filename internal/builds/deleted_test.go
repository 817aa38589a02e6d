package builds

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"mergegate/internal/appveyor"
	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
)

// withToken has AppVeyor ask for the account's token, and the service have it.
func (b *bundle) withToken(t *testing.T) {
	t.Helper()
	b.appveyor.RequireToken("acme", "token")
	client, err := appveyor.NewClient(appveyor.Config{URL: b.appveyor.URL, Tokens: map[string]string{"acme": "token"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	b.service = New(b.store, client, b.service.bitbucket, mergecheck.Accounts{"acme": {"acme"}}, Options{Log: slog.New(slog.DiscardHandler)})
}

// record has a build in this state recorded.
func (b *bundle) record(t *testing.T, status string) {
	t.Helper()
	if err := b.appveyor.SetStatus(b.build.ID, status); err != nil {
		t.Fatal(err)
	}
	if err := b.confirm(t.Context(), b.receive(t)); err != nil {
		t.Fatal(err)
	}
}

// look is one run of the job that watches the build; it reports whether the job
// goes on.
func (b *bundle) look(t *testing.T) (goesOn bool) {
	t.Helper()
	err := b.service.watchBuild(t.Context(), &river.Job[postgres.WatchBuild]{
		JobRow: &rivertype.JobRow{CreatedAt: time.Now()},
		Args:   postgres.WatchBuild{Account: "acme", Slug: "widgets", BuildID: b.build.ID, Version: b.build.Version},
	})
	var snooze *river.JobSnoozeError
	if err != nil && !errors.As(err, &snooze) {
		t.Fatal(err)
	}
	return err != nil
}

// later has time pass for looks that missed the build.
func (b *bundle) later(t *testing.T, d time.Duration) {
	t.Helper()
	postgrestest.Exec(t, b.database, fmt.Sprintf(`UPDATE builds SET missing_since = missing_since - interval '%d seconds'`, int(d.Seconds())))
	b.service.now = func() time.Time { return time.Now().Add(time.Hour) } // lists are read anew
}

func (b *bundle) stored(t *testing.T) mergecheck.Build {
	t.Helper()
	r, err := b.store.RepositoryByName(t.Context(), "acme/widgets")
	if err != nil {
		t.Fatal(err)
	}
	list, err := b.store.Builds(t.Context(), r, postgres.BuildFilter{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, build := range list {
		if build.BuildID == b.build.ID {
			return build
		}
	}
	t.Fatal("the build is not there")
	return mergecheck.Build{}
}

// TestUnfinishedBuildThatIsGoneEnds has something happen to a running build, and
// looks at it four times over more than two minutes.
func TestUnfinishedBuildThatIsGoneEnds(t *testing.T) {
	t.Parallel()
	fail := func(part string, status int) func(*testing.T, *bundle) {
		return func(_ *testing.T, b *bundle) {
			b.appveyor.OnRequest(func(r *http.Request) (f appveyortest.Fault) {
				if strings.Contains(r.URL.Path, part) {
					f.Status = status
				}
				return f
			})
		}
	}
	deleteBuild := func(t *testing.T, b *bundle) {
		t.Helper()
		if err := b.appveyor.DeleteBuild(b.build.ID); err != nil {
			t.Fatal(err)
		}
	}
	deleteProject := func(t *testing.T, b *bundle) {
		t.Helper()
		if err := b.appveyor.DeleteProject(12064); err != nil {
			t.Fatal(err)
		}
	}
	recreate := func(t *testing.T, b *bundle) {
		t.Helper()
		deleteProject(t, b)
		if err := b.appveyor.AddProject(appveyortest.Project{ID: 502, Account: "acme", Slug: "widgets", RepositoryName: "acme/widgets"}); err != nil {
			t.Fatal(err)
		}
	}
	rename := func(t *testing.T, b *bundle) {
		t.Helper()
		if err := b.appveyor.AddProject(appveyortest.Project{ID: 12064, Account: "acme", Slug: "gadgets", RepositoryName: "acme/widgets"}); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name   string
		state  string
		token  bool
		change func(*testing.T, *bundle)
		want   mergecheck.State
	}{
		{name: "still there", state: "running", change: func(*testing.T, *bundle) {}, want: mergecheck.Running},
		{name: "deleted while running", state: "running", change: deleteBuild, want: mergecheck.Cancelled},
		{name: "deleted while queued", state: "queued", change: deleteBuild, want: mergecheck.Cancelled},
		{name: "deleted with a token", state: "running", token: true, change: deleteBuild, want: mergecheck.Cancelled},
		{name: "deleted after it passed", state: "success", change: deleteBuild, want: mergecheck.Success},
		{name: "deleted after it failed", state: "failed", change: deleteBuild, want: mergecheck.Failed},
		{name: "project deleted", state: "running", token: true, change: deleteProject, want: mergecheck.Cancelled},
		{name: "project deleted, without a token", state: "running", change: deleteProject, want: mergecheck.Running},
		{name: "project created again", state: "running", token: true, change: recreate, want: mergecheck.Cancelled},
		{name: "project created again, without a token", state: "running", change: recreate, want: mergecheck.Running},
		{name: "project renamed", state: "running", token: true, change: rename, want: mergecheck.Running},
		{name: "project renamed, without a token", state: "running", change: rename, want: mergecheck.Running},
		{name: "not shown by id, but in the history", state: "running", change: fail("/builds/", http.StatusNotFound), want: mergecheck.Running},
		{name: "history can't be read", state: "running", change: func(t *testing.T, b *bundle) {
			t.Helper()
			deleteBuild(t, b)
			fail("/history", http.StatusInternalServerError)(t, b)
		}, want: mergecheck.Running},
		{name: "AppVeyor is down", state: "running", token: true, change: fail("/", http.StatusServiceUnavailable), want: mergecheck.Running},
		{name: "token refused", state: "running", token: true, change: fail("/", http.StatusUnauthorized), want: mergecheck.Running},
		{name: "everything is not found", state: "running", token: true, change: fail("/", http.StatusNotFound), want: mergecheck.Running},
		{name: "the list is empty of what can be read", state: "running", token: true, change: func(t *testing.T, b *bundle) {
			t.Helper()
			deleteProject(t, b)
			b.appveyor.OnRequest(func(r *http.Request) (f appveyortest.Fault) {
				if r.URL.Path == "/api/projects" {
					f.Body = `[{"projectId":12064,"accountName":"acme","slug":"` + strings.Repeat("x", 300) + `"}]`
				}
				return f
			})
		}, want: mergecheck.Running},
		{name: "the list is another account's", state: "running", token: true, change: func(t *testing.T, b *bundle) {
			t.Helper()
			deleteProject(t, b)
			b.appveyor.OnRequest(func(r *http.Request) (f appveyortest.Fault) {
				if r.URL.Path == "/api/projects" {
					f.Body = `[{"projectId":7,"accountName":"other","slug":"x"}]`
				}
				return f
			})
		}, want: mergecheck.Running},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			if tt.token {
				b.withToken(t)
			}
			b.record(t, tt.state)
			tt.change(t, b)
			b.look(t)
			b.look(t)
			b.later(t, 2*time.Minute)
			b.look(t)
			goesOn := b.look(t)
			got := b.stored(t)
			if got.State != tt.want {
				t.Errorf("state %s, want %s", got.State, tt.want)
			}
			if deleted := got.State == mergecheck.Cancelled; deleted == got.DeletedOn.IsZero() {
				t.Errorf("deleted on %s", got.DeletedOn)
			}
			if got.State == mergecheck.Cancelled && goesOn {
				t.Error("a build that has ended is still looked at")
			}
			if got.State == mergecheck.Running && !goesOn {
				t.Error("a build that runs is not looked at any more")
			}
		})
	}
}

// TestBuildIsNotGoneTooSoon takes less than three looks in a row over two minutes.
func TestBuildIsNotGoneTooSoon(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.record(t, "running")
	gone, err := b.appveyor.PutBuild("acme", "widgets", b.appveyor.Builds("acme", "widgets")[0])
	if err != nil {
		t.Fatal(err)
	}
	missing := func(looks int) {
		t.Helper()
		if err := b.appveyor.DeleteBuild(gone.ID); err != nil {
			t.Fatal(err)
		}
		for range looks {
			b.look(t)
		}
	}
	running := func(when string) {
		t.Helper()
		if state := b.stored(t).State; state != mergecheck.Running {
			t.Fatalf("%s: %s", when, state)
		}
	}
	missing(5)
	b.later(t, time.Minute)
	b.look(t)
	running("six looks in a minute")
	if _, err := b.appveyor.PutBuild("acme", "widgets", gone); err != nil {
		t.Fatal(err)
	}
	b.look(t) // it is there again
	missing(2)
	b.later(t, time.Hour)
	running("two looks since it was last shown")
	b.look(t)
	if got := b.stored(t); got.State != mergecheck.Cancelled {
		t.Errorf("three looks over an hour: %s", got.State)
	}
}

// TestDeletedBuildThatComesBackCounts shows a build again with its result, which
// AppVeyor dates before it was taken for deleted.
func TestDeletedBuildThatComesBackCounts(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.record(t, "running")
	back := b.appveyor.Builds("acme", "widgets")[0]
	back.Status, back.Updated, back.Finished = "failed", time.Now(), time.Now()
	if err := b.appveyor.DeleteBuild(back.ID); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		b.look(t)
		b.later(t, time.Minute)
	}
	b.look(t)
	if got := b.stored(t); got.State != mergecheck.Cancelled {
		t.Fatalf("state %s", got.State)
	}
	if _, err := b.appveyor.PutBuild("acme", "widgets", back); err != nil {
		t.Fatal(err)
	}
	if err := b.service.reconcile(t.Context(), &river.Job[postgres.Reconcile]{}); err != nil {
		t.Fatal(err)
	}
	if got := b.stored(t); got.State != mergecheck.Failed || !got.DeletedOn.IsZero() {
		t.Errorf("%s, deleted on %s; want it failed", got.State, got.DeletedOn)
	}
}

// TestDeletedBuildStopsItsStatus has Bitbucket not wait for ever.
func TestDeletedBuildStopsItsStatus(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.record(t, "running")
	if err := b.appveyor.DeleteBuild(b.build.ID); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		b.look(t)
		b.later(t, time.Minute)
	}
	b.look(t)
	status := mergecheck.StatusOf(b.stored(t), nil)
	if want := "Build 1.0.1 for main was deleted on AppVeyor"; status.State != mergecheck.StatusStopped || status.Description != want {
		t.Errorf("status %s, %q; want STOPPED, %q", status.State, status.Description, want)
	}
}
