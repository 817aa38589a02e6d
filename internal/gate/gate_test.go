package gate_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"mergegate/internal/apptokens"
	"mergegate/internal/bitbucket"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/bitbucket/bitbuckettest/held"
	"mergegate/internal/builds"
	"mergegate/internal/gate"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
	"mergegate/internal/pullrequests"
	"mergegate/internal/waivers"
)

const (
	workspace  = "b7ea02c9-0871-4858-a2a6-a190d7de977c"
	repository = "15a31549-1cff-45dc-9d0d-310114c5038b"
	elsewhere  = "0c3a7799-53ae-4a5b-9e7e-03338980abb5"
)

var head = strings.Repeat("a", 40)

// bundle is a gate with real parts: PostgreSQL, and Bitbucket's stand-in.
type bundle struct {
	gate  *gate.Gate
	store *postgres.Store
	bb    *bitbuckettest.Server
}

func newBundle(t *testing.T, opts gate.Options) *bundle {
	t.Helper()
	store, err := postgres.Open(t.Context(), postgrestest.New(t), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	bb, err := held.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bb.Close)
	client, err := bitbucket.NewClient(bitbucket.Config{BaseURL: bb.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	opts.Log = slog.New(slog.DiscardHandler)
	opts.Accounts = mergecheck.Accounts{"acme": {workspace, "acme"}}
	tokens, err := apptokens.New(store, nil, opts.Log)
	if err != nil {
		t.Fatal(err)
	}
	return &bundle{gate: gate.New(store, client, tokens, opts), store: store, bb: bb}
}

// built records a successful build of head for pull request 7 of a repository.
func (b *bundle) built(t *testing.T, fullName string) {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Microsecond)
	_, err := builds.Record(t.Context(), b.store, mergecheck.Build{
		BuildID: 1, Project: mergecheck.Project{ID: 1, Account: "acme", Slug: "widgets"}, Repository: fullName, PullRequestID: 7,
		State: mergecheck.Success, ReportedCommit: head, DestinationBranch: "main", CreatedOn: now, UpdatedOn: now,
		ConfirmedBy: mergecheck.ConfirmedByAppVeyor,
	}, 0, false)
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bundle) policy(t *testing.T, document string) {
	t.Helper()
	if _, err := b.store.ApplyPolicy(t.Context(), workspace, document, "somebody"); err != nil {
		t.Fatal(err)
	}
}

// called has Bitbucket call the repository so.
func (b *bundle) called(t *testing.T, fullName string) {
	t.Helper()
	if err := b.bb.AddRepository(bitbuckettest.Repository{WorkspaceUUID: workspace, UUID: repository, FullName: fullName}); err != nil {
		t.Fatal(err)
	}
}

// put has Bitbucket know pull request 7 of acme/widgets with this head.
func (b *bundle) put(t *testing.T, head string, changes ...func(*bitbuckettest.PullRequest)) {
	t.Helper()
	pr := bitbuckettest.PullRequest{ID: 7, SourceBranch: "feature", SourceCommit: head, DestinationBranch: "main", DestinationCommit: strings.Repeat("d", 40)}
	for _, change := range changes {
		change(&pr)
	}
	if err := b.bb.PutPullRequest("acme/widgets", pr); err != nil {
		t.Fatal(err)
	}
}

// told has an event tell of the pull request, or of a push to its branch.
func (b *bundle) told(t *testing.T, e mergecheck.Event) {
	t.Helper()
	e.WorkspaceUUID, e.RepositoryUUID = workspace, repository
	if _, err := pullrequests.Record(t.Context(), b.store, postgres.Delivery{Source: "forge", Body: []byte("{}")}, e); err != nil {
		t.Fatal(err)
	}
}

func (b *bundle) link(t *testing.T, workspaceUUID, repositoryUUID, fullName string) {
	t.Helper()
	err := b.store.LinkRepository(t.Context(), postgres.Repository{WorkspaceUUID: workspaceUUID, RepositoryUUID: repositoryUUID, FullName: fullName})
	if err != nil {
		t.Fatal(err)
	}
}

// question is a merge check whose Forge function brought the pull request, from
// a branch of the repository that it says is called fullName.
func question(fullName string) gate.Question {
	return gate.Question{
		PullRequest: postgres.PullRequestKey{WorkspaceUUID: workspace, RepositoryUUID: repository, PullRequestID: 7},
		Trigger:     "on-merge",
		Brought: &gate.Snapshot{
			State: "OPEN", SourceCommit: head, SourceBranch: "feature", DestinationBranch: "main",
			SourceRepositoryUUID: repository, SourceRepository: fullName,
		},
	}
}

func TestNamesOfRepositories(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		before func(t *testing.T, b *bundle)
		built  string // the repository as AppVeyor names it
		called string // as the question names it
		want   mergecheck.Code
	}{
		{name: "the question names it first", built: "acme/widgets", called: "acme/widgets", want: mergecheck.Passed, before: func(t *testing.T, b *bundle) {
			b.called(t, "acme/widgets")
		}},
		{name: "renamed", built: "acme/gadgets", called: "acme/gadgets", want: mergecheck.Passed, before: func(t *testing.T, b *bundle) {
			b.called(t, "acme/gadgets")
			b.link(t, workspace, repository, "acme/widgets")
		}},
		{name: "said to be renamed, and it isn't", built: "acme/gadgets", called: "acme/gadgets", want: mergecheck.NoBuild, before: func(t *testing.T, b *bundle) {
			b.called(t, "acme/widgets")
			b.link(t, workspace, repository, "acme/widgets")
		}},
		{name: "said to be renamed, and Bitbucket doesn't answer", built: "acme/widgets", called: "acme/gadgets", want: mergecheck.Passed, before: func(t *testing.T, b *bundle) {
			b.link(t, workspace, repository, "acme/widgets")
		}},
		{name: "and rules go by names", built: "acme/widgets", called: "acme/gadgets", want: mergecheck.Unavailable, before: func(t *testing.T, b *bundle) {
			b.link(t, workspace, repository, "acme/widgets")
			b.policy(t, "rules: []")
		}},
		{name: "a name in another's workspace is not taken", built: "globex/widgets", called: "globex/widgets", want: mergecheck.NoBuild, before: func(t *testing.T, b *bundle) {
			b.link(t, workspace, repository, "acme/widgets")
			b.link(t, elsewhere, "ffe76500-0627-43f6-a9c5-4d6373a5e4eb", "globex/other")
		}},
		{name: "nor by a repository without a name", built: "globex/widgets", called: "globex/widgets", want: mergecheck.Unavailable, before: func(t *testing.T, b *bundle) {
			b.link(t, elsewhere, "ffe76500-0627-43f6-a9c5-4d6373a5e4eb", "globex/other")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, gate.Options{})
			if tt.before != nil {
				tt.before(t, b)
			}
			b.built(t, tt.built)
			if v := b.gate.Ask(t.Context(), question(tt.called)).Verdict; v.Code != tt.want {
				t.Errorf("code %s (%s), want %s", v.Code, v.Message, tt.want)
			}
		})
	}
}

// TestWhatALookFindsCounts has AppVeyor know a build that nobody told of.
func TestWhatALookFindsCounts(t *testing.T) {
	t.Parallel()
	looks := 0
	var b *bundle
	b = newBundle(t, gate.Options{Look: func(_ context.Context, workspaceUUID, repositoryUUID string) (bool, error) {
		looks++
		if workspaceUUID != workspace || repositoryUUID != repository {
			t.Errorf("looked at %s/%s", workspaceUUID, repositoryUUID)
		}
		b.built(t, "acme/widgets")
		return true, nil
	}})
	b.link(t, workspace, repository, "acme/widgets")
	for range 3 {
		if v := b.gate.Ask(t.Context(), question("acme/widgets")).Verdict; v.Code != mergecheck.Passed {
			t.Errorf("code %s, want what the look found", v.Code)
		}
	}
	if looks != 1 {
		t.Errorf("looked %d times", looks)
	}
}

// TestLooksOnceForSeveralQuestions asks as Bitbucket does where a check is set up
// at several levels.
func TestLooksOnceForSeveralQuestions(t *testing.T) {
	t.Parallel()
	looks := 0
	b := newBundle(t, gate.Options{Look: func(context.Context, string, string) (bool, error) {
		looks++
		return true, nil
	}})
	b.link(t, workspace, repository, "acme/widgets")
	for range 3 {
		if v := b.gate.Ask(t.Context(), question("acme/widgets")).Verdict; v.Code != mergecheck.NoBuild {
			t.Errorf("code %s", v.Code)
		}
	}
	if looks != 1 {
		t.Errorf("looked %d times", looks)
	}
}

func TestExplainKeepsNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t, gate.Options{Look: func(context.Context, string, string) (bool, error) {
		t.Error("AppVeyor was looked at")
		return false, nil
	}})
	b.link(t, workspace, repository, "acme/widgets")
	if err := b.bb.AddRepository(bitbuckettest.Repository{WorkspaceUUID: workspace, UUID: repository, FullName: "acme/widgets"}); err != nil {
		t.Fatal(err)
	}
	err := b.bb.PutPullRequest("acme/widgets", bitbuckettest.PullRequest{
		ID: 7, SourceBranch: "feature", SourceCommit: head, DestinationBranch: "main", DestinationCommit: strings.Repeat("d", 40),
	})
	if err != nil {
		t.Fatal(err)
	}
	key := postgres.PullRequestKey{WorkspaceUUID: workspace, RepositoryUUID: repository, PullRequestID: 7}
	v := b.gate.Explain(t.Context(), postgres.Repository{WorkspaceUUID: workspace, RepositoryUUID: repository, FullName: "acme/widgets"}, 7)
	if v.Code != mergecheck.NoBuild || v.PullRequest.Head != head {
		t.Errorf("verdict %+v", v)
	}
	facts, err := b.store.Facts(t.Context(), postgres.Asked{PullRequest: key, Told: mergecheck.Told{Head: head}})
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := b.store.Decisions(t.Context(), key, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(facts.Recorded.Heads) != 0 || len(decisions) != 0 {
		t.Errorf("kept heads %v, decisions %v", facts.Recorded.Heads, decisions)
	}
}

// addWaiver adds a waiver for an hour.
func addWaiver(t *testing.T, store *postgres.Store, pr postgres.PullRequestKey, w mergecheck.Waiver) mergecheck.Waiver {
	t.Helper()
	err := store.InTx(t.Context(), func(tx *postgres.Tx) (err error) {
		w, err = waivers.Add(t.Context(), tx, pr, w, time.Hour)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}
