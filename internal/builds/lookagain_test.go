package builds

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"mergegate/internal/postgres"
)

// histories counts how often AppVeyor was asked for a project's history.
func (b *bundle) histories() int {
	n := 0
	for _, r := range b.appveyor.Requests() {
		if strings.Contains(r.Path, "/history") {
			n++
		}
	}
	return n
}

// asked has a merge check ask about the repository, and returns the job that
// looks again.
func (b *bundle) asked(t *testing.T) *river.Job[postgres.LookAgain] {
	t.Helper()
	r := postgres.Repository{
		WorkspaceUUID: "b7ea02c9-0871-4858-a2a6-a190d7de977c", RepositoryUUID: "15a31549-1cff-45dc-9d0d-310114c5038b", FullName: "acme/widgets",
	}
	if err := b.store.LinkRepository(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := b.confirm(t.Context(), b.receive(t)); err != nil { // now the project is known
		t.Fatal(err)
	}
	if looked, err := b.service.LookNow(t.Context(), r.WorkspaceUUID, r.RepositoryUUID); !looked || err != nil {
		t.Fatalf("looked: %v, error %v", looked, err)
	}
	askedOn, err := b.store.AskedOn(t.Context(), r.WorkspaceUUID, r.RepositoryUUID)
	if err != nil || askedOn.IsZero() {
		t.Fatalf("asked on %s, error %v", askedOn, err)
	}
	return &river.Job[postgres.LookAgain]{JobRow: &rivertype.JobRow{CreatedAt: askedOn}, Args: postgres.LookAgain{
		WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, AskedOn: askedOn,
	}}
}

// TestAskedAboutIsLookedAtOften follows a repository from the merge check that
// found no build until the rounds are as often.
func TestAskedAboutIsLookedAtOften(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.asked(t)
	now := job.Args.AskedOn
	b.service.now = func() time.Time { return now }
	before := b.histories()
	inFirstMinute, last := 0, time.Duration(0)
	for {
		err := b.service.lookAgain(t.Context(), job)
		var snooze *river.JobSnoozeError
		if err == nil {
			break
		}
		if !errors.As(err, &snooze) {
			t.Fatal(err)
		}
		if now.Sub(job.Args.AskedOn) < time.Minute {
			inFirstMinute++
			if snooze.Duration > 6*time.Second {
				t.Errorf("after %s it waits %s", now.Sub(job.Args.AskedOn), snooze.Duration)
			}
		} else if snooze.Duration < last*4/5 {
			t.Errorf("after %s it waits %s, and %s before", now.Sub(job.Args.AskedOn), snooze.Duration, last)
		}
		last = snooze.Duration
		now = now.Add(snooze.Duration)
	}
	looks := b.histories() - before
	if took := now.Sub(job.Args.AskedOn); inFirstMinute < 10 || took < 5*time.Minute || took > 10*time.Minute || looks > 25 {
		t.Errorf("%d looks, %d in the first minute, the last after %s", looks, inFirstMinute, took)
	}
}

// TestOneLooksAgain has an earlier question's job find that there is a later one.
func TestOneLooksAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.asked(t)
	job.Args.AskedOn = job.Args.AskedOn.Add(-time.Minute)
	before := b.histories()
	if err := b.service.lookAgain(t.Context(), job); err != nil {
		t.Errorf("ended with %v", err)
	}
	if looks := b.histories() - before; looks != 0 {
		t.Errorf("it looked %d times", looks)
	}
}

// TestShortIntervalNeedsNoMore has rounds so often that nothing is added to them.
func TestShortIntervalNeedsNoMore(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.service.interval = time.Second
	if err := b.service.lookAgain(t.Context(), b.asked(t)); err != nil {
		t.Errorf("ended with %v", err)
	}
}

// TestOneReplicaPolls has every replica's round fall due at the same time.
func TestOneReplicaPolls(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	inserted := 0
	for range 3 {
		replica, err := b.store.JobClient(&river.Config{})
		if err != nil {
			t.Fatal(err)
		}
		result, err := replica.Insert(t.Context(), postgres.Reconcile{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !result.UniqueSkippedAsDuplicate {
			inserted++
		}
	}
	if inserted != 1 {
		t.Errorf("%d rounds are queued, want one", inserted)
	}
}
