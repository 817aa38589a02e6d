package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// Names of what is measured.
const (
	limitSelect   = "pgbench: one select"
	limitInsert   = "pgbench: one insert"
	bareCheck     = "bare: merge check"
	groupedCheck  = "grouped: merge check"
	check         = "merge check"
	mergeFresh    = "on merge, look at AppVeyor fresh"
	mergeDue      = "on merge, look due"
	mergeHanging  = "on merge, look due, AppVeyor hangs"
	bareIngest    = "bare: webhook"
	groupedIngest = "grouped: webhook"
	ingest        = "webhook"
	confirmation  = "confirmation, until nothing is pending"
	busyCheck     = "merge check while builds are confirmed"
	history       = "history, a page of 10"
	verdict       = "verdict of a pull request"
)

// atomics are where the lists of requests were left.
type atomics struct{ bare, grouped, pushed, merged atomic.Int64 }

// round measures everything once with so many connections, each program in turn.
func (r *runner) round(ctx context.Context, connections int) error {
	for _, do := range []func(context.Context, int) error{r.limits, r.checks, r.merges, r.reads, r.ingests, r.confirmations, r.busy} {
		if err := do(ctx, connections); err != nil {
			return err
		}
	}
	return nil
}

// limits are PostgreSQL's own: a row read by its key, a row written that is as wide as a decision.
func (r *runner) limits(ctx context.Context, connections int) error {
	p := r.world.asked[0]
	where := fmt.Sprintf("workspace = 'b7ea02c9-0871-4858-a2a6-a190d7de977c' AND repository = '%s' AND pull_request = 1 AND head = '%s'", p.uuid, p.head)
	scripts := []struct{ name, text string }{
		{limitSelect, "SELECT build_id, project_id, project, state, version, destination, url, created_on, finished_on FROM builds WHERE " + where + ";\n"},
		{limitInsert, "\\set n random(1, 100000)\nINSERT INTO decisions (workspace, repository, pull_request, trigger, success, code, message, head, destination, builds, inputs, duration_ms) " +
			"VALUES ('b7ea02c9-0871-4858-a2a6-a190d7de977c', '" + p.uuid + "', :n, 'on-merge', true, 'passed', '" + strings.Repeat("m", 60) + "', '" + p.head + "', 'main', '{1}', '\"" +
			strings.Repeat("x", bareInputs+400) + "\"', 3);\n"},
	}
	for _, script := range scripts {
		f, err := meter{database: r.database}.measure(ctx, func() (load, error) {
			return r.database.pgbench(ctx, "bare", script.text, connections, max(r.duration, time.Second))
		})
		if err := r.note(script.name, connections, f, err); err != nil {
			return err
		}
	}
	return nil
}

// checks are merge checks on a push: no look at AppVeyor is due where there is a build.
func (r *runner) checks(ctx context.Context, connections int) error {
	for _, one := range []struct {
		name    string
		program *program
		at      *atomic.Int64
	}{
		{bareCheck, r.bare, &r.at.bare}, {groupedCheck, r.grouped, &r.at.grouped}, {check, r.mergegate, &r.at.pushed},
	} {
		f, err := r.drive(ctx, one.program, connections, cycle(r.pushed, one.at), r.duration, passed)
		if err := r.note(one.name, connections, f, err); err != nil {
			return err
		}
	}
	return nil
}

// drive measures one program under one load.
func (r *runner) drive(ctx context.Context, p *program, connections int, next source, duration time.Duration, right expectation) (figures, error) {
	return r.measure(ctx, p, func() (load, error) {
		return drive(ctx, p.address, connections, next, duration, right), nil
	})
}

// measure is [meter.measure], and says by statement what it cost where that is wanted.
func (r *runner) measure(ctx context.Context, p *program, do func() (load, error)) (figures, error) {
	if !r.statements || p != r.mergegate {
		return meter{r.database, p}.measure(ctx, do)
	}
	if _, err := r.database.statements(ctx, 1); err != nil {
		return figures{}, err
	}
	answered := 1.0
	f, err := meter{r.database, p}.measure(ctx, func() (load, error) {
		l, err := do()
		answered = max(1, float64(l.answered))
		return l, err
	})
	if err != nil {
		return f, err
	}
	list, err := r.database.statements(ctx, answered)
	for _, line := range list {
		fmt.Fprintln(os.Stderr, "    ", line)
	}
	return f, err
}

// age has the last look at every project be long ago.
const age = `UPDATE projects SET looked_on = now() - interval '1 hour'`

// merges are merge checks on a merge, whose look at AppVeyor is fresh, due again and again,
// or due while AppVeyor doesn't answer.
func (r *runner) merges(ctx context.Context, connections int) error {
	next := cycle(r.merged, &r.at.merged)
	if err := r.database.exec(ctx, "mergegate", `UPDATE projects SET looked_on = now()`); err != nil {
		return err
	}
	f, err := r.drive(ctx, r.mergegate, connections, next, r.duration, passed)
	if err := r.note(mergeFresh, connections, f, err); err != nil {
		return err
	}
	aging, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- r.keepAging(aging) }()
	f, err = r.drive(ctx, r.mergegate, connections, next, r.duration, passed)
	stop()
	if agingErr := <-ended; err == nil {
		err = agingErr
	}
	if err := r.note(mergeDue, connections, f, err); err != nil {
		return err
	}
	r.world.hang()
	defer r.world.answer()
	if err := r.database.exec(ctx, "mergegate", age); err != nil {
		return err
	}
	f, err = r.drive(ctx, r.mergegate, connections, next, r.duration, passed)
	return r.note(mergeHanging, connections, f, err)
}

// agePause is how often the looks become due again.
const agePause = 200 * time.Millisecond

func (r *runner) keepAging(ctx context.Context) error {
	for {
		if err := r.database.exec(context.WithoutCancel(ctx), "mergegate", age); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(agePause):
		}
	}
}

// reads are what people and programs ask the API for.
func (r *runner) reads(ctx context.Context, connections int) error {
	for _, one := range []struct{ name, path string }{
		{history, "/api/v1/repositories/%s/builds?pagelen=10"}, {verdict, "/api/v1/repositories/%s/pullrequests/%d"},
	} {
		var list [][]byte
		for _, p := range r.world.asked {
			path := strings.Replace(one.path, "%s", (&url.URL{Path: p.repository}).EscapedPath(), 1)
			list = append(list, requestOf("GET", strings.Replace(path, "%d", fmt.Sprint(p.id), 1), r.mergegate.token, nil))
		}
		f, err := r.drive(ctx, r.mergegate, connections, cycle(list, new(atomic.Int64)), r.duration/2, found)
		if err := r.note(one.name, connections, f, err); err != nil {
			return err
		}
	}
	return nil
}

// webhooks are how many builds come in by turns.
const webhooks = 2000

// ingests are webhooks of builds, which come in more than once where a program is quick.
func (r *runner) ingests(ctx context.Context, connections int) error {
	list, err := r.world.webhooks(webhooks)
	if err != nil {
		return err
	}
	for _, one := range []struct {
		name    string
		program *program
	}{{bareIngest, r.bare}, {groupedIngest, r.grouped}, {ingest, r.mergegate}} {
		f, err := r.drive(ctx, one.program, connections, cycle(list, new(atomic.Int64)), r.duration, accepted)
		if err := r.note(one.name, connections, f, err); err != nil {
			return err
		}
	}
	return r.forget(ctx)
}

// confirmations are from the first webhook until the last build is confirmed.
func (r *runner) confirmations(ctx context.Context, connections int) error {
	list, err := r.world.webhooks(r.confirmed)
	if err != nil {
		return err
	}
	f, err := r.measure(ctx, r.mergegate, func() (load, error) {
		start := time.Now()
		l := drive(ctx, r.mergegate.address, connections, once(list), time.Minute, accepted)
		err := r.settle(ctx, 5*time.Minute)
		l.wall = time.Since(start)
		return l, err
	})
	f.p50, f.p99, f.p999 = 0, 0, 0 // they are the webhooks'
	return r.note(confirmation, connections, f, err)
}

// busy are merge checks while many builds are confirmed.
func (r *runner) busy(ctx context.Context, connections int) error {
	list, err := r.world.webhooks(r.pending)
	if err != nil {
		return err
	}
	if l := drive(ctx, r.mergegate.address, 16, once(list), time.Minute, accepted); l.answered < len(list) {
		return fmt.Errorf("only %d of %d webhooks were accepted: %s", l.answered, len(list), l.why)
	}
	f, err := r.drive(ctx, r.mergegate, connections, cycle(r.pushed, &r.at.pushed), r.duration, passed)
	if err := r.note(busyCheck, connections, f, err); err != nil {
		return err
	}
	return r.forget(ctx)
}
