package gate

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mergegate/internal/postgres"
)

func TestSnapshotCache(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	key := postgres.PullRequestKey{WorkspaceUUID: "w", RepositoryUUID: "r", PullRequestID: 7}
	tests := []struct {
		name  string
		key   postgres.PullRequestKey
		mark  string
		after time.Duration
		want  int // readings in all
	}{
		{name: "again", key: key, mark: "a", want: 1},
		{name: "a moment before it is too old", key: key, mark: "a", after: shownFor - 1, want: 1},
		{name: "too old", key: key, mark: "a", after: shownFor, want: 2},
		{name: "something newer is recorded", key: key, mark: "b", want: 2},
		{name: "another pull request", key: postgres.PullRequestKey{PullRequestID: 8}, mark: "a", want: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at := now
			c := snapshotCache{now: func() time.Time { return at }}
			readings := 0
			read := func(context.Context) seen {
				readings++
				return seen{snapshot: Snapshot{Problem: fmt.Sprint(readings)}} // what fails is kept too
			}
			if _, ok := c.get(t.Context(), key, "a", read); !ok {
				t.Fatal("not read")
			}
			at = now.Add(tt.after)
			s, ok := c.get(t.Context(), tt.key, tt.mark, read)
			if !ok || readings != tt.want || s.snapshot.Problem != fmt.Sprint(tt.want) {
				t.Errorf("%d readings, the last gave %q; want %d", readings, s.snapshot.Problem, tt.want)
			}
		})
	}
}

// TestSnapshotCacheReadsOnceAtATime has many ask while a reading goes on, of which one
// leaves, and of which half know of something newer.
func TestSnapshotCacheReadsOnceAtATime(t *testing.T) {
	t.Parallel()
	var c snapshotCache
	var atOnce, readings atomic.Int32
	begun, goOn := make(chan struct{}, 100), make(chan struct{}) // no reading waits to say that it began
	read := func(context.Context) seen {
		if atOnce.Add(1) > 1 {
			t.Error("two readings at once")
		}
		defer atOnce.Add(-1)
		readings.Add(1)
		begun <- struct{}{}
		<-goOn
		return seen{}
	}
	leaves, leave := context.WithCancel(t.Context())
	left := make(chan bool)
	go func() { _, ok := c.get(leaves, postgres.PullRequestKey{}, "a", read); left <- ok }()
	<-begun
	leave()
	if <-left {
		t.Error("who left got something")
	}
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			if _, ok := c.get(t.Context(), postgres.PullRequestKey{}, []string{"a", "b"}[i%2], read); !ok {
				t.Error("not read")
			}
		})
	}
	close(goOn)
	group.Wait()
	// Who knows the older mark may come before or after who knows the newer one.
	if n := readings.Load(); n < 2 || n > 20 {
		t.Errorf("%d readings", n)
	}
}

func TestSnapshotCacheIsBounded(t *testing.T) {
	t.Parallel()
	var c snapshotCache
	for id := range int64(3 * maxShown) {
		c.get(t.Context(), postgres.PullRequestKey{PullRequestID: id}, "", func(context.Context) seen { return seen{} })
	}
	if len(c.kept) > maxShown {
		t.Errorf("%d are kept", len(c.kept))
	}
}
