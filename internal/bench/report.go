package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// startUp is how long the program took until it was ready.
type startUp struct {
	with string
	took time.Duration
}

// startUps measures how soon the program is ready: with a database that has its schema, with
// a new one of its own, and with that one again.
func (r *runner) startUps(ctx context.Context) error {
	r.mergegate.stop()
	own := filepath.Join(r.folder, "own")
	for _, one := range []struct{ with, folder string }{
		{"a PostgreSQL elsewhere, which has the schema", ""}, {"a new PostgreSQL of its own", own}, {"that PostgreSQL again", own},
	} {
		start := time.Now()
		p, err := startMergegate(ctx, r.program, r.folder, r.database, r.world, one.folder)
		if err != nil {
			return fmt.Errorf("start with %s: %w", one.with, err)
		}
		r.started = append(r.started, startUp{one.with, time.Since(start)})
		p.stop()
	}
	return nil
}

// ratios are the comparisons that count: what is divided by what.
var ratios = []struct{ what, by string }{
	{check, bareCheck},
	{check, groupedCheck},
	{mergeFresh, bareCheck},
	{groupedCheck, bareCheck},
	{busyCheck, check},
	{ingest, bareIngest},
	{ingest, groupedIngest},
	{groupedIngest, bareIngest},
}

// report is the page of what was measured.
func (r *runner) report(ctx context.Context) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Performance\n\n"+
		"What mergegate costs, measured beside a bare program that does the same essential work: gin, a verified token, one\n"+
		"lookup and one insert for a merge check; one insert for a webhook. *Grouped* is that program with one statement and\n"+
		"one commit for all requests that wait: the least that a durable answer costs. pgbench is PostgreSQL's own limit.\n"+
		"`make bench` measures all of it in one run and writes this page. Only ratios within one run say something on another\n"+
		"machine.\n\n")
	fmt.Fprintf(&b, "Measured on %s at commit %s: %s.\nMedians of %d rounds of %v for each load. Programs, PostgreSQL, stand-ins for AppVeyor, Bitbucket and Forge, and the load\nshare the machine.\n\n",
		time.Now().UTC().Format(time.DateOnly), r.commit, r.machine(ctx), r.rounds, r.duration)
	r.writeRatios(&b)
	r.writeFigures(&b)
	b.WriteString("## Start\n\n| with | ready after |\n|---|---:|\n")
	for _, s := range r.started {
		fmt.Fprintf(&b, "| %s | %d ms |\n", s.with, s.took.Milliseconds())
	}
	fmt.Fprintf(&b, "\nMemory after all loads: %.0f MiB resident, %.0f MiB at most.\n", r.resident, r.most)
	return b.String()
}

func (r *runner) writeRatios(b *strings.Builder) {
	b.WriteString("## Ratios\n\nRequests a second, divided by those of the other in the same run; in parentheses p99.\n\n| |")
	for _, c := range r.connections {
		fmt.Fprintf(b, " %d connections |", c)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(r.connections)) + "\n")
	for _, one := range ratios {
		fmt.Fprintf(b, "| %s ÷ %s |", one.what, one.by)
		for _, c := range r.connections {
			what, by := medians(r.results[row{one.what, c}]), medians(r.results[row{one.by, c}])
			fmt.Fprintf(b, " %.2f (%.1f) |", what.rate/by.rate, what.p99.Seconds()/by.p99.Seconds())
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

func (r *runner) writeFigures(b *strings.Builder) {
	b.WriteString("## Figures\n\nCPU, allocations and write-ahead log are for each request, in the program and in PostgreSQL.\n")
	for _, c := range r.connections {
		fmt.Fprintf(b, "\n### %d connections\n\n| | per second | p50 ms | p99 ms | p99.9 ms | CPU µs program + PostgreSQL | allocations | KiB | log bytes | fsyncs |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n", c)
		for _, k := range r.rows {
			if k.connections != c {
				continue
			}
			f := medians(r.results[k])
			fmt.Fprintf(b, "| %s | %.0f | %s | %s | %s | %.0f + %.0f | %.0f | %.1f | %.0f | %.2f |\n", k.name, f.rate,
				milliseconds(f.p50), milliseconds(f.p99), milliseconds(f.p999), f.server, f.postgres, f.allocations, f.kilobyte, f.logBytes, f.syncs)
		}
	}
	b.WriteString("\n")
}

func milliseconds(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f", d.Seconds()*1000)
}

// machine says what the figures are of.
func (r *runner) machine(ctx context.Context) string {
	model := runtime.GOARCH
	text, _ := os.ReadFile("/proc/cpuinfo") // then the architecture stands for it
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	version, _ := r.database.command(ctx, "postgres", "--version").Output() // it ran
	return fmt.Sprintf("%d cores of %s, %s, %s", runtime.NumCPU(), model, strings.TrimSpace(strings.TrimPrefix(string(version), "postgres ")), runtime.Version())
}
