package demo

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/forge/forgetest"
	"mergegate/internal/mergecheck"
)

// patience is how long the demo waits for what happens by itself.
const patience = 15 * time.Second

// tale is what steps are told with. After the first thing that does not hold
// its methods do nothing, so that steps need not ask.
type tale struct {
	*world
	ctx  context.Context //nolint:containedctx // kept like err, so that steps read as what happens
	page *page
	at   int // the step that is told; 0: none yet
	err  error

	codes []string // of the merge checks of pull request 7, newest first
}

// notHeldError says what did not hold; the page has said how.
type notHeldError struct {
	what string
	step int
}

func (e notHeldError) Error() string {
	return fmt.Sprintf("step %d did not hold: %s", e.step, e.what)
}

func (s *tale) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// expect prints what has to hold, and ends the story where it doesn't.
func (s *tale) expect(what, want, got string) {
	switch {
	case s.err != nil:
	case s.ctx.Err() != nil: // what was interrupted proves nothing
		s.err = context.Cause(s.ctx)
	case want == got:
		s.page.held(what, got)
	default:
		s.page.broke(what, want, got)
		s.err = notHeldError{what: what, step: s.at}
	}
}

func (s *tale) text(text string) {
	if s.err == nil {
		s.page.text(text)
	}
}

// violations are requests that the stand-in for Bitbucket has no answer to, or that are
// against Atlassian's document where it is held to that.
func (s *tale) violations() {
	if s.err != nil {
		return
	}
	if v := s.bitbucket.Violations(); len(v) > 0 {
		s.expect("requests that Bitbucket doesn't know", "none", strings.Join(v, "; "))
	}
}

// do sends a request to the service and returns the answer.
func (s *tale) do(method, path, token string, body []byte) (status int, answer []byte) {
	if s.err != nil {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(string(body)))
	if err != nil {
		s.fail(err)
		return 0, nil
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Close = true // no connection may be left for the service to wait for
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.fail(err)
		return 0, nil
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(res.Body)
	if err != nil {
		s.fail(err)
	}
	return res.StatusCode, answer
}

// get reads a document of the API without a word.
func (s *tale) get(path string, into any) {
	status, body := s.do(http.MethodGet, path, s.token, nil)
	if s.err == nil && status != http.StatusOK {
		s.fail(fmt.Errorf("GET %s answered %d %s", path, status, body))
	}
	if s.err == nil {
		s.fail(json.Unmarshal(body, into))
	}
}

// show reads a document of the API and prints those fields that into has.
func (s *tale) show(path string, into any) {
	s.get(path, into)
	if s.err == nil {
		s.page.request("GET "+path, "", nil)
		s.page.answer(http.StatusOK, "   (trimmed)", jsonOf(into))
	}
}

// jsonOf writes what the demo itself made.
func jsonOf(v any) []byte {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) // texts and numbers always can be
	return []byte(strings.TrimSpace(text.String()))
}

// eventually looks again and again at what happens by itself.
func (s *tale) eventually(what string, done func() bool) {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for s.err == nil && !done() {
		select {
		case <-ctx.Done():
			s.expect(what, "within "+patience.String(), "not yet")
		case <-tick.C:
		}
	}
}

// commitOf makes up a commit: 40 hex characters.
func commitOf(of string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(of)))[:40]
}

// pullRequest opens a pull request, or replaces it.
func (s *tale) pullRequest(id int64, head string, changes ...func(*bitbuckettest.PullRequest)) {
	pr := bitbuckettest.PullRequest{
		ID: id, Title: "Add widgets", SourceBranch: "feature", SourceCommit: head,
		DestinationBranch: "main", DestinationCommit: commitOf("main"),
	}
	for _, change := range changes {
		change(&pr)
	}
	s.fail(s.bitbucket.PutPullRequest(repositoryName, pr))
}

// build puts a build of a pull request's head into AppVeyor, or replaces it.
func (s *tale) build(account string, b appveyortest.Build) appveyortest.Build {
	now := time.Now().UTC()
	b.Branch, b.PullRequestName, b.CommitID = "main", "Add widgets", b.PullRequestHeadCommit
	b.PullRequestHeadBranch, b.Updated = "feature", now
	if b.Created.IsZero() {
		b.Created, b.Started = now, now
	}
	if b.PullRequestHeadRepository == "" {
		b.PullRequestHeadRepository = repositoryName
	}
	if b.Status != "running" {
		b.Finished = now
	}
	b, err := s.appveyor.PutBuild(account, "widgets", b)
	s.fail(err)
	return b
}

// testsOf are the jobs of a build with that many tests.
func testsOf(total, failed int) []appveyortest.Job {
	return []appveyortest.Job{{Name: "Image: Ubuntu", Tests: total, Passed: total - failed, Failed: failed}}
}

// hook is as much of AppVeyor's webhook body as is shown.
type hook struct {
	EventName string `json:"eventName"`
	EventData struct {
		BuildID       int64  `json:"buildId"`
		BuildVersion  string `json:"buildVersion"`
		PullRequestID int64  `json:"pullRequestId"`
		BuildURL      string `json:"buildUrl"`
	} `json:"eventData"`
}

// notify has AppVeyor send its webhook, changed by whoever lies.
func (s *tale) notify(buildID int64, lies ...string) {
	body := strings.NewReplacer(lies...).Replace(string(s.appveyor.WebhookBody(buildID)))
	status, answer := s.do(http.MethodPost, "/webhooks/appveyor", webhookSecret, []byte(body))
	if s.err != nil {
		return
	}
	var shown hook
	s.fail(json.Unmarshal([]byte(body), &shown))
	s.page.request("POST /webhooks/appveyor", "   (trimmed)", jsonOf(shown))
	s.page.answer(status, "", answer)
	s.expect("the delivery is stored", "202", fmt.Sprint(status))
}

// check has Bitbucket ask the merge check. The code that its answer stands for is
// in the decision that is kept.
func (s *tale) check(id int64, trigger, code, message string) {
	body := mergeCheckOf(id, trigger)
	status, answer := s.do(http.MethodPost, "/forge/merge-check", s.forge.Token(), body)
	if s.err != nil {
		return
	}
	s.page.request("POST /forge/merge-check", "", body)
	s.page.answer(status, "", answer)
	var got struct {
		Success bool
		Message string
	}
	if err := json.Unmarshal(answer, &got); err != nil {
		s.fail(fmt.Errorf("the merge check answered %d %s", status, answer))
		return
	}
	if !strings.Contains(got.Message, message) {
		s.expect("the merge check's message", "… "+message+" …", got.Message)
	}
	s.expect("merge check", verdictOf(code == "passed", code), verdictOf(got.Success, s.decision(id)))
	if id == 7 {
		s.codes = slices.Insert(s.codes, 0, code)
	}
}

// mergeCheckOf is Forge's event of a merge check.
func mergeCheckOf(id int64, trigger string) []byte {
	return fmt.Appendf(nil, `{"workspace":{"uuid":"{%s}"},"repository":{"uuid":"{%s}"},"pullrequest":{"id":%d},"trigger":{"type":%q}}`,
		forgetest.WorkspaceUUID, repositoryUUID, id, trigger)
}

// decision returns the code of the newest answer to a merge check.
func (s *tale) decision(id int64) string {
	var list struct{ Values []struct{ Code string } }
	s.get(pullRequestPath(id)+"/decisions?pagelen=1", &list)
	if len(list.Values) == 0 {
		return "no decision was kept"
	}
	return list.Values[0].Code
}

func verdictOf(success bool, code string) string {
	if success {
		return code + ", may be merged"
	}
	return code + ", may not be merged"
}

// pullRequestPath is a pull request's path in the API.
func pullRequestPath(id int64) string {
	return fmt.Sprintf("/api/v1/repositories/%s/pullrequests/%d", repositoryName, id)
}

// shows waits until Bitbucket shows a state on a pull request's head.
func (s *tale) shows(id int64, head, state, description string) {
	if s.err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	// That it doesn't come is what the comparison below tells.
	_ = s.bitbucket.WaitCommitStatus(ctx, repositoryName, head, mergecheck.StatusKey(projectID, id), state)
	s.expect("Bitbucket shows on "+head[:12], state+", "+description, s.shown(head))
}

// showsNone is for a head on which nothing may be shown.
func (s *tale) showsNone(head string) {
	s.expect("Bitbucket shows on "+head[:12], "no commit status", s.shown(head))
}

func (s *tale) shown(head string) string {
	var texts []string
	for _, status := range s.bitbucket.CommitStatuses(repositoryName, head) {
		texts = append(texts, status.State+", "+status.Description)
	}
	if len(texts) == 0 {
		return "no commit status"
	}
	return strings.Join(texts, " and ")
}
