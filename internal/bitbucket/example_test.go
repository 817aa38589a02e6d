package bitbucket_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"mergegate/internal/bitbucket"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/bitbucket/bitbuckettest/held"
)

// Reading the head of a pull request and showing a build's result on it.
func Example() {
	server, err := held.New()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	const uuid = "15a31549-1cff-45dc-9d0d-310114c5038b"
	if err := server.AddRepository(bitbuckettest.Repository{FullName: "ws/repo", UUID: uuid, WorkspaceUUID: uuid}); err != nil {
		log.Fatal(err)
	}
	if err := server.PutPullRequest("ws/repo", bitbuckettest.PullRequest{
		ID: 7, SourceBranch: "feature", SourceCommit: strings.Repeat("1a", 20),
		DestinationBranch: "main", DestinationCommit: strings.Repeat("2b", 20),
	}); err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	client, err := bitbucket.NewClient(bitbucket.Config{BaseURL: server.URL, Token: "token"})
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseIdleConnections()
	pr, err := client.PullRequest(ctx, "ws", "repo", 7)
	if err != nil {
		log.Fatal(err)
	}
	head, err := client.PullRequestHead(ctx, "ws", "repo", pr)
	if err != nil {
		log.Fatal(err)
	}
	err = client.PostCommitStatus(ctx, "ws", "repo", head, bitbucket.CommitStatus{
		Key: "appveyor-12064-7", State: "SUCCESSFUL", URL: "https://ci.appveyor.com/project/ws/repo/builds/1", Refname: pr.Source.Branch,
	})
	fmt.Println(pr.State, pr.Source.Commit, head, err)
	fmt.Println(server.CommitStatuses("ws/repo", head)[0].State, server.Violations())
	// Output:
	// OPEN 1a1a1a1a1a1a 1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a <nil>
	// SUCCESSFUL []
}
