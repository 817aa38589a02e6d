package servertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/postgres/postgrestest"
)

// The classes of messages.
const (
	ClassWebhook     = "webhook"
	ClassPush        = "push"
	ClassPullRequest = "pull request"
	ClassRefresh     = "token refresh"
)

// Traffic is what a busy repository does: on each of its pull requests heads are
// pushed, AppVeyor builds them, and both tell of it as they do: once, whoever
// listens. What was acknowledged and what has to come of it all is kept.
type Traffic struct {
	*World
	PullRequests []int64
	Target       func() string // where to send to; "" when there is nobody
	Pace         time.Duration // between two steps of one pull request
	Drop         func(class string) bool

	mu           sync.Mutex
	acknowledged map[string]bool
	refused      int
	Builds       map[int64]appveyortest.Build // as they ended, by id
	steps        map[int64]int                // taken so far, by pull request
}

// NewTraffic adds pull requests to a world.
func NewTraffic(w *World, pullRequests int) *Traffic {
	w.T.Helper()
	tr := &Traffic{
		World: w, Pace: 300 * time.Millisecond, Target: func() string { return w.URL }, Drop: func(string) bool { return false },
		acknowledged: map[string]bool{}, Builds: map[int64]appveyortest.Build{}, steps: map[int64]int{},
	}
	for i := range pullRequests {
		id := int64(101 + i)
		tr.PullRequests = append(tr.PullRequests, id)
		w.Put(bitbuckettest.PullRequest{
			ID: id, Title: "Change something", SourceBranch: BranchOf(id), SourceCommit: HeadOf(id, 0),
			DestinationBranch: "main", DestinationCommit: Commit('d'),
		})
	}
	return tr
}

// BranchOf is the source branch of one of its pull requests.
func BranchOf(pr int64) string { return fmt.Sprintf("feature-%d", pr) }

// HeadOf is the head that the step builds: the same for two steps, so that a
// head is built again now and then.
func HeadOf(pr int64, step int) string { return fmt.Sprintf("%08x%032x", step/2+1, pr) }

// Run takes steps of every pull request until ctx ends or there were as many of
// each, and waits for all of them.
func (tr *Traffic) Run(ctx context.Context, steps int) {
	var group sync.WaitGroup
	for _, pr := range tr.PullRequests {
		group.Go(func() {
			tick := time.NewTicker(tr.Pace)
			defer tick.Stop()
			for range steps {
				if err := tr.step(pr); err != nil {
					tr.T.Errorf("pull request %d: %v", pr, err)
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
func (tr *Traffic) step(pr int64) error {
	tr.mu.Lock()
	step := tr.steps[pr]
	tr.steps[pr]++
	tr.mu.Unlock()
	head := HeadOf(pr, step)
	if step%2 == 0 && step > 0 {
		if err := tr.Bitbucket.Push(Repository, pr, head); err != nil {
			return err
		}
	}
	if step%2 == 0 {
		tr.Send(ClassPush, PushEvent(pr, head))
		tr.Send(ClassPullRequest, PullRequestEvent(pr, head, "OPEN"))
	}
	now := time.Now().UTC()
	b, err := tr.AppVeyor.PutBuild("acme", "widgets", appveyortest.Build{
		ID: tr.buildID(pr, step), Version: fmt.Sprintf("1.%d.%d", pr, step), Branch: "main", CommitID: head,
		PullRequestID: pr, PullRequestName: "Change something", PullRequestHeadCommit: head,
		PullRequestHeadRepository: Repository, PullRequestHeadBranch: BranchOf(pr),
		Status: "running", Created: now, Started: now, Updated: now,
	})
	if err != nil {
		return err
	}
	if step%3 == 0 {
		tr.Hook(b.ID) // as "on build started" would, had somebody sent it
	}
	status := []string{"success", "failed", "success", "cancelled"}[step%4]
	if err := tr.AppVeyor.SetStatus(b.ID, status); err != nil {
		return err
	}
	tr.mu.Lock()
	b.Status = status
	tr.Builds[b.ID] = b
	tr.mu.Unlock()
	tr.Hook(b.ID)
	if step%5 == 0 {
		tr.Hook(b.ID)
	}
	return nil
}

// Keep has a build that was there before counted with the others.
func (tr *Traffic) Keep() {
	for _, b := range tr.AppVeyor.Builds("acme", "widgets") {
		tr.Builds[b.ID] = b
	}
}

// buildID orders builds by when they are begun, whatever pull request they are of.
func (tr *Traffic) buildID(pr int64, step int) int64 { return int64(5000+step*20) + pr%20 }

// PushEvent is what Forge sends of a push.
func PushEvent(pr int64, head string) string {
	return fmt.Sprintf(`{"eventType":"avi:bitbucket:push:repository","timestamp":%q,"workspace":{"uuid":"{%s}"},"repository":{"uuid":"{%s}"},"push":{"ref":"refs/heads/%s","after":%q}}`,
		time.Now().UTC().Format(time.RFC3339Nano), WorkspaceUUID, RepositoryUUID, BranchOf(pr), head)
}

// PullRequestEvent is what Forge sends of a pull request that changed.
func PullRequestEvent(pr int64, head, state string) string {
	return fmt.Sprintf(`{"eventType":"avi:bitbucket:updated:pullrequest","timestamp":%q,"workspace":{"uuid":"{%s}"},"repository":{"uuid":"{%s}"},`+
		`"pullrequest":{"id":%d,"state":%q,"source":{"branch":%q,"commit":{"hash":%q},"repository":{"uuid":"{%s}"}},"destination":{"branch":"main","commit":{"hash":%q}}}}`,
		time.Now().UTC().Format(time.RFC3339Nano), WorkspaceUUID, RepositoryUUID, pr, state, BranchOf(pr), head[:12], RepositoryUUID, Commit('d')[:12])
}

// Hook sends AppVeyor's webhook of a build, once.
func (tr *Traffic) Hook(build int64) {
	if tr.Drop(ClassWebhook) {
		return
	}
	tr.tell(tr.request("/webhooks/appveyor", WebhookSecret, string(tr.AppVeyor.WebhookBody(build))))
}

// Send sends an event of Forge, once.
func (tr *Traffic) Send(class, body string) {
	if tr.Drop(class) {
		return
	}
	tr.tell(tr.request("/forge/events", tr.Forge.Token(), body))
}

// tell keeps what was acknowledged. Senders don't send again.
func (tr *Traffic) tell(status int, body []byte, err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var answer struct{ Delivery string }
	switch {
	case err != nil || status == http.StatusServiceUnavailable:
		tr.refused++
	case status != http.StatusAccepted || json.Unmarshal(body, &answer) != nil || answer.Delivery == "":
		tr.T.Errorf("answered %d %s", status, body)
	default:
		tr.acknowledged[answer.Delivery] = true
	}
}

// impatient is a client that gives up some time.
var impatient = &http.Client{Timeout: 20 * time.Second}

// request posts to a replica. Unlike [world.post] it can fail.
func (tr *Traffic) request(path, token, body string) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tr.T.Context()), impatient.Timeout)
	defer cancel()
	url := tr.Target()
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

// Bounded closes every pull request, lets the days of retention pass while the service
// is stopped, and waits until no table has rows that came with time.
func (tr *Traffic) Bounded(stop, start func()) {
	tr.T.Helper()
	for _, pr := range tr.PullRequests {
		tr.Must(tr.Bitbucket.Decline(Repository, pr))
		tr.Send(ClassPullRequest, PullRequestEvent(pr, HeadOf(pr, 0), "DECLINED"))
	}
	tr.Settled()
	tr.Eventually("every status has been posted", func() bool {
		var pending struct{ Values []any }
		tr.Get("/api/v1/commit-statuses?outcome=pending", &pending)
		return len(pending.Values) == 0
	})
	// What is young to AppVeyor would be found and recorded anew.
	tr.AppVeyor.OnRequest(func(*http.Request) appveyortest.Fault {
		return appveyortest.Fault{Status: http.StatusServiceUnavailable}
	})
	var unbounded map[string]int64
	for range 3 { // what a job still needs when the first round begins is left to the next one
		stop()
		postgrestest.Age(tr.T, tr.Database, 40*24*time.Hour) // more than the queue keeps what it gave up, and a month of decisions
		start()
		if unbounded = tr.unbounded(); len(unbounded) == 0 {
			return
		}
	}
	tr.T.Errorf("too many rows in %v", unbounded)
}

// unbounded are the tables that have too many rows after a while, and how many.
func (tr *Traffic) unbounded() (tables map[string]int64) {
	tr.T.Helper()
	deadline := time.After(Patience / 2)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		tables = postgrestest.Rows(tr.T, tr.Database)
		maps.DeleteFunc(tables, func(table string, rows int64) bool { return rows <= bounds[table] })
		if len(tables) == 0 {
			return nil
		}
		select {
		case <-deadline:
			return tables
		case <-tick.C:
		}
	}
}

// bounds are how many rows may stay when everything is old: of tables that grow
// with what is configured and built, not with time. Tables that aren't here have
// to be empty.
var bounds = map[string]int64{
	"goose_db_version": 20, "river_migration": 20, "river_queue": 5, "river_leader": 1, "river_client": 3, "river_client_queue": 9,
	"river_job": 40, // what runs again and again
	"projects":  1, "repositories": 1, "tokens": 1, "write_probe": 1,
}

// UnderLoad starts traffic on a world and returns how to end it.
func (tr *Traffic) UnderLoad() (end func()) {
	ctx, stop := context.WithCancel(tr.T.Context())
	done := make(chan struct{})
	go func() { defer close(done); tr.Run(ctx, math.MaxInt) }()
	return func() { stop(); <-done }
}

// Told is how many messages were acknowledged so far, and how many were not.
func (tr *Traffic) Told() (acknowledged, refused int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return len(tr.acknowledged), tr.refused
}
