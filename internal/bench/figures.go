package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// figures are those of one load, for each request where that makes sense. Zero: not measured.
type figures struct {
	rate                  float64 // answers a second
	p50, p99, p999        time.Duration
	server, postgres      float64 // µs of CPU
	allocations, kilobyte float64 // objects and KiB that the program allocated
	logBytes, syncs       float64 // of PostgreSQL's write-ahead log
}

// meter measures one load on one program.
type meter struct {
	database *database
	program  *program
}

// state is what is read before and after a load.
type state struct {
	server, postgres time.Duration
	objects, bytes   float64
	log              log
}

func (m meter) read(ctx context.Context) (s state, err error) {
	if m.program != nil {
		if s.objects, err = m.program.counter(ctx, "go_memstats_mallocs_total"); err != nil {
			return s, err
		}
		if s.bytes, err = m.program.counter(ctx, "go_memstats_alloc_bytes_total"); err != nil {
			return s, err
		}
		s.server, _, _ = cpuOf(m.program.pid())
	}
	s.log, err = m.database.log(ctx)
	s.postgres = treeCPU(m.database.pid)
	return s, err
}

// measure has a load done, and divides what it took by what was answered.
func (m meter) measure(ctx context.Context, do func() (load, error)) (figures, error) {
	before, err := m.read(ctx)
	if err != nil {
		return figures{}, err
	}
	l, err := do()
	if err != nil {
		return figures{}, err
	}
	after, err := m.read(ctx)
	if err != nil {
		return figures{}, err
	}
	if l.answered == 0 || l.refused > l.answered/100 {
		return figures{}, fmt.Errorf("%d answered as expected, %d otherwise, such as %s", l.answered, l.refused, l.why)
	}
	n := float64(l.answered)
	f := figures{
		rate: n / l.wall.Seconds(), p50: l.percentile(.5), p99: l.percentile(.99), p999: l.percentile(.999),
		postgres: float64((after.postgres - before.postgres).Microseconds()) / n,
		logBytes: (after.log.bytes - before.log.bytes) / n, syncs: (after.log.syncs - before.log.syncs) / n,
	}
	if m.program != nil {
		f.server = float64((after.server - before.server).Microseconds()) / n
		f.allocations, f.kilobyte = (after.objects-before.objects)/n, (after.bytes-before.bytes)/n/1024
	}
	return f, nil
}

// medians takes the median of each figure: those of one load in different rounds.
func medians(list []figures) figures {
	return figures{
		rate: median(list, func(f figures) float64 { return f.rate }),
		p50:  median(list, func(f figures) time.Duration { return f.p50 }), p99: median(list, func(f figures) time.Duration { return f.p99 }),
		p999:   median(list, func(f figures) time.Duration { return f.p999 }),
		server: median(list, func(f figures) float64 { return f.server }), postgres: median(list, func(f figures) float64 { return f.postgres }),
		allocations: median(list, func(f figures) float64 { return f.allocations }), kilobyte: median(list, func(f figures) float64 { return f.kilobyte }),
		logBytes: median(list, func(f figures) float64 { return f.logBytes }), syncs: median(list, func(f figures) float64 { return f.syncs }),
	}
}

func median[T cmp.Ordered](list []figures, of func(figures) T) T {
	values := make([]T, len(list))
	for i, f := range list {
		values[i] = of(f)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
