// Package doctor examines a configuration and what it leads to.
package doctor

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

	"mergegate/internal/app"
	"mergegate/internal/config"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// ExternalTimeout is how long each call to another system may take.
const ExternalTimeout = 5 * time.Second

// States of a check.
const (
	OK      = "ok"
	Warning = "warning"
	Fault   = "fault"
)

// Finding is what a check found.
type Finding struct {
	Check  string `json:"check"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

// doctor examines one configuration.
type doctor struct {
	Options
	cfg      config.Config
	log      *slog.Logger
	http     *http.Client
	findings []Finding

	remotes *app.Remotes    // nil where they can't be configured
	store   *postgres.Store // nil where the database can't be used
	// repositories are those to try Bitbucket's credential with, by workspace: of
	// those known, else of AppVeyor's projects.
	repositories map[string]string
	clocks       []clock
}

// Options say what to examine.
type Options struct {
	Environ config.Environ
	Stderr  io.Writer     // for the log; errors alone
	Show    func(Finding) // told of each as it is found; nil: nobody is
	// Commit is WORKSPACE/REPO where a commit status is posted too, on the commit SHA; "" posts none.
	Commit, SHA string
}

// Examine runs every check: one that fails keeps no other from running.
func Examine(ctx context.Context, o Options) []Finding {
	d := &doctor{Options: o, repositories: map[string]string{}, http: &http.Client{
		Timeout: ExternalTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	d.checkConfiguration()
	d.log = app.NewLogger(d.cfg, o.Stderr, slog.LevelError)
	d.withDatabase(ctx, func(url string) {
		d.checkDatabase(ctx, url)
		d.openStore(ctx, url)
		if d.store != nil {
			defer d.store.Close()
		}
		d.checkAppVeyor(ctx)
		d.checkPublicURL(ctx)
		d.checkBitbucket(ctx)
		d.checkForge(ctx)
		d.checkClocks()
		d.checkRetention()
		d.checkCommitStatus(ctx)
	})
	return d.findings
}

func (d *doctor) ok(check, format string, args ...any) {
	d.add(Finding{Check: check, State: OK, Detail: fmt.Sprintf(format, args...)})
}

func (d *doctor) warn(check, detail, fix string) {
	d.add(Finding{Check: check, State: Warning, Detail: detail, Fix: fix})
}

func (d *doctor) fault(check, detail, fix string) {
	d.add(Finding{Check: check, State: Fault, Detail: detail, Fix: fix})
}

// longestDetail is room for what others answered, and for a list of names.
const longestDetail = 1000

func (d *doctor) add(f Finding) {
	for _, text := range []*string{&f.Check, &f.Detail, &f.Fix} {
		*text = mergecheck.OneLine(*text, longestDetail)
	}
	d.findings = append(d.findings, f)
	if d.Show != nil {
		d.Show(f)
	}
}

// checkConfiguration reads the environment. With faults in it the rest is looked
// at with what could be read.
func (d *doctor) checkConfiguration() {
	const check = "configuration"
	var err error
	d.cfg, err = config.Load(d.Environ)
	var wrong config.Faults
	switch {
	case errors.As(err, &wrong):
		for _, one := range wrong {
			d.fault(check, one, "correct the variable; README.md says what it means")
		}
	case err != nil:
		d.fault(check, err.Error(), "correct the variable; README.md says what it means")
	}
	if remotes, remotesErr := app.NewRemotes(d.cfg); remotesErr == nil {
		d.remotes = &remotes
	} else if err == nil {
		err = remotesErr
		d.fault(check, err.Error(), "correct the variable; README.md says what it means")
	}
	if err == nil {
		d.ok(check, "every variable can be read")
	}
	d.checkWebhookSecrets()
}

// checkWebhookSecrets warns of secrets with which one workspace could speak for
// another.
func (d *doctor) checkWebhookSecrets() {
	workspaces := map[string]bool{}
	for _, mapped := range d.cfg.Accounts {
		for _, workspace := range mapped {
			workspaces[workspace] = true
		}
	}
	shared := slices.ContainsFunc(d.cfg.BitbucketSecrets, func(s config.WebhookSecret) bool { return s.Workspace == "" })
	if shared && len(workspaces) > 1 {
		d.warn("webhook secrets", fmt.Sprintf("a Bitbucket webhook secret speaks for all %d workspaces", len(workspaces)),
			"give each workspace its own: MERGEGATE_BITBUCKET_WEBHOOK_SECRET=workspace=secret,…")
	}
}

// checkRetention tells what is kept for how long.
func (d *doctor) checkRetention() {
	const check = "retention"
	deliveries, bounded := d.cfg.Retention["deliveries"]
	switch {
	case !bounded:
		d.warn(check, "deliveries are kept for good, and hold e-mail addresses and signed links", "set MERGEGATE_RETENTION, such as deliveries=30d,decisions=400d")
	case deliveries > 366*24*time.Hour:
		d.warn(check, "deliveries are kept for more than a year, and hold e-mail addresses and signed links", "set a shorter MERGEGATE_RETENTION")
	default:
		d.ok(check, "kept is what MERGEGATE_RETENTION says: %s", d.cfg.Environment.Retention)
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
