package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/server"
)

type doctorCommand struct {
	Commit string `placeholder:"WORKSPACE/REPO" help:"Also post a commit status there, on the commit SHA."`
	SHA    string `arg:"" optional:"" name:"sha" help:"With --commit: the full hash of the commit."`
	JSON   bool   `name:"json" help:"As an array of checks, for programs."`
}

// Help explains what is done, and what stays of it.
func (doctorCommand) Help() string {
	return `Tests what mergegate is configured with, the way serve would use it: run it with the
same environment. Each check is ok, a warning or a fault, and says what to do. The exit
code is 1 where there is a fault.

Nothing is changed, with one exception: --commit posts a successful commit status with
the key mergegate-doctor. Bitbucket cannot delete a status, so that it stays, and counts
for "minimum number of successful builds": name a commit that no pull request ends in.

Examples:
  mergegate doctor
  mergegate doctor --json | jq '.[] | select(.state != "ok")'
  mergegate doctor --commit acme/widgets 9c1ab7e3b0a4d7e6f1f53c6b0a6c1de2f3a4b5c6`
}

// externalTimeout is how long each call to another system may take.
const externalTimeout = 5 * time.Second

// States of a check.
const (
	healthy = "ok"
	warning = "warning"
	fault   = "fault"
)

// finding is what a check found.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

// doctor examines one configuration.
type doctor struct {
	cfg      config
	getenv   func(string) string
	http     *http.Client
	show     io.Writer // nil: nothing is shown as it is found
	findings []finding

	remotes *remotes        // nil where they can't be configured
	store   *postgres.Store // nil where the database can't be used
	// repositories are those to try Bitbucket's credential with, by workspace: of
	// those known, else of AppVeyor's projects.
	repositories map[string]string
	clocks       []clock
}

// Run examines the configuration and what it leads to.
func (c doctorCommand) Run(p *program) error {
	if (c.Commit == "") != (c.SHA == "") {
		return usageError{errors.New("name the repository and the commit: doctor --commit acme/widgets SHA")}
	}
	if c.Commit != "" {
		if _, err := repositoryPath(c.Commit); err != nil {
			return err
		}
		if !mergecheck.IsFullCommit(c.SHA) {
			return usageError{errors.New("the commit is not a hash of 40 characters")}
		}
	}
	d := &doctor{
		getenv: p.getenv, repositories: map[string]string{},
		http: &http.Client{Timeout: externalTimeout, CheckRedirect: dontRedirect},
	}
	if !c.JSON {
		d.show = p.stdout
	}
	d.examine(p.ctx, c, newLogger(d.cfg, p.stderr, slog.LevelError))
	if c.JSON {
		if err := writeJSON(p.stdout, d.findings); err != nil {
			return err
		}
	}
	return d.verdict()
}

// examine runs every check: one that fails keeps no other from running.
func (d *doctor) examine(ctx context.Context, c doctorCommand, log *slog.Logger) {
	d.checkConfiguration()
	d.withDatabase(ctx, log, func(url string) {
		d.checkDatabase(ctx, url)
		d.openStore(ctx, url)
		if d.store != nil {
			defer d.store.Close()
		}
		d.checkAppVeyor(ctx)
		d.checkPublicURL(ctx)
		d.checkBitbucket(ctx, log)
		d.checkForge(ctx)
		d.checkClocks()
		d.checkRetention()
		d.checkCommitStatus(ctx, c, log)
	})
}

// verdict is an error where there is a fault.
func (d *doctor) verdict() error {
	faults := 0
	for _, f := range d.findings {
		if f.State == fault {
			faults++
		}
	}
	if faults > 0 {
		return fmt.Errorf("%s found", counted(faults, "fault"))
	}
	return nil
}

func (d *doctor) ok(check, format string, args ...any) {
	d.add(finding{Check: check, State: healthy, Detail: fmt.Sprintf(format, args...)})
}

func (d *doctor) warn(check, detail, fix string) {
	d.add(finding{Check: check, State: warning, Detail: detail, Fix: fix})
}

func (d *doctor) fault(check, detail, fix string) {
	d.add(finding{Check: check, State: fault, Detail: detail, Fix: fix})
}

// longestDetail is room for what others answered, and for a list of names.
const longestDetail = 1000

func (d *doctor) add(f finding) {
	for _, text := range []*string{&f.Check, &f.Detail, &f.Fix} {
		*text = mergecheck.OneLine(*text, longestDetail)
	}
	d.findings = append(d.findings, f)
	if d.show == nil {
		return
	}
	fmt.Fprintf(d.show, "%-8s %s: %s\n", f.State, f.Check, f.Detail)
	if f.Fix != "" {
		fmt.Fprintf(d.show, "         to do: %s\n", f.Fix)
	}
}

// checkConfiguration reads the environment. With faults in it the rest is looked
// at with what could be read.
func (d *doctor) checkConfiguration() {
	const check = "configuration"
	var err error
	d.cfg, err = loadConfig(d.getenv)
	var wrong faults
	switch {
	case errors.As(err, &wrong):
		for _, one := range wrong {
			d.fault(check, one, "correct the variable; README.md says what it means")
		}
	case err != nil:
		d.fault(check, err.Error(), "correct the variable; README.md says what it means")
	}
	remotes, remotesErr := newRemotes(d.cfg)
	if remotesErr == nil {
		d.remotes = &remotes
	} else {
		d.fault(check, remotesErr.Error(), "set one credential for Bitbucket, or none where the Forge app is installed")
	}
	if err == nil && remotesErr == nil {
		d.ok(check, "every variable can be read")
	}
	d.checkWebhookSecrets()
}

// checkWebhookSecrets warns of secrets with which one workspace could speak for
// another.
func (d *doctor) checkWebhookSecrets() {
	workspaces := map[string]bool{}
	for _, mapped := range d.cfg.accounts {
		for _, workspace := range mapped {
			workspaces[workspace] = true
		}
	}
	shared := slices.ContainsFunc(d.cfg.bitbucketSecrets, func(s server.BitbucketSecret) bool { return s.Workspace == "" })
	if shared && len(workspaces) > 1 {
		d.warn("webhook secrets", fmt.Sprintf("a Bitbucket webhook secret speaks for all %d workspaces", len(workspaces)),
			"give each workspace its own: MERGEGATE_BITBUCKET_WEBHOOK_SECRET=workspace=secret,…")
	}
}

// checkRetention tells what is kept for how long.
func (d *doctor) checkRetention() {
	const check = "retention"
	deliveries, bounded := d.cfg.retention["deliveries"]
	switch {
	case !bounded:
		d.warn(check, "deliveries are kept for good, and hold e-mail addresses and signed links", "set MERGEGATE_RETENTION, such as deliveries=30d,decisions=400d")
	case deliveries > 366*24*time.Hour:
		d.warn(check, "deliveries are kept for more than a year, and hold e-mail addresses and signed links", "set a shorter MERGEGATE_RETENTION")
	default:
		d.ok(check, "kept is what MERGEGATE_RETENTION says: %s", d.cfg.Retention)
	}
}

// reason is an error of a call without the address, which the check names.
func reason(err error) string {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return err.Error()
}

// hasDot reports whether a URL's host has a dot: Bitbucket takes no other for a
// status, and Forge reaches no other.
func hasDot(text string) bool {
	u, err := url.Parse(text)
	return err == nil && strings.Contains(u.Hostname(), ".")
}
