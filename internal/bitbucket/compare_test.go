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
)

// standIn is a client of Bitbucket's stand-in, which is held to Atlassian's document.
func standIn(t *testing.T) (*bitbuckettest.Server, *bitbucket.Client) {
	t.Helper()
	server, err := bitbuckettest.New()
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

func TestChangedPaths(t *testing.T) {
	t.Parallel()
	server, client := standIn(t)
	err := server.PutPullRequest("ws/repo", bitbuckettest.PullRequest{
		ID: 7, SourceBranch: "feature", SourceCommit: sha(2), DestinationBranch: "main", DestinationCommit: sha(1),
		Changes: []bitbuckettest.Change{{Old: "b", New: "b"}, {New: "docs/added"}, {Old: "removed"}, {Old: "a/from", New: "z/to"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if paths, err := client.ChangedPaths(t.Context(), "ws", "repo", sha(2), sha(1)[:12]); err == nil {
		t.Errorf("a hash that fits several commits was taken for one: %v", paths)
	}
	paths, err := client.ChangedPaths(t.Context(), "ws", "repo", sha(2), sha(1))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a/from", "b", "docs/added", "removed", "z/to"}, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

func TestChangedPathsLeavesNothingOut(t *testing.T) {
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
			if paths, err := client.ChangedPaths(t.Context(), "ws", "repo", sha(2), sha(1)); err == nil {
				t.Errorf("paths %v from %s", paths, body)
			}
		})
	}
	t.Run("without end", func(t *testing.T) {
		t.Parallel()
		client := serve(t, bitbucket.Config{}, func(w http.ResponseWriter, r *http.Request) {
			answer(`{"values":[{"new":{"path":"a"}}],"next":"http://`+r.Host+`/2.0/again"}`)(w, r)
		})
		if paths, err := client.ChangedPaths(t.Context(), "ws", "repo", sha(2), sha(1)); err == nil {
			t.Errorf("%d paths of pages without end", len(paths))
		}
	})
}

// status is what Bitbucket refused with, 0 where it didn't.
func status(err error) int {
	var refused *bitbucket.Error
	if errors.As(err, &refused) {
		return refused.StatusCode
	}
	return 0
}
