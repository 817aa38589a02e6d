package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5/pgconn"
)

// ledger is what a group writes to: it takes all of a list or, where one is negative,
// none. It begins to write when it is let.
type ledger struct {
	let    chan struct{} // nil: at once
	begun  chan []int    // told of each write as it begins; nil: nobody is
	broken error         // of every write with more than one

	mu      sync.Mutex
	written []int
	writes  [][]int
}

var errRefused = &pgconn.PgError{Code: "23514", Message: "negative"}

func (l *ledger) write(ctx context.Context, list []int) ([]string, error) {
	if l.begun != nil {
		l.begun <- list
	}
	if l.let != nil {
		select {
		case <-l.let:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes = append(l.writes, list)
	if len(list) > 1 && l.broken != nil {
		return nil, l.broken
	}
	if slices.ContainsFunc(list, func(n int) bool { return n < 0 }) {
		return nil, fmt.Errorf("write: %w", errRefused)
	}
	l.written = append(l.written, list...)
	results := make([]string, len(list))
	for i, n := range list {
		results[i] = fmt.Sprint(n)
	}
	return results, nil
}

// together has the list written as one group, behind a 0 that is written first, and returns
// what each was told.
func together(t *testing.T, l *ledger, list []int, size func(int) int) (results []string, errs []error) {
	t.Helper()
	l.let, l.begun = make(chan struct{}), make(chan []int, len(list)+2)
	g := group[int, string]{write: l.write, size: size}
	results, errs = make([]string, len(list)), make([]error, len(list))
	var callers sync.WaitGroup
	callers.Go(func() { _, _ = g.do(t.Context(), 0) })
	<-l.begun
	for i, n := range list {
		callers.Go(func() { results[i], errs[i] = g.do(t.Context(), n) })
		g.awaitWaiting(t, i+1)
	}
	close(l.let)
	callers.Wait()
	l.written = l.written[1:]
	return results, errs
}

// awaitWaiting returns once so many wait.
func (g *group[Q, R]) awaitWaiting(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		g.mu.Lock()
		waiting := len(g.waiting)
		g.mu.Unlock()
		if waiting == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d wait, want %d", waiting, n)
		}
	}
}

func TestGroup(t *testing.T) {
	t.Parallel()
	lost, slow := errors.New("connection lost"), &pgconn.PgError{Code: "57014", Message: "canceling statement due to statement timeout"}
	tests := []struct {
		name    string
		list    []int
		broken  error
		written []int
		writes  [][]int // after the first
		errs    []error
	}{
		{name: "one", list: []int{1}, written: []int{1}, writes: [][]int{{1}}, errs: []error{nil}},
		{name: "all at once, in order", list: []int{3, 1, 2}, written: []int{3, 1, 2}, writes: [][]int{{3, 1, 2}}, errs: []error{nil, nil, nil}},
		{
			name: "a bad one fails alone", list: []int{1, -2, 3}, written: []int{1, 3},
			writes: [][]int{{1, -2, 3}, {1}, {-2}, {3}}, errs: []error{nil, errRefused, nil},
		},
		{
			name: "a lost connection is everybody's, and nothing is written twice", list: []int{1, 2}, broken: lost,
			writes: [][]int{{1, 2}}, errs: []error{lost, lost},
		},
		{name: "a timeout is everybody's, and isn't waited for again", list: []int{1, 2}, broken: slow, writes: [][]int{{1, 2}}, errs: []error{slow, slow}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := &ledger{broken: tt.broken}
			results, errs := together(t, l, tt.list, nil)
			if diff := cmp.Diff(tt.written, l.written, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.writes, l.writes[1:]); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			for i, want := range tt.errs {
				if !errors.Is(errs[i], want) {
					t.Errorf("%d was told %v, want %v", tt.list[i], errs[i], want)
				}
				if want == nil && results[i] != fmt.Sprint(tt.list[i]) {
					t.Errorf("%d was told the result %q", tt.list[i], results[i])
				}
			}
		})
	}
}

func TestGroupsAreBounded(t *testing.T) {
	t.Parallel()
	list := make([]int, groupMost+1)
	for i := range list {
		list[i] = i + 1
	}
	l := &ledger{}
	together(t, l, list, nil)
	if diff := cmp.Diff([][]int{list[:groupMost], list[groupMost:]}, l.writes[1:]); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	l = &ledger{}
	const half = groupBytes / 2
	together(t, l, []int{half, half, 1, groupBytes + 1, 2}, func(n int) int { return n })
	if diff := cmp.Diff([][]int{{half, half}, {1}, {groupBytes + 1}, {2}}, l.writes[1:]); diff != "" {
		t.Errorf("writes by size (-want +got):\n%s", diff)
	}
}

// TestWhoLeavesIsNotWritten has a caller give up while it waits, and one while it is written.
func TestWhoLeavesIsNotWritten(t *testing.T) {
	t.Parallel()
	l := &ledger{let: make(chan struct{}), begun: make(chan []int, 10)}
	g := group[int, string]{write: l.write}
	var callers sync.WaitGroup
	errs := make([]error, 3)
	contexts := make([]context.Context, 3)
	leave := make([]context.CancelFunc, 3)
	for i := range contexts {
		contexts[i], leave[i] = context.WithCancel(t.Context())
		t.Cleanup(leave[i])
	}
	call := func(i int) { callers.Go(func() { _, errs[i] = g.do(contexts[i], i) }) }
	call(0)
	<-l.begun
	call(1)
	g.awaitWaiting(t, 1)
	call(2)
	g.awaitWaiting(t, 2)
	leave[1]()
	g.awaitWaiting(t, 1)
	leave[0]()
	close(l.let)
	callers.Wait()
	if _, err := g.do(t.Context(), 3); err != nil { // behind all others
		t.Error(err)
	}
	if diff := cmp.Diff([][]int{{0}, {2}, {3}}, l.writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if !errors.Is(errs[1], context.Canceled) || errs[2] != nil {
		t.Errorf("who left was told %v, who stayed %v", errs[1], errs[2])
	}
}

// TestGroupsChangeNoOutcome has many callers at once bring good and bad ones: each is told
// what it would be told by itself, and written as often.
func TestGroupsChangeNoOutcome(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // no secret
	list := make([]int, 2000)
	var good []int
	for i := range list {
		list[i] = i + 1
		if random.IntN(10) == 0 {
			list[i] = -list[i]
			continue
		}
		good = append(good, list[i])
	}
	l := &ledger{}
	g := group[int, string]{write: l.write}
	var callers sync.WaitGroup
	for _, n := range list {
		callers.Go(func() {
			result, err := g.do(t.Context(), n)
			if bad := n < 0; bad != errors.Is(err, errRefused) || !bad && result != fmt.Sprint(n) {
				t.Errorf("seed %d: %d was told %q, %v", seed, n, result, err)
			}
		})
	}
	callers.Wait()
	slices.Sort(l.written)
	if diff := cmp.Diff(good, l.written); diff != "" {
		t.Errorf("seed %d: written (-want +got):\n%s", seed, diff)
	}
}
