package cli

import (
	"os/signal"
	"syscall"

	"mergegate/internal/demo"
)

type demoCommand struct {
	Keep bool `help:"Keep everything running afterwards, and print what to try"`
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
	return demo.Run(ctx, demo.Options{Stdout: p.stdout, Environ: p.environ, Keep: d.Keep})
}
