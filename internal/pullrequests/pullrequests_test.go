package pullrequests

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"go.uber.org/goleak"

	"mergegate/internal/apptokens"
	"mergegate/internal/bitbucket"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/bitbucket/bitbuckettest/held"
	"mergegate/internal/builds"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }

var (
	head = strings.Repeat("a", 40)
	key  = postgres.PullRequestKey{
		WorkspaceUUID: "b7ea02c9-0871-4858-a2a6-a190d7de977c", RepositoryUUID: "15a31549-1cff-45dc-9d0d-310114c5038b", PullRequestID: 7,
	}
)

// bundle is a service with real parts: PostgreSQL, and Bitbucket's stand-in with
// one open pull request, 7.
type bundle struct {
	service *Service
	store   *postgres.Store
	bb      *bitbuckettest.Server
}

func newBundle(t *testing.T) *bundle {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	store, err := postgres.Open(t.Context(), postgrestest.New(t), postgres.Options{})
	must(err)
	t.Cleanup(store.Close)
	bb, err := held.New()
	must(err)
	t.Cleanup(bb.Close)
	must(bb.AddRepository(bitbuckettest.Repository{WorkspaceUUID: key.WorkspaceUUID, UUID: key.RepositoryUUID, FullName: "acme/widgets"}))
	must(bb.PutPullRequest("acme/widgets", bitbuckettest.PullRequest{
		ID: 7, SourceBranch: "feature", SourceCommit: head, DestinationBranch: "main", DestinationCommit: strings.Repeat("d", 40),
	}))
	must(store.LinkRepository(t.Context(), postgres.Repository{
		WorkspaceUUID: key.WorkspaceUUID, RepositoryUUID: key.RepositoryUUID, FullName: "acme/widgets",
	}))
	client, err := bitbucket.NewClient(bitbucket.Config{BaseURL: bb.URL})
	must(err)
	t.Cleanup(client.CloseIdleConnections)
	log := slog.New(slog.DiscardHandler)
	tokens, err := apptokens.New(store, nil, log)
	must(err)
	return &bundle{service: New(store, client, tokens, Options{Log: log}), store: store, bb: bb}
}

// running records a running build of head.
func (b *bundle) running(t *testing.T) {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Microsecond)
	_, err := builds.Record(t.Context(), b.store, mergecheck.Build{
		BuildID: 1, Project: mergecheck.Project{ID: 1, Account: "acme", Slug: "widgets"}, Repository: "acme/widgets", PullRequestID: 7,
		State: mergecheck.Running, ReportedCommit: head, DestinationBranch: "main", CreatedOn: now, UpdatedOn: now,
		ConfirmedBy: mergecheck.ConfirmedByAppVeyor,
	}, 0, false)
	if err != nil {
		t.Fatal(err)
	}
}

// look works the job that looks at pull request 7.
func (b *bundle) look(t *testing.T) error {
	t.Helper()
	return b.service.lookAtPullRequest(t.Context(), &river.Job[postgres.LookAtPullRequest]{
		JobRow: &rivertype.JobRow{CreatedAt: time.Now()}, Args: postgres.LookAtPullRequest(key),
	})
}

// shown is the state that is wanted of the one commit status there is.
func (b *bundle) shown(t *testing.T) string {
	t.Helper()
	list, err := b.store.CommitStatuses(t.Context(), postgres.Everything, "", 0, 10)
	if err != nil || len(list) != 1 {
		t.Fatalf("statuses %v, %v", list, err)
	}
	return list[0].State
}

func (b *bundle) heads(t *testing.T) (commits []string) {
	t.Helper()
	facts, err := b.store.Facts(t.Context(), postgres.Asked{PullRequest: key, Told: mergecheck.Told{Head: head}})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range facts.Recorded.Heads {
		commits = append(commits, h.Commit)
	}
	return commits
}

func TestLooking(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		before func(t *testing.T, b *bundle)
		again  bool     // whether it is tried again
		heads  []string // recorded
		shown  string   // of the running build
		swept  int      // pull requests that the sweep goes on looking at
	}{
		{name: "open", heads: []string{head}, shown: mergecheck.StatusInProgress, swept: 1},
		{name: "closed", shown: mergecheck.StatusStopped, before: func(t *testing.T, b *bundle) {
			if err := b.bb.Decline("acme/widgets", 7); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "not shown: access may be lost", shown: mergecheck.StatusInProgress, before: func(_ *testing.T, b *bundle) {
			b.bb.OnRequest(func(*http.Request) bitbuckettest.Fault { return bitbuckettest.Fault{Status: http.StatusNotFound} })
		}},
		{name: "refused", shown: mergecheck.StatusInProgress, before: func(_ *testing.T, b *bundle) {
			b.bb.OnRequest(func(*http.Request) bitbuckettest.Fault { return bitbuckettest.Fault{Status: http.StatusForbidden} })
		}},
		{name: "down", again: true, shown: mergecheck.StatusInProgress, before: func(_ *testing.T, b *bundle) {
			b.bb.OnRequest(func(*http.Request) bitbuckettest.Fault { return bitbuckettest.Fault{Status: http.StatusBadGateway} })
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			if tt.before != nil {
				tt.before(t, b)
			}
			err := b.look(t)
			var snooze *river.JobSnoozeError
			if again := errors.As(err, &snooze); again != tt.again || err != nil && !again {
				t.Errorf("looking: %v; again %v", err, tt.again)
			}
			b.running(t)
			if got := b.shown(t); got != tt.shown {
				t.Errorf("a running build is shown as %s, want %s", got, tt.shown)
			}
			if diff := cmp.Diff(tt.heads, b.heads(t)); diff != "" {
				t.Errorf("heads (-want +got):\n%s", diff)
			}
			open, err := b.store.OpenPullRequests(t.Context(), 0, 10)
			if err != nil || len(open) != tt.swept {
				t.Errorf("the sweep looks at %v (%v), want %d", open, err, tt.swept)
			}
		})
	}
}

// TestAccessThatComesBack loses the pull request from sight while it is open.
func TestAccessThatComesBack(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.running(t)
	for _, fault := range []bitbuckettest.Fault{{}, {Status: http.StatusNotFound}, {}} {
		b.bb.OnRequest(func(*http.Request) bitbuckettest.Fault { return fault })
		if err := b.look(t); err != nil {
			t.Fatal(err)
		}
		if got := b.shown(t); got != mergecheck.StatusInProgress {
			t.Errorf("after %+v the running build is shown as %s", fault, got)
		}
	}
	if err := b.bb.Merge("acme/widgets", 7); err != nil {
		t.Fatal(err)
	}
	if err := b.service.sweep(t.Context(), &river.Job[postgres.SweepPullRequests]{}); err != nil {
		t.Fatal(err)
	}
	if got := b.shown(t); got != mergecheck.StatusStopped {
		t.Errorf("after the merge the running build is shown as %s", got)
	}
}

func TestSweepIsBounded(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for id := range int64(2 * sweepSize) {
		other := key
		other.PullRequestID = 100 + id
		err := See(t.Context(), b.store, other, postgres.Sighting{Told: mergecheck.Told{State: "OPEN", On: time.Now()}})
		if err != nil {
			t.Fatal(err)
		}
	}
	asked := map[string]bool{}
	for round := 1; round <= 2; round++ {
		if err := b.service.sweep(t.Context(), &river.Job[postgres.SweepPullRequests]{}); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.bb.Requests() {
			asked[r.Path] = true
		}
		if len(asked) != round*sweepSize {
			t.Errorf("after round %d %d pull requests were asked for, want %d", round, len(asked), round*sweepSize)
		}
	}
}

// TestNamesAreReadByUUID has an event call the repository something else than is
// stored: what Bitbucket says of its UUID is stored, and never what the event says.
func TestNamesAreReadByUUID(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, is, want string }{
		{name: "renamed", is: "acme/gadgets", want: "acme/gadgets"},
		{name: "not renamed", is: "acme/widgets", want: "acme/widgets"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			if tt.is != "acme/widgets" {
				if err := b.bb.AddRepository(bitbuckettest.Repository{WorkspaceUUID: key.WorkspaceUUID, UUID: key.RepositoryUUID, FullName: tt.is}); err != nil {
					t.Fatal(err)
				}
			}
			_, err := b.service.Receive(t.Context(), Delivery{Source: SourceBitbucket, Event: "repo:push", Body: []byte("{}"), Told: mergecheck.Event{
				WorkspaceUUID: key.WorkspaceUUID, RepositoryUUID: key.RepositoryUUID, FullName: "acme/gadgets",
			}})
			if err != nil {
				t.Fatal(err)
			}
			if r, err := b.store.RepositoryByName(t.Context(), "acme/gadgets"); err == nil {
				t.Fatalf("the event renamed it: %+v", r)
			}
			job := &river.Job[postgres.ReadName]{
				JobRow: &rivertype.JobRow{CreatedAt: time.Now()}, Args: postgres.ReadName{WorkspaceUUID: key.WorkspaceUUID, RepositoryUUID: key.RepositoryUUID},
			}
			if err := b.service.readName(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			r, err := b.store.RepositoryByName(t.Context(), tt.want)
			if err != nil || r.RepositoryUUID != key.RepositoryUUID {
				t.Errorf("%s is %+v, %v", tt.want, r, err)
			}
		})
	}
}

// TestHeadersAreBounded sends what no index takes in headers.
func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	long := strings.Repeat("0123456789abcdef-ö", 500)
	first, err := b.service.Receive(t.Context(), Delivery{Source: SourceBitbucket, Event: long, RequestID: long, Body: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.service.Receive(t.Context(), Delivery{Source: SourceBitbucket, Event: long, RequestID: long, Body: []byte("{}")})
	if err != nil || again != first {
		t.Errorf("the same request is %d and %d, %v", first, again, err)
	}
	other, err := b.service.Receive(t.Context(), Delivery{Source: SourceBitbucket, Event: long, RequestID: long + "x", Body: []byte("{}")})
	if err != nil || other == first {
		t.Errorf("another request is %d too, %v", other, err)
	}
}
