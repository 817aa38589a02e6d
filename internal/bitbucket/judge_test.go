package bitbucket_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"mergegate/internal/bitbucket"
)

const appWorkspace = "b7ea02c9-0871-4858-a2a6-a190d7de977c"

// refusing is a Bitbucket that refuses what it is told to, and a client of it as the app.
type refusing struct {
	*bitbucket.Client
	tokens *appTokens

	mu     sync.Mutex
	now    time.Time
	refuse func(r *http.Request) bool
	asked  []string // path, and who asked
}

func newRefusing(t *testing.T, cfg bitbucket.Config, tokens ...string) *refusing {
	t.Helper()
	r := &refusing{tokens: &appTokens{tokens: tokens}, now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	client := serve(t, cfg, func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		path := strings.ReplaceAll(strings.TrimPrefix(req.URL.Path, "/2.0/repositories/"), "{"+appWorkspace+"}", "own")
		r.asked = append(r.asked, path+" as "+strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
		if r.refuse(req) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer(`{"id":7,"uuid":"{`+appWorkspace+`}","full_name":"a/b","values":[]}`)(w, req)
	})
	client.SetClock(func() time.Time { return r.now })
	r.Client = client.AsApp(t.Context(), r.tokens, appWorkspace)
	return r
}

// step asks for a pull request of a workspace's repository, after a while.
type step struct {
	after     time.Duration
	workspace string
	asked     []string
	refused   bool
}

func TestTokensAreJudgedByTheWorkspace(t *testing.T) {
	t.Parallel()
	as := func(token string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+token }
	}
	own := func(token string) []string { return []string{"own/repo/pullrequests/7 as " + token} }
	judged := func(token string) []string { return append(own(token), "own as "+token) }
	for name, test := range map[string]struct {
		config            bitbucket.Config
		tokens            []string
		refuse            func(r *http.Request) bool
		steps             []step
		doubted, rejected []string
	}{
		"only one repository refuses it": {
			tokens: []string{"app"}, refuse: func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/repo/") },
			steps: []step{
				{workspace: appWorkspace, refused: true, asked: judged("app")},
				{workspace: appWorkspace, refused: true, asked: own("app")},
				{after: 59 * time.Second, workspace: appWorkspace, refused: true, asked: own("app")},
				{after: time.Second, workspace: appWorkspace, refused: true, asked: judged("app")},
				{after: time.Hour, workspace: appWorkspace, refused: true, asked: judged("app")},
			},
		},
		"another workspace's repository refuses it": {
			tokens: []string{"app"}, refuse: as("app"),
			steps: []step{
				{workspace: "fork", refused: true, asked: []string{"fork/repo/pullrequests/7 as app"}},
				{after: time.Hour, workspace: forkUUID, refused: true, asked: []string{"{" + forkUUID + "}/repo/pullrequests/7 as app"}},
			},
		},
		"it has ended": {
			tokens: []string{"app"}, refuse: as("app"), doubted: []string{"app"}, rejected: []string{"app"},
			steps: []step{
				{workspace: appWorkspace, refused: true, asked: judged("app")},
				{after: 30 * time.Second, workspace: appWorkspace, refused: true, asked: own("app")},
				{after: 30 * time.Second, workspace: appWorkspace, refused: true, asked: judged("app")},
				{workspace: appWorkspace, asked: []string{"own/repo/pullrequests/7 as "}},
			},
		},
		"a configured one as well": {
			tokens: []string{"app"}, refuse: as("app"), config: bitbucket.Config{Token: "configured"}, doubted: []string{"app"}, rejected: []string{"app"},
			steps: []step{
				{workspace: appWorkspace, asked: append(judged("app"), own("configured")...)},
				{workspace: appWorkspace, asked: append(own("app"), own("configured")...)},
				{after: time.Minute, workspace: appWorkspace, asked: append(judged("app"), own("configured")...)},
				{workspace: appWorkspace, asked: own("configured")},
			},
		},
		"rejected, and the next one as well": {
			tokens: []string{"old", "older"}, refuse: func(*http.Request) bool { return true },
			doubted: []string{"old", "older"}, rejected: []string{"old", "older"},
			steps: []step{
				{workspace: appWorkspace, refused: true, asked: judged("old")},
				{after: time.Minute, workspace: appWorkspace, refused: true, asked: append(judged("old"), own("older")...)},
				{workspace: appWorkspace, refused: true, asked: own("older")},
				{after: time.Minute, workspace: appWorkspace, refused: true, asked: judged("older")},
				{after: time.Minute, workspace: appWorkspace, refused: true, asked: judged("older")},
				{workspace: appWorkspace, refused: true, asked: own("")},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRefusing(t, test.config, test.tokens...)
			r.refuse = test.refuse
			for i, step := range test.steps {
				r.now, r.asked = r.now.Add(step.after), nil
				_, err := r.PullRequest(t.Context(), step.workspace, "repo", 7)
				if got := status(err) == http.StatusUnauthorized; got != step.refused || !got && err != nil {
					t.Errorf("%d: %v", i, err)
				}
				if diff := cmp.Diff(step.asked, r.asked); diff != "" {
					t.Errorf("%d: asked (-want +got):\n%s", i, diff)
				}
			}
			if diff := cmp.Diff([][]string{test.doubted, test.rejected}, [][]string{r.tokens.doubted, r.tokens.rejected}); diff != "" {
				t.Errorf("doubted and rejected (-want +got):\n%s", diff)
			}
		})
	}
}

// TestARefusalIsForgottenOnceTheWorkspaceAnswers: two refusals of the workspace with an answer between them end no
// token.
func TestARefusalIsForgottenOnceTheWorkspaceAnswers(t *testing.T) {
	t.Parallel()
	r := newRefusing(t, bitbucket.Config{}, "app")
	isList := func(req *http.Request) bool { return req.URL.Query().Get("pagelen") == "1" }
	for i, lists := range []bool{true, false, true} {
		r.now = r.now.Add(time.Minute)
		r.refuse = func(req *http.Request) bool { return !isList(req) || lists }
		if _, err := r.PullRequest(t.Context(), appWorkspace, "repo", 7); status(err) != http.StatusUnauthorized {
			t.Errorf("%d: %v", i, err)
		}
	}
	if len(r.tokens.rejected) > 0 {
		t.Errorf("rejected %v", r.tokens.rejected)
	}
}

// TestManyRefusalsAreJudgedOnce refuses many requests at once: the workspace is asked once.
func TestManyRefusalsAreJudgedOnce(t *testing.T) {
	t.Parallel()
	r := newRefusing(t, bitbucket.Config{}, "app")
	r.refuse = func(req *http.Request) bool { return strings.Contains(req.URL.Path, "/repo/") }
	var g errgroup.Group
	for range 32 {
		g.Go(func() error {
			_, _ = r.PullRequest(t.Context(), appWorkspace, "repo", 7)
			return nil
		})
	}
	_ = g.Wait()
	count := 0
	for _, asked := range r.asked {
		if asked == "own as app" {
			count++
		}
	}
	if count != 1 || len(r.asked) != 33 {
		t.Errorf("the workspace was asked %d times of %d", count, len(r.asked))
	}
}

// TestAnUnansweredQuestionJudgesNothing: the workspace can't be reached, or is out of order.
func TestAnUnansweredQuestionJudgesNothing(t *testing.T) {
	t.Parallel()
	for name, answers := range map[string]http.HandlerFunc{
		"no answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"an outage": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"no access": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tokens, now := &appTokens{tokens: []string{"app"}}, time.Now()
			client := serve(t, bitbucket.Config{}, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("pagelen") == "1" {
					answers(w, r)
					return
				}
				w.WriteHeader(http.StatusUnauthorized)
			})
			client.SetClock(func() time.Time { return now })
			client = client.AsApp(t.Context(), tokens, appWorkspace)
			for range 3 {
				now = now.Add(time.Minute)
				_, _ = client.PullRequest(context.WithoutCancel(t.Context()), appWorkspace, "repo", 7)
			}
			if len(tokens.doubted)+len(tokens.rejected) > 0 {
				t.Errorf("doubted %v, rejected %v", tokens.doubted, tokens.rejected)
			}
		})
	}
}
