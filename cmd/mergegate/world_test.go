package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/bitbucket/bitbuckettest/held"
	"mergegate/internal/forge/forgetest"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres/postgrestest"
)

// asProgram makes the test binary be the program: tests start it as a process.
const asProgram = "MERGEGATE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(postgrestest.Main(m).Run())
}

const (
	webhookSecret  = "hook-secret-7f3a"
	bitbucketToken = "bitbucket-token-91c2"
	workspaceUUID  = "b7ea02c9-0871-4858-a2a6-a190d7de977c"
	repositoryUUID = "15a31549-1cff-45dc-9d0d-310114c5038b"
	repository     = "acme/widgets"
	patience       = 30 * time.Second
)

// world is the program, running as a process, with stand-ins for all it talks to
// and a database of its own.
type world struct {
	t        *testing.T
	appveyor *appveyortest.Server
	bb       *bitbuckettest.Server
	forge    *forgetest.Issuer
	database string
	env      map[string]string
	program  *process
	url      string
	token    string // scopes admin
}

// newWorld starts a world with an AppVeyor project 12064 "acme/widgets" for the
// Bitbucket repository of the same name, and one pull request, 7.
func newWorld(t *testing.T, env ...string) *world {
	t.Helper()
	w := idleWorld(t, env...)
	w.start()
	w.token = w.command("token", "create", "--name", "test", "--scope", "admin")
	return w
}

// idleWorld is a world in which the program doesn't run yet.
func idleWorld(t *testing.T, env ...string) *world {
	t.Helper()
	w := &world{t: t, database: postgrestest.New(t)}
	w.standIns()
	w.env = map[string]string{
		"DATABASE_URL":                      w.database,
		"MERGEGATE_LISTEN":                  "127.0.0.1:0",
		"MERGEGATE_APPVEYOR_ACCOUNTS":       "acme=acme",
		"MERGEGATE_APPVEYOR_URL":            w.appveyor.URL,
		"MERGEGATE_APPVEYOR_WEBHOOK_SECRET": "old-secret, " + webhookSecret,
		"MERGEGATE_BITBUCKET_API_URL":       w.bb.URL,
		"MERGEGATE_BITBUCKET_TOKEN":         bitbucketToken,
		"MERGEGATE_FORGE_APP_ID":            forgetest.AppID,
		"MERGEGATE_FORGE_JWKS_URL":          w.forge.URL,
		"MERGEGATE_RECONCILE_INTERVAL":      "10m",
	}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		w.env[name] = value
	}
	t.Cleanup(func() {
		for _, v := range w.bb.Violations() {
			t.Errorf("against Bitbucket's OpenAPI: %s", v)
		}
	})
	return w
}

func (w *world) standIns() {
	w.t.Helper()
	var err error
	if w.appveyor, err = appveyortest.New(); err != nil {
		w.t.Fatal(err)
	}
	if w.bb, err = held.New(); err != nil {
		w.t.Fatal(err)
	}
	if w.forge, err = forgetest.New(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.appveyor.Close(); w.bb.Close(); w.forge.Close() })
	w.bb.AllowToken(bitbucketToken, "acme")
	w.must(w.appveyor.AddProject(appveyortest.Project{ID: 12064, Account: "acme", Slug: "widgets", RepositoryName: repository}))
	w.must(w.bb.AddRepository(bitbuckettest.Repository{WorkspaceUUID: workspaceUUID, UUID: repositoryUUID, FullName: repository}))
	w.put(pullRequest(commit('1')))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func commit(digit byte) string { return strings.Repeat(string(digit), 40) }

func pullRequest(head string) bitbuckettest.PullRequest {
	return bitbuckettest.PullRequest{
		ID: 7, Title: "Add widgets", SourceBranch: "feature", SourceCommit: head,
		DestinationBranch: "main", DestinationCommit: commit('d'),
	}
}

func (w *world) put(pr bitbuckettest.PullRequest) {
	w.t.Helper()
	w.must(w.bb.PutPullRequest(repository, pr))
}

// build puts a pull request build of head into AppVeyor.
func (w *world) build(head, status string, changes ...func(*appveyortest.Build)) appveyortest.Build {
	w.t.Helper()
	now := time.Now().UTC()
	b := appveyortest.Build{
		Branch: "main", PullRequestID: 7, PullRequestName: "Add widgets", PullRequestHeadCommit: head,
		PullRequestHeadRepository: repository, PullRequestHeadBranch: "feature", CommitID: head,
		Status: status, Created: now, Started: now, Updated: now,
		Jobs: []appveyortest.Job{{Tests: 312, Passed: 312}},
	}
	if status == "success" || status == "failed" || status == "cancelled" {
		b.Finished = now
	}
	for _, change := range changes {
		change(&b)
	}
	b, err := w.appveyor.PutBuild("acme", "widgets", b)
	w.must(err)
	return b
}

// notify has AppVeyor send its webhook, which has to be accepted.
func (w *world) notify(b appveyortest.Build) {
	w.t.Helper()
	status, body, err := w.appveyor.Notify(w.t.Context(), w.url+"/webhooks/appveyor", webhookSecret, b.ID)
	w.must(err)
	if status != http.StatusAccepted {
		w.t.Fatalf("webhook answered %d %s", status, body)
	}
}

// built notifies of a finished build and waits for Bitbucket to show it.
func (w *world) built(head, status string) appveyortest.Build {
	w.t.Helper()
	b := w.build(head, status)
	w.notify(b)
	w.shows(head, map[string]string{"success": "SUCCESSFUL", "failed": "FAILED", "cancelled": "STOPPED", "running": "INPROGRESS", "queued": "INPROGRESS"}[status])
	return b
}

func (w *world) shows(head, state string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := w.bb.WaitCommitStatus(ctx, repository, head, "appveyor-12064-pr-7", state); err != nil {
		w.t.Fatalf("Bitbucket doesn't show %s on %s: %v; it shows %+v", state, head, err, w.bb.CommitStatuses(repository, head))
	}
}

type answer struct {
	Success bool
	Message string
}

// event is the body of a merge check of pull request 7.
func event(trigger string, more ...string) string {
	return fmt.Sprintf(`{"workspace":{"uuid":"{%s}"},"repository":{"uuid":"{%s}"},"pullrequest":{"id":7},"trigger":{"type":%q}%s}`,
		workspaceUUID, repositoryUUID, trigger, strings.Join(more, ""))
}

// bringing is what the Forge function adds to an event.
func bringing(head string) string {
	return fmt.Sprintf(`,"pullRequest":{"state":"OPEN","source":{"commit":%q,"branch":"feature","repository":{"uuid":"{%s}","full_name":%q}},"destination":{"commit":%q,"branch":"main"}}`,
		head, repositoryUUID, repository, commit('d'))
}

// check asks the merge check, which has to be answered.
func (w *world) check(body string) answer {
	w.t.Helper()
	res := w.post("/forge/merge-check", w.forge.Token(), body)
	if res.status != http.StatusOK {
		w.t.Fatalf("merge check answered %d %s", res.status, res.body)
	}
	var a answer
	w.must(json.Unmarshal(res.body, &a))
	if n := len([]rune(a.Message)); n == 0 || n > 255 || strings.ContainsAny(a.Message, "\r\n") {
		w.t.Errorf("message %q", a.Message)
	}
	return a
}

// expect asks the merge check and the API, which have to agree on the code.
func (w *world) expect(code, message string) {
	w.t.Helper()
	w.expectOf(code, message, event("on-merge"))
}

func (w *world) expectOf(code, message, body string) {
	w.t.Helper()
	a := w.check(body)
	if a.Success != mergecheck.Code(code).Success() || !strings.Contains(a.Message, message) {
		w.t.Errorf("merge check: success %v, message %q; want %s with %q", a.Success, a.Message, code, message)
	}
	var decisions struct{ Values []map[string]any }
	w.get("/api/v1/repositories/acme/widgets/pullrequests/7/decisions?pagelen=1", &decisions)
	if len(decisions.Values) != 1 || decisions.Values[0]["code"] != code || decisions.Values[0]["message"] != a.Message {
		w.t.Errorf("decision %v; want code %s", decisions.Values, code)
	}
}

type response struct {
	status int
	header http.Header
	body   []byte
}

func (w *world) post(path, token, body string) response {
	w.t.Helper()
	return w.do(http.MethodPost, path, token, strings.NewReader(body))
}

// do sends a request and holds it and its answer to the API's description.
func (w *world) do(method, path, token string, body io.Reader) response {
	w.t.Helper()
	var content []byte
	if body != nil {
		var err error
		content, err = io.ReadAll(body)
		w.must(err)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, bytes.NewReader(content))
	w.must(err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res := send(w.t, req)
	holdToSpecification(w.t, req, content, res)
	return res
}

// send sends a request and reads the whole answer.
func send(t *testing.T, req *http.Request) response {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{status: res.StatusCode, header: res.Header, body: body}
}

// get reads a document of the API.
func (w *world) get(path string, into any) {
	w.t.Helper()
	res := w.do(http.MethodGet, path, w.token, nil)
	if res.status != http.StatusOK {
		w.t.Fatalf("GET %s answered %d %s", path, res.status, res.body)
	}
	w.must(json.Unmarshal(res.body, into))
}

type delivery struct {
	ID      string
	Outcome string
	Reason  *string
	BuildID int64 `json:"build_id"`
}

// settled waits until no delivery is pending and returns them all, newest first.
func (w *world) settled() []delivery {
	w.t.Helper()
	var list struct{ Values []delivery }
	w.eventually("every delivery has its outcome", func() bool {
		w.get("/api/v1/deliveries?pagelen=100", &list)
		for _, d := range list.Values {
			if d.Outcome == "pending" {
				return false
			}
		}
		return true
	})
	return list.Values
}

// eventually looks again and again at what another process is doing.
func (w *world) eventually(what string, done func() bool) {
	w.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			w.t.Fatalf("not within %s: %s", patience, what)
		case <-tick.C:
		}
	}
}

// command runs another command of the program and returns what it printed.
func (w *world) command(args ...string) string {
	w.t.Helper()
	cmd := programCommand(w.t, w.env, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("mergegate %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func programCommand(t *testing.T, env map[string]string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if program := os.Getenv("MERGEGATE_TEST_PROGRAM"); program != "" {
		self = program // what is shipped, without the race detector and the tests
	}
	cmd := exec.Command(self, args...)
	cmd.Env = []string{asProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.Getenv("TMPDIR")}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// process is a running "mergegate serve".
type process struct {
	cmd  *exec.Cmd
	done chan error

	mu  sync.Mutex
	log bytes.Buffer
}

// start starts the program and waits until it serves.
func (w *world) start() {
	w.t.Helper()
	w.program = &process{cmd: programCommand(w.t, w.env, "serve"), done: make(chan error, 1)}
	serving := make(chan string, 1)
	stderr, err := w.program.cmd.StderrPipe()
	w.must(err)
	w.must(w.program.cmd.Start())
	go w.program.follow(stderr, serving)
	w.t.Cleanup(func() { _ = w.stop(syscall.SIGTERM) })
	select {
	case address := <-serving:
		w.url = "http://" + address
	case err := <-w.program.done:
		w.program.done <- err
		w.t.Fatalf("the program ended:\n%s", w.program.output())
	case <-time.After(patience):
		w.t.Fatalf("the program does not serve:\n%s", w.program.output())
	}
}

// follow keeps the log and announces the address.
func (p *process) follow(stderr io.Reader, serving chan<- string) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		p.log.Write(append(lines.Bytes(), '\n'))
		p.mu.Unlock()
		var entry struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "serving" {
			serving <- entry.Address
		}
	}
	p.done <- p.cmd.Wait()
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// stop ends the program and returns how it ended. Stopping twice is fine.
func (w *world) stop(signal os.Signal) error {
	w.t.Helper()
	_ = w.program.cmd.Process.Signal(signal)
	select {
	case err := <-w.program.done:
		w.program.done <- err
		if w.t.Failed() && testing.Verbose() {
			w.t.Logf("the program's log:\n%s", w.program.output())
		}
		return err
	case <-time.After(patience):
		_ = w.program.cmd.Process.Kill()
		w.t.Errorf("the program did not end:\n%s", w.program.output())
		return nil
	}
}
