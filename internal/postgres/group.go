package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// groupMost is how many are written together at most: by then a commit is shared by so
	// many that more of them would only wait longer.
	groupMost = 64
	// groupBytes is how large they are together at most, but for one that is larger alone: a
	// statement is in memory twice.
	groupBytes = 1 << 20
	// groupTimeout bounds one write, whoever waits for it. Callers have deadlines of their own.
	groupTimeout = 4 * time.Second
)

// group writes what several callers bring by one statement and one commit: whoever comes
// while something is written is written next, with all others who came meanwhile. Nobody
// gets an answer before its own commit, and what came first is written first.
//
//   - If PostgreSQL refuses the data, each is written by itself: a bad one fails alone.
//   - If it can't write now, or the connection is lost, all fail, as each would by itself. To
//     try them one by one would take a timeout each, and what a lost connection had committed
//     would be written twice.
//   - A caller whose context ends while it waits is not written. One whose context ends
//     later isn't told what came of it.
type group[Q, R any] struct {
	// write writes all or nothing, and returns what came of each.
	write func(ctx context.Context, list []Q) ([]R, error)
	// size is how many bytes one has that matters; nil: none does.
	size func(Q) int

	mu      sync.Mutex
	waiting []*member[Q, R]
	running bool
}

// member is what one caller brought.
type member[Q, R any] struct {
	brought Q
	result  R
	err     error
	done    chan struct{} // closed when result and err are there
}

// do has q written with others, and returns once it is committed.
func (g *group[Q, R]) do(ctx context.Context, q Q) (R, error) {
	m := &member[Q, R]{brought: q, done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, m)
	first := !g.running
	g.running = true
	g.mu.Unlock()
	if first {
		go g.run(context.WithoutCancel(ctx))
	}
	select {
	case <-m.done:
		return m.result, m.err
	case <-ctx.Done():
		g.leave(m)
		var none R
		return none, ctx.Err()
	}
}

// leave takes m out of those who wait, if it still does.
func (g *group[Q, R]) leave(m *member[Q, R]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = slices.DeleteFunc(g.waiting, func(other *member[Q, R]) bool { return other == m })
}

// run writes until nobody waits.
func (g *group[Q, R]) run(ctx context.Context) {
	for {
		list := g.take()
		if len(list) == 0 {
			return
		}
		g.writeAll(ctx, list)
	}
}

// take takes those out who are written next; where nobody waits the group rests.
func (g *group[Q, R]) take() []*member[Q, R] {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, bytes := 0, 0
	for n < min(len(g.waiting), groupMost) {
		if g.size != nil {
			bytes += g.size(g.waiting[n].brought)
		}
		if n > 0 && bytes > groupBytes {
			break
		}
		n++
	}
	list := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	g.running = n > 0
	return list
}

// writeAll writes list, and tells each what came of it.
func (g *group[Q, R]) writeAll(ctx context.Context, list []*member[Q, R]) {
	err := g.writeTogether(ctx, list)
	if len(list) > 1 && isBadData(err) {
		for _, m := range list {
			g.writeAll(ctx, []*member[Q, R]{m})
		}
		return
	}
	for _, m := range list {
		m.err = err
		close(m.done)
	}
}

func (g *group[Q, R]) writeTogether(ctx context.Context, list []*member[Q, R]) error {
	ctx, cancel := context.WithTimeout(ctx, groupTimeout)
	defer cancel()
	brought := make([]Q, len(list))
	for i, m := range list {
		brought[i] = m.brought
	}
	results, err := g.write(ctx, brought)
	if err != nil {
		return err
	}
	for i, m := range list {
		m.result = results[i]
	}
	return nil
}

// isBadData reports whether PostgreSQL refused what it was given: a value that a type or a
// constraint doesn't allow (classes 22 and 23 of its errors).
func isBadData(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (strings.HasPrefix(refused.Code, "22") || strings.HasPrefix(refused.Code, "23"))
}
