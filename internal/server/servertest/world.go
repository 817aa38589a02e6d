// Package servertest runs the service in the test's process, with stand-ins for all it
// talks to and a database of its own:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }
//
//	func TestGate(t *testing.T) {
//		t.Parallel()
//		w := servertest.New(t)
//		w.Built(servertest.Commit('1'), "success")
//		w.Expect("passed", "")
//	}
//
// Bitbucket's stand-in is held to Atlassian's OpenAPI document, and every answer of the
// service to api/openapi.yaml.
package servertest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/bitbucket/bitbuckettest/held"
	"mergegate/internal/forge/forgetest"
	"mergegate/internal/postgres/postgrestest"
)

// What every world has.
const (
	WebhookSecret  = "hook-secret-7f3a"
	BitbucketToken = "bitbucket-token-91c2"
	WorkspaceUUID  = "b7ea02c9-0871-4858-a2a6-a190d7de977c"
	RepositoryUUID = "15a31549-1cff-45dc-9d0d-310114c5038b"
	Repository     = "acme/widgets"
	ReportsPath    = "/api/v1/repositories/acme/widgets/builds"

	AnnUUID    = "0f1e2d3c-0000-4000-8000-000000000001"
	BobUUID    = "0f1e2d3c-0000-4000-8000-000000000002"
	AuthorUUID = "0f1e2d3c-0000-4000-8000-000000000003"

	// SecretKey, for a world's environment, is 32 bytes.
	SecretKey = "MERGEGATE_SECRET_KEY=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

	// Patience is how long a test waits for what has to come, on a machine with too much to do.
	Patience = time.Minute
)

// World is the service with all it talks to.
type World struct {
	T         *testing.T
	AppVeyor  *appveyortest.Server
	Bitbucket *bitbuckettest.Server
	Forge     *forgetest.Issuer
	Database  string            // its URL
	Env       map[string]string // what the service is configured with when it starts
	URL       string            // of the service
	Token     string            // for its API, with scope admin

	log     *log
	service *service
}

// New starts a world with an AppVeyor project 12064 "acme/widgets" for the
// Bitbucket repository of the same name, and one pull request, 7.
func New(t *testing.T, env ...string) *World {
	t.Helper()
	w := Idle(t, env...)
	w.Start()
	w.Token = w.TokenOf("test", "admin")
	return w
}

// Idle is a world in which the service doesn't run yet.
func Idle(t *testing.T, env ...string) *World {
	t.Helper()
	w := &World{T: t, Database: postgrestest.New(t), log: new(log)}
	w.standIns()
	w.Env = map[string]string{
		"DATABASE_URL":                      w.Database,
		"MERGEGATE_LISTEN":                  "127.0.0.1:0",
		"MERGEGATE_APPVEYOR_ACCOUNTS":       "acme=acme",
		"MERGEGATE_APPVEYOR_URL":            w.AppVeyor.URL,
		"MERGEGATE_APPVEYOR_WEBHOOK_SECRET": "old-secret, " + WebhookSecret,
		"MERGEGATE_BITBUCKET_API_URL":       w.Bitbucket.URL,
		"MERGEGATE_BITBUCKET_TOKEN":         BitbucketToken,
		"MERGEGATE_FORGE_APP_ID":            forgetest.AppID,
		"MERGEGATE_FORGE_JWKS_URL":          w.Forge.URL,
		"MERGEGATE_RECONCILE_INTERVAL":      "10m",
	}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		w.Env[name] = value
	}
	t.Cleanup(func() {
		for _, v := range w.Bitbucket.Violations() {
			t.Errorf("against Bitbucket's OpenAPI: %s", v)
		}
	})
	return w
}

func (w *World) standIns() {
	w.T.Helper()
	var err error
	if w.AppVeyor, err = appveyortest.New(); err != nil {
		w.T.Fatal(err)
	}
	if w.Bitbucket, err = held.New(); err != nil {
		w.T.Fatal(err)
	}
	if w.Forge, err = forgetest.New(); err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() { w.AppVeyor.Close(); w.Bitbucket.Close(); w.Forge.Close() })
	w.Bitbucket.AllowToken(BitbucketToken, "acme")
	w.Must(w.AppVeyor.AddProject(appveyortest.Project{ID: 12064, Account: "acme", Slug: "widgets", RepositoryName: Repository}))
	w.Must(w.Bitbucket.AddRepository(bitbuckettest.Repository{WorkspaceUUID: WorkspaceUUID, UUID: RepositoryUUID, FullName: Repository}))
	w.Put(PullRequest(Commit('1')))
}

// Must ends the test where there is an error.
func (w *World) Must(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// Commit is a hash, of one digit.
func Commit(digit byte) string { return strings.Repeat(string(digit), 40) }

// PullRequest is pull request 7 with a head.
func PullRequest(head string) bitbuckettest.PullRequest {
	return bitbuckettest.PullRequest{
		ID: 7, Title: "Add widgets", SourceBranch: "feature", SourceCommit: head,
		DestinationBranch: "main", DestinationCommit: Commit('d'),
	}
}

// Put has Bitbucket have a pull request as it is.
func (w *World) Put(pr bitbuckettest.PullRequest) {
	w.T.Helper()
	w.Must(w.Bitbucket.PutPullRequest(Repository, pr))
}

// Build puts a pull request build of head into AppVeyor.
func (w *World) Build(head, status string, changes ...func(*appveyortest.Build)) appveyortest.Build {
	w.T.Helper()
	now := time.Now().UTC()
	b := appveyortest.Build{
		Branch: "main", PullRequestID: 7, PullRequestName: "Add widgets", PullRequestHeadCommit: head,
		PullRequestHeadRepository: Repository, PullRequestHeadBranch: "feature", CommitID: head,
		Status: status, Created: now, Started: now, Updated: now,
		Jobs: []appveyortest.Job{{Tests: 312, Passed: 312}},
	}
	if status == "success" || status == "failed" || status == "cancelled" {
		b.Finished = now
	}
	for _, change := range changes {
		change(&b)
	}
	b, err := w.AppVeyor.PutBuild("acme", "widgets", b)
	w.Must(err)
	return b
}

// Notify has AppVeyor send its webhook, which has to be accepted.
func (w *World) Notify(b appveyortest.Build) {
	w.T.Helper()
	status, body, err := w.AppVeyor.Notify(w.T.Context(), w.URL+"/webhooks/appveyor", WebhookSecret, b.ID)
	w.Must(err)
	if status != http.StatusAccepted {
		w.T.Fatalf("webhook answered %d %s", status, body)
	}
}

// Built notifies of a finished build and waits for Bitbucket to show it.
func (w *World) Built(head, status string) appveyortest.Build {
	w.T.Helper()
	b := w.Build(head, status)
	w.Notify(b)
	w.Shows(head, map[string]string{"success": "SUCCESSFUL", "failed": "FAILED", "cancelled": "STOPPED", "running": "INPROGRESS", "queued": "INPROGRESS"}[status])
	return b
}

// Shows waits until Bitbucket shows a state of the world's project on a commit.
func (w *World) Shows(head, state string) {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), Patience)
	defer cancel()
	if err := w.Bitbucket.WaitCommitStatus(ctx, Repository, head, "appveyor-12064-pr-7", state); err != nil {
		w.T.Fatalf("Bitbucket doesn't show %s on %s: %v; it shows %+v", state, head, err, w.Bitbucket.CommitStatuses(Repository, head))
	}
}

// Delivery is something received, as the API lists it.
type Delivery struct {
	ID      string
	Outcome string
	Reason  *string
	Detail  *string
	BuildID int64 `json:"build_id"`
}

// Settled waits until no delivery is pending and returns them all, newest first.
func (w *World) Settled() []Delivery {
	w.T.Helper()
	var list struct{ Values []Delivery }
	w.Eventually("every delivery has its outcome", func() bool {
		w.Get("/api/v1/deliveries?pagelen=100", &list)
		for _, d := range list.Values {
			if d.Outcome == "pending" {
				return false
			}
		}
		return true
	})
	return list.Values
}

// Eventually looks again and again at what the service is doing.
func (w *World) Eventually(what string, done func() bool) {
	w.T.Helper()
	deadline := time.After(Patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			w.T.Fatalf("not within %s: %s", Patience, what)
		case <-tick.C:
		}
	}
}

// Equal holds what is there to what is wanted.
func (w *World) Equal(what string, want, got any) {
	w.T.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		w.T.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// Policy puts a policy in force for the workspace.
func (w *World) Policy(document string) {
	w.T.Helper()
	req, err := http.NewRequestWithContext(w.T.Context(), http.MethodPut, w.URL+"/api/v1/workspaces/{"+WorkspaceUUID+"}/policy", strings.NewReader(document))
	w.Must(err)
	req.Header.Set("Authorization", "Bearer "+w.Token)
	req.Header.Set("Content-Type", "application/yaml")
	if res := Send(w.T, req); res.Status != http.StatusOK {
		w.T.Fatalf("policy answered %d %s", res.Status, res.Body)
	}
}

// Authored has somebody be the pull request's author.
func (w *World) Authored(head string) {
	w.T.Helper()
	pr := PullRequest(head)
	pr.AuthorUUID = AuthorUUID
	w.Put(pr)
}

// Linked is a world whose repository is known, with a policy in force.
func Linked(t *testing.T, policy string, env ...string) *World {
	t.Helper()
	w := New(t, env...)
	w.Link(policy)
	return w
}

// Link has the repository be known, and a policy in force.
func (w *World) Link(policy string) {
	w.T.Helper()
	w.Authored(Commit('1'))
	w.Expect("no_build", "")
	w.Policy(policy)
}

// ForgeBrings has Forge call with an event, and a token of the app if there is one.
func (w *World) ForgeBrings(systemToken string, options ...forgetest.Option) {
	w.T.Helper()
	req, err := http.NewRequestWithContext(w.T.Context(), http.MethodPost, w.URL+"/forge/events", strings.NewReader(`{}`))
	w.Must(err)
	req.Header.Set("Authorization", "Bearer "+w.Forge.Token(options...))
	if systemToken != "" {
		req.Header.Set("x-forge-oauth-system", systemToken)
	}
	if res := Send(w.T, req); res.Status != http.StatusAccepted {
		w.T.Fatalf("the event was answered %d %s", res.Status, res.Body)
	}
}

// Private makes the repository one that nobody reads without a credential.
func (w *World) Private() {
	w.T.Helper()
	w.Must(w.Bitbucket.AddRepository(bitbuckettest.Repository{
		WorkspaceUUID: WorkspaceUUID, UUID: RepositoryUUID, FullName: Repository, Private: true,
	}))
}

// ShortTempDir is a folder whose path leaves room for a socket's name.
func ShortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mg") //nolint:usetesting // t.TempDir has the test's name in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// FillBuilds gives acme/widgets many builds, over the last 400 days.
func FillBuilds(t testing.TB, url string, builds int) {
	t.Helper()
	postgrestest.Exec(t, url, `
		INSERT INTO builds (workspace_uuid, repository_uuid, build_id, project_id, account, slug, repository, pull_request_id, version,
			state, reported_commit, source_commit, destination_branch, url, jobs, created_on, started_on, finished_on, updated_on)
		SELECT $1, $2, 1000000 + n, 12064, 'acme', 'widgets', 'acme/widgets', 1000 + n / 10, '1.0.' || n,
			CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'success' END, md5(n::text) || left(md5('head' || n), 8), md5(n::text) || left(md5('head' || n), 8), 'main',
			'https://ci.appveyor.com/project/acme/widgets/builds/' || n, '[{"id":"x64","name":"x64","state":"success","tests":{"total":3,"passed":3,"failed":0}}]',
			t, t + interval '1 minute', t + interval '5 minutes', t + interval '5 minutes'
		FROM generate_series(1, $3::bigint) n, LATERAL (SELECT now() - interval '399 days' * (1 - n::float8 / $3::bigint)) AS at(t)`,
		WorkspaceUUID, RepositoryUUID, builds)
	postgrestest.Exec(t, url, `
		INSERT INTO pull_request_heads (workspace_uuid, repository_uuid, pull_request_id, first_seen_on, commit, last_seen_on)
		SELECT workspace_uuid, repository_uuid, pull_request_id, created_on, source_commit, finished_on FROM builds WHERE build_id > 1000000`)
	postgrestest.Exec(t, url, `ANALYZE builds, pull_request_heads`)
}

// Reported is the body of a report of pull request 7.
func Reported(build int, state, commit string, more ...string) string {
	return fmt.Sprintf(`{"project":{"id":12064,"slug":"acme/widgets"},"build_id":%d,"version":"1.0.%[1]d","state":%q,"pullrequest":{"id":7},"source":{"commit":%q}%s}`,
		build, state, commit, strings.Join(more, ""))
}
