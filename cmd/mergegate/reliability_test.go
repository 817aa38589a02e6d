package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
)

// traffic is what a busy repository does: on each of its pull requests heads are
// pushed, AppVeyor builds them, and both tell of it as they do: once, whoever
// listens. What was acknowledged and what has to come of it all is kept.
type traffic struct {
	*world
	pullRequests []int64
	target       func() string // where to send to; "" when there is nobody
	pace         time.Duration // between two steps of one pull request
	drop         func(class string) bool

	mu           sync.Mutex
	acknowledged map[string]bool
	refused      int
	builds       map[int64]appveyortest.Build // as they ended, by id
	steps        map[int64]int                // taken so far, by pull request
}

// The classes of messages.
const (
	classWebhook     = "webhook"
	classPush        = "push"
	classPullRequest = "pull request"
	classRefresh     = "token refresh"
)

func newTraffic(w *world, pullRequests int) *traffic {
	w.t.Helper()
	tr := &traffic{
		world: w, pace: 300 * time.Millisecond, target: func() string { return w.url }, drop: func(string) bool { return false },
		acknowledged: map[string]bool{}, builds: map[int64]appveyortest.Build{}, steps: map[int64]int{},
	}
	for i := range pullRequests {
		id := int64(101 + i)
		tr.pullRequests = append(tr.pullRequests, id)
		w.put(bitbuckettest.PullRequest{
			ID: id, Title: "Change something", SourceBranch: branchOf(id), SourceCommit: headOf(id, 0),
			DestinationBranch: "main", DestinationCommit: commit('d'),
		})
	}
	return tr
}

func branchOf(pr int64) string { return fmt.Sprintf("feature-%d", pr) }

// headOf is the head that the step builds: the same for two steps, so that a
// head is built again now and then.
func headOf(pr int64, step int) string { return fmt.Sprintf("%08x%032x", step/2+1, pr) }

// run takes steps of every pull request until ctx ends or there were as many of
// each, and waits for all of them.
func (tr *traffic) run(ctx context.Context, steps int) {
	var group sync.WaitGroup
	for _, pr := range tr.pullRequests {
		group.Go(func() {
			tick := time.NewTicker(tr.pace)
			defer tick.Stop()
			for range steps {
				if err := tr.step(pr); err != nil {
					tr.t.Errorf("pull request %d: %v", pr, err)
					return
				}
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
	group.Wait()
}

// step pushes a head where it is a new one, has AppVeyor build it, and ends the
// build that the step before began.
func (tr *traffic) step(pr int64) error {
	tr.mu.Lock()
	step := tr.steps[pr]
	tr.steps[pr]++
	tr.mu.Unlock()
	head := headOf(pr, step)
	if step%2 == 0 && step > 0 {
		if err := tr.bb.Push(repository, pr, head); err != nil {
			return err
		}
	}
	if step%2 == 0 {
		tr.send(classPush, pushEvent(pr, head))
		tr.send(classPullRequest, pullRequestEvent(pr, head, "OPEN"))
	}
	now := time.Now().UTC()
	b, err := tr.appveyor.PutBuild("acme", "widgets", appveyortest.Build{
		ID: tr.buildID(pr, step), Version: fmt.Sprintf("1.%d.%d", pr, step), Branch: "main", CommitID: head,
		PullRequestID: pr, PullRequestName: "Change something", PullRequestHeadCommit: head,
		PullRequestHeadRepository: repository, PullRequestHeadBranch: branchOf(pr),
		Status: "running", Created: now, Started: now, Updated: now,
	})
	if err != nil {
		return err
	}
	if step%3 == 0 {
		tr.hook(b.ID) // as "on build started" would, had somebody sent it
	}
	status := []string{"success", "failed", "success", "cancelled"}[step%4]
	if err := tr.appveyor.SetStatus(b.ID, status); err != nil {
		return err
	}
	tr.mu.Lock()
	b.Status = status
	tr.builds[b.ID] = b
	tr.mu.Unlock()
	tr.hook(b.ID)
	if step%5 == 0 {
		tr.hook(b.ID)
	}
	return nil
}

// keep has a build that was there before counted with the others.
func (tr *traffic) keep(w *world) {
	for _, b := range w.appveyor.Builds("acme", "widgets") {
		tr.builds[b.ID] = b
	}
}

// buildID orders builds by when they are begun, whatever pull request they are of.
func (tr *traffic) buildID(pr int64, step int) int64 { return int64(5000+step*20) + pr%20 }

func pushEvent(pr int64, head string) string {
	return fmt.Sprintf(`{"eventType":"avi:bitbucket:push:repository","timestamp":%q,"workspace":{"uuid":"{%s}"},"repository":{"uuid":"{%s}"},"push":{"ref":"refs/heads/%s","after":%q}}`,
		time.Now().UTC().Format(time.RFC3339Nano), workspaceUUID, repositoryUUID, branchOf(pr), head)
}

func pullRequestEvent(pr int64, head, state string) string {
	return fmt.Sprintf(`{"eventType":"avi:bitbucket:updated:pullrequest","timestamp":%q,"workspace":{"uuid":"{%s}"},"repository":{"uuid":"{%s}"},`+
		`"pullrequest":{"id":%d,"state":%q,"source":{"branch":%q,"commit":{"hash":%q},"repository":{"uuid":"{%s}"}},"destination":{"branch":"main","commit":{"hash":%q}}}}`,
		time.Now().UTC().Format(time.RFC3339Nano), workspaceUUID, repositoryUUID, pr, state, branchOf(pr), head[:12], repositoryUUID, commit('d')[:12])
}

// hook sends AppVeyor's webhook of a build, once.
func (tr *traffic) hook(build int64) {
	if tr.drop(classWebhook) {
		return
	}
	tr.tell(tr.request("/webhooks/appveyor", webhookSecret, string(tr.appveyor.WebhookBody(build))))
}

// send sends an event of Forge, once.
func (tr *traffic) send(class, body string) {
	if tr.drop(class) {
		return
	}
	tr.tell(tr.request("/forge/events", tr.forge.Token(), body))
}

// tell keeps what was acknowledged. Senders don't send again.
func (tr *traffic) tell(status int, body []byte, err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var answer struct{ Delivery string }
	switch {
	case err != nil || status == http.StatusServiceUnavailable:
		tr.refused++
	case status != http.StatusAccepted || json.Unmarshal(body, &answer) != nil || answer.Delivery == "":
		tr.t.Errorf("answered %d %s", status, body)
	default:
		tr.acknowledged[answer.Delivery] = true
	}
}

// impatient is a client that gives up some time.
var impatient = &http.Client{Timeout: 20 * time.Second}

// request posts to a replica. Unlike [world.post] it can fail.
func (tr *traffic) request(path, token, body string) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tr.t.Context()), impatient.Timeout)
	defer cancel()
	url := tr.target()
	if url == "" {
		return 0, nil, errors.New("nobody listens")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := impatient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

// outcome is what it all came to, as seen from outside.
type outcome struct {
	Builds   []buildOutcome
	Statuses map[string]statusOutcome // by commit
	Verdicts map[int64]answer         // by pull request
}

type buildOutcome struct {
	BuildID int64 `json:"build_id"`
	State   string
	Commit  string
	Request int64
}

type statusOutcome struct{ State, Description, URL, Refname string }

// wanted is what has to come of the builds, whatever happened to the messages.
func (tr *traffic) wanted() outcome {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	want := outcome{Statuses: map[string]statusOutcome{}, Verdicts: map[int64]answer{}}
	newest := map[string]int64{}
	for id, b := range tr.builds {
		want.Builds = append(want.Builds, buildOutcome{BuildID: id, State: b.Status, Commit: b.PullRequestHeadCommit, Request: b.PullRequestID})
		newest[b.PullRequestHeadCommit] = max(newest[b.PullRequestHeadCommit], id)
	}
	slices.SortFunc(want.Builds, func(a, b buildOutcome) int { return int(b.BuildID - a.BuildID) })
	for head, id := range newest {
		b := tr.builds[id]
		want.Statuses[head] = statusOutcome{
			State:   map[string]string{"success": "SUCCESSFUL", "failed": "FAILED", "cancelled": "STOPPED"}[b.Status],
			Refname: b.PullRequestHeadBranch,
		}
	}
	for _, pr := range tr.pullRequests {
		if steps := tr.steps[pr]; steps > 0 {
			last := tr.builds[tr.buildID(pr, steps-1)]
			want.Verdicts[pr] = answer{Success: last.Status == "success"}
		}
	}
	return want
}

// seen is what has come of the builds so far.
func (tr *traffic) seen() outcome {
	tr.t.Helper()
	got := outcome{Statuses: map[string]statusOutcome{}, Verdicts: map[int64]answer{}}
	tr.pages("/api/v1/repositories/acme/widgets/builds?pagelen=100", func(page json.RawMessage) {
		var b struct {
			buildOutcome
			Source      struct{ Commit string }
			PullRequest struct{ ID int64 }
		}
		tr.must(json.Unmarshal(page, &b))
		b.Commit, b.Request = b.Source.Commit, b.PullRequest.ID
		got.Builds = append(got.Builds, b.buildOutcome)
	})
	tr.mu.Lock()
	heads := map[string]int64{}
	for _, b := range tr.builds {
		heads[b.PullRequestHeadCommit] = b.PullRequestID
	}
	tr.mu.Unlock()
	for head, pr := range heads {
		for _, s := range tr.bb.CommitStatuses(repository, head) {
			if s.Key == fmt.Sprintf("appveyor-12064-pr-%d", pr) {
				got.Statuses[head] = statusOutcome{State: s.State, Description: s.Description, URL: s.URL, Refname: s.Refname}
			}
		}
	}
	for _, pr := range tr.pullRequests {
		got.Verdicts[pr] = tr.ask(pr)
	}
	return got
}

// ask asks the merge check of a pull request.
func (tr *traffic) ask(pr int64) answer {
	tr.t.Helper()
	return tr.check(strings.Replace(event("on-merge"), `"id":7`, fmt.Sprintf(`"id":%d`, pr), 1))
}

// pages reads a list of the API from its first page to its last.
func (tr *traffic) pages(path string, each func(json.RawMessage)) {
	tr.t.Helper()
	for path != "" {
		var page struct {
			Values []json.RawMessage
			Next   string
		}
		tr.get(path, &page)
		for _, value := range page.Values {
			each(value)
		}
		at := strings.Index(page.Next, "/api/")
		path = page.Next[max(at, 0):]
	}
}

// ends waits until everything is as it has to be: every build there once, with
// its state; Bitbucket showing the newest of each head; merge checks agreeing;
// and every delivery that was acknowledged processed.
func (tr *traffic) ends() outcome {
	tr.t.Helper()
	var got outcome
	want := tr.wanted()
	blurred := func(o outcome) outcome { // what wanted doesn't know
		clear := outcome{Builds: o.Builds, Statuses: map[string]statusOutcome{}, Verdicts: map[int64]answer{}}
		for head, s := range o.Statuses {
			clear.Statuses[head] = statusOutcome{State: s.State, Refname: s.Refname}
		}
		for pr, a := range o.Verdicts {
			clear.Verdicts[pr] = answer{Success: a.Success}
		}
		return clear
	}
	diff := "nothing was looked at"
	deadline := time.After(endsWithin)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for diff != "" {
		select {
		case <-deadline:
			tr.t.Fatalf("not as it has to be within %s (-want +got):\n%s", endsWithin, diff)
		case <-tick.C:
		}
		got = tr.seen()
		if diff = cmp.Diff(want, blurred(got)); diff == "" {
			diff = tr.unprocessed()
		}
	}
	tr.asksForNoBuild()
	return got
}

// endsWithin is how long everything may take to settle after the last fault: a
// lease that runs out, and waiting longer after each fault of a remote.
const endsWithin = 2 * time.Minute

// unprocessed tells which deliveries were acknowledged and are not processed.
func (tr *traffic) unprocessed() string {
	tr.t.Helper()
	var rest bytes.Buffer
	tr.mu.Lock()
	missing := make(map[string]bool, len(tr.acknowledged))
	for id := range tr.acknowledged {
		missing[id] = true
	}
	tr.mu.Unlock()
	tr.pages("/api/v1/deliveries?pagelen=100", func(value json.RawMessage) {
		var d delivery
		tr.must(json.Unmarshal(value, &d))
		delete(missing, d.ID)
		if d.Outcome != "processed" {
			fmt.Fprintf(&rest, "delivery %s", value)
		}
	})
	for id := range missing {
		fmt.Fprintf(&rest, "delivery %s was acknowledged and is not there\n", id)
	}
	return rest.String()
}

// asksForNoBuild holds that nothing was asked of AppVeyor but to tell.
func (tr *traffic) asksForNoBuild() {
	tr.t.Helper()
	for _, r := range tr.appveyor.Requests() {
		if r.Method != http.MethodGet {
			tr.t.Errorf("AppVeyor was asked to %s %s", r.Method, r.Path)
		}
	}
}

// replica starts another process on the same database, which ends with the test.
func (w *world) replica() *world {
	w.t.Helper()
	other := *w
	other.start()
	return &other
}

// seed is what chance follows from: RELIABILITY_SEED, to have it again, else one
// that is logged.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv("RELIABILITY_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("RELIABILITY_SEED: %v", err)
		}
	}
	t.Logf("RELIABILITY_SEED=%d", n)
	return n
}

// randomly is a source of moments.
func randomly(t *testing.T) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(seed(t), 0)) //nolint:gosec // moments, no secrets
}

// kill ends a replica without any warning.
func (w *world) kill() {
	w.t.Helper()
	_ = w.stop(syscall.SIGKILL)
}
