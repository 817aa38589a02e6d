// Package cli is the command line: what each command is called, takes and prints.
//
//	code := cli.Run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"mergegate/internal/app"
	"mergegate/internal/config"
	"mergegate/internal/terminal"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // usage or configuration
)

// errTold says that what failed is in what the command printed.
var errTold = errors.New("failed as printed")

// usageError is a fault of whoever called: wrong arguments.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// program is what every command gets.
type program struct {
	ctx     context.Context //nolint:containedctx // kong passes values to commands, not arguments
	environ config.Environ
	stdout  io.Writer
	stderr  io.Writer
}

type commands struct {
	Serve    serveCommand    `cmd:"" help:"Run the service: migrate, serve HTTP, run background jobs, drain on SIGTERM"`
	Init     initCommand     `cmd:"" help:"Write a configuration, and print what to paste into AppVeyor, Bitbucket and Forge"`
	Demo     demoCommand     `cmd:"" help:"Show a pull request from push to merge, with nothing to sign up for"`
	Migrate  migrateCommand  `cmd:"" help:"Apply, roll back or list database migrations"`
	Token    tokenCommand    `cmd:"" help:"Create, list and revoke API tokens"`
	Projects projectsCommand `cmd:"" help:"List, forget and backfill AppVeyor projects"`
	Policy   policyCommand   `cmd:"" help:"Show, validate, apply and simulate the merge policy"`

	Explain    explainCommand    `cmd:"" help:"Explain a pull request's verdict"`
	Builds     buildsCommand     `cmd:"" help:"List and show pull request builds"`
	Decisions  decisionsCommand  `cmd:"" help:"List the answers of merge checks"`
	Stats      statsCommand      `cmd:"" help:"Show statistics of a repository's builds and merge checks"`
	Waive      waiveCommand      `cmd:"" help:"Waive the check: let a pull request merge without a passing build"`
	Rebuild    rebuildCommand    `cmd:"" help:"Ask AppVeyor to build a pull request again"`
	Deliveries deliveriesCommand `cmd:"" help:"List and replay what AppVeyor, Forge and Bitbucket sent"`
	Statuses   statusesCommand   `cmd:"" help:"List and retry commit statuses on Bitbucket"`

	Healthcheck healthcheckCommand `cmd:"" help:"Check that the service on this machine is up; for container health checks"`
	Doctor      doctorCommand      `cmd:"" help:"Test the configuration, and say what to do about each fault"`
	Completion  completionCommand  `cmd:"" help:"Print a completion script for a shell"`
	Version     versionCommand     `cmd:"" help:"Print the version, commit and date; so does mergegate --version"`
}

const description = `mergegate puts AppVeyor's pull request builds between a Bitbucket Cloud pull request and its merge.

Configuration is read from the environment; README.md lists every variable.

Examples:
  mergegate demo
  mergegate init
  MERGEGATE_APPVEYOR_ACCOUNTS=acme=acme-team MERGEGATE_APPVEYOR_WEBHOOK_SECRET_FILE=/run/secrets/hook mergegate serve
  mergegate token create --name dashboard --scope read --expires 90d`

// Run is the program without the process around it, and returns its exit code.
func Run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) (code int) {
	stdout, stderr = terminal.Printable(stdout), terminal.Printable(stderr)
	type exited int
	defer func() { // --help prints and leaves
		if value := recover(); value != nil {
			status, ok := value.(exited)
			if !ok {
				panic(value)
			}
			code = int(status)
		}
	}()
	parser, err := kong.New(&commands{}, kong.Name("mergegate"), kong.Description(description),
		kong.Writers(stdout, stderr), kong.Exit(func(status int) { panic(exited(status)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}))
	if err != nil {
		panic(err) // the commands above contradict themselves
	}
	if len(args) == 1 && args[0] == "--version" {
		args = []string{"version"} // a flag of every command would be in the way of policy show --version
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		var wrong *kong.ParseError
		if errors.As(err, &wrong) {
			parsed = wrong.Context
		}
		return report(stderr, parsed, usageError{err})
	}
	if err := checkGiven(parsed); err != nil {
		return report(stderr, parsed, err)
	}
	return report(stderr, parsed, parsed.Run(&program{ctx: ctx, environ: environ, stdout: stdout, stderr: stderr}))
}

// checkGiven refuses options that are given and empty, or 0: an unset variable of a
// shell would else do for everything what was meant for one thing.
func checkGiven(parsed *kong.Context) error {
	for _, given := range parsed.Path {
		if given.Flag == nil {
			continue
		}
		switch value := parsed.FlagValue(given.Flag).(type) {
		case string:
			if strings.TrimSpace(value) == "" {
				return usageError{fmt.Errorf("--%s is empty: give it a value, or leave it out", given.Flag.Name)}
			}
		case int64, int:
			if fmt.Sprint(value) == "0" {
				return usageError{fmt.Errorf("--%s is not a number from 1 up", given.Flag.Name)}
			}
		}
	}
	return nil
}

// report prints an error and answers the exit code. Who called wrongly is shown the help of
// the command, as far as one was named.
func report(stderr io.Writer, parsed *kong.Context, err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errTold):
		return exitFailed
	}
	fmt.Fprintf(stderr, "mergegate: %v\n", err)
	switch {
	case errors.As(err, new(usageError)):
		fmt.Fprintf(stderr, "Try %s --help.\n", strings.Join(append([]string{"mergegate"}, named(parsed)...), " "))
		return exitUsage
	case errors.As(err, new(config.Error)):
		return exitUsage
	default:
		return exitFailed
	}
}

// named are the words of the command that was called, as far as they are right.
func named(parsed *kong.Context) (words []string) {
	if parsed == nil {
		return nil
	}
	for _, step := range parsed.Path {
		if step.Command != nil {
			words = append(words, step.Command.Name)
		}
	}
	return words
}

type versionCommand struct{}

// Run prints the version, and what it was built of.
func (versionCommand) Run(p *program) error {
	b := app.ReadBuild()
	_, err := fmt.Fprintf(p.stdout, "mergegate %s\ncommit    %s\ndate      %s\n", b.Version, b.Commit, b.Date)
	return err
}
