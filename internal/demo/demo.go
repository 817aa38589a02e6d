// Package demo tells the story of a pull request with nothing to sign up for: the service as
// in production, and stand-ins for AppVeyor, Bitbucket and Forge.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/config"
)

// errInterrupted is how the demo ends that was not let to its end.
var errInterrupted = errors.New("interrupted")

// Options are what a demo is told with.
type Options struct {
	Stdout  io.Writer
	Environ config.Environ // DATABASE_URL and NO_COLOR alone count
	Keep    bool           // leave everything running until ctx ends

	bitbucket func() (*bitbuckettest.Server, error) // another stand-in; nil: the usual one
}

// Run tells the story. Its error says what didn't hold.
func Run(ctx context.Context, o Options) error { return tellIn(ctx, o, story) }

// tellIn tells a story of these steps in a world of its own.
func tellIn(ctx context.Context, o Options, steps []step) error {
	page := newPage(o.Stdout, o.Environ)
	page.introduction()
	telling, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	began := time.Now()
	world, err := newWorld(telling, lost, o)
	if err != nil {
		return unlessInterrupted(ctx, err)
	}
	if err = tell(telling, world, page, steps); err == nil {
		page.summary(len(steps), time.Since(began))
		if o.Keep {
			world.keep(telling, page)
		}
	} else {
		err = unlessInterrupted(ctx, err)
	}
	return errors.Join(err, world.stop())
}

// unlessInterrupted keeps quiet about what fails because it was interrupted.
func unlessInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

// tell goes through the steps until one does not hold.
func tell(ctx context.Context, world *world, page *page, steps []step) error {
	s := &tale{world: world, ctx: ctx, page: page}
	page.places(world)
	s.before()
	for i, step := range steps {
		if s.err != nil || page.err != nil {
			break
		}
		s.at = i + 1
		page.heading(s.at, step.title)
		step.tell(s)
	}
	s.violations()
	if s.err == nil && page.err != nil {
		s.err = fmt.Errorf("print: %w", page.err)
	}
	if s.err != nil && !errors.Is(context.Cause(ctx), context.Canceled) {
		page.log(world.lastLog(20))
	}
	return s.err
}

func (p *page) introduction() {
	p.print("%s", p.style(bold, "mergegate: AppVeyor's pull request builds between a Bitbucket pull request and its merge"))
	p.print("")
	p.text("This runs mergegate as in production, with its own database. AppVeyor, Bitbucket and Forge " +
		"are stand-ins on this machine, with real HTTP in between.")
	p.text("→ is a request to mergegate, ← its answer, ✓ a check of this demo. Merge checks carry Forge's signed token, " +
		"webhooks their secret, API requests an API token. Commits and UUIDs are shortened (…).")
}

func (p *page) places(w *world) {
	p.print("")
	p.print("   service    %s", w.url)
	p.print("   database   %s", w.where)
	p.print("   AppVeyor   %s   (stand-in)", w.appveyor.URL)
	p.print("   Bitbucket  %s   (stand-in)", w.bitbucket.URL)
}

func (p *page) log(lines []string) {
	p.print("\n   The end of the service's log:")
	for _, line := range lines {
		p.print("     %s", line)
	}
}

func (p *page) summary(steps int, took time.Duration) {
	p.print("")
	p.text(fmt.Sprintf("%s All %d steps held, in %.1f s. A build result counted only for its own commit, only after AppVeyor "+
		"confirmed it, and only from a trusted account. Nothing unknown passed. The merge check had the answer at the "+
		"moment of merging, and Bitbucket showed it wherever it accepts a commit status.", p.style(green, "✓"), steps, took.Seconds()))
}
