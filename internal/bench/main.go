// Command bench measures mergegate beside a bare program that does the same essential work
// (gin, a token, one lookup, one insert), beside that program in groups, and beside pgbench,
// all in one run on one PostgreSQL that it starts for the purpose. Figures of one machine
// say little; ratios within one run say what mergegate costs.
//
//	make bench
//	go run -tags nomsgpack ./internal/bench -program bin/mergegate -rounds 1 -duration 1s -connections 16
//
// It needs Linux and PostgreSQL's programs. Everything listens on the loopback interface.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options say what is measured, and how long.
type options struct {
	program     string // path of the built mergegate
	write       string // file for the report; "": it is only printed
	commit      string // that the program was built from
	duration    time.Duration
	rounds      int
	connections []int
	confirmed   int // deliveries of one measurement of confirmations
	pending     int // deliveries that wait while merge checks are measured
	statements  bool
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	var o options
	connections := flag.String("connections", "1,16,64", "how many connections to measure with")
	flag.StringVar(&o.program, "program", "bin/mergegate", "the built program")
	flag.StringVar(&o.write, "write", "", "file to write the report to")
	flag.StringVar(&o.commit, "commit", "unknown", "the commit that the program was built from")
	flag.DurationVar(&o.duration, "duration", 4*time.Second, "how long each load takes")
	flag.IntVar(&o.rounds, "rounds", 3, "how often everything is measured; medians count")
	flag.IntVar(&o.confirmed, "confirmed", 1000, "how many deliveries are confirmed in one measurement")
	flag.IntVar(&o.pending, "pending", 10_000, "how many deliveries wait while merge checks are measured")
	flag.BoolVar(&o.statements, "statements", false, "say what each load cost PostgreSQL by statement, which slows it")
	serve := flag.String("serve", "", "be the bare program: bare or grouped")
	address, database, keys := flag.String("address", "", "with -serve: where"), flag.String("database", "", "with -serve: its URL"), flag.String("keys", "", "with -serve: URL of Forge's keys")
	flag.Parse()
	for text := range strings.SplitSeq(*connections, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("-connections: %q is no number of connections", text)
		}
		o.connections = append(o.connections, n)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *serve != "" {
		return runBare(ctx, *address, *database, *keys, *serve == grouping)
	}
	return bench(ctx, o)
}

// grouping is the name of the bare program that works in groups.
const grouping = "grouped"

// bench measures everything and reports it. Whatever it started ends with it.
func bench(ctx context.Context, o options) error {
	folder, err := os.MkdirTemp("", "mergegate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)                      //nolint:errcheck // it is in a temporary folder
	if err := os.Chmod(folder, 0o755); err != nil { //nolint:gosec // PostgreSQL runs as another account
		return err
	}
	d, err := startDatabase(ctx, folder, o.statements)
	if err != nil {
		return err
	}
	defer d.stop()
	w, err := newWorld()
	if err != nil {
		return err
	}
	defer w.close()
	r := &runner{options: o, folder: folder, database: d, world: w, results: map[row][]figures{}}
	defer r.stop()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	for round := range o.rounds {
		for _, connections := range o.connections {
			fmt.Fprintf(os.Stderr, "round %d of %d, %d connections\n", round+1, o.rounds, connections)
			if err := r.round(ctx, connections); err != nil {
				return err
			}
		}
	}
	r.resident, r.most = memoryOf(r.mergegate.pid())
	if err := r.startUps(ctx); err != nil {
		return err
	}
	text := r.report(ctx)
	fmt.Print(text)
	if o.write == "" {
		return nil
	}
	return os.WriteFile(o.write, []byte(text), 0o644) //nolint:gosec // a page for everybody
}

// row is what is measured, with how many connections.
type row struct {
	name        string
	connections int
}

// runner does the loads and keeps what they came to.
type runner struct {
	options
	folder   string
	database *database
	world    *world

	bare, grouped, mergegate *program

	pushed, merged []([]byte) // merge checks on a push and on a merge
	at             atomics
	rows           []row // in the order of the report
	results        map[row][]figures
	started        []startUp
	resident, most float64 // MiB
}

func (r *runner) stop() {
	for _, p := range []*program{r.bare, r.grouped, r.mergegate} {
		p.stop()
	}
}

// tokens are how many merge checks are made before the clock starts, each with its own
// token. After that many they come round again.
const tokens = 16_000

// prepare starts every program and has it know the pull requests that are asked about.
func (r *runner) prepare(ctx context.Context) (err error) {
	fmt.Fprintf(os.Stderr, "signing %d tokens, starting programs\n", 2*tokens)
	if r.pushed, err = r.world.mergeChecks(tokens, "on-code-pushed"); err != nil {
		return err
	}
	if r.merged, err = r.world.mergeChecks(tokens, "on-merge"); err != nil {
		return err
	}
	if err := r.database.exec(ctx, "postgres", "CREATE DATABASE bare", "CREATE DATABASE mergegate"); err != nil {
		return err
	}
	if err := r.database.exec(ctx, "bare", bareSchema); err != nil {
		return err
	}
	if err := r.database.exec(ctx, "bare", r.bareBuilds()...); err != nil {
		return err
	}
	if r.bare, err = startBare(ctx, r.folder, r.database, r.world, "bare"); err != nil {
		return err
	}
	if r.grouped, err = startBare(ctx, r.folder, r.database, r.world, grouping); err != nil {
		return err
	}
	if r.mergegate, err = startMergegate(ctx, r.program, r.folder, r.database, r.world, ""); err != nil {
		return err
	}
	if err := r.mergegate.readToken(ctx); err != nil {
		return err
	}
	if err := r.seed(ctx); err != nil {
		return err
	}
	return r.warm(ctx)
}

// warm asks about each pull request once on every connection that programs have, since what
// is new of a pull request is recorded then, and each connection plans its statements.
func (r *runner) warm(ctx context.Context) error {
	list := r.pushed[:len(r.world.asked)]
	for _, p := range []*program{r.mergegate, r.bare, r.grouped} {
		for range 2 {
			if l := drive(ctx, p.address, 16, once(list), time.Minute, passed); l.answered < len(list) {
				return fmt.Errorf("%s: only %d of %d merge checks passed: %s", p.name, l.answered, len(list), l.why)
			}
		}
	}
	return errors.Join(r.database.exec(ctx, "bare", "VACUUM ANALYZE"), r.database.exec(ctx, "mergegate", "VACUUM ANALYZE"))
}

func (r *runner) bareBuilds() (list []string) {
	for _, p := range r.world.asked {
		list = append(list, fmt.Sprintf(`INSERT INTO builds VALUES ('b7ea02c9-0871-4858-a2a6-a190d7de977c', '%s', %d, '%s', %d, 1, '%s/%s', 'success', '%s', 'main', '%s', now(), now())`,
			p.uuid, p.id, p.head, p.build.ID, account, p.project, p.build.Version, fmt.Sprintf("https://ci.appveyor.com/project/%s/%s/builds/%d", account, p.project, p.build.ID)))
	}
	return list
}

// seed has the builds of the pull requests that are asked about come in and be confirmed.
func (r *runner) seed(ctx context.Context) error {
	var list [][]byte
	for _, p := range r.world.asked {
		list = append(list, r.world.webhook(p.build))
	}
	if l := drive(ctx, r.mergegate.address, 8, once(list), time.Minute, accepted); l.answered < len(list) {
		return fmt.Errorf("only %d of %d webhooks were accepted: %s", l.answered, len(list), l.why)
	}
	if err := r.settle(ctx, 3*time.Minute); err != nil {
		return err
	}
	n, err := r.database.number(ctx, "mergegate", `SELECT count(*)::float8 FROM builds WHERE state = 'success'`)
	if err == nil && int(n) != len(list) {
		err = fmt.Errorf("mergegate has %g builds of %d: look at %s", n, len(list), r.mergegate.output)
	}
	return err
}

// settle waits until no delivery is pending.
func (r *runner) settle(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		n, err := r.database.number(ctx, "mergegate", `SELECT count(*)::float8 FROM deliveries WHERE outcome = 'pending'`)
		if err != nil || n == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%g deliveries are pending after %v", n, limit)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// forget drops the deliveries that are pending, so that they are not confirmed under the
// next load.
func (r *runner) forget(ctx context.Context) error {
	if err := r.database.exec(ctx, "mergegate", `DELETE FROM river_job WHERE state IN ('available', 'retryable', 'scheduled') AND kind LIKE '%deliver%'`,
		`UPDATE deliveries SET outcome = 'failed', reason = 'not_found', processed_on = now() WHERE outcome = 'pending'`); err != nil {
		return err
	}
	return r.settle(ctx, 30*time.Second)
}

// note keeps what one load came to, and says it.
func (r *runner) note(name string, connections int, f figures, err error) error {
	if err != nil {
		return fmt.Errorf("%s with %d connections: %w", name, connections, err)
	}
	k := row{name, connections}
	if !slices.Contains(r.rows, k) {
		r.rows = append(r.rows, k)
	}
	r.results[k] = append(r.results[k], f)
	fmt.Fprintf(os.Stderr, "  %-34s %8.0f /s  p50 %6.2f  p99 %7.2f ms  CPU µs %5.0f + %5.0f\n", name, f.rate,
		f.p50.Seconds()*1000, f.p99.Seconds()*1000, f.server, f.postgres)
	return nil
}
