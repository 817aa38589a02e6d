package bitbuckettest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"mergegate/internal/bitbucket"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/bitbucket/bitbuckettest/held"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	workspaceUUID = "cc8e193d-7603-4dfd-8771-fcc8960aa0fb"
	repoUUID      = "15a31549-1cff-45dc-9d0d-310114c5038b"
	forkUUID      = "ffe76500-0627-43f6-a9c5-4d6373a5e4eb"
)

// appToken is the Forge app's token in any workspace.
type appToken string

func (a appToken) Token(context.Context, string) string { return string(a) }
func (appToken) Doubt(context.Context, string, string)  {}
func (appToken) Reject(context.Context, string, string) {}

var (
	head = strings.Repeat("1a", 20)
	base = strings.Repeat("2b", 20)
	next = strings.Repeat("3c", 20)
)

// start serves ws/repo with pull request 7 and, from fork/repo, 8.
func start(t *testing.T) *bitbuckettest.Server {
	t.Helper()
	server, err := held.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	err = errors.Join(
		server.AddRepository(bitbuckettest.Repository{FullName: "ws/repo", UUID: repoUUID, WorkspaceUUID: workspaceUUID, Private: true}),
		server.AddRepository(bitbuckettest.Repository{FullName: "fork/repo", UUID: "{" + forkUUID + "}", WorkspaceUUID: forkUUID}),
		server.PutPullRequest("ws/repo", bitbuckettest.PullRequest{
			ID: 7, Title: "Add it", SourceBranch: "feature", SourceCommit: head, DestinationBranch: "main", DestinationCommit: base,
		}),
		server.PutPullRequest("ws/repo", bitbuckettest.PullRequest{
			ID: 8, SourceRepo: "fork/repo", SourceBranch: "feature", SourceCommit: next, DestinationBranch: "main", DestinationCommit: base,
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return server
}

func clientOf(t *testing.T, server *bitbuckettest.Server, cfg bitbucket.Config) *bitbucket.Client {
	t.Helper()
	cfg.BaseURL = server.URL
	cfg.OAuthTokenURL = server.URL + "/site/oauth2/access_token"
	client, err := bitbucket.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func noViolations(t *testing.T, server *bitbuckettest.Server) {
	t.Helper()
	if v := server.Violations(); len(v) > 0 {
		t.Errorf("violations: %s", strings.Join(v, "\n"))
	}
}

func statusCode(err error) int {
	var refused *bitbucket.Error
	if errors.As(err, &refused) {
		return refused.StatusCode
	}
	return 0
}

func TestTheClientReads(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := clientOf(t, server, bitbucket.Config{})
	for name, by := range map[string][2]string{"slugs": {"ws", "repo"}, "UUIDs": {workspaceUUID, "{" + repoUUID + "}"}} {
		repository, err := client.Repository(t.Context(), by[0], by[1])
		want := bitbucket.Repository{UUID: repoUUID, FullName: "ws/repo", WorkspaceUUID: workspaceUUID}
		if diff := cmp.Diff(want, repository); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", name, err, diff)
		}
	}
	pr, err := client.PullRequest(t.Context(), "ws", "repo", 8)
	want := bitbucket.PullRequest{
		ID: 8, State: "OPEN",
		Source:      bitbucket.Endpoint{Repository: bitbucket.Repository{UUID: forkUUID, FullName: "fork/repo"}, Branch: "feature", Commit: next[:12]},
		Destination: bitbucket.Endpoint{Repository: bitbucket.Repository{UUID: repoUUID, FullName: "ws/repo"}, Branch: "main", Commit: base[:12]},
	}
	times := cmpopts.IgnoreFields(bitbucket.PullRequest{}, "UpdatedOn", "ReadOn", "Took")
	if diff := cmp.Diff(want, pr, times); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if got, err := client.PullRequestHead(t.Context(), "ws", "repo", pr); got != next {
		t.Errorf("head %s, %v", got, err)
	}
	if _, err := client.PullRequest(t.Context(), "ws", "repo", 9); statusCode(err) != http.StatusNotFound {
		t.Errorf("no such pull request: %v", err)
	}
	noViolations(t, server)
}

func TestPullRequestsChange(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := clientOf(t, server, bitbucket.Config{})
	read := func() bitbucket.PullRequest {
		pr, err := client.PullRequest(t.Context(), "ws", "repo", 7)
		if err != nil {
			t.Fatal(err)
		}
		return pr
	}
	if err := server.Push("ws/repo", 7, next); err != nil {
		t.Fatal(err)
	}
	if got, err := client.PullRequestHead(t.Context(), "ws", "repo", read()); got != next {
		t.Errorf("head after the push %s, %v", got, err)
	}
	if err := server.Decline("ws/repo", 7); err != nil || read().State != "DECLINED" {
		t.Errorf("after declining: %v, %v", read(), err)
	}
	if err := server.Merge("ws/repo", 7); err != nil || read().State != "MERGED" {
		t.Errorf("after merging: %v, %v", read(), err)
	}
	gone := bitbuckettest.PullRequest{ID: 8, SourceGone: true, DestinationBranch: "main", DestinationCommit: base}
	if err := server.PutPullRequest("ws/repo", gone); err != nil {
		t.Fatal(err)
	}
	pr, err := client.PullRequest(t.Context(), "ws", "repo", 8)
	if err != nil || pr.Source != (bitbucket.Endpoint{}) {
		t.Errorf("a deleted fork: %+v, %v", pr.Source, err)
	}
	pr.Source.Commit = next[:12]
	if _, err := client.PullRequestHead(t.Context(), "ws", "repo", pr); !errors.Is(err, bitbucket.ErrHeadUnknown) {
		t.Errorf("the head of a deleted fork: %v", err)
	}
	noViolations(t, server)
}

func TestPullRequestsSayWhenTheyChanged(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := clientOf(t, server, bitbucket.Config{})
	read := func() bitbucket.PullRequest {
		pr, err := client.PullRequest(t.Context(), "ws", "repo", 9)
		if err != nil {
			t.Fatal(err)
		}
		return pr
	}
	put := func(pr bitbuckettest.PullRequest) bitbucket.PullRequest {
		if err := server.PutPullRequest("ws/repo", pr); err != nil {
			t.Fatal(err)
		}
		return read()
	}
	pr := bitbuckettest.PullRequest{ID: 9, SourceBranch: "b", SourceCommit: head, DestinationBranch: "main", DestinationCommit: base}
	first := put(pr)
	if first.UpdatedOn.IsZero() || first.ReadOn.Sub(first.UpdatedOn).Abs() > time.Minute {
		t.Errorf("updated on %s, read on %s", first.UpdatedOn, first.ReadOn)
	}
	if again := put(pr); !again.UpdatedOn.Equal(first.UpdatedOn) {
		t.Errorf("updated on %s without a change", again.UpdatedOn)
	}
	pr.Draft = true
	if changed := put(pr); !changed.UpdatedOn.After(first.UpdatedOn) || !changed.Draft {
		t.Errorf("updated on %s after a change on %s", changed.UpdatedOn, first.UpdatedOn)
	}
	pr.UpdatedOn = time.Date(2026, 8, 21, 9, 0, 0, 1000, time.UTC)
	if given := put(pr); !given.UpdatedOn.Equal(pr.UpdatedOn) {
		t.Errorf("updated on %s, want %s", given.UpdatedOn, pr.UpdatedOn)
	}
	if err := server.Push("ws/repo", 9, next); err != nil || !read().UpdatedOn.After(pr.UpdatedOn) {
		t.Errorf("updated on %s after a push: %v", read().UpdatedOn, err)
	}
	noViolations(t, server)
}

// TestHeadAmongTwins: two commits that share the 12 characters, 150 commits apart and so on two pages.
func TestHeadAmongTwins(t *testing.T) {
	t.Parallel()
	server := start(t)
	twin := head[:12] + strings.Repeat("0", 28)
	commits := []string{twin}
	for i := range 150 {
		commits = append(commits, strings.Repeat(string("0123456789abcdef"[i%16]), 30)+"aaaaaaa"+string("0123456789"[i/100])+string("0123456789"[i/10%10])+string("0123456789"[i%10]))
	}
	commits = append(commits, head)
	pr := bitbuckettest.PullRequest{ID: 9, SourceBranch: "b", SourceCommit: twin, Commits: commits, DestinationBranch: "main", DestinationCommit: base}
	if err := server.PutPullRequest("ws/repo", pr); err != nil {
		t.Fatal(err)
	}
	client := clientOf(t, server, bitbucket.Config{})
	asked, err := client.PullRequest(t.Context(), "ws", "repo", 9)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := client.PullRequestHead(t.Context(), "ws", "repo", asked); got != twin {
		t.Errorf("head %s, %v, want %s", got, err, twin)
	}
	noViolations(t, server)
}

func TestCommitStatuses(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := clientOf(t, server, bitbucket.Config{})
	post := bitbucket.CommitStatus{Key: "appveyor-7", State: "INPROGRESS", Name: "AppVeyor", Description: "Running", URL: "https://ci.appveyor.com/x", Refname: "feature"}
	done := post
	done.State, done.Refname = "SUCCESSFUL", ""
	other := bitbucket.CommitStatus{Key: "other", State: "FAILED", URL: "https://ci.appveyor.com/y"}
	posted := make(chan struct{})
	go func() {
		defer close(posted)
		for _, status := range []bitbucket.CommitStatus{post, done, other} {
			if err := client.PostCommitStatus(t.Context(), "ws", "{"+repoUUID+"}", head, status); err != nil {
				t.Error(err)
			}
		}
	}()
	if err := server.WaitCommitStatus(t.Context(), "ws/repo", head, "other", "FAILED"); err != nil {
		t.Error(err)
	}
	<-posted
	want := []bitbuckettest.CommitStatus{
		{Key: "appveyor-7", State: "SUCCESSFUL", Name: "AppVeyor", Description: "Running", URL: "https://ci.appveyor.com/x"},
		{Key: "other", State: "FAILED", URL: "https://ci.appveyor.com/y"},
	}
	ignoreTimes := cmpopts.IgnoreFields(bitbuckettest.CommitStatus{}, "CreatedOn", "UpdatedOn")
	if diff := cmp.Diff(want, server.CommitStatuses("ws/repo", head), ignoreTimes); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	noViolations(t, server)
}

func TestCommitStatusLimits(t *testing.T) {
	t.Parallel()
	ok := bitbucket.CommitStatus{Key: strings.Repeat("ä", 40), State: "FAILED", Name: strings.Repeat("n", 255), Description: strings.Repeat("d", 255), URL: "https://ci.example.com/"}
	for name, test := range map[string]struct {
		change  func(*bitbucket.CommitStatus)
		commit  string
		want    int
		message string
		invalid bool // against the document, too
	}{
		"at the limits":     {want: 0},
		"address as host":   {change: func(s *bitbucket.CommitStatus) { s.URL = "http://127.0.0.1:8080/" }},
		"long key":          {change: func(s *bitbucket.CommitStatus) { s.Key = strings.Repeat("k", 48) }, want: 400, message: "key: Ensure this value has at most 40 characters (it has 48)."},
		"long name":         {change: func(s *bitbucket.CommitStatus) { s.Name += "n" }, want: 400, message: "name: Ensure this value has at most 255 characters (it has 256)."},
		"long description":  {change: func(s *bitbucket.CommitStatus) { s.Description += "d" }, want: 400, message: "description: Ensure this value has at most 255 characters (it has 256)."},
		"long URL":          {change: func(s *bitbucket.CommitStatus) { s.URL += strings.Repeat("u", 450-len(s.URL)) }, want: 400, message: "url: Ensure this value has at most 449 characters (it has 450)."},
		"no URL":            {change: func(s *bitbucket.CommitStatus) { s.URL = "" }, want: 400, message: "url: This field is required."},
		"localhost":         {change: func(s *bitbucket.CommitStatus) { s.URL = "http://localhost:8080/" }, want: 400, message: "url: Enter a valid URL."},
		"unknown state":     {change: func(s *bitbucket.CommitStatus) { s.State = "PENDING" }, want: 400, message: "Bad request", invalid: true},
		"head of a fork":    {commit: next, want: 404, message: "Commit not found"},
		"no such commit":    {commit: strings.Repeat("9", 40), want: 404, message: "Commit not found"},
		"abbreviated, fits": {commit: head[:12]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, status, commit := start(t), ok, head
			if test.change != nil {
				test.change(&status)
			}
			if test.commit != "" {
				commit = test.commit
			}
			err := clientOf(t, server, bitbucket.Config{}).PostCommitStatus(t.Context(), "ws", "repo", commit, status)
			if statusCode(err) != test.want || err != nil && !strings.HasSuffix(err.Error(), test.message) || err == nil && test.want != 0 {
				t.Errorf("got %v, want %d", err, test.want)
			}
			if got := len(server.Violations()) > 0; got != test.invalid {
				t.Errorf("violations %v", server.Violations())
			}
		})
	}
}

func TestAccess(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config                 bitbucket.Config
		token                  string
		readPrivate, write     int // ws/repo
		readPublic, writeForks int // fork/repo
		wantAuth               string
	}{
		"none":             {readPrivate: 401, write: 401, writeForks: 401},
		"unknown":          {config: bitbucket.Config{Token: "x"}, readPrivate: 401, write: 401, readPublic: 401, writeForks: 401, wantAuth: "bearer"},
		"by slug":          {config: bitbucket.Config{Token: "slug"}, writeForks: 403, wantAuth: "bearer"},
		"by UUID":          {config: bitbucket.Config{Token: "uuid"}, writeForks: 403, wantAuth: "bearer"},
		"of another":       {config: bitbucket.Config{Token: "fork"}, readPrivate: 404, write: 404, wantAuth: "bearer"},
		"API token":        {config: bitbucket.Config{Email: "a@b.c", APIToken: "api"}, writeForks: 403, wantAuth: "basic"},
		"OAuth":            {config: bitbucket.Config{OAuthClientID: "id", OAuthClientSecret: "secret"}, writeForks: 403, wantAuth: "bearer"},
		"app system token": {config: bitbucket.Config{Token: "x"}, token: "slug", writeForks: 403, wantAuth: "bearer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			server.AllowToken("slug", "ws")
			server.AllowToken("uuid", "{"+workspaceUUID+"}")
			server.AllowToken("fork", "fork")
			server.AllowToken("a@b.c:api", "ws")
			server.AllowClient("id", "secret", "ws")
			client := clientOf(t, server, test.config).AsApp(t.Context(), appToken(test.token), workspaceUUID)
			status := bitbucket.CommitStatus{Key: "k", State: "FAILED", URL: "https://ci.example.com/"}
			check := func(what string, err error, want int) {
				if statusCode(err) != want || want == 0 && err != nil {
					t.Errorf("%s: %v, want %d", what, err, want)
				}
			}
			_, err := client.PullRequest(t.Context(), "ws", "repo", 7)
			check("read", err, test.readPrivate)
			check("write", client.PostCommitStatus(t.Context(), "ws", "repo", head, status), test.write)
			_, err = client.Repository(t.Context(), "fork", "repo")
			check("read public", err, test.readPublic)
			check("write to the fork", client.PostCommitStatus(t.Context(), "fork", "repo", next, status), test.writeForks)
			requests := server.Requests()
			if got := requests[len(requests)-1].Auth; got != test.wantAuth {
				t.Errorf("auth %q, want %q", got, test.wantAuth)
			}
			noViolations(t, server)
		})
	}
}

func TestOnlyTheCreatorOverwrites(t *testing.T) {
	t.Parallel()
	server := start(t)
	server.AllowToken("one", "ws")
	server.AllowToken("two", "ws")
	client := clientOf(t, server, bitbucket.Config{})
	status := bitbucket.CommitStatus{Key: "k", State: "FAILED", URL: "https://ci.example.com/"}
	for i, test := range []struct {
		token string
		want  int
	}{{token: "one"}, {token: "two", want: 403}, {token: "one"}} {
		err := client.AsApp(t.Context(), appToken(test.token), workspaceUUID).PostCommitStatus(t.Context(), "ws", "repo", head, status)
		if statusCode(err) != test.want {
			t.Errorf("%d: %v, want %d", i, err, test.want)
		}
	}
	server.RevokeToken("one")
	if err := client.AsApp(t.Context(), appToken("one"), workspaceUUID).PostCommitStatus(t.Context(), "ws", "repo", head, status); statusCode(err) != 401 {
		t.Errorf("with a revoked token: %v", err)
	}
	noViolations(t, server)
}

// send makes a request that the client doesn't have.
func send(t *testing.T, method, url, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal(data, &answer); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return res.StatusCode, answer
}

func TestOtherOperations(t *testing.T) {
	t.Parallel()
	server := start(t)
	commit := server.URL + "/2.0/repositories/ws/repo/commit/" + head
	for i, step := range []struct {
		method, url, body string
		want              int
		field             string
		value             any
	}{
		{method: "GET", url: server.URL + "/2.0/repositories/ws/repo/commit/" + head[:12], want: 200, field: "hash", value: head},
		{method: "GET", url: commit + "/statuses/build/k", want: 404, field: "type", value: "error"},
		{method: "POST", url: commit + "/statuses/build", body: `{"key":"k","state":"INPROGRESS","url":"https://a.b/","refname":"feature"}`, want: 201, field: "type", value: "build"},
		{method: "PUT", url: commit + "/statuses/build/k", body: `{"state":"STOPPED"}`, want: 200, field: "state", value: "STOPPED"},
		{method: "PUT", url: commit + "/statuses/build/k", body: `{"key":"other"}`, want: 400, field: "type", value: "error"},
		{method: "GET", url: commit + "/statuses/build/k", want: 200, field: "refname", value: "feature"},
		{method: "GET", url: commit + "/statuses", want: 200, field: "size", value: 1.0},
		{method: "GET", url: commit + "/statuses?refname=main", want: 200, field: "size", value: 0.0},
	} {
		code, answer := send(t, step.method, step.url, step.body)
		if code != step.want || answer[step.field] != step.value {
			t.Errorf("%d: %d %v", i, code, answer)
		}
	}
	noViolations(t, server)
}

func TestBranchesAndRenames(t *testing.T) {
	t.Parallel()
	server := start(t)
	branch := bitbuckettest.PullRequest{
		ID: 9, SourceBranch: "feature/x", SourceCommit: next, DestinationBranch: "main", DestinationCommit: base,
		Changes: []bitbuckettest.Change{{New: "a"}, {New: "b"}, {New: "c"}},
	}
	if err := server.PutPullRequest("ws/repo", branch); err != nil {
		t.Fatal(err)
	}
	hash := func(path string, want int) any {
		t.Helper()
		code, answer := send(t, http.MethodGet, server.URL+"/2.0/repositories/"+path, "")
		if code != want {
			t.Errorf("%s: %d %v", path, code, answer)
		}
		target, _ := answer["target"].(map[string]any)
		return target["hash"]
	}
	for path, want := range map[string]any{
		"ws/repo/refs/branches/feature%2Fx": next, "ws/repo/refs/branches/main": base, "fork/repo/refs/branches/feature": next,
		"ws/%7B" + repoUUID + "%7D/refs/branches/feature": head,
	} {
		if got := hash(path, http.StatusOK); got != want {
			t.Errorf("%s is %v", path, got)
		}
	}
	if err := errors.Join(server.SetBranch("ws/repo", "main", head), server.SetBranch("ws/repo", "feature/x", "")); err != nil {
		t.Fatal(err)
	}
	if got := hash("ws/repo/refs/branches/main", http.StatusOK); got != head {
		t.Errorf("main is %v", got)
	}
	hash("ws/repo/refs/branches/feature%2Fx", http.StatusNotFound)
	if err := errors.Join(server.Decline("ws/repo", 9), server.Rename("ws/repo", "ws/new")); err != nil {
		t.Fatal(err)
	}
	hash("ws/new/refs/branches/feature%2Fx", http.StatusNotFound)
	client := clientOf(t, server, bitbucket.Config{})
	if pr, err := client.PullRequest(t.Context(), "ws", "repo", 9); err != nil || pr.Source.Repository.FullName != "ws/new" {
		t.Errorf("at the old name: %+v, %v", pr, err)
	}
	if paths, err := client.PullRequestPaths(t.Context(), "ws", "new", 9); len(paths) != 3 || err != nil {
		t.Errorf("paths %v, %v", paths, err)
	}
	for workspace, want := range map[string]float64{"ws": 1, "%7B" + workspaceUUID + "%7D": 1, "fork": 1} {
		if code, answer := send(t, http.MethodGet, server.URL+"/2.0/repositories/"+workspace+"?pagelen=1", ""); code != 200 || answer["size"] != want {
			t.Errorf("repositories of %s: %d %v", workspace, code, answer)
		}
	}
	noViolations(t, server)
}

func TestViolationsAreRecorded(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		method, path, body string
		want               int
	}{
		"no such operation": {method: "DELETE", path: "/2.0/repositories/ws/repo", want: 404},
		"no number":         {method: "GET", path: "/2.0/repositories/ws/repo/pullrequests/seven", want: 400},
		"no state":          {method: "POST", path: "/2.0/repositories/ws/repo/commit/" + head + "/statuses/build", body: `{"key":"k"}`, want: 400},
		"no body":           {method: "POST", path: "/2.0/repositories/ws/repo/commit/" + head + "/statuses/build", want: 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			if code, answer := send(t, test.method, server.URL+test.path, test.body); code != test.want {
				t.Errorf("%d %v, want %d", code, answer, test.want)
			}
			if got := server.Violations(); len(got) != 1 {
				t.Errorf("violations %q", got)
			}
		})
	}
}

func TestFaultsAndTheRequestLog(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := clientOf(t, server, bitbucket.Config{})
	status := bitbucket.CommitStatus{Key: "k", State: "FAILED", URL: "https://ci.example.com/"}
	server.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		return bitbuckettest.Fault{Status: http.StatusBadGateway, Applied: r.Method == http.MethodPost}
	})
	err := client.PostCommitStatus(t.Context(), "ws", "repo", head, status)
	if statusCode(err) != http.StatusBadGateway || len(server.CommitStatuses("ws/repo", head)) != 1 {
		t.Errorf("a lost answer: %v, %v", err, server.CommitStatuses("ws/repo", head))
	}
	want := []bitbuckettest.Request{{
		Method: "POST", Path: "/2.0/repositories/ws/repo/commit/" + head + "/statuses/build",
		Body: `{"key":"k","state":"FAILED","url":"https://ci.example.com/"}`,
	}}
	if diff := cmp.Diff(want, server.Requests()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestOwnAnswersAreHeldToTheDocument: the stand-in can't drift from Bitbucket unnoticed.
func TestOwnAnswersAreHeldToTheDocument(t *testing.T) {
	t.Parallel()
	server := start(t)
	pr := bitbuckettest.PullRequest{ID: 9, State: "ABANDONED", SourceBranch: "b", SourceCommit: head, DestinationBranch: "main", DestinationCommit: base}
	if err := server.PutPullRequest("ws/repo", pr); err != nil {
		t.Fatal(err)
	}
	if _, err := clientOf(t, server, bitbucket.Config{}).PullRequest(t.Context(), "ws", "repo", 9); err != nil {
		t.Error(err)
	}
	if got := server.Violations(); len(got) != 1 || !strings.HasPrefix(got[0], "answer of GET /2.0/repositories/ws/repo/pullrequests/9: ") {
		t.Errorf("violations %q", got)
	}
}

// TestRateLimit asks more than is allowed with each kind of credential.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	const limit = 10
	for _, tt := range []struct {
		name   string
		header func(*http.Request)
		told   bool
	}{
		{name: "an access token", header: func(r *http.Request) { r.Header.Set("Authorization", "Bearer access") }, told: true},
		{name: "a user's API token", header: func(r *http.Request) { r.SetBasicAuth("a@example.com", "user") }},
		{name: "an OAuth consumer", header: func(r *http.Request) { r.Header.Set("Authorization", "Bearer oauth-1") }},
		{name: "nobody", header: func(*http.Request) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			server.LimitRate(limit)
			for i := range limit + 2 {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/2.0/repositories/ws/repo", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				tt.header(req)
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close()
				want := map[string]string{}
				if tt.told {
					near := strconv.FormatBool(i >= limit-2)
					want = map[string]string{"X-Ratelimit-Limit": "10", "X-Ratelimit-Resource": "api", "X-Ratelimit-Nearlimit": near}
				}
				got := map[string]string{}
				for name := range res.Header {
					if strings.HasPrefix(name, "X-Ratelimit") || name == "Retry-After" {
						got[name] = res.Header.Get(name)
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("headers of answer %d (-want +got):\n%s", i, diff)
				}
				if refused := res.StatusCode == http.StatusTooManyRequests; refused != (i >= limit) {
					t.Errorf("request %d is answered %d", i, res.StatusCode)
				}
			}
			if got := server.Refused(); got != 2 {
				t.Errorf("%d refused, want 2", got)
			}
		})
	}
}
