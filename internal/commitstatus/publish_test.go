package commitstatus

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/riverqueue/river/rivertype"
	"go.uber.org/goleak"

	"mergegate/internal/apptokens"
	"mergegate/internal/bitbucket"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/bitbucket/bitbuckettest/held"
	"mergegate/internal/mergecheck"
	"mergegate/internal/outbox"
	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }

const (
	workspaceUUID  = "b7ea02c9-0871-4858-a2a6-a190d7de977c"
	repositoryUUID = "15a31549-1cff-45dc-9d0d-310114c5038b"
	forkUUID       = "ffe76500-0627-43f6-a9c5-4d6373a5e4eb"
	key            = "appveyor-12064-pr-7"
)

var head, base = strings.Repeat("1a", 20), strings.Repeat("2b", 20)

// world has a linked repository with a pull request, on both sides.
type world struct {
	*testing.T
	store     *postgres.Store
	bitbucket *bitbuckettest.Server
	publisher *Publisher
}

func newWorld(t *testing.T, source string) *world {
	t.Helper()
	w := &world{T: t}
	var err error
	if w.store, err = postgres.Open(t.Context(), postgrestest.New(t), postgres.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.store.Close)
	if w.bitbucket, err = held.New(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.bitbucket.Close)
	w.bitbucket.AllowToken("token", "acme", "someone")
	client, err := bitbucket.NewClient(bitbucket.Config{BaseURL: w.bitbucket.URL, Token: "token"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	log := slog.New(slog.DiscardHandler)
	tokens, err := apptokens.New(w.store, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	w.publisher = New(w.store, client, tokens, Options{Log: log})
	w.must(w.bitbucket.AddRepository(bitbuckettest.Repository{WorkspaceUUID: workspaceUUID, UUID: repositoryUUID, FullName: "acme/widgets"}))
	w.must(w.bitbucket.AddRepository(bitbuckettest.Repository{WorkspaceUUID: forkUUID, UUID: forkUUID, FullName: "someone/widgets"}))
	w.must(w.bitbucket.PutPullRequest("acme/widgets", bitbuckettest.PullRequest{
		ID: 7, SourceRepo: source, SourceBranch: "feature", SourceCommit: head, DestinationBranch: "main", DestinationCommit: base,
	}))
	w.must(w.store.LinkRepository(t.Context(), postgres.Repository{
		WorkspaceUUID: workspaceUUID, RepositoryUUID: repositoryUUID, FullName: "acme/widgets",
	}))
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// record records a build of the pull request from the source repository.
func (w *world) record(source string, state mergecheck.State) {
	w.Helper()
	r := postgres.Repository{WorkspaceUUID: workspaceUUID, RepositoryUUID: repositoryUUID, FullName: "acme/widgets"}
	b := mergecheck.Build{
		BuildID: 1, Project: mergecheck.Project{ID: 12064, Account: "acme", Slug: "widgets"}, Repository: "acme/widgets",
		PullRequestID: 7, Version: "1.0.1", State: state, ReportedCommit: head, SourceCommit: head, SourceBranch: "feature", SourceRepository: source,
		DestinationBranch: "main", URL: "https://ci.appveyor.com/project/acme/widgets/builds/1", CreatedOn: time.Now(), UpdatedOn: time.Now(),
		ConfirmedBy: mergecheck.ConfirmedByAppVeyor,
	}
	w.must(w.store.InTx(w.Context(), func(tx *postgres.Tx) error {
		if _, err := tx.SaveBuild(w.Context(), r, b, false); err != nil {
			return err
		}
		return Want(w.Context(), tx, r, b, "", "")
	}))
}

// publish works the job of the one status there is, and answers for how long it is snoozed.
func (w *world) publish() time.Duration {
	w.Helper()
	err := outbox.New(w.store).Publish(w.Context(), w.publisher.Kind(), w.status().ID)
	var snoozed *rivertype.JobSnoozeError
	if errors.As(err, &snoozed) {
		return snoozed.Duration
	}
	w.must(err)
	return 0
}

func (w *world) status() postgres.CommitStatus {
	w.Helper()
	list, err := w.store.CommitStatuses(w.Context(), postgres.Everything, "", 0, 2)
	if err != nil || len(list) != 1 {
		w.Fatalf("%d statuses, %v", len(list), err)
	}
	return list[0]
}

// refuse answers posts to a repository, by a part of its path, with a status.
func (w *world) refuse(part string, status int) {
	w.bitbucket.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		if r.Method == http.MethodPost && strings.Contains(r.URL.Path, part) {
			return bitbuckettest.Fault{Status: status}
		}
		return bitbuckettest.Fault{}
	})
}

func (w *world) shows(repository string) (states []string) {
	for _, s := range w.bitbucket.CommitStatuses(repository, head) {
		states = append(states, s.Key+" "+s.State)
	}
	return states
}

// TestTheLastPostIsRefused: in progress is shown, and the result is refused for a while.
func TestTheLastPostIsRefused(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 404, 409, 423, 503} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "acme/widgets")
			w.record("acme/widgets", mergecheck.Running)
			if wait := w.publish(); wait != 0 {
				t.Fatalf("snoozed for %s", wait)
			}
			w.record("acme/widgets", mergecheck.Success)
			w.refuse("", status)
			if wait := w.publish(); wait < time.Second || wait > 2*time.Second {
				t.Errorf("snoozed for %s", wait)
			}
			if s := w.status(); s.Outcome != postgres.Pending || s.HTTPStatus == nil || *s.HTTPStatus != status || s.Reason == "" {
				t.Errorf("refused as %+v", s)
			}
			w.bitbucket.OnRequest(nil)
			if n, err := w.store.RetryRefused(t.Context(), postgres.CredentialArrives, postgres.Refused{}); n != 1 || err != nil {
				t.Fatalf("%d retried, %v", n, err)
			}
			if wait := w.publish(); wait != 0 {
				t.Errorf("snoozed for %s", wait)
			}
			if diff := cmp.Diff([]string{key + " SUCCESSFUL"}, w.shows("acme/widgets")); diff != "" {
				t.Errorf("shown (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWhatTimeDoesNotMend is refused for good, with its reason.
func TestWhatTimeDoesNotMend(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 403, 410, 422} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "acme/widgets")
			w.record("acme/widgets", mergecheck.Success)
			w.refuse("", status)
			if wait := w.publish(); wait != 0 {
				t.Errorf("snoozed for %s", wait)
			}
			s := w.status()
			if s.Outcome != postgres.Failed || *s.HTTPStatus != status || strings.Contains(s.Reason, repositoryUUID) {
				t.Errorf("refused as %+v", s)
			}
		})
	}
}

// TestForks: the target repository doesn't have a fork's commit, and the fork takes the status or not.
func TestForks(t *testing.T) {
	t.Parallel()
	for status, delivery := range map[int]postgres.Outcome{
		0: postgres.Posted, 401: postgres.NotPostable, 403: postgres.NotPostable, 404: postgres.NotPostable,
		400: postgres.Failed, 409: postgres.Pending, 429: postgres.Pending, 503: postgres.Pending,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "someone/widgets")
			w.record("someone/widgets", mergecheck.Success)
			if status != 0 {
				w.refuse("/someone/", status)
			}
			wait := w.publish()
			s := w.status()
			if s.Outcome != delivery || (wait > 0) != (delivery == postgres.Pending) {
				t.Errorf("snoozed for %s: %+v", wait, s)
			}
			if delivery != postgres.NotPostable {
				return
			}
			w.bitbucket.OnRequest(nil)
			if n, err := w.store.RetryRefused(t.Context(), postgres.HeadAppears, postgres.Refused{Commit: head}); n != 1 || err != nil {
				t.Fatalf("%d retried, %v", n, err)
			}
			w.publish()
			if diff := cmp.Diff([]string{key + " SUCCESSFUL"}, w.shows("someone/widgets")); diff != "" {
				t.Errorf("shown (-want +got):\n%s", diff)
			}
		})
	}
}

// TestARenamedRepository: another one may have taken the name.
func TestARenamedRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "acme/widgets")
	w.record("acme/widgets", mergecheck.Success)
	w.must(w.bitbucket.Rename("acme/widgets", "acme/gadgets"))
	w.must(w.bitbucket.AddRepository(bitbuckettest.Repository{
		WorkspaceUUID: workspaceUUID, UUID: "0c3a7799-53ae-4a5b-9e7e-03338980abb5", FullName: "acme/widgets",
	}))
	w.must(w.bitbucket.AddCommit("acme/widgets", head))
	w.publish()
	if diff := cmp.Diff([]string{key + " SUCCESSFUL"}, w.shows("acme/gadgets")); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	if shown := w.shows("acme/widgets"); len(shown) > 0 {
		t.Errorf("%v is shown in the repository that has the name now", shown)
	}
}
