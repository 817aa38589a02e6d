package appveyor_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mergegate/internal/appveyor"
	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/mergecheck"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const head = "dfc541e7eda18a9eb620a0a352e1d6fe0141b34d"

// started returns a stand-in with a pull request build of acme/widgets, and a
// client for it.
func started(t *testing.T, tokens map[string]string) (*appveyortest.Server, *appveyor.Client, appveyortest.Build) {
	t.Helper()
	server, err := appveyortest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	if err := server.AddProject(appveyortest.Project{ID: 12064, Account: "acme", Slug: "widgets", RepositoryName: "ws/repo"}); err != nil {
		t.Fatal(err)
	}
	on := time.Date(2026, 11, 21, 12, 0, 0, 123456700, time.UTC)
	b, err := server.PutBuild("acme", "widgets", appveyortest.Build{
		Version: "1.0.26", Branch: "main", PullRequestID: 7, PullRequestName: "Add widgets", PullRequestHeadCommit: strings.ToUpper(head),
		PullRequestHeadRepository: "fork/repo", PullRequestHeadBranch: "feature", CommitID: head, Status: "failed",
		Created: on, Started: on, Finished: on, Updated: on,
		Jobs: []appveyortest.Job{{ID: "j1", Name: "x86", Tests: 312, Passed: 310, Failed: 2, AllowFailure: true, Status: "failed"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := appveyor.NewClient(appveyor.Config{URL: server.URL, Tokens: tokens, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return server, c, b
}

func TestBuild(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		quirks  appveyortest.Quirks
		version string
		jobs    bool
	}{
		{name: "by id", jobs: true},
		{name: "by version", quirks: appveyortest.Quirks{NoBuildByID: true}, version: "1.0.26", jobs: true},
		{name: "out of the history", quirks: appveyortest.Quirks{NoBuildByID: true}},
		{name: "out of the history, with another version", quirks: appveyortest.Quirks{NoBuildByID: true}, version: "1.0.27"},
		{name: "behind a byte order mark", quirks: appveyortest.Quirks{BOM: true}, jobs: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server, c, b := started(t, nil)
			server.SetQuirks(tt.quirks)
			got, err := c.Build(t.Context(), appveyor.Ref{Account: "acme", Slug: "widgets", BuildID: b.ID, Version: tt.version})
			if err != nil {
				t.Fatal(err)
			}
			on := time.Date(2026, 11, 21, 12, 0, 0, 123456000, time.UTC) // microseconds, as PostgreSQL keeps them
			want := appveyor.Answer{RepositoryType: "bitBucket", Build: mergecheck.Build{
				BuildID: b.ID, Project: mergecheck.Project{ID: 12064, Account: "acme", Slug: "widgets"}, Repository: "ws/repo",
				PullRequestID: 7, PullRequestTitle: "Add widgets", Version: "1.0.26", State: mergecheck.Failed,
				ReportedCommit: head, SourceBranch: "feature", SourceRepository: "fork/repo", DestinationBranch: "main", CommitID: head,
				URL:       c.BuildURL("acme", "widgets", b.ID),
				CreatedOn: on, StartedOn: on, FinishedOn: on, UpdatedOn: on, ConfirmedBy: mergecheck.ConfirmedByAppVeyor, Jobs: []mergecheck.Job{},
			}}
			if tt.jobs {
				want.Build.Jobs = []mergecheck.Job{{
					ID: "j1", Name: "x86", State: mergecheck.Failed, AllowFailure: true,
					Tests: mergecheck.Tests{Total: 312, Passed: 310, Failed: 2},
				}}
				want.Build.JobsUpdatedOn, want.Build.JobsState = on, mergecheck.Failed
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBuildFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		fault  appveyortest.Fault
		kind   appveyor.Kind
		reason string
		after  time.Duration
	}{
		{name: "401", fault: appveyortest.Fault{Status: 401}, kind: appveyor.Refused, reason: "AppVeyor rejected mergegate's token (401)"},
		{name: "403", fault: appveyortest.Fault{Status: 403}, kind: appveyor.Refused, reason: "AppVeyor rejected mergegate's token (403)"},
		{name: "404", fault: appveyortest.Fault{Status: 404}, kind: appveyor.NotFound, reason: "AppVeyor doesn't show it to mergegate: it was deleted, or mergegate has no token for it"},
		{name: "500", fault: appveyortest.Fault{Status: 500}, reason: "AppVeyor answered 500"},
		{name: "429", fault: appveyortest.Fault{Status: 429, RetryAfter: "7"}, reason: "mergegate has used up its AppVeyor rate limit (429)", after: 7 * time.Second},
		{name: "a page", fault: appveyortest.Fault{HTML: true}, reason: "AppVeyor's answer isn't JSON"},
		{name: "other JSON", fault: appveyortest.Fault{Body: `[1]`}, reason: "AppVeyor's answer isn't JSON"},
		{name: "no build in it", fault: appveyortest.Fault{Body: `{}`}, kind: appveyor.NotFound, reason: "AppVeyor doesn't show it to mergegate: it was deleted, or mergegate has no token for it"},
		{name: "another build", fault: appveyortest.Fault{Body: `{"project":{"projectId":12064},"build":{"buildId":1}}`}, kind: appveyor.NotFound, reason: "AppVeyor doesn't show it to mergegate: it was deleted, or mergegate has no token for it"},
		{name: "breaks off", fault: appveyortest.Fault{Reset: true}, reason: "mergegate can't reach AppVeyor"},
		{name: "hangs", fault: appveyortest.Fault{Hang: true}, reason: "AppVeyor didn't answer in time"},
		{name: "redirects elsewhere", fault: appveyortest.Fault{Redirect: "http://127.0.0.2:1/"}, reason: "AppVeyor redirected mergegate to another host"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server, c, b := started(t, map[string]string{"": "the-token"})
			server.OnRequest(func(*http.Request) appveyortest.Fault { return tt.fault })
			_, err := c.Build(t.Context(), appveyor.Ref{Account: "acme", Slug: "widgets", BuildID: b.ID, Version: "1.0.26"})
			var e *appveyor.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			if e.Kind != tt.kind || e.Reason != tt.reason || e.RetryAfter != tt.after {
				t.Errorf("error %+v; want kind %d, reason %q, after %s", e, tt.kind, tt.reason, tt.after)
			}
			if strings.Contains(err.Error(), "the-token") {
				t.Errorf("the error has the token: %v", err)
			}
		})
	}
}

func TestTokensByAccount(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		tokens map[string]string
		fails  bool
	}{
		{name: "for the account", tokens: map[string]string{"acme": "right", "": "wrong"}},
		{name: "for all", tokens: map[string]string{"": "right"}},
		{name: "for another", tokens: map[string]string{"other": "right"}, fails: true},
		{name: "none", fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server, c, b := started(t, tt.tokens)
			server.RequireToken("acme", "right")
			_, err := c.Build(t.Context(), appveyor.Ref{Account: "Acme", Slug: "widgets", BuildID: b.ID})
			if (err != nil) != tt.fails {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestLooseAnswers decodes what the facts warn of: ids as strings, absent fields,
// unknown words, .NET's default time.
func TestLooseAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		build string
		want  func(*mergecheck.Build)
	}{
		{name: "only an id", build: `{"buildId":"5"}`, want: func(b *mergecheck.Build) { b.State = mergecheck.Running }},
		{name: "starting", build: `{"buildId":5,"status":"starting"}`, want: func(b *mergecheck.Build) { b.State = mergecheck.Running }},
		{name: "cancelling", build: `{"buildId":5,"status":"cancelling"}`, want: func(b *mergecheck.Build) { b.State = mergecheck.Running }},
		{name: "a word of tomorrow", build: `{"buildId":5,"status":"pondering"}`, want: func(b *mergecheck.Build) { b.State = mergecheck.Running }},
		{name: "another case", build: `{"buildId":5,"status":"Success"}`, want: func(b *mergecheck.Build) { b.State = mergecheck.Success }},
		{name: "pull request as text", build: `{"buildId":5,"status":"queued","pullRequestId":"86"}`, want: func(b *mergecheck.Build) { b.State, b.PullRequestID = mergecheck.Queued, 86 }},
		{name: "pull request as number", build: `{"buildId":5,"status":"queued","pullRequestId":86}`, want: func(b *mergecheck.Build) { b.State, b.PullRequestID = mergecheck.Queued, 86 }},
		{name: "no time", build: `{"buildId":5,"status":"queued","finished":"0001-01-01T00:00:00+00:00","created":"2026-01-02T03:04:05.1234567+02:00"}`, want: func(b *mergecheck.Build) {
			b.State = mergecheck.Queued
			b.CreatedOn = time.Date(2026, 1, 2, 1, 4, 5, 123456000, time.UTC)
			b.UpdatedOn = b.CreatedOn
		}},
		{name: "12 characters", build: `{"buildId":5,"status":"queued","pullRequestHeadCommitId":"DFC541E7EDA1"}`, want: func(b *mergecheck.Build) { b.State, b.ReportedCommit = mergecheck.Queued, "dfc541e7eda1" }},
		{name: "wrong types", build: `{"buildId":5,"status":7,"version":{},"jobs":[{"jobId":1,"allowFailure":"x","testsCount":"3"}],"updated":5}`, want: func(b *mergecheck.Build) {
			b.State = mergecheck.Running
			b.Jobs = []mergecheck.Job{{State: mergecheck.Running, Tests: mergecheck.Tests{Total: 3}}}
			b.JobsState = mergecheck.Running
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server, c, _ := started(t, nil)
			server.OnRequest(func(*http.Request) appveyortest.Fault {
				return appveyortest.Fault{Body: `{"project":{"projectId":"9","accountName":"acme","slug":"widgets","repositoryType":"bitBucket"},"build":` + tt.build + `}`}
			})
			got, err := c.Build(t.Context(), appveyor.Ref{Account: "acme", Slug: "widgets", BuildID: 5})
			if err != nil {
				t.Fatal(err)
			}
			want := mergecheck.Build{
				BuildID: 5, Project: mergecheck.Project{ID: 9, Account: "acme", Slug: "widgets"}, Jobs: []mergecheck.Job{},
				URL: c.BuildURL("acme", "widgets", 5), ConfirmedBy: mergecheck.ConfirmedByAppVeyor,
			}
			tt.want(&want)
			if diff := cmp.Diff(want, got.Build); diff != "" {
				t.Errorf("build (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	server, c, first := started(t, nil)
	second, err := server.PutBuild("acme", "widgets", appveyortest.Build{PullRequestID: 8, Status: "running"})
	if err != nil {
		t.Fatal(err)
	}
	for name, taken := range map[string]func(p mergecheck.Project) error{
		"history":        func(p mergecheck.Project) error { _, err := c.History(t.Context(), p, 0, 10); return err },
		"branch history": func(p mergecheck.Project) error { _, err := c.BranchHistory(t.Context(), p, "no-such", 10); return err },
	} {
		var e *appveyor.Error
		p := mergecheck.Project{ID: 99, Account: "acme", Slug: "widgets"}
		if err := taken(p); !errors.As(err, &e) || e.Kind != appveyor.NotFound {
			t.Errorf("%s of a project whose name another has: %v", name, err)
		}
		if p.ID = 12064; taken(p) != nil {
			t.Errorf("%s: %v", name, taken(p))
		}
	}
	list, err := c.History(t.Context(), mergecheck.Project{Account: "acme", Slug: "widgets"}, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Build.BuildID != second.ID || list[1].Build.BuildID != first.ID || list[0].Build.Project.ID != 12064 {
		t.Errorf("history %+v", list)
	}
	if list, err = c.History(t.Context(), mergecheck.Project{Account: "acme", Slug: "widgets"}, second.ID, 10); err != nil || len(list) != 1 {
		t.Errorf("before the second: %+v, %v", list, err)
	}
}
