package bitbucket

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"mergegate/internal/mergecheck"
)

const (
	// lookEvery is how often at most it is looked at whether a workspace still accepts the app's token.
	lookEvery = time.Minute
	// givenUpAfter is how far apart two refusals are at least that a token is given up for.
	givenUpAfter = 30 * time.Second
)

// judges find out whether a token of the app that Bitbucket answered with 401 has ended, or is only not accepted for
// what was asked for: one repository can refuse a token that works for all others.
type judges struct {
	now func() time.Time

	mu   sync.Mutex
	apps map[string]*judged // by workspace
}

type judged struct {
	looked  time.Time // when the workspace was last asked; zero: never
	token   string
	refused time.Time // since when it refuses token; zero: it doesn't
}

// judge asks the workspace itself, if that wasn't done lately. A token that it refuses twice is given up.
func (c *Client) judge(ctx context.Context, t appToken) {
	if !c.judges.due(t) {
		return
	}
	refused, asked := c.refuses(ctx, t)
	if !asked {
		return
	}
	ended := c.judges.note(t, refused)
	switch {
	case ended:
		t.app.tokens.Reject(ctx, t.app.workspace, t.token)
	case refused:
		t.app.tokens.Doubt(ctx, t.app.workspace, t.token)
	}
}

// refuses reports whether the workspace's list of repositories, which the app can read whatever is in it, is answered
// with 401. asked is false where there was no answer.
func (c *Client) refuses(ctx context.Context, t appToken) (refused, asked bool) {
	op := "list repositories of " + t.app.workspace
	u, err := url.Parse(c.base.String() + "/2.0/repositories/" + segment(t.app.workspace) + "?pagelen=1")
	if err != nil {
		return false, false
	}
	what := call{op: op, method: http.MethodGet, url: u}
	req, err := c.newRequest(ctx, what, t)
	if err != nil {
		return false, false
	}
	err = c.attempt(req, what, &struct{}{})
	status := StatusOf(err)
	return status == http.StatusUnauthorized, err == nil || status != 0
}

func (j *judges) of(workspace string) *judged {
	if j.apps == nil {
		j.apps = map[string]*judged{}
	}
	known, ok := j.apps[workspace]
	if !ok {
		known = &judged{}
		j.apps[workspace] = known
	}
	return known
}

// due reports whether the workspace is to be asked now. Whoever is told so asks.
func (j *judges) due(t appToken) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	known, now := j.of(t.app.workspace), j.now()
	if !known.looked.IsZero() && now.Sub(known.looked) < lookEvery {
		return false
	}
	known.looked = now
	return true
}

// note takes what the workspace answered, and reports whether the token has ended.
func (j *judges) note(t appToken, refused bool) (ended bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	known, now := j.of(t.app.workspace), j.now()
	if known.token != t.token {
		known.token, known.refused = t.token, time.Time{}
	}
	switch {
	case !refused:
		known.refused = time.Time{}
	case known.refused.IsZero():
		known.refused = now
	default:
		return now.Sub(known.refused) >= givenUpAfter
	}
	return false
}

// isOf reports whether an address is of something in a workspace, named by its UUID. What is named otherwise may be
// another workspace's, such as a fork's, whose refusals say nothing.
func isOf(u *url.URL, workspaceUUID string) bool {
	_, rest, _ := strings.Cut(u.Path, "/2.0/repositories/")
	workspace, _, _ := strings.Cut(rest, "/")
	return workspaceUUID != "" && mergecheck.BareUUID(workspace) == mergecheck.BareUUID(workspaceUUID)
}
