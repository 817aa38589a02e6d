package builds

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/postgres"
)

const (
	recheckWorkspace  = "b7ea02c9-0871-4858-a2a6-a190d7de977c"
	recheckRepository = "15a31549-1cff-45dc-9d0d-310114c5038b"
)

// recheckable is a bundle whose project is seen in a repository that is linked.
func recheckable(t *testing.T) *bundle {
	t.Helper()
	b := newBundle(t)
	r := postgres.Repository{WorkspaceUUID: recheckWorkspace, RepositoryUUID: recheckRepository, FullName: "acme/widgets"}
	if err := b.store.LinkRepository(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := b.confirm(t.Context(), b.receive(t)); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bundle) recheck(ctx context.Context) map[int64]string {
	return b.service.Recheck(ctx, recheckWorkspace, recheckRepository, []int64{12064})
}

// TestRecheckFindsWhatAWebhookLost has AppVeyor know a newer build that nobody told of.
func TestRecheckFindsWhatAWebhookLost(t *testing.T) {
	t.Parallel()
	b := recheckable(t)
	newer, err := b.appveyor.PutBuild("acme", "widgets", appveyortest.Build{
		Branch: "main", PullRequestID: 7, PullRequestHeadCommit: b.build.PullRequestHeadCommit, Status: "failed",
	})
	if err != nil {
		t.Fatal(err)
	}
	if problems := b.recheck(t.Context()); len(problems) > 0 {
		t.Fatalf("problems %v", problems)
	}
	if _, err := b.store.ConfirmedBuild(t.Context(), newer.ID); err != nil {
		t.Errorf("the newer build: %v", err)
	}
}

// TestRecheckPagesBack has AppVeyor build other things since, more than a page of them.
func TestRecheckPagesBack(t *testing.T) {
	t.Parallel()
	b := recheckable(t)
	lost, err := b.appveyor.PutBuild("acme", "widgets", appveyortest.Build{
		Branch: "main", PullRequestID: 7, PullRequestHeadCommit: b.build.PullRequestHeadCommit, Status: "failed",
	})
	if err != nil {
		t.Fatal(err)
	}
	for range historyLength + 1 {
		if _, err := b.appveyor.PutBuild("acme", "widgets", appveyortest.Build{Branch: "main", Status: "success"}); err != nil {
			t.Fatal(err)
		}
	}
	if problems := b.recheck(t.Context()); len(problems) > 0 {
		t.Fatalf("problems %v", problems)
	}
	if _, err := b.store.ConfirmedBuild(t.Context(), lost.ID); err != nil {
		t.Errorf("the build that was lost: %v", err)
	}
}

// TestRecheckOfATakenName has another project, which built nothing yet, get the name: a
// look at it is none at ours.
func TestRecheckOfATakenName(t *testing.T) {
	t.Parallel()
	b := recheckable(t)
	for _, p := range []appveyortest.Project{
		{ID: 12064, Account: "acme", Slug: "gadgets", RepositoryName: "acme/widgets"},
		{ID: 12099, Account: "acme", Slug: "widgets", RepositoryName: "acme/elsewhere"},
	} {
		if err := b.appveyor.AddProject(p); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.recheck(t.Context())[12064]; got != problemUnreachable {
		t.Errorf("problem %q, want %q", got, problemUnreachable)
	}
}

// TestRechecksShareOneLook has many who merge ask at once, while AppVeyor takes its time.
func TestRechecksShareOneLook(t *testing.T) {
	t.Parallel()
	b := recheckable(t)
	before := b.histories()
	asked, answer := make(chan struct{}, 100), make(chan struct{})
	b.appveyor.OnRequest(func(r *http.Request) appveyortest.Fault {
		if strings.HasSuffix(r.URL.Path, "/history") {
			asked <- struct{}{}
			<-answer
		}
		return appveyortest.Fault{}
	})
	var group sync.WaitGroup
	ask := func() {
		group.Go(func() {
			if problems := b.recheck(t.Context()); len(problems) > 0 {
				t.Errorf("problems %v", problems)
			}
		})
	}
	ask()
	<-asked
	for range 10 {
		ask()
	}
	close(answer)
	group.Wait()
	// Those who came once it was done may have looked again, together.
	if n := b.histories() - before; n > 6 {
		t.Errorf("11 who asked at once read the history %d times", n)
	}
}

// TestRecheckRemembersThatAppVeyorIsDown asks twice while it fails, and again later.
func TestRecheckRemembersThatAppVeyorIsDown(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fault appveyortest.Fault
		want  string
	}{
		{name: "hanging", fault: appveyortest.Fault{Hang: true}, want: problemLate},
		{name: "5xx", fault: appveyortest.Fault{Status: http.StatusBadGateway}, want: problemUnreachable},
		{name: "refusing", fault: appveyortest.Fault{Status: http.StatusUnauthorized}, want: problemUnreachable},
		{name: "a page", fault: appveyortest.Fault{HTML: true}, want: problemUnreachable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := recheckable(t)
			now := time.Now()
			b.service.now = func() time.Time { return now }
			b.appveyor.OnRequest(func(*http.Request) appveyortest.Fault { return tt.fault })
			before := b.histories()
			start := time.Now()
			for range 2 {
				if got := b.recheck(t.Context())[12064]; got != tt.want {
					t.Errorf("problem %q, want %q", got, tt.want)
				}
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("two of them took %s", took)
			}
			if n := b.histories() - before; n != 1 {
				t.Errorf("the history was asked for %d times", n)
			}
			b.appveyor.OnRequest(func(*http.Request) appveyortest.Fault { return appveyortest.Fault{} })
			now = now.Add(unreachableFor)
			if problems := b.recheck(t.Context()); len(problems) > 0 {
				t.Errorf("after %s: problems %v", unreachableFor, problems)
			}
		})
	}
}
