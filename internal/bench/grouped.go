package main

import (
	"context"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// grouped has one statement and one commit for all that came while the statement before
// ran: the floor of what a durable answer costs. It fails a whole group for one bad member,
// which mergegate may not.
type grouped struct {
	finding   batches[bareKey, bareBuild]
	deciding  batches[bareDecision, struct{}]
	receiving batches[bareDelivery, int64]
}

func newGrouped(pool *pgxpool.Pool) *grouped {
	g := &grouped{}
	g.finding.work = func(list []*member[bareKey, bareBuild]) error { return findAll(pool, list) }
	g.deciding.work = func(list []*member[bareDecision, struct{}]) error { return decideAll(pool, list) }
	g.receiving.work = func(list []*member[bareDelivery, int64]) error { return receiveAll(pool, list) }
	return g
}

func (g *grouped) find(_ context.Context, k bareKey) (bareBuild, error) { return g.finding.do(k) }

func (g *grouped) decide(_ context.Context, d bareDecision) error {
	_, err := g.deciding.do(d)
	return err
}

func (g *grouped) receive(_ context.Context, d bareDelivery) (int64, error) {
	return g.receiving.do(d)
}

// batches works on one batch at a time.
type batches[Q, R any] struct {
	work    func([]*member[Q, R]) error
	mu      sync.Mutex
	waiting []*member[Q, R]
	running bool
}

type member[Q, R any] struct {
	question Q
	answer   R
	err      error
	done     chan struct{}
}

func (b *batches[Q, R]) do(q Q) (R, error) {
	m := &member[Q, R]{question: q, done: make(chan struct{})}
	b.mu.Lock()
	b.waiting = append(b.waiting, m)
	first := !b.running
	b.running = true
	b.mu.Unlock()
	if first {
		b.next()
	}
	<-m.done
	return m.answer, m.err
}

// next works on those who wait, and leaves those who came meanwhile to another goroutine:
// nobody works for others once its own answer is there.
func (b *batches[Q, R]) next() {
	b.mu.Lock()
	list := b.waiting
	b.waiting = nil
	b.mu.Unlock()
	err := b.work(list)
	for _, m := range list {
		m.err = err
		close(m.done)
	}
	b.mu.Lock()
	b.running = len(b.waiting) > 0
	more := b.running
	b.mu.Unlock()
	if more {
		go b.next()
	}
}

func findAll(pool *pgxpool.Pool, list []*member[bareKey, bareBuild]) error {
	var workspaces, repositories, heads []string
	var pullRequests []int64
	for _, m := range list {
		k := m.question
		workspaces, repositories, heads = append(workspaces, k.workspace), append(repositories, k.repository), append(heads, k.head)
		pullRequests = append(pullRequests, k.pullRequest)
	}
	rows, err := pool.Query(context.Background(), `
		SELECT n, build_id, project_id, project, state, version, destination, url, created_on, finished_on
		FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[]) WITH ORDINALITY AS k(w, r, p, h, n),
			LATERAL (SELECT * FROM builds WHERE workspace = w AND repository = r AND pull_request = p AND head = h OFFSET 0) b`,
		workspaces, repositories, pullRequests, heads)
	if err != nil {
		return err
	}
	var n int
	var b bareBuild
	_, err = pgx.ForEachRow(rows, []any{&n, &b.BuildID, &b.ProjectID, &b.Project, &b.State, &b.Version, &b.Destination, &b.URL, &b.CreatedOn, &b.FinishedOn}, func() error {
		list[n-1].answer = b
		return nil
	})
	return err
}

func decideAll(pool *pgxpool.Pool, list []*member[bareDecision, struct{}]) error {
	var workspaces, repositories, triggers, messages, heads, destinations, builds, inputs []string
	var pullRequests, durations []int64
	var successes []bool
	for _, m := range list {
		d := m.question
		workspaces, repositories, heads = append(workspaces, d.workspace), append(repositories, d.repository), append(heads, d.head)
		triggers, messages, destinations = append(triggers, d.trigger), append(messages, d.message), append(destinations, d.destination)
		builds, inputs = append(builds, "{"+strconv.FormatInt(d.build, 10)+"}"), append(inputs, string(d.inputs))
		pullRequests, durations, successes = append(pullRequests, d.pullRequest), append(durations, d.milliseconds), append(successes, d.success)
	}
	_, err := pool.Exec(context.Background(), `
		INSERT INTO decisions (workspace, repository, pull_request, trigger, success, code, message, head, destination, builds, inputs, duration_ms)
		SELECT w, r, p, t, s, 'passed', m, h, d, b::bigint[], i::jsonb, ms
		FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::boolean[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::bigint[])
			AS k(w, r, p, t, s, m, h, d, b, i, ms)`,
		workspaces, repositories, pullRequests, triggers, successes, messages, heads, destinations, builds, inputs, durations)
	return err
}

func receiveAll(pool *pgxpool.Pool, list []*member[bareDelivery, int64]) error {
	var builds []int64
	var bodies [][]byte
	for _, m := range list {
		builds, bodies = append(builds, m.question.build), append(bodies, m.question.body)
	}
	rows, err := pool.Query(context.Background(), `INSERT INTO deliveries (build_id, body) SELECT * FROM unnest($1::bigint[], $2::bytea[]) RETURNING id`, builds, bodies)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	for i, id := range ids {
		list[i].answer = id
	}
	return err
}
