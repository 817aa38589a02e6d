package bitbucket_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/bitbucket"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/bitbucket/bitbuckettest/held"
)

// standIn is a client of Bitbucket's stand-in, which is held to Atlassian's document.
func standIn(t *testing.T) (*bitbuckettest.Server, *bitbucket.Client) {
	t.Helper()
	server, err := held.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if v := server.Violations(); len(v) > 0 {
			t.Errorf("against Bitbucket's document: %v", v)
		}
		server.Close()
	})
	err = server.AddRepository(bitbuckettest.Repository{
		FullName: "ws/repo", UUID: "15a31549-1cff-45dc-9d0d-310114c5038b", WorkspaceUUID: "b7ea02c9-0871-4858-a2a6-a190d7de977c",
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := bitbucket.NewClient(bitbucket.Config{BaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return server, client
}

func sha(n int) string { return fmt.Sprintf("%040x", n) }

func TestCommitsBehind(t *testing.T) {
	t.Parallel()
	server, client := standIn(t)
	const last = 150
	for i := 1; i <= last; i++ {
		var parents []string
		if i > 1 {
			parents = []string{sha(i - 1)}
		}
		if err := server.AddCommit("ws/repo", sha(i), parents...); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name                string
		destination, tested string
		behind              int
		complete            bool
		status              int
	}{
		{name: "the same", destination: sha(last), tested: sha(last), complete: true},
		{name: "three behind", destination: sha(last), tested: sha(last - 3), behind: 3, complete: true},
		{name: "ahead", destination: sha(last - 3), tested: sha(last), complete: true},
		{name: "one page", destination: sha(last), tested: sha(last - 100), behind: 100, complete: true},
		{name: "more than a page", destination: sha(last), tested: sha(last - 101), behind: 100},
		{name: "not there", destination: sha(last), tested: strings.Repeat("f", 40), status: http.StatusNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			behind, complete, err := client.CommitsBehind(t.Context(), "ws", "repo", tt.destination, tt.tested)
			if got := status(err); behind != tt.behind || complete != tt.complete || got != tt.status {
				t.Errorf("behind %d, complete %v, status %d (%v)", behind, complete, got, err)
			}
		})
	}
}

func TestPathsLeaveNothingOut(t *testing.T) {
	t.Parallel()
	const elsewhere = `{"values":[],"next":"https://elsewhere.example/2.0/page"}`
	for name, body := range map[string]string{
		"no list":             `{}`,
		"null":                `{"values":null}`,
		"a change of nothing": `{"values":[{"old":null,"new":null}]}`,
		"elsewhere":           elsewhere,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := serve(t, bitbucket.Config{}, answer(body))
			if paths, err := client.PullRequestPaths(t.Context(), "ws", "repo", 7); err == nil {
				t.Errorf("paths %v from %s", paths, body)
			}
		})
	}
	t.Run("without end", func(t *testing.T) {
		t.Parallel()
		client := serve(t, bitbucket.Config{}, func(w http.ResponseWriter, r *http.Request) {
			answer(`{"values":[{"new":{"path":"a"}}],"next":"http://`+r.Host+`/2.0/again"}`)(w, r)
		})
		if paths, err := client.PullRequestPaths(t.Context(), "ws", "repo", 7); err == nil {
			t.Errorf("%d paths of pages without end", len(paths))
		}
	})
}

// TestPathsOfAFork: the repository doesn't have the fork's commit, but the pull request's own diffstat is there.
func TestPathsOfAFork(t *testing.T) {
	t.Parallel()
	server, client := standIn(t)
	put := func(change func(*bitbuckettest.PullRequest)) {
		t.Helper()
		pr := bitbuckettest.PullRequest{
			ID: 7, SourceRepo: "fork/repo", SourceBranch: "feature", SourceCommit: sha(2), DestinationBranch: "main", DestinationCommit: sha(1),
			Changes: []bitbuckettest.Change{{Old: "b", New: "b"}, {New: "docs/added"}, {Old: "removed"}, {Old: "a/from", New: "z/to"}},
		}
		change(&pr)
		if err := server.PutPullRequest("ws/repo", pr); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.AddRepository(bitbuckettest.Repository{FullName: "fork/repo", UUID: forkUUID, WorkspaceUUID: forkUUID}); err != nil {
		t.Fatal(err)
	}
	put(func(*bitbuckettest.PullRequest) {})
	want := []string{"a/from", "b", "docs/added", "removed", "z/to"}
	paths, err := client.PullRequestPaths(t.Context(), "ws", "repo", 7)
	if diff := cmp.Diff(want, paths); err != nil || diff != "" {
		t.Errorf("%v, paths (-want +got):\n%s", err, diff)
	}
	paths, err = client.PathsOfHead(t.Context(), "ws", "repo", 7, sha(2), sha(1)[:12])
	if diff := cmp.Diff(want, paths); err != nil || diff != "" {
		t.Errorf("%v, paths of the head (-want +got):\n%s", err, diff)
	}
	for name, asked := range map[string][2]string{
		"another head":        {strings.Repeat("9", 40), sha(1)},
		"a twin":              {sha(3), sha(1)},
		"another destination": {sha(2), strings.Repeat("9", 40)},
		"no destination":      {sha(2), "9"},
	} {
		if paths, err := client.PathsOfHead(t.Context(), "ws", "repo", 7, asked[0], asked[1]); err == nil {
			t.Errorf("%s: %v", name, paths)
		}
	}
	// A push between asking and answering.
	server.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		if strings.HasSuffix(r.URL.Path, "/7/diffstat") {
			put(func(pr *bitbuckettest.PullRequest) {
				pr.SourceCommit, pr.Changes = sha(3), []bitbuckettest.Change{{New: "docs/x"}}
			})
		}
		return bitbuckettest.Fault{}
	})
	paths, err = client.PathsOfHead(t.Context(), "ws", "repo", 7, sha(2), sha(1))
	if err == nil || !strings.Contains(err.Error(), "the pull request changed while mergegate read it") {
		t.Errorf("paths %v, %v", paths, err)
	}
}

func TestPathsAreReadByPage(t *testing.T) {
	t.Parallel()
	server, client := standIn(t)
	var changes []bitbuckettest.Change
	var want []string
	for i := range 1234 {
		changes, want = append(changes, bitbuckettest.Change{New: fmt.Sprintf("%04d", i)}), append(want, fmt.Sprintf("%04d", i))
	}
	pr := bitbuckettest.PullRequest{
		ID: 7, SourceBranch: "feature", SourceCommit: sha(2), DestinationBranch: "main", DestinationCommit: sha(1), Changes: changes,
	}
	if err := server.PutPullRequest("ws/repo", pr); err != nil {
		t.Fatal(err)
	}
	paths, err := client.PullRequestPaths(t.Context(), "ws", "repo", 7)
	if diff := cmp.Diff(want, paths); err != nil || diff != "" {
		t.Errorf("%v, paths (-want +got):\n%s", err, diff)
	}
	if got := len(server.Requests()); got != 4 { // a redirect and three pages
		t.Errorf("%d requests", got)
	}
}

// status is what Bitbucket refused with, 0 where it didn't.
func status(err error) int {
	var refused *bitbucket.Error
	if errors.As(err, &refused) {
		return refused.StatusCode
	}
	return 0
}
