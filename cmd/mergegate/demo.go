package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"
)

type demoCommand struct {
	Keep bool `help:"Leave everything running afterwards, and print what to try."`
}

// Help explains the demo.
func (demoCommand) Help() string {
	return `Runs the service as in production, with stand-ins for AppVeyor, Bitbucket and Forge on this machine,
and shows a pull request from its first push to its merge: every request, every answer, and what
Bitbucket shows. It needs no account and no configuration, and leaves nothing behind.

The service runs a PostgreSQL of its own in a temporary folder. With DATABASE_URL it uses that
server instead, in a database made for the demo and dropped at the end.

It ends with 0 only if everything held that had to.

Examples:
  mergegate demo
  mergegate demo --keep`
}

// Run tells the story.
func (d demoCommand) Run(p *program) error {
	// A terminal that closes, and "mergegate demo | head", must not leave a
	// database or a folder behind.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(p.ctx, syscall.SIGHUP)
	defer stop()
	return runDemo(ctx, p, demoSteps, d.Keep)
}

// errInterrupted is how the demo ends that was not let to its end.
var errInterrupted = errors.New("interrupted")

// runDemo tells a story of these steps in a world of its own.
func runDemo(ctx context.Context, p *program, steps []demoStep, keep bool) error {
	page := newDemoPage(p.stdout, p.getenv)
	page.introduction()
	story, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	began := time.Now()
	world, err := newDemoWorld(story, lost, p.getenv)
	if err != nil {
		return unlessInterrupted(ctx, err)
	}
	if err = tellDemo(story, world, page, steps); err == nil {
		page.summary(len(steps), time.Since(began))
		if keep {
			world.keep(story, page)
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

// tellDemo goes through the steps until one does not hold.
func tellDemo(ctx context.Context, world *demoWorld, page *demoPage, steps []demoStep) error {
	s := &demoTale{demoWorld: world, ctx: ctx, page: page}
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

func (p *demoPage) introduction() {
	p.print("%s", p.style(bold, "mergegate: AppVeyor's pull request builds between a Bitbucket pull request and its merge"))
	p.print("")
	p.text("This is the service as in production, with a database of its own. AppVeyor, Bitbucket and Forge " +
		"are stand-ins on this machine, with real HTTP in between.")
	p.text("→ is what the service is asked, ← its answer, ✓ what had to hold. Merge checks bring Forge's signed token, " +
		"webhooks their secret, requests to the API a token of its own. Commits and UUIDs are shortened (…).")
}

func (p *demoPage) places(w *demoWorld) {
	p.print("")
	p.print("   service    %s", w.url)
	p.print("   database   %s", w.where)
	p.print("   AppVeyor   %s   (stand-in)", w.appveyor.URL)
	p.print("   Bitbucket  %s   (stand-in, held to Atlassian's OpenAPI document)", w.bitbucket.URL)
}

func (p *demoPage) log(lines []string) {
	p.print("\n   The end of the service's log:")
	for _, line := range lines {
		p.print("     %s", line)
	}
}

func (p *demoPage) summary(steps int, took time.Duration) {
	p.print("")
	p.text(fmt.Sprintf("%s All %d steps held, in %.1f s: a build result counted only for the commit it was of, only once "+
		"AppVeyor itself had confirmed it, and only from an account that may speak for the repository; what was not "+
		"known was never a pass. The merge check had the answer at the moment of merging, and Bitbucket showed it "+
		"wherever a commit status can be posted.", p.style(green, "✓"), steps, took.Seconds()))
}
