package appveyor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mergegate/internal/jsonobject"
	"mergegate/internal/mergecheck"
	"mergegate/internal/retryafter"
)

// DefaultURL is AppVeyor's hosted service.
const DefaultURL = "https://ci.appveyor.com"

// Config says which AppVeyor to ask and how.
type Config struct {
	URL string // empty: [DefaultURL]
	// Tokens are REST bearer tokens by account in lower case; the one under ""
	// serves every other account. Without a token only public projects answer.
	Tokens    map[string]string
	Timeout   time.Duration // per request; 0: 10 s
	UserAgent string
}

// Client asks one AppVeyor. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	tokens    map[string]string
	userAgent string
	http      *http.Client
}

// NewClient returns a client, or an error when the URL isn't one.
func NewClient(cfg Config) (*Client, error) {
	if cfg.URL == "" {
		cfg.URL = DefaultURL
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("AppVeyor URL: %q is not an http or https URL, for example https://ci.appveyor.com", cfg.URL)
	}
	base.Path = strings.TrimSuffix(base.Path, "/")
	return &Client{
		base:      base,
		tokens:    cfg.Tokens,
		userAgent: cfg.UserAgent,
		http:      &http.Client{Timeout: cfg.Timeout, CheckRedirect: sameHostOnly, Transport: newTransport()},
	}, nil
}

// newTransport has connections of its own, so that one remote's habits don't
// disturb another's.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8,
		IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 5 * time.Second, ExpectContinueTimeout: time.Second,
	}
}

// sameHostOnly keeps the token, and the service, from being sent elsewhere.
func sameHostOnly(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if len(via) > 3 || req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
		return http.ErrUseLastResponse
	}
	return nil
}

// Build reads one build: by id; where that route is missing, by version; else
// out of the one history page that ends at it. The answer's id is checked on
// every route, since a version can be rewritten. Errors are *[Error].
func (c *Client) Build(ctx context.Context, ref Ref) (Answer, error) {
	answer, err := c.buildAt(ctx, ref, "builds", strconv.FormatInt(ref.BuildID, 10))
	if !routeMissing(err) {
		return answer, err
	}
	if ref.Version != "" {
		answer, err = c.buildAt(ctx, ref, "build", ref.Version)
		if !routeMissing(err) {
			return answer, err
		}
	}
	return c.buildFromHistory(ctx, ref)
}

func (c *Client) buildAt(ctx context.Context, ref Ref, route, key string) (answer Answer, err error) {
	err = c.get(ctx, ref.Account, c.projectURL(ref, route, key), func(body []byte) error {
		answer, err = c.readAnswer(body, ref.BuildID)
		return err
	})
	return answer, err
}

// readAnswer reads {"project":…,"build":…}, which has to be of the build that was
// asked for.
func (c *Client) readAnswer(body []byte, buildID int64) (Answer, error) {
	whole, err := jsonobject.Read(body, "project", "build")
	if err != nil || whole == nil {
		return Answer{}, notJSON()
	}
	build := whole.Member("build", buildMembers...)
	if intOf(build["buildId"]) != buildID {
		return Answer{}, statusError(http.StatusNotFound, 0)
	}
	project, err := readProject(whole.Member("project", projectMembers...))
	if err != nil {
		return Answer{}, err
	}
	answer, err := readBuild(project, build)
	answer.Build.URL = c.BuildURL(project.Project.Account, project.Project.Slug, buildID)
	return answer, err
}

func (c *Client) buildFromHistory(ctx context.Context, ref Ref) (Answer, error) {
	query := url.Values{"startBuildId": {strconv.FormatInt(ref.BuildID+1, 10)}}
	_, answers, err := c.historyOf(ctx, ref.Account, ref.Slug, query, 1)
	if err != nil {
		return Answer{}, err
	}
	for _, a := range answers {
		if a.Build.BuildID == ref.BuildID {
			a.Build.URL = c.BuildURL(a.Build.Project.Account, a.Build.Project.Slug, ref.BuildID)
			return a, nil
		}
	}
	return Answer{}, statusError(http.StatusNotFound, 0)
}

// History lists a project's builds, newest first and without jobs: at most count
// of those before startBuildID, or of all where that is 0. A name that leads to another
// project than p, which has it by now, is an error of kind [NotFound]; a p without an
// id takes whichever it leads to.
func (c *Client) History(ctx context.Context, p mergecheck.Project, startBuildID int64, count int) ([]Answer, error) {
	query := url.Values{}
	if startBuildID > 0 {
		query.Set("startBuildId", strconv.FormatInt(startBuildID, 10))
	}
	return c.history(ctx, p, query, count)
}

// BranchHistory lists the newest builds of a branch, count at most, without jobs:
// those of the branch itself and of pull requests to it. p is as for [Client.History].
func (c *Client) BranchHistory(ctx context.Context, p mergecheck.Project, branch string, count int) ([]Answer, error) {
	return c.history(ctx, p, url.Values{"branch": {branch}}, count)
}

func (c *Client) history(ctx context.Context, p mergecheck.Project, query url.Values, count int) ([]Answer, error) {
	is, answers, err := c.historyOf(ctx, p.Account, p.Slug, query, count)
	switch {
	case err != nil:
		return nil, err
	case is.Project == (mergecheck.Project{}): // an answer about nothing is no empty history
		return nil, notJSON()
	case p.ID != 0 && is.Project.ID != p.ID:
		return nil, &Error{Kind: NotFound, Status: http.StatusOK, Reason: p.Name() + " is the name of another project now"}
	default:
		return answers, nil
	}
}

func (c *Client) historyOf(ctx context.Context, account, slug string, query url.Values, count int) (p ListedProject, answers []Answer, err error) {
	query.Set("recordsNumber", strconv.Itoa(count))
	target := c.projectURL(Ref{Account: account, Slug: slug}, "history") + "?" + query.Encode()
	err = c.get(ctx, account, target, func(body []byte) error {
		p, answers, err = readHistory(body, count)
		return err
	})
	return p, answers, err
}

// readHistory reads {"project":…,"builds":[…]}, count builds at most. A build that
// can't be kept has its id and no more.
func readHistory(body []byte, count int) (ListedProject, []Answer, error) {
	whole, err := jsonobject.Read(body, "project", "builds")
	if err != nil || whole == nil {
		return ListedProject{}, nil, notJSON()
	}
	project, err := readProject(whole.Member("project", projectMembers...))
	if err != nil {
		return ListedProject{}, nil, err
	}
	answers := []Answer{}
	jsonobject.Elements(whole["builds"], func(element []byte) bool {
		row := jsonobject.Object(element, buildMembers...)
		answer, err := readBuild(project, row)
		if err != nil {
			answer = Answer{Build: mergecheck.Build{BuildID: intOf(row["buildId"]), PullRequestID: intOf(row["pullRequestId"]), Project: project.Project}}
		}
		answers = append(answers, answer)
		return len(answers) < count
	})
	return project, answers, nil
}

// absenceRows is how many builds before one that is missing are read: enough to see
// whether AppVeyor began the list where it was asked to.
const absenceRows = 10

// Lacks reports whether AppVeyor, which shows the project that ref names, shows no
// such build in it: neither by its id nor in the project's history. It is false
// where that can't be told. Errors are *[Error]; one of kind [NotFound] says that it
// doesn't show the project, or that another one is called so.
func (c *Client) Lacks(ctx context.Context, ref Ref, projectID int64) (bool, error) {
	_, err := c.buildAt(ctx, ref, "builds", strconv.FormatInt(ref.BuildID, 10))
	if !IsNotFound(err) {
		return false, err
	}
	query := url.Values{"startBuildId": {strconv.FormatInt(ref.BuildID+1, 10)}}
	rows, err := c.history(ctx, mergecheck.Project{ID: projectID, Account: ref.Account, Slug: ref.Slug}, query, absenceRows)
	if err != nil {
		return false, err
	}
	return lacks(rows, ref.BuildID), nil
}

// lacks reports whether a page of a history, which was asked to begin at a build,
// goes past it without it. One that begins elsewhere tells only if it ends beyond.
func lacks(rows []Answer, buildID int64) bool {
	newer, older := false, false
	for _, row := range rows {
		if row.Build.BuildID == buildID || row.Build.BuildID == 0 {
			return false
		}
		newer = newer || row.Build.BuildID > buildID
		older = older || row.Build.BuildID < buildID
	}
	return older || !newer
}

func (c *Client) projectURL(ref Ref, route ...string) string {
	u := c.base.String() + "/api/projects/" + url.PathEscape(ref.Account) + "/" + url.PathEscape(ref.Slug)
	for _, part := range route {
		u += "/" + url.PathEscape(part)
	}
	return u
}

// BuildURL is AppVeyor's page of a build, by the id that never changes.
func (c *Client) BuildURL(account, slug string, buildID int64) string {
	return fmt.Sprintf("%s/project/%s/%s/builds/%d", c.base, url.PathEscape(account), url.PathEscape(slug), buildID)
}

func (c *Client) get(ctx context.Context, account, target string, read func(body []byte) error) error {
	return c.send(ctx, http.MethodGet, account, target, nil, read)
}

func (c *Client) send(ctx context.Context, method, account, target string, body []byte, read func(body []byte) error) error {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return &Error{Reason: "the build's URL is not valid"}
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.userAgent != "" {
		req.Header.Set("User-Agent", c.userAgent)
	}
	if token := c.token(account); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return transportError(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection is used again
		return statusError(res.StatusCode, retryafter.Read(res.Header, time.Now()))
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return transportError(err)
	case len(data) > maxAnswer:
		return &Error{Reason: "AppVeyor's answer is too large"}
	}
	return read(trimBOM(data))
}

func (c *Client) token(account string) string {
	if token, ok := c.tokens[strings.ToLower(account)]; ok {
		return token
	}
	return c.tokens[""]
}

// transportError tells time-outs from the rest and leaves the URL out.
func transportError(err error) *Error {
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return &Error{Reason: "AppVeyor didn't answer in time"}
	}
	return &Error{Reason: "mergegate can't reach AppVeyor"}
}

// CloseIdleConnections closes connections that nothing is using.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// ListedProject is a project in an account's list.
type ListedProject struct {
	Project        mergecheck.Project
	RepositoryType string
	RepositoryName string // workspace/repository
}

// IsBitbucket reports whether the project builds a Bitbucket Cloud repository.
func (p ListedProject) IsBitbucket() bool { return strings.EqualFold(p.RepositoryType, "bitBucket") }

// Projects lists the projects that the account's token is for, as far as they can
// be read. AppVeyor tells them only to a token, so without one it is refused without
// being asked.
func (c *Client) Projects(ctx context.Context, account string) ([]ListedProject, error) {
	list, _, err := c.projects(ctx, account)
	return list, err
}

// ProjectList lists the projects of one account, and reports whether the list is
// complete: only where everything in it could be read, and it is the account's own,
// does it mean anything that a project isn't there.
func (c *Client) ProjectList(ctx context.Context, account string) (list []ListedProject, complete bool, err error) {
	list, complete, err = c.projects(ctx, account)
	// Where the token is another account's, so is the list. It is told by what it
	// has, and if it has nothing by the token having been given for the account.
	_, given := c.tokens[strings.ToLower(account)]
	empty := len(list) == 0
	list = slices.DeleteFunc(list, func(p ListedProject) bool { return !strings.EqualFold(p.Project.Account, account) })
	return list, complete && (len(list) > 0 || empty && given), err
}

func (c *Client) projects(ctx context.Context, account string) (list []ListedProject, complete bool, err error) {
	if c.token(account) == "" {
		return nil, false, statusError(http.StatusUnauthorized, 0)
	}
	err = c.get(ctx, account, c.accountURL(account)+"/projects", func(body []byte) error {
		list, complete, err = readProjects(body)
		return err
	})
	return list, complete, err
}

func readProjects(body []byte) (list []ListedProject, complete bool, err error) {
	if !json.Valid(body) || !bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
		return nil, false, notJSON()
	}
	list, complete = []ListedProject{}, true
	jsonobject.Elements(body, func(element []byte) bool {
		if len(list) == maxProjects {
			complete = false
			return false
		}
		project, err := readProject(jsonobject.Object(element, projectMembers...))
		if err != nil || project.Project.ID == 0 || project.Project.Account == "" || project.Project.Slug == "" {
			complete = false
			return true
		}
		list = append(list, project)
		return true
	})
	return slices.Clip(list), complete, nil
}

// StartPullRequestBuild asks AppVeyor to build a pull request again and returns
// the build it queued. It needs a token that may run builds. Errors are *[Error].
func (c *Client) StartPullRequestBuild(ctx context.Context, account, slug string, pullRequestID int64) (Ref, error) {
	target := c.accountURL(account) + "/builds"
	body, err := json.Marshal(map[string]any{"accountName": account, "projectSlug": slug, "pullRequestId": pullRequestID})
	if err != nil {
		return Ref{}, &Error{Reason: "mergegate can't write the request"}
	}
	ref := Ref{Account: account, Slug: slug}
	err = c.send(ctx, http.MethodPost, account, target, body, func(answer []byte) error {
		m, err := jsonobject.Read(answer, "buildId", "version")
		if err != nil || m == nil {
			return notJSON()
		}
		ref.BuildID, ref.Version = intOf(m["buildId"]), nameOf(m["version"], maxVersion)
		return nil
	})
	if err != nil {
		return Ref{}, err
	}
	if ref.BuildID == 0 {
		return Ref{}, &Error{Status: http.StatusOK, Reason: "AppVeyor's answer has no build"}
	}
	return ref, nil
}

// accountURL is where calls go that name no project. A user's token, which
// begins with "v2.", is for several accounts, so that the account is in the path.
func (c *Client) accountURL(account string) string {
	if strings.HasPrefix(c.token(account), "v2.") {
		return c.base.String() + "/api/account/" + url.PathEscape(account)
	}
	return c.base.String() + "/api"
}
