package gate_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/builds"
	"mergegate/internal/gate"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/standin"
)

// shown is a pull request that Bitbucket's stand-in has, and a build of its head.
func shown(t *testing.T) (*bundle, postgres.Repository) {
	t.Helper()
	b := newBundle(t, gate.Options{})
	r := postgres.Repository{WorkspaceUUID: workspace, RepositoryUUID: repository, FullName: "acme/widgets"}
	b.link(t, workspace, repository, r.FullName)
	if err := b.bb.AddRepository(bitbuckettest.Repository{WorkspaceUUID: workspace, UUID: repository, FullName: r.FullName}); err != nil {
		t.Fatal(err)
	}
	b.putShown(t, head)
	b.built(t, r.FullName)
	return b, r
}

func (b *bundle) putShown(t *testing.T, head string) {
	t.Helper()
	err := b.bb.PutPullRequest("acme/widgets", bitbuckettest.PullRequest{
		ID: 7, Title: "Add widgets", SourceBranch: "feature", SourceCommit: head, DestinationBranch: "main", DestinationCommit: strings.Repeat("d", 40),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLookersReadBitbucketOnce(t *testing.T) {
	t.Parallel()
	b, r := shown(t)
	b.gate.Explain(t.Context(), r, 7)
	each := len(b.bb.Requests()) // of one reading
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			if v := b.gate.Show(t.Context(), r, 7); v.Code != mergecheck.Passed {
				t.Errorf("shown %s: %s", v.Code, v.Message)
			}
		})
	}
	group.Wait()
	if n := len(b.bb.Requests()); n != 2*each {
		t.Errorf("100 looks made %d requests, one makes %d", n-each, each)
	}
	// Who decides, waives or reports reads the pull request as it is.
	next := strings.Repeat("b", 40)
	b.putShown(t, next)
	if v := b.gate.Explain(t.Context(), r, 7); v.PullRequest.Head != next {
		t.Errorf("explained for %s", v.PullRequest.Head)
	}
	if v := b.gate.Show(t.Context(), r, 7); v.PullRequest.Head != head {
		t.Errorf("shown for %s, although nothing newer is recorded", v.PullRequest.Head)
	}
	q := question(r.FullName)
	q.Brought = nil
	if a := b.gate.Ask(t.Context(), q); a.Verdict.PullRequest.Head != next {
		t.Errorf("answered for %s", a.Verdict.PullRequest.Head)
	}
	// That is recorded now.
	if v := b.gate.Show(t.Context(), r, 7); v.PullRequest.Head != next {
		t.Errorf("shown for %s, although a newer head is recorded", v.PullRequest.Head)
	}
}

// TestShownFactsAreNew has a build fail between two looks.
func TestShownFactsAreNew(t *testing.T) {
	t.Parallel()
	b, r := shown(t)
	if v := b.gate.Show(t.Context(), r, 7); v.Code != mergecheck.Passed {
		t.Errorf("shown %s: %s", v.Code, v.Message)
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	_, err := builds.Record(t.Context(), b.store, mergecheck.Build{
		BuildID: 2, Project: mergecheck.Project{ID: 1, Account: "acme", Slug: "widgets"}, Repository: r.FullName, PullRequestID: 7,
		State: mergecheck.Failed, ReportedCommit: head, DestinationBranch: "main", CreatedOn: now, UpdatedOn: now,
		ConfirmedBy: mergecheck.ConfirmedByAppVeyor,
	}, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	if v := b.gate.Show(t.Context(), r, 7); v.Code != mergecheck.FailedCode {
		t.Errorf("shown %s: %s", v.Code, v.Message)
	}
}

// TestLookersLeaveTheLimitToMergeChecks has Bitbucket refuse, so that only merge checks
// may ask.
func TestLookersLeaveTheLimitToMergeChecks(t *testing.T) {
	t.Parallel()
	b, r := shown(t)
	b.bb.OnRequest(func(*http.Request) standin.Fault {
		return standin.Fault{Status: http.StatusTooManyRequests, RetryAfter: "60"}
	})
	b.gate.Explain(t.Context(), r, 7)
	b.bb.OnRequest(nil)
	before := len(b.bb.Requests())
	if v := b.gate.Show(t.Context(), r, 7); v.Code != mergecheck.HeadUnknown || len(b.bb.Requests()) != before {
		t.Errorf("shown %s: %s, after %d requests", v.Code, v.Message, len(b.bb.Requests())-before)
	}
	q := question(r.FullName)
	q.Brought = nil
	if a := b.gate.Ask(t.Context(), q); !a.Success {
		t.Errorf("a merge check is answered: %s", a.Message)
	}
}

// TestLookersEndWaivers has somebody who only looks see the head that ends a waiver:
// when the head comes back the waiver doesn't.
func TestLookersEndWaivers(t *testing.T) {
	t.Parallel()
	looks := map[string]func(*bundle, *testing.T, postgres.Repository) mergecheck.Verdict{
		"explain": func(b *bundle, t *testing.T, r postgres.Repository) mergecheck.Verdict {
			return b.gate.Explain(t.Context(), r, 7)
		},
		"show": func(b *bundle, t *testing.T, r postgres.Repository) mergecheck.Verdict {
			return b.gate.Show(t.Context(), r, 7)
		},
	}
	for name, look := range looks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, r := shown(t)
			key := postgres.PullRequestKey{WorkspaceUUID: workspace, RepositoryUUID: repository, PullRequestID: 7}
			w := mergecheck.Waiver{Head: head, Destination: "main", Reason: "because", By: "somebody"}
			addWaiver(t, b.store, key, w)
			next := strings.Repeat("b", 40)
			b.putShown(t, next)
			if v := look(b, t, r); v.PullRequest.Head != next {
				t.Fatalf("it sees head %s", v.PullRequest.Head)
			}
			b.putShown(t, head)
			list, err := b.store.Waivers(t.Context(), key, 0, 1)
			if err != nil || len(list) != 1 || list[0].EndedBy != mergecheck.WaiverOtherHead {
				t.Errorf("the waiver is %+v, %v; want it ended by another head", list, err)
			}
		})
	}
}
