package gate_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/builds"
	"mergegate/internal/gate"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

var (
	other = strings.Repeat("b", 40)
	twin  = head[:12] + strings.Repeat("c", 28)
	// earlier is when the pull request was brought to what the tests begin with.
	earlier = time.Now().UTC().Truncate(time.Microsecond).Add(-time.Hour)
)

func pushed(commit string, after time.Duration) mergecheck.Event {
	return mergecheck.Event{On: earlier.Add(after), Branches: []mergecheck.BranchHead{{Branch: "feature", Commit: commit}}}
}

// updated is an event of pull request 7, with its head as Bitbucket abbreviates it.
func updated(state, commit, destination string, after time.Duration) mergecheck.Event {
	return mergecheck.Event{On: earlier.Add(after), PullRequest: &mergecheck.PullRequestEvent{
		ID: 7, State: state, SourceBranch: "feature", SourceCommit: commit[:12], DestinationBranch: destination,
	}}
}

// down has Bitbucket answer nothing.
func down(b *bundle) {
	b.bb.OnRequest(func(*http.Request) bitbuckettest.Fault { return bitbuckettest.Fault{Status: http.StatusBadGateway} })
}

// TestWhatIsBroughtAlongMayBeOld has the Forge function bring a head that passed, and
// other facts told of since or before.
func TestWhatIsBroughtAlongMayBeOld(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		events  []mergecheck.Event
		is      string // the head on Bitbucket
		down    bool   // Bitbucket can't be read
		brought time.Duration
		zero    bool // the function brings no time
		want    mergecheck.Code
	}{
		{name: "nothing else was told", is: head, want: mergecheck.Passed},
		{name: "a push since", events: []mergecheck.Event{pushed(other, time.Minute)}, is: other, want: mergecheck.NoBuild},
		{name: "a push since, and Bitbucket is down", events: []mergecheck.Event{pushed(other, time.Minute)}, is: other, down: true, want: mergecheck.HeadUnknown},
		{name: "a push since, and back", events: []mergecheck.Event{pushed(other, time.Minute), pushed(head, 2*time.Minute)}, is: head, want: mergecheck.Passed},
		{name: "and Bitbucket is down", events: []mergecheck.Event{pushed(head, 2*time.Minute), pushed(other, time.Minute)}, is: head, down: true, want: mergecheck.Passed},
		{name: "a push before, told late", events: []mergecheck.Event{pushed(other, -time.Minute)}, is: head, down: true, want: mergecheck.Passed},
		{name: "a push before, and no time is brought", events: []mergecheck.Event{pushed(other, -time.Minute)}, zero: true, is: head, want: mergecheck.Passed},
		{name: "a push before, no time is brought, and Bitbucket is down", events: []mergecheck.Event{pushed(other, -time.Minute)}, zero: true, is: head, down: true, want: mergecheck.HeadUnknown},
		{name: "another head, abbreviated, since", events: []mergecheck.Event{updated("OPEN", other, "main", time.Minute)}, is: other, want: mergecheck.NoBuild},
		{name: "maybe a twin since", events: []mergecheck.Event{updated("OPEN", twin, "main", time.Minute)}, is: twin, want: mergecheck.NoBuild},
		{name: "maybe a twin since, and Bitbucket is down", events: []mergecheck.Event{updated("OPEN", twin, "main", time.Minute)}, is: twin, down: true, want: mergecheck.HeadUnknown},
		{name: "closed since", events: []mergecheck.Event{updated("DECLINED", head, "main", time.Minute)}, down: true, want: mergecheck.PullRequestClosed},
		{name: "closed before, says an event that comes late, and it is open", events: []mergecheck.Event{updated("DECLINED", head, "main", -time.Minute)}, is: head, down: true, want: mergecheck.Passed},
		{name: "retargeted since", events: []mergecheck.Event{updated("OPEN", head, "release", time.Minute), pushed(head, 2*time.Minute)}, down: true, want: mergecheck.HeadUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, gate.Options{})
			b.called(t, "acme/widgets")
			b.link(t, workspace, repository, "acme/widgets")
			b.told(t, updated("OPEN", head, "main", -time.Hour))
			b.built(t, "acme/widgets")
			for _, e := range tt.events {
				b.told(t, e)
			}
			if tt.is != "" {
				b.put(t, tt.is)
			}
			if tt.down {
				down(b)
			}
			q := question("acme/widgets")
			q.Brought.On = earlier.Add(tt.brought)
			if tt.zero {
				q.Brought.On = time.Time{}
			}
			if v := b.gate.Ask(t.Context(), q).Verdict; v.Code != tt.want {
				t.Errorf("code %s (%s), want %s", v.Code, v.Message, tt.want)
			}
		})
	}
}

// TestTwinThatWasBroughtIsKept has a merge check bring the twin of a head that is known,
// when it isn't the head any more: a build that AppVeyor names by what both begin with may
// be of either.
func TestTwinThatWasBroughtIsKept(t *testing.T) {
	t.Parallel()
	b := newBundle(t, gate.Options{})
	b.link(t, workspace, repository, "acme/widgets")
	b.called(t, "acme/widgets")
	b.put(t, head)
	now := time.Now().UTC().Truncate(time.Microsecond)
	if v := b.gate.Ask(t.Context(), gate.Question{PullRequest: question("").PullRequest, Trigger: "on-merge"}).Verdict; v.Code != mergecheck.NoBuild {
		t.Fatalf("before: %s, %s", v.Code, v.Message)
	}
	waiver := addWaiver(t, b.store, question("").PullRequest, mergecheck.Waiver{Head: head, Destination: "main", Reason: "urgent", By: "release"})
	late := question("acme/widgets")
	late.Brought.SourceCommit, late.Brought.On = twin, now.Add(-time.Minute)
	for range 2 { // its time is from before the waiver
		if v := b.gate.Ask(t.Context(), late).Verdict; v.Code != mergecheck.WaivedCode || v.PullRequest.Head != head {
			t.Fatalf("brought its twin: %s of %s", v.Code, v.PullRequest.Head)
		}
	}
	if _, err := b.store.RevokeWaivers(t.Context(), question("").PullRequest, waiver.ID, "release"); err != nil {
		t.Fatal(err)
	}
	_, err := builds.Record(t.Context(), b.store, mergecheck.Build{
		BuildID: 2, Project: mergecheck.Project{ID: 1, Account: "acme", Slug: "widgets"}, Repository: "acme/widgets", PullRequestID: 7,
		State: mergecheck.Success, ReportedCommit: head[:12], DestinationBranch: "main", CreatedOn: now, UpdatedOn: now, ConfirmedBy: mergecheck.ConfirmedByAppVeyor,
	}, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	if v := b.gate.Ask(t.Context(), gate.Question{PullRequest: question("").PullRequest, Trigger: "on-merge"}).Verdict; v.Code != mergecheck.Unavailable {
		t.Errorf("it is %s: %s", v.Code, v.Message)
	}
}

// TestWaiverEndsByABroughtTwin has merge checks bring what ends a waiver, or doesn't, when
// two heads are known that begin with the same 12 characters.
func TestWaiverEndsByABroughtTwin(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name              string
		head, destination string
		after             time.Duration // the waiver was given
		want              mergecheck.Code
	}{
		{name: "the same head and destination", head: head, destination: "main", after: time.Microsecond, want: mergecheck.WaivedCode},
		{name: "its twin", head: twin, destination: "main", after: time.Microsecond, want: mergecheck.NoBuild},
		{name: "its twin, at the same time", head: twin, destination: "main", want: mergecheck.WaivedCode},
		{name: "another destination", head: head, destination: "release", after: time.Microsecond, want: mergecheck.NoBuild},
		{name: "another destination before", head: head, destination: "release", after: -time.Minute, want: mergecheck.WaivedCode},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, gate.Options{})
			b.link(t, workspace, repository, "acme/widgets")
			b.called(t, "acme/widgets")
			b.put(t, head)
			b.told(t, pushed(twin, -time.Hour))
			b.told(t, pushed(head, -time.Minute))
			q := question("acme/widgets")
			waiver := addWaiver(t, b.store, q.PullRequest, mergecheck.Waiver{Head: head, Destination: "main", Reason: "urgent", By: "release"})
			q.Brought.SourceCommit, q.Brought.DestinationBranch, q.Brought.On = tt.head, tt.destination, waiver.CreatedOn.Add(tt.after)
			b.gate.Ask(t.Context(), q)
			now := gate.Question{PullRequest: q.PullRequest, Trigger: "on-merge"} // and it is head into main
			if v := b.gate.Ask(t.Context(), now).Verdict; v.Code != tt.want || v.PullRequest.Head != head {
				t.Errorf("%s of %s (%s), want %s", v.Code, v.PullRequest.Head, v.Message, tt.want)
			}
		})
	}
}

// TestRenamedRepositoryIsJudgedByItsNewName has only pull requests from forks ask
// after a rename.
func TestRenamedRepositoryIsJudgedByItsNewName(t *testing.T) {
	t.Parallel()
	b := newBundle(t, gate.Options{})
	b.called(t, "acme/gadgets")
	b.link(t, workspace, repository, "acme/widgets")
	b.built(t, "acme/widgets")
	b.policy(t, "rules: [{repositories: acme/gadgets, required: [acme/audit]}]")
	q := question("")
	q.Brought.SourceRepositoryUUID, q.Brought.SourceRepository = elsewhere, "someone/fork"
	q.Brought.Repository = "acme/gadgets"
	if v := b.gate.Ask(t.Context(), q).Verdict; v.Success {
		t.Errorf("it passes by the policy of its old name: %s", v.Message)
	}
	found, err := b.store.RepositoryByName(t.Context(), "acme/gadgets")
	if err != nil || found.RepositoryUUID != repository {
		t.Errorf("acme/gadgets is %+v, %v", found, err)
	}
}

// TestRecheckAtMerging has AppVeyor know a newer build whose webhook was lost.
func TestRecheckAtMerging(t *testing.T) {
	t.Parallel()
	failed := func(b *bundle) func(t *testing.T) {
		return func(t *testing.T) {
			t.Helper()
			now := time.Now().UTC().Truncate(time.Microsecond)
			_, err := builds.Record(t.Context(), b.store, mergecheck.Build{
				BuildID: 2, Project: mergecheck.Project{ID: 1, Account: "acme", Slug: "widgets"}, Repository: "acme/widgets", PullRequestID: 7,
				State: mergecheck.Failed, ReportedCommit: head, DestinationBranch: "main", CreatedOn: now, UpdatedOn: now, ConfirmedBy: mergecheck.ConfirmedByAppVeyor,
			}, 0, false)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name    string
		trigger string
		looked  bool   // a moment ago
		problem string // of the look
		looks   int
		want    mergecheck.Code
		checked string
		message string
	}{
		{name: "merging", trigger: "on-merge", looks: 1, want: mergecheck.FailedCode},
		{name: "not merging", trigger: "on-code-pushed", want: mergecheck.Passed},
		{name: "looked at a moment ago", trigger: "on-merge", looked: true, want: mergecheck.Passed, checked: "checked with AppVeyor 0 s ago"},
		{name: "AppVeyor is down", trigger: "on-merge", problem: "AppVeyor could not be reached", looks: 1, want: mergecheck.Passed, checked: "AppVeyor could not be reached, so this result is from ", message: "AppVeyor could not be reached, so this result is from "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			looks := 0
			var b *bundle
			b = newBundle(t, gate.Options{Recheck: func(_ context.Context, workspaceUUID, repositoryUUID string, projects []int64) map[int64]string {
				looks++
				if diff := cmp.Diff([]int64{1}, projects); diff != "" || workspaceUUID != workspace || repositoryUUID != repository {
					t.Errorf("looked at %s/%s, projects (-want +got):\n%s", workspaceUUID, repositoryUUID, diff)
				}
				if tt.problem != "" {
					return map[int64]string{1: tt.problem}
				}
				failed(b)(t)
				return nil
			}})
			b.called(t, "acme/widgets")
			b.link(t, workspace, repository, "acme/widgets")
			b.built(t, "acme/widgets")
			if tt.looked {
				if err := b.store.NoteLooked(t.Context(), 1, 0); err != nil {
					t.Fatal(err)
				}
			}
			q := question("acme/widgets")
			q.Trigger = tt.trigger
			answer := b.gate.Ask(t.Context(), q)
			if answer.Verdict.Code != tt.want || !strings.Contains(answer.Message, tt.message) {
				t.Errorf("code %s (%s), want %s with %q", answer.Verdict.Code, answer.Message, tt.want, tt.message)
			}
			if looks != tt.looks {
				t.Errorf("looked %d times, want %d", looks, tt.looks)
			}
			decisions, err := b.store.Decisions(t.Context(), postgres.PullRequestKey{WorkspaceUUID: workspace, RepositoryUUID: repository, PullRequestID: 7}, 0, 1)
			if err != nil || len(decisions) != 1 {
				t.Fatalf("decisions %v, %v", decisions, err)
			}
			if !strings.HasPrefix(decisions[0].Checked, tt.checked) || tt.checked == "" && decisions[0].Checked != "" && tt.looked {
				t.Errorf("the decision says %q, want %q", decisions[0].Checked, tt.checked)
			}
		})
	}
}

// TestSkipRulesOfForks has a pull request from a fork change documents alone: its own
// diffstat is there, while the repository doesn't have the fork's commit.
func TestSkipRulesOfForks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		fails   bool // the diffstat
		want    mergecheck.Code
		message string
	}{
		{name: "documents", want: mergecheck.NotRequired, message: `"documents"`},
		{name: "what it changes can't be read", fails: true, want: mergecheck.NoBuild, message: `mergegate couldn't check skip rule "documents": Bitbucket answered with a server error (502).`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, gate.Options{})
			b.called(t, "acme/widgets")
			b.link(t, workspace, repository, "acme/widgets")
			b.policy(t, `rules: [{skip: [{name: documents, paths: ["docs/**"]}]}]`)
			err := b.bb.AddRepository(bitbuckettest.Repository{WorkspaceUUID: elsewhere, UUID: elsewhere, FullName: "someone/fork"})
			if err != nil {
				t.Fatal(err)
			}
			b.put(t, head, func(pr *bitbuckettest.PullRequest) {
				pr.SourceRepo, pr.Changes = "someone/fork", []bitbuckettest.Change{{New: "docs/one.md"}}
			})
			b.bb.OnRequest(func(r *http.Request) bitbuckettest.Fault {
				if tt.fails && strings.Contains(r.URL.Path, "diffstat") {
					return bitbuckettest.Fault{Status: http.StatusBadGateway}
				}
				return bitbuckettest.Fault{}
			})
			q := question("")
			q.Brought.SourceRepositoryUUID, q.Brought.SourceRepository = elsewhere, "someone/fork"
			q.Brought.Repository, q.Brought.DestinationCommit, q.Brought.On = "acme/widgets", strings.Repeat("d", 12), time.Now()
			if v := b.gate.Ask(t.Context(), q).Verdict; v.Code != tt.want || !strings.Contains(v.Message, tt.message) {
				t.Errorf("code %s (%s), want %s with %s", v.Code, v.Message, tt.want, tt.message)
			}
		})
	}
}
