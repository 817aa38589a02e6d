package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/forge/forgetest"
	"mergegate/internal/standin"
)

const (
	account       = "acme-ci"
	webhookSecret = "webhook-secret-of-the-bench"
	bitbucketKey  = "bitbucket-token-of-the-bench"
)

// world is what mergegate talks to, and the pull requests it is asked about.
type world struct {
	appveyor  *appveyortest.Server
	bitbucket *bitbuckettest.Server
	forge     *forgetest.Issuer

	asked    []pullRequest // built, and asked about by merge checks
	incoming []pullRequest // builds of these come in
	next     int           // of incoming
	random   *rand.Rand
}

// repositories and perRepository are how many are asked about, and how many builds come in for.
const (
	repositories  = 20
	perRepository = 50
)

type pullRequest struct {
	repository, uuid, project string // full name, UUID, slug of the AppVeyor project
	id                        int64
	head, destination         string // commits
	branch                    string
	updatedOn                 time.Time
	build                     appveyortest.Build // the newest one
}

func newWorld() (w *world, err error) {
	w = &world{random: rand.New(rand.NewPCG(1, 2))} //nolint:gosec // the same names each time, and no secret
	if w.appveyor, err = appveyortest.New(); err != nil {
		return nil, err
	}
	if w.bitbucket, err = bitbuckettest.New(); err != nil {
		return nil, err
	}
	if w.forge, err = forgetest.New(); err != nil {
		return nil, err
	}
	w.bitbucket.AllowToken(bitbucketKey, "acme")
	if w.asked, err = w.fill("asked", 0); err != nil {
		return nil, err
	}
	for i := range w.asked {
		if w.asked[i].build, err = w.build(w.asked[i]); err != nil {
			return nil, err
		}
	}
	w.incoming, err = w.fill("incoming", repositories)
	return w, err
}

func (w *world) close() {
	w.appveyor.Close()
	w.bitbucket.Close()
	w.forge.Close()
}

// hang has AppVeyor answer nothing from now on.
func (w *world) hang() {
	w.appveyor.OnRequest(func(*http.Request) standin.Fault { return standin.Fault{Hang: true} })
}

// answer has AppVeyor answer again.
func (w *world) answer() { w.appveyor.OnRequest(nil) }

func (w *world) hex(n int) string {
	const digits = "0123456789abcdef"
	text := make([]byte, n)
	for i := range text {
		text[i] = digits[w.random.IntN(len(digits))]
	}
	return string(text)
}

func (w *world) uuid() string {
	h := w.hex(32)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

// fill makes repositories with an AppVeyor project and pull requests each.
func (w *world) fill(name string, from int64) (list []pullRequest, err error) {
	for i := range int64(repositories) {
		p := pullRequest{repository: fmt.Sprintf("acme/%s-%d", name, i), uuid: w.uuid(), project: fmt.Sprintf("%s-%d", name, i), destination: w.hex(40)}
		err = errors.Join(err,
			w.bitbucket.AddRepository(bitbuckettest.Repository{WorkspaceUUID: forgetest.WorkspaceUUID, UUID: p.uuid, FullName: p.repository}),
			w.appveyor.AddProject(appveyortest.Project{ID: 300_000 + from + i, Account: account, Slug: p.project, RepositoryName: p.repository}))
		for id := range int64(perRepository) {
			p.id, p.head, p.branch = id+1, w.hex(40), fmt.Sprintf("feature/%d", id+1)
			p.updatedOn = time.Now().UTC().Add(-time.Hour).Truncate(time.Microsecond)
			err = errors.Join(err, w.bitbucket.PutPullRequest(p.repository, bitbuckettest.PullRequest{
				ID: p.id, Title: "Change something", SourceBranch: p.branch, SourceCommit: p.head, DestinationBranch: "main", DestinationCommit: p.destination,
				UpdatedOn: p.updatedOn,
			}))
			list = append(list, p)
		}
	}
	return list, err
}

// build has AppVeyor build a pull request once more, successfully.
func (w *world) build(p pullRequest) (appveyortest.Build, error) {
	now := time.Now()
	return w.appveyor.PutBuild(account, p.project, appveyortest.Build{
		Branch: "main", CommitID: w.hex(40), Message: "Change something", Status: "success",
		PullRequestID: p.id, PullRequestName: "Change something", PullRequestHeadCommit: p.head, PullRequestHeadRepository: p.repository, PullRequestHeadBranch: p.branch,
		Jobs: []appveyortest.Job{
			{Name: "Environment: CONFIG=Debug", Tests: 10, Passed: 10}, {Name: "Environment: CONFIG=Release", Tests: 5, Passed: 5},
		},
		Created: now.Add(-3 * time.Minute), Started: now.Add(-2 * time.Minute), Finished: now.Add(-5 * time.Second), Updated: now.Add(-5 * time.Second),
	})
}

// webhooks are n requests of builds that never came in before.
func (w *world) webhooks(n int) ([][]byte, error) {
	list := make([][]byte, n)
	for i := range list {
		built, err := w.build(w.incoming[w.next%len(w.incoming)])
		if err != nil {
			return nil, err
		}
		w.next++
		list[i] = w.webhook(built)
	}
	return list, nil
}

func (w *world) webhook(b appveyortest.Build) []byte {
	return requestOf("POST", "/webhooks/appveyor", webhookSecret, w.appveyor.WebhookBody(b.ID))
}

// mergeChecks are n requests, each with a token of its own and the pull request brought along.
func (w *world) mergeChecks(n int, trigger string) ([][]byte, error) {
	list := make([][]byte, n)
	errs := make([]error, n)
	var group sync.WaitGroup
	const signers = 4
	for s := range signers {
		group.Go(func() {
			for i := s; i < n; i += signers {
				p := w.asked[i%len(w.asked)]
				var body []byte
				body, errs[i] = json.Marshal(eventOf(p, trigger))
				token := w.forge.Token(forgetest.WithClaim("exp", time.Now().Add(6*time.Hour).Unix()))
				list[i] = requestOf("POST", "/forge/merge-check", token, body)
			}
		})
	}
	group.Wait()
	return list, errors.Join(errs...)
}

// eventOf is the body that the Forge function sends.
func eventOf(p pullRequest, trigger string) map[string]any {
	type object = map[string]any
	destination := p.destination
	if p.id%2 == 0 { // as Bitbucket abbreviates it
		destination = destination[:12]
	}
	return object{
		"workspace": object{"uuid": "{" + forgetest.WorkspaceUUID + "}"}, "repository": object{"uuid": "{" + p.uuid + "}"},
		"pullrequest": object{"id": p.id}, "trigger": object{"type": trigger}, "mergeProperties": object{"mergeStrategy": "merge_commit"},
		"pullRequest": object{
			"state": "OPEN", "updated_on": p.updatedOn.Format(time.RFC3339Nano),
			"source":      object{"commit": p.head, "branch": p.branch, "repository": object{"uuid": "{" + p.uuid + "}", "full_name": p.repository}},
			"destination": object{"commit": destination, "branch": "main"},
		},
	}
}

// freePort is a port that nobody listens on, for a program that is told its address.
func freePort(ctx context.Context) (int, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}
