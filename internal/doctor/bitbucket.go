package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"mergegate/internal/app"
	"mergegate/internal/apptokens"
	"mergegate/internal/bitbucket"
	"mergegate/internal/config"
	"mergegate/internal/policy"
	"mergegate/internal/terminal"
)

// workspace is one that Bitbucket is asked in.
type workspace struct {
	apptokens.Credential
	name       string
	repository string // to try the credential with; "" when none is known
	app        string // the Forge app's token; "" when there is none
}

// needed is a scope that a credential has to have for something.
type needed struct {
	why               string
	classic, granular string // as OAuth and access tokens have it, and as API tokens do
}

var (
	needsRepository  = needed{"statuses", "repository", "read:repository:bitbucket"}
	needsPullRequest = needed{"pull requests", "pullrequest", "read:pullrequest:bitbucket"}
	needsComment     = needed{"the policy's comment and task", "pullrequest", "read:pullrequest:bitbucket"}
	needsApproval    = needed{"the policy's approve and request_changes", "pullrequest:write", "write:pullrequest:bitbucket"}
)

// includes are the classic scopes that another has in it; granular ones have none.
var includes = map[string][]string{
	"repository":        {"repository:write", "pullrequest", "pullrequest:write"},
	"pullrequest":       {"pullrequest:write"},
	"pullrequest:write": nil,
}

// missing are those of the needed scopes that none of the given ones has.
func missing(given []string, needs []needed) []string {
	var list []string
	for _, n := range needs {
		enough := append([]string{n.classic, n.granular}, includes[n.classic]...)
		if !slices.ContainsFunc(enough, func(scope string) bool { return slices.Contains(given, scope) }) {
			list = append(list, fmt.Sprintf("%s or %s for %s", n.classic, n.granular, n.why))
		}
	}
	return list
}

func (d *doctor) checkBitbucket(ctx context.Context) {
	if d.remotes == nil {
		return
	}
	d.checkMappings(ctx)
	workspaces := d.workspaces(ctx)
	if len(workspaces) == 0 {
		d.checkUntried("bitbucket", d.remotes.Bitbucket.CredentialKind())
	}
	for _, w := range workspaces {
		check := "bitbucket " + w.name
		posting := append(d.effects(ctx, w), needsRepository)
		reading := []needed{needsRepository, needsPullRequest}
		if w.Reading == w.Posting {
			d.checkCredential(ctx, check, w, w.Reading, append(posting, needsPullRequest))
			d.checkPullRequests(ctx, check, w)
			continue
		}
		d.checkCredential(ctx, check+" reading", w, w.Reading, reading)
		d.checkPullRequests(ctx, check, w)
		d.checkCredential(ctx, check+" posting", w, w.Posting, posting)
	}
}

// workspaces are those that are known, else those of AppVeyor's projects.
func (d *doctor) workspaces(ctx context.Context) []workspace {
	list := d.knownWorkspaces(ctx)
	if len(list) > 0 {
		return list
	}
	kind := d.remotes.Bitbucket.CredentialKind()
	for _, slug := range slices.Sorted(maps.Keys(d.repositories)) {
		list = append(list, workspace{
			Credential: apptokens.Credential{Workspace: slug, Reading: kind, Posting: kind}, name: slug, repository: d.repositories[slug],
		})
	}
	return list
}

func (d *doctor) knownWorkspaces(ctx context.Context) []workspace {
	if d.store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, ExternalTimeout)
	defer cancel()
	keys := d.cfg.SecretKeys
	if d.cfg.DatabaseURL == "" && len(keys) == 0 {
		var err error
		if keys, err = config.OwnSecretKey(d.cfg.DataDir); err != nil {
			d.fault("secret key", err.Error(), "let the user that runs the service read and write the folder")
		}
	}
	tokens, err := apptokens.New(d.store, keys, d.log)
	if err != nil {
		return nil // the configuration's check has told
	}
	credentials, err := tokens.Credentials(ctx, d.remotes.Bitbucket)
	if err != nil {
		d.fault("bitbucket", err.Error(), "see the checks of the database")
	}
	var list []workspace
	for _, c := range credentials {
		w := workspace{Credential: c, name: c.Workspace, repository: d.repositories[c.WorkspaceUUID]}
		if w.name == "" {
			w.name = "{" + c.WorkspaceUUID + "}"
		}
		if !c.AppTokenUntil.IsZero() {
			w.app = tokens.Token(ctx, c.WorkspaceUUID)
		}
		list = append(list, w)
	}
	return list
}

// effects are what the policy's effects need. They are made with the credential
// that posts.
func (d *doctor) effects(ctx context.Context, w workspace) (needs []needed) {
	if d.store == nil || w.WorkspaceUUID == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, ExternalTimeout)
	defer cancel()
	inForce, err := d.store.Policy(ctx, w.WorkspaceUUID)
	if err != nil || inForce.Version == 0 {
		return nil
	}
	document, err := policy.Parse([]byte(inForce.Document))
	if err != nil {
		d.fault("policy of "+w.name, "mergegate can't read the policy in force, so nothing passes", "mergegate policy validate says what is wrong; apply one that can")
		return nil
	}
	effects := document.Effects()
	if effects.Approve || effects.RequestChanges {
		needs = append(needs, needsApproval)
	}
	if effects.Comment || effects.Task != "" {
		needs = append(needs, needsComment)
	}
	return needs
}

func (d *doctor) checkUntried(check string, kind bitbucket.CredentialKind) {
	switch {
	case kind != bitbucket.KindNone:
		d.warn(check, "mergegate knows no repository yet to try the "+name(kind)+" with", "run doctor again once a pull request was built, or set MERGEGATE_APPVEYOR_TOKEN, which lists the repositories")
	case len(d.cfg.ForgeAppIDs) > 0:
		d.warn(check, "there is no credential yet: the Forge app's token comes with its first call", "install the app, then run doctor again")
	default:
		d.fault(check, "there is no credential: mergegate can't read pull requests nor post commit statuses", "set MERGEGATE_BITBUCKET_TOKEN, or install the Forge app")
	}
}

func name(kind bitbucket.CredentialKind) string { return strings.ReplaceAll(string(kind), "_", " ") }

// checkCredential has a credential read a repository.
func (d *doctor) checkCredential(ctx context.Context, check string, w workspace, kind bitbucket.CredentialKind, needs []needed) {
	if kind == bitbucket.KindNone || w.repository == "" {
		d.checkUntried(check, kind)
		return
	}
	client, err := d.client(w, kind)
	if err != nil {
		d.fault(check, err.Error(), "give this command the service's MERGEGATE_SECRET_KEY")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ExternalTimeout)
	defer cancel()
	owner, slug, _ := strings.Cut(w.repository, "/")
	asked := time.Now()
	access, err := client.Access(ctx, owner, slug)
	d.heard("Bitbucket", access.On, asked)
	if err != nil {
		d.accessRefused(check, w, kind, err)
		return
	}
	detail := "the " + name(kind) + " is accepted"
	if kind == bitbucket.KindApp {
		detail += ", and valid until " + terminal.Time(&w.AppTokenUntil, "")
	}
	lacks := missing(access.Scopes, needs)
	switch {
	case access.Scopes == nil:
		d.ok(check, "%s; Bitbucket does not tell its scopes. It needs %s", detail, strings.Join(missing(nil, needs), ", "))
	case len(lacks) > 0:
		d.fault(check, detail+", but lacks scopes: "+strings.Join(lacks, ", "), "make another with these too; it has "+strings.Join(access.Scopes, ", "))
	default:
		d.ok(check, "%s, with scopes %s", detail, strings.Join(access.Scopes, ", "))
	}
	d.checkRate(check+" rate limit", access)
}

func (d *doctor) client(w workspace, kind bitbucket.CredentialKind) (*bitbucket.Client, error) {
	if kind != bitbucket.KindApp {
		return d.remotes.Bitbucket, nil
	}
	if w.app == "" {
		return nil, errors.New("the Forge app's token is stored, but can't be decrypted here")
	}
	return bitbucket.NewClient(bitbucket.Config{
		BaseURL: d.cfg.BitbucketAPIURL, Token: w.app, UserAgent: "mergegate/" + app.Version, Timeout: ExternalTimeout,
	})
}

func (d *doctor) accessRefused(check string, w workspace, kind bitbucket.CredentialKind, err error) {
	var refused *bitbucket.Error
	if !errors.As(err, &refused) {
		d.fault(check, err.Error(), "let this machine reach "+d.cfg.BitbucketAPIURL)
		return
	}
	switch refused.StatusCode {
	case http.StatusUnauthorized:
		fix := "it has expired or was revoked: make another"
		if kind == bitbucket.KindApp {
			fix = "the next call of the Forge app brings another; if none does, install the app again"
		}
		d.fault(check, "Bitbucket does not accept the "+name(kind), fix)
	case http.StatusForbidden, http.StatusNotFound:
		d.fault(check, fmt.Sprintf("the %s may not read %s", name(kind), w.repository), "create one in that repository or workspace, with the scopes repository and pullrequest")
	case http.StatusTooManyRequests:
		d.warn(check, "Bitbucket's rate limit is used up", "see what else uses the "+name(kind)+", or use one of mergegate's own")
	default:
		d.fault(check, err.Error(), "let this machine reach "+d.cfg.BitbucketAPIURL+", or try again later")
	}
}

// checkPullRequests has the credential that reads do what a merge check needs: find a pull request, read it, and list its
// commits. A credential that may read the repository alone can do none of it.
func (d *doctor) checkPullRequests(ctx context.Context, check string, w workspace) {
	if w.Reading == bitbucket.KindNone || w.repository == "" {
		return // checkCredential has told
	}
	client, err := d.client(w, w.Reading)
	if err != nil {
		return
	}
	check += " pull requests"
	ctx, cancel := context.WithTimeout(ctx, ExternalTimeout)
	defer cancel()
	owner, slug, _ := strings.Cut(w.repository, "/")
	id, err := client.NewestOpen(ctx, owner, slug)
	switch {
	case err != nil:
		d.readingRefused(check, "list pull requests of "+w.repository, w, err)
		return
	case id == 0:
		d.ok(check, "it may list those of %s; none is open to try more with", w.repository)
		return
	}
	if _, err := client.PullRequest(ctx, owner, slug, id); err != nil {
		d.readingRefused(check, fmt.Sprintf("read pull request %d of %s", id, w.repository), w, err)
		return
	}
	if err := client.TryCommits(ctx, owner, slug, id); err != nil {
		d.readingRefused(check, fmt.Sprintf("list the commits of pull request %d of %s", id, w.repository), w, err)
		return
	}
	d.ok(check, "it may read pull request %d of %s and list its commits", id, w.repository)
}

// readingRefused tells of a read that a merge check needs.
func (d *doctor) readingRefused(check, what string, w workspace, err error) {
	switch bitbucket.StatusOf(err) {
	case http.StatusForbidden, http.StatusNotFound:
		d.fault(check, fmt.Sprintf("the %s may not %s, so merge checks can't learn the head", name(w.Reading), what),
			fmt.Sprintf("make another with the scopes %s and %s (API token: %s and %s)", needsRepository.classic, needsPullRequest.classic, needsRepository.granular, needsPullRequest.granular))
	default:
		d.fault(check, "mergegate couldn't "+what+": "+cause(err), "see the check before this one")
	}
}

// cause is what went wrong in plain words, where Bitbucket's client has some.
func cause(err error) string {
	var refused *bitbucket.Error
	if errors.As(err, &refused) {
		return refused.Cause()
	}
	return err.Error()
}

// checkMappings has Bitbucket say whether each workspace that an account is mapped to exists.
func (d *doctor) checkMappings(ctx context.Context) {
	for _, account := range slices.Sorted(maps.Keys(d.cfg.Accounts)) {
		for _, workspace := range d.cfg.Accounts[account] {
			d.checkMapping(ctx, account, workspace)
		}
	}
}

func (d *doctor) checkMapping(ctx context.Context, account, workspace string) {
	check := "mapping " + account + "=" + workspace
	ctx, cancel := context.WithTimeout(ctx, ExternalTimeout)
	defer cancel()
	err := d.remotes.Bitbucket.TryWorkspace(ctx, workspace)
	switch status := bitbucket.StatusOf(err); {
	case err == nil:
		d.ok(check, "Bitbucket has the workspace")
	case status == http.StatusNotFound:
		d.fault(check, "Bitbucket has no workspace "+workspace+", so no build of "+account+" counts",
			"in MERGEGATE_APPVEYOR_ACCOUNTS, write the AppVeyor account first, then the workspace's ID as in https://bitbucket.org/ID")
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		d.ok(check, "the credential may not list the workspace's repositories, so Bitbucket doesn't say whether it exists")
	default:
		d.fault(check, cause(err), "let this machine reach "+d.cfg.BitbucketAPIURL+", or try again later")
	}
}

func (d *doctor) checkRate(check string, access bitbucket.Access) {
	switch {
	case access.NearLimit:
		d.warn(check, fmt.Sprintf("less than a fifth of %d requests an hour is left", access.RateLimit), "see what else uses the credential, or use one of mergegate's own")
	case access.RateLimit > 0:
		d.ok(check, "%d requests an hour", access.RateLimit)
	}
}

// doctorKey is the key of the status that --commit posts.
const doctorKey = "mergegate-doctor"

// checkCommitStatus posts a status where the user has named a commit.
func (d *doctor) checkCommitStatus(ctx context.Context) {
	const check = "commit status"
	if d.Commit == "" || d.remotes == nil {
		return
	}
	owner, slug, _ := strings.Cut(d.Commit, "/")
	client := d.remotes.Bitbucket
	for _, w := range d.knownWorkspaces(ctx) {
		if own := strings.Trim(owner, "{}"); (own == w.WorkspaceUUID || strings.EqualFold(own, w.Workspace)) && w.Posting == bitbucket.KindApp {
			var err error
			if client, err = d.client(w, w.Posting); err != nil {
				d.fault(check, err.Error(), "give this command the service's MERGEGATE_SECRET_KEY")
				return
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, ExternalTimeout)
	defer cancel()
	err := client.PostCommitStatus(ctx, owner, slug, d.SHA, bitbucket.CommitStatus{
		Key: doctorKey, State: "SUCCESSFUL", Name: "mergegate doctor", URL: fmt.Sprintf("https://bitbucket.org/%s/commits/%s", d.Commit, d.SHA),
		Description: "A test of mergegate's credential; says nothing about the commit",
	})
	if err != nil {
		d.fault(check, err.Error(), "see the checks of Bitbucket's credential, and that the commit is in "+d.Commit)
		return
	}
	d.ok(check, "%s is on %s of %s, and stays there: Bitbucket cannot delete a status", doctorKey, terminal.Short(d.SHA), d.Commit)
}
