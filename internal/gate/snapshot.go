package gate

import (
	"context"
	"errors"
	"strings"

	"mergegate/internal/bitbucket"
	"mergegate/internal/mergecheck"
)

// Snapshot is a pull request at the moment of asking: brought along by the Forge
// function, or read from Bitbucket.
type Snapshot struct {
	State                string
	SourceCommit         string // 40 hex characters, or "" when it can't be told
	SourceBranch         string
	SourceRepositoryUUID string
	SourceRepository     string // "workspace/repo"
	DestinationBranch    string
	DestinationCommit    string
	Repository           string // "workspace/repo" of the pull request, where Bitbucket told it
	// Problem says why SourceCommit is empty.
	Problem string
}

// complete reports whether the snapshot leaves nothing to ask Bitbucket for.
func (s *Snapshot) complete() bool {
	return s != nil && s.State != "" && s.DestinationBranch != "" && mergecheck.IsFullCommit(s.SourceCommit)
}

func (s Snapshot) pullRequest(id int64) mergecheck.PullRequest {
	return mergecheck.PullRequest{
		ID: id, State: s.State, Head: s.SourceCommit, HeadProblem: s.Problem, SourceBranch: s.SourceBranch,
		DestinationBranch: s.DestinationBranch, DestinationCommit: s.DestinationCommit,
	}
}

// snapshot returns the pull request as brought along, else as Bitbucket tells it
// now. A head that can't be told for certain is none.
func (g *Gate) snapshot(ctx context.Context, q Question) Snapshot {
	if q.Brought.complete() {
		return *q.Brought
	}
	ctx, cancel := context.WithTimeout(ctx, bitbucketBudget)
	defer cancel()
	key := q.PullRequest
	client := g.clientFor(key.WorkspaceUUID)
	pr, err := client.PullRequest(ctx, key.WorkspaceUUID, key.RepositoryUUID, key.PullRequestID)
	if err != nil {
		return Snapshot{Problem: g.bitbucketProblem(ctx, client, err)}
	}
	s := Snapshot{
		State: pr.State, SourceBranch: pr.Source.Branch, SourceRepositoryUUID: pr.Source.Repository.UUID,
		SourceRepository: pr.Source.Repository.FullName, DestinationBranch: pr.Destination.Branch,
		DestinationCommit: pr.Destination.Commit, Repository: pr.Destination.Repository.FullName,
	}
	if s.SourceCommit, err = client.PullRequestHead(ctx, key.WorkspaceUUID, key.RepositoryUUID, pr); err != nil {
		s.SourceCommit, s.Problem = "", g.bitbucketProblem(ctx, client, err)
	}
	return s
}

func (g *Gate) clientFor(workspaceUUID string) *bitbucket.Client {
	return g.client.WithToken(g.tokens.Token(workspaceUUID))
}

func (g *Gate) bitbucketProblem(ctx context.Context, client *bitbucket.Client, err error) string {
	g.log.WarnContext(ctx, "pull request could not be read", "error", err)
	var e *bitbucket.Error
	switch {
	case errors.Is(err, bitbucket.ErrHeadUnknown):
		return strings.TrimSuffix(err.Error(), ".")
	case !errors.As(err, &e) || e.StatusCode == 0:
		return "Bitbucket could not be reached"
	case !client.HasCredential():
		return "mergegate has no Bitbucket credential; install the Forge app or set MERGEGATE_BITBUCKET_TOKEN"
	default:
		return strings.TrimSuffix(e.Error(), ".")
	}
}

// name learns what the repository is called. The Forge function's word counts
// for a pull request from within the repository: it read that from Bitbucket as
// the workspace's own app.
func (g *Gate) name(ctx context.Context, q Question, s Snapshot) (name, problem string) {
	if s.Repository != "" {
		return s.Repository, ""
	}
	if s.SourceRepository != "" && strings.EqualFold(s.SourceRepositoryUUID, q.PullRequest.RepositoryUUID) {
		return s.SourceRepository, ""
	}
	ctx, cancel := context.WithTimeout(ctx, bitbucketBudget/2)
	defer cancel()
	client := g.clientFor(q.PullRequest.WorkspaceUUID)
	pr, err := client.PullRequest(ctx, q.PullRequest.WorkspaceUUID, q.PullRequest.RepositoryUUID, q.PullRequest.PullRequestID)
	if err != nil {
		return "", "Which repository this is could not be learnt: " + g.bitbucketProblem(ctx, client, err) + ". Re-run this check."
	}
	return pr.Destination.Repository.FullName, ""
}
