package builds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"go.uber.org/goleak"

	"mergegate/internal/appveyor"
	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket"
	"mergegate/internal/bitbucket/bitbuckettest/held"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }

// bundle is a service with real parts: PostgreSQL, and stand-ins over HTTP.
type bundle struct {
	service  *Service
	store    *postgres.Store
	database string
	appveyor *appveyortest.Server
	build    appveyortest.Build // a successful pull request build of acme/widgets
}

// widgets is the repository of the bundle, as Bitbucket has told it.
var widgets = postgres.Repository{
	WorkspaceUUID: "b7ea02c9-0871-4858-a2a6-a190d7de977c", RepositoryUUID: "15a31549-1cff-45dc-9d0d-310114c5038b", FullName: "acme/widgets",
}

func newBundle(t *testing.T) *bundle {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	av, err := appveyortest.New()
	must(err)
	t.Cleanup(av.Close)
	bb, err := held.New()
	must(err)
	t.Cleanup(bb.Close)
	must(av.AddProject(appveyortest.Project{ID: 12064, Account: "acme", Slug: "widgets", RepositoryName: "acme/widgets"}))
	build, err := av.PutBuild("acme", "widgets", appveyortest.Build{
		Branch: "main", PullRequestID: 7, PullRequestHeadCommit: "dfc541e7eda18a9eb620a0a352e1d6fe0141b34d", Status: "success",
	})
	must(err)
	database := postgrestest.New(t)
	store, err := postgres.Open(t.Context(), database, postgres.Options{})
	must(err)
	t.Cleanup(store.Close)
	avClient, err := appveyor.NewClient(appveyor.Config{URL: av.URL})
	must(err)
	t.Cleanup(avClient.CloseIdleConnections)
	bbClient, err := bitbucket.NewClient(bitbucket.Config{BaseURL: bb.URL})
	must(err)
	t.Cleanup(bbClient.CloseIdleConnections)
	must(store.LinkRepository(t.Context(), widgets))
	return &bundle{
		service: New(store, avClient, bbClient, mergecheck.Accounts{"acme": {"acme"}}, Options{Log: slog.New(slog.DiscardHandler)}),
		store:   store, database: database, appveyor: av, build: build,
	}
}

// receive stores AppVeyor's webhook of the build and returns the delivery's id.
func (b *bundle) receive(t *testing.T) int64 {
	t.Helper()
	id, err := b.service.Receive(t.Context(), b.appveyor.WebhookBody(b.build.ID))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (b *bundle) confirm(ctx context.Context, delivery int64) error {
	return b.service.confirmDelivery(ctx, &river.Job[postgres.ConfirmDelivery]{
		JobRow: &rivertype.JobRow{CreatedAt: time.Now()}, Args: postgres.ConfirmDelivery{DeliveryID: delivery},
	})
}

func (b *bundle) delivery(t *testing.T, id int64) (outcome postgres.Outcome, reason string, attempts int) {
	t.Helper()
	d, err := b.store.Delivery(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return d.Outcome, d.Reason, d.Attempts
}

func TestDeliveryIsAskedAboutForADay(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.appveyor.RequireToken("acme", "a token the service doesn't have")
	id := b.receive(t)

	for _, age := range []time.Duration{0, time.Hour, 23 * time.Hour} {
		b.service.now = func() time.Time { return time.Now().Add(age) }
		var snooze *river.JobSnoozeError
		if err := b.confirm(t.Context(), id); !errors.As(err, &snooze) {
			t.Fatalf("after %s: %v, want a snooze", age, err)
		}
		if outcome, reason, _ := b.delivery(t, id); outcome != postgres.Pending || reason != "AppVeyor rejected mergegate's token (401)" {
			t.Errorf("after %s: %s, %q", age, outcome, reason)
		}
	}
	b.service.now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	if err := b.confirm(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if outcome, reason, attempts := b.delivery(t, id); outcome != postgres.Failed || reason != "AppVeyor rejected mergegate's token (401)" || attempts != 4 {
		t.Errorf("after a day: %s, %q, %d attempts", outcome, reason, attempts)
	}
}

// TestBodyIsReadOnceOfADelivery that is tried again: nothing in it can have changed.
func TestBodyIsReadOnceOfADelivery(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.receive(t)
	b.appveyor.OnRequest(func(*http.Request) appveyortest.Fault {
		return appveyortest.Fault{Status: http.StatusServiceUnavailable}
	})
	var snooze *river.JobSnoozeError
	if err := b.confirm(t.Context(), id); !errors.As(err, &snooze) {
		t.Fatalf("%v, want a snooze", err)
	}
	postgrestest.Exec(t, b.database, `UPDATE deliveries SET body = ''`)
	b.appveyor.OnRequest(nil)
	if err := b.confirm(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if outcome, reason, _ := b.delivery(t, id); outcome != postgres.Processed {
		t.Errorf("%s, %q", outcome, reason)
	}
}

func TestConfirmingTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.receive(t)
	for range 2 {
		if err := b.confirm(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if outcome, reason, attempts := b.delivery(t, id); outcome != postgres.Processed || reason != "" || attempts != 1 {
		t.Errorf("%s, %q, %d attempts", outcome, reason, attempts)
	}
}

// TestPoisonedDelivery can't be recorded, whatever is tried: it is given up with
// a reason, and the next one is processed.
func TestPoisonedDelivery(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.receive(t)
	postgrestest.Exec(t, b.database, `ALTER TABLE builds ADD CONSTRAINT poisoned CHECK (build_id <> `+fmt.Sprint(b.build.ID)+`)`)
	job := &river.Job[postgres.ConfirmDelivery]{JobRow: &rivertype.JobRow{CreatedAt: time.Now()}, Args: postgres.ConfirmDelivery{DeliveryID: id}}
	for range maxFaults {
		if err := b.service.confirmDelivery(t.Context(), job); err == nil {
			t.Fatal("it was recorded")
		}
		job.Errors = append(job.Errors, rivertype.AttemptError{})
	}
	if err := b.service.confirmDelivery(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	if outcome, reason, _ := b.delivery(t, id); outcome != postgres.Failed || reason != "recording the build failed; mergegate's log says why" {
		t.Errorf("%s, %q", outcome, reason)
	}
	next, err := b.appveyor.PutBuild("acme", "widgets", appveyortest.Build{
		Branch: "main", PullRequestID: 7, PullRequestHeadCommit: "dfc541e7eda18a9eb620a0a352e1d6fe0141b34d", Status: "success",
	})
	if err != nil {
		t.Fatal(err)
	}
	b.build = next
	id = b.receive(t)
	if err := b.confirm(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if outcome, reason, _ := b.delivery(t, id); outcome != postgres.Processed {
		t.Errorf("the next one: %s, %q", outcome, reason)
	}
}

// TestBackfillGoesOn breaks a backfill off in its second page, and begins again.
func TestBackfillGoesOn(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for i := range 2*historyLength - 1 {
		if _, err := b.appveyor.PutBuild("acme", "widgets", appveyortest.Build{
			Branch: "main", PullRequestID: 8, PullRequestHeadCommit: fmt.Sprintf("%040x", i+1), Status: "success",
		}); err != nil {
			t.Fatal(err)
		}
	}
	run := func() (told []Progress, err error) {
		err = b.service.Backfill(t.Context(), "acme", "widgets", time.Now().Add(-time.Hour), func(p Progress) {
			p.At = time.Time{}
			told = append(told, p)
		})
		return told, err
	}
	b.appveyor.OnRequest(func(r *http.Request) appveyortest.Fault {
		if r.URL.Query().Has("startBuildId") {
			return appveyortest.Fault{Status: http.StatusServiceUnavailable}
		}
		return appveyortest.Fault{}
	})
	told, err := run()
	var e *appveyor.Error
	if !errors.As(err, &e) {
		t.Errorf("broken off with %v", err)
	}
	if diff := cmp.Diff([]Progress{{Looked: 50, Confirmed: 50}}, told); diff != "" {
		t.Errorf("progress until then (-want +got):\n%s", diff)
	}
	b.appveyor.OnRequest(nil)
	told, err = run()
	if err != nil {
		t.Error(err)
	}
	want := []Progress{{Looked: 50}, {Looked: 100, Confirmed: 50}, {Looked: 100, Confirmed: 50}}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("progress after that (-want +got):\n%s", diff)
	}
}

// TestUnattributedBuild has AppVeyor not name the head, and no head recorded.
func TestUnattributedBuild(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	unnamed := b.build
	unnamed.PullRequestHeadCommit = ""
	if _, err := b.appveyor.PutBuild("acme", "widgets", unnamed); err != nil {
		t.Fatal(err)
	}
	id := b.receive(t)
	if err := b.confirm(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	want := "AppVeyor doesn't name the commit of build 1.0.1, and mergegate saw no head of the pull request before the build was created"
	if outcome, reason, _ := b.delivery(t, id); outcome != postgres.Processed || reason != want {
		t.Errorf("%s, %q; want processed, %q", outcome, reason, want)
	}
}

func TestReconcileRepairs(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	if err := b.confirm(t.Context(), b.receive(t)); err != nil {
		t.Fatal(err)
	}
	// A second build, and a change of the first, that no webhook told of.
	second, err := b.appveyor.PutBuild("acme", "widgets", appveyortest.Build{
		Branch: "main", PullRequestID: 8, PullRequestHeadCommit: "cfc541e7eda18a9eb620a0a352e1d6fe0141b34d", Status: "cancelled",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.appveyor.SetStatus(b.build.ID, "failed"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.service.reconcile(t.Context(), &river.Job[postgres.Reconcile]{}); err != nil {
			t.Fatal(err)
		}
	}
	repository, err := b.store.RepositoryByName(t.Context(), "acme/widgets")
	if err != nil {
		t.Fatal(err)
	}
	list, err := b.store.Builds(t.Context(), repository, postgres.BuildFilter{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	got := map[int64]mergecheck.State{}
	for _, build := range list {
		got[build.BuildID] = build.State
	}
	want := map[int64]mergecheck.State{b.build.ID: mergecheck.Failed, second.ID: mergecheck.Cancelled}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("builds (-want +got):\n%s", diff)
	}
}

// TestReconcileFillsGaps loses more builds than one page of the history has,
// before one that a webhook told of.
func TestReconcileFillsGaps(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	if err := b.confirm(t.Context(), b.receive(t)); err != nil {
		t.Fatal(err)
	}
	const lost = 2*historyLength + 3
	for i := range lost + 1 {
		build, err := b.appveyor.PutBuild("acme", "widgets", appveyortest.Build{
			Branch: "main", PullRequestID: 8, PullRequestHeadCommit: fmt.Sprintf("%040x", i+1), Status: "success",
		})
		if err != nil {
			t.Fatal(err)
		}
		b.build = build
	}
	if err := b.confirm(t.Context(), b.receive(t)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.service.reconcile(t.Context(), &river.Job[postgres.Reconcile]{}); err != nil {
			t.Fatal(err)
		}
	}
	repository, err := b.store.RepositoryByName(t.Context(), "acme/widgets")
	if err != nil {
		t.Fatal(err)
	}
	list, err := b.store.Builds(t.Context(), repository, postgres.BuildFilter{Limit: 2 * lost})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != lost+2 {
		t.Errorf("%d builds, want %d", len(list), lost+2)
	}
	var histories int
	for _, r := range b.appveyor.Requests() {
		if strings.Contains(r.Path, "/history") {
			histories++
		}
	}
	if histories != 4 { // three pages, and one that finds nothing new
		t.Errorf("%d pages of the history were read, want 4", histories)
	}
}
