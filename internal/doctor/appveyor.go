package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"mergegate/internal/app"
	"mergegate/internal/appveyor"
	"mergegate/internal/terminal"
)

// tokenForm is what AppVeyor's tokens look like: those of an account, and those of
// a user, which begin with v2.
var tokenForm = regexp.MustCompile(`^(v2\.)?[a-z0-9]{20}$`)

func (d *doctor) checkAppVeyor(ctx context.Context) {
	const check = "appveyor"
	d.checkAppVeyorReached(ctx)
	if !hasDot(d.cfg.AppVeyorURL) {
		d.warn(check+" url", "the host of MERGEGATE_APPVEYOR_URL has no dot: Bitbucket refuses commit statuses that link to it", "use AppVeyor's full host name")
	}
	if len(d.cfg.Accounts) == 0 {
		d.fault(check+" accounts", "no AppVeyor account is mapped to a workspace, so no build counts", "set MERGEGATE_APPVEYOR_ACCOUNTS=account=workspace")
	}
	if len(d.cfg.AppVeyorSecrets) == 0 {
		d.warn(check+" webhook secret", "MERGEGATE_APPVEYOR_WEBHOOK_SECRET is not set: /webhooks/appveyor answers 404", "set it, and the same in AppVeyor's notification as Authorization: Bearer SECRET")
	} else {
		d.ok(check+" webhook secret", "%s valid", terminal.Counted(len(d.cfg.AppVeyorSecrets), "secret"))
	}
	for _, account := range slices.Sorted(maps.Keys(d.cfg.Accounts)) {
		d.checkAccount(ctx, account)
	}
	for _, account := range slices.Sorted(maps.Keys(d.cfg.AppVeyorTokens)) {
		if _, trusted := d.cfg.Accounts[account]; account != "" && !trusted {
			d.warn(check+" account "+account, "there is a token for the account, but it is not trusted", "add "+account+"=WORKSPACE to MERGEGATE_APPVEYOR_ACCOUNTS, or take the token out")
		}
	}
}

// checkAppVeyorReached asks without a token, for any answer.
func (d *doctor) checkAppVeyorReached(ctx context.Context) {
	const check = "appveyor"
	asked := time.Now()
	_, on, err := d.ask(ctx, http.MethodGet, strings.TrimSuffix(d.cfg.AppVeyorURL, "/")+"/api/projects")
	if err != nil {
		d.fault(check, d.cfg.AppVeyorURL+" does not answer: "+reason(err), "let this machine reach it by HTTPS, through HTTPS_PROXY where there is a proxy")
		return
	}
	d.heard("AppVeyor", on, asked)
	d.ok(check, "%s answers", d.cfg.AppVeyorURL)
}

// ask makes a request without a body or credential, and answers the status and the
// other side's clock, zero where it wasn't told.
func (d *doctor) ask(ctx context.Context, method, target string) (status int, on time.Time, err error) {
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return 0, on, err
	}
	req.Header.Set("User-Agent", "mergegate/"+app.Version)
	res, err := d.http.Do(req)
	if err != nil {
		return 0, on, err
	}
	on, _ = http.ParseTime(res.Header.Get("Date"))
	return res.StatusCode, on, res.Body.Close()
}

// checkAccount asks for the projects of a trusted account with its token.
func (d *doctor) checkAccount(ctx context.Context, account string) {
	check := "appveyor account " + account
	token, own := d.cfg.AppVeyorTokens[account]
	if !own {
		token = d.cfg.AppVeyorTokens[""]
	}
	switch {
	case token == "":
		d.warn(check, "there is no token for it: mergegate can't confirm builds of private projects, nor start builds", "set MERGEGATE_APPVEYOR_TOKEN to "+account+"=TOKEN, from AppVeyor's My Profile, API keys")
		return
	case !tokenForm.MatchString(token):
		d.warn(check+" token", "the token has not the form of AppVeyor's: 20 letters and digits, with v2. before them for a user's token", "copy it again from My Profile, API keys")
	}
	if d.remotes == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ExternalTimeout)
	defer cancel()
	projects, err := d.remotes.AppVeyor.Projects(ctx, account)
	if err != nil {
		d.accountRefused(check, account, err)
		return
	}
	var names, elsewhere []string
	for _, p := range projects {
		switch {
		case !strings.EqualFold(p.Project.Account, account):
			d.fault(check, "the token is of account "+p.Project.Account, "make a token in account "+account+", or use a user's, which begins with v2.")
			return
		case p.IsBitbucket():
			names = append(names, p.Project.Slug+" of "+p.RepositoryName)
			d.learnRepository(account, p)
			if !d.mapped(account, p) {
				elsewhere = append(elsewhere, p.RepositoryName)
			}
		}
	}
	if len(names) == 0 {
		d.warn(check, "the token is accepted, but no project of the account builds a Bitbucket Cloud repository", "add one on AppVeyor, or see that the user of the token may see it")
		return
	}
	if len(elsewhere) == len(names) {
		d.fault(check, fmt.Sprintf("its projects build %s, but MERGEGATE_APPVEYOR_ACCOUNTS maps it to %s: none of its builds counts",
			strings.Join(elsewhere, ", "), strings.Join(d.cfg.Accounts[account], ", ")), "map the account to the workspace of these repositories")
		return
	}
	d.ok(check, "the token is accepted; %s: %s", terminal.Counted(len(names), "Bitbucket project"), strings.Join(names, ", "))
}

func (d *doctor) accountRefused(check, account string, err error) {
	var refused *appveyor.Error
	if errors.As(err, &refused) && refused.Kind != appveyor.Temporary {
		d.fault(check, "AppVeyor does not accept the token: "+refused.Reason, "make another under My Profile, API keys, by a user who may see the projects of "+account)
		return
	}
	d.fault(check, err.Error(), "a token that begins with v2. is for accounts the user belongs to, one that doesn't for one account; else try again later")
}

// mapped reports whether a project's repository may be in a workspace that the account is
// trusted for. Of a workspace that is named by UUID, the repository's name doesn't tell.
func (d *doctor) mapped(account string, p appveyor.ListedProject) bool {
	workspace, _, _ := strings.Cut(p.RepositoryName, "/")
	return d.cfg.Accounts.NeedsUUID(account) || d.cfg.Accounts.Names(account, workspace)
}

// learnRepository notes a repository of a workspace that the account is trusted
// for, to try Bitbucket's credential with where none is known yet.
func (d *doctor) learnRepository(account string, p appveyor.ListedProject) {
	workspace, _, found := strings.Cut(strings.ToLower(p.RepositoryName), "/")
	if !found || !slices.Contains(d.cfg.Accounts[account], workspace) {
		return
	}
	if _, known := d.repositories[workspace]; !known {
		d.repositories[workspace] = p.RepositoryName
	}
}

// checkPublicURL asks for the service where others do.
func (d *doctor) checkPublicURL(ctx context.Context) {
	const check = "public url"
	public := strings.TrimSuffix(d.cfg.PublicURL, "/")
	switch {
	case public == "":
		d.warn(check, "MERGEGATE_PUBLIC_URL is not set: links use the address of each request, and doctor can't test that address", "set it to the service's address, such as https://gate.example.com")
		return
	case !hasDot(public):
		d.fault(check, "the host of "+public+" has no dot: Bitbucket and Atlassian take no such host", "give the service a full name, such as gate.example.com")
	case !strings.HasPrefix(public, "https://"):
		d.fault(check, public+" is not https: secrets would travel in the clear, and Forge calls nothing else", "serve it behind a reverse proxy with TLS, and write https:// in MERGEGATE_PUBLIC_URL")
	}
	status, _, err := d.ask(ctx, http.MethodGet, public+"/healthz")
	switch {
	case err != nil:
		d.fault(check, public+" does not answer: "+reason(err), "start mergegate serve, and check DNS, proxy and certificate of this address")
		return
	case status != http.StatusOK:
		d.fault(check, fmt.Sprintf("%s/healthz answered %d", public, status), "route this address to mergegate, without a redirect or a login")
		return
	}
	d.ok(check, "the service answers at %s, as seen from this machine", public)
	d.checkRoute(ctx, "webhook of appveyor", public+"/webhooks/appveyor", len(d.cfg.AppVeyorSecrets) > 0, "MERGEGATE_APPVEYOR_WEBHOOK_SECRET")
	d.checkRoute(ctx, "webhook of bitbucket", public+"/webhooks/bitbucket", len(d.cfg.BitbucketSecrets) > 0, "MERGEGATE_BITBUCKET_WEBHOOK_SECRET")
	d.checkRoute(ctx, "merge check", public+"/forge/merge-check", len(d.cfg.ForgeAppIDs) > 0, "MERGEGATE_FORGE_APP_ID")
}

// checkRoute expects a route to want a secret.
func (d *doctor) checkRoute(ctx context.Context, check, target string, configured bool, variable string) {
	if !configured {
		return
	}
	status, _, err := d.ask(ctx, http.MethodPost, target)
	switch {
	case err != nil:
		d.fault(check, target+" does not answer: "+reason(err), "let requests with POST through to the service")
	case status == http.StatusUnauthorized:
		d.ok(check, "%s answers, and rejects requests without the secret", target)
	case status == http.StatusNotFound:
		d.fault(check, target+" answered 404", "start the service with "+variable+", as it is here")
	default:
		d.fault(check, fmt.Sprintf("%s answered %d to a request without a secret, not 401", target, status), "find what answers instead of mergegate, such as a proxy or a login page")
	}
}
