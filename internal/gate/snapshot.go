package gate

import (
	"context"
	"errors"
	"strings"

	"mergegate/internal/bitbucket"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
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
	Author               string // UUID, "" where it wasn't told
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
		DestinationBranch: s.DestinationBranch, DestinationCommit: s.DestinationCommit, Author: s.Author,
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
	client := g.clientFor(ctx, q.PullRequest.WorkspaceUUID)
	workspace, repository := q.address()
	pr, err := client.PullRequest(ctx, workspace, repository, q.PullRequest.PullRequestID)
	if err != nil {
		return Snapshot{Problem: g.bitbucketProblem(ctx, client, err)}
	}
	s := Snapshot{
		State: pr.State, SourceBranch: pr.Source.Branch, SourceRepositoryUUID: pr.Source.Repository.UUID,
		SourceRepository: pr.Source.Repository.FullName, DestinationBranch: pr.Destination.Branch,
		DestinationCommit: pr.Destination.Commit, Author: pr.Author, Repository: pr.Destination.Repository.FullName,
	}
	if s.SourceCommit, err = client.PullRequestHead(ctx, workspace, repository, pr); err != nil {
		s.SourceCommit, s.Problem = "", g.bitbucketProblem(ctx, client, err)
	}
	return s
}

func (g *Gate) clientFor(ctx context.Context, workspaceUUID string) *bitbucket.Client {
	return g.client.AsApp(ctx, g.tokens, workspaceUUID)
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

// address is how Bitbucket is asked for the repository: by UUID, which survives
// renames, except where nobody has told it yet.
func (q Question) address() (workspace, repository string) {
	key := q.PullRequest
	if place := (postgres.Repository{WorkspaceUUID: key.WorkspaceUUID}); !place.Linked() {
		workspace, repository, _ = strings.Cut(q.FullName, "/")
		return workspace, repository
	}
	return key.WorkspaceUUID, key.RepositoryUUID
}

// newName is what the repository is called now where that differs from what is
// stored, else "". It costs a request to Bitbucket only for a repository that was
// never named, and whose pull request comes from a fork.
func (g *Gate) newName(ctx context.Context, q Question, s Snapshot, stored postgres.Repository) (name, problem string, err error) {
	name = s.Repository
	brought := name == "" && strings.EqualFold(s.SourceRepositoryUUID, q.PullRequest.RepositoryUUID)
	if brought {
		name = s.SourceRepository
	}
	if name == "" && stored.FullName == "" && q.seen == nil {
		name, problem = g.askName(ctx, q)
	}
	if strings.EqualFold(name, stored.FullName) || !strings.Contains(name, "/") {
		return "", problem, nil
	}
	if brought {
		name, err = g.unlessTaken(ctx, q, name)
	}
	return name, problem, err
}

// unlessTaken drops a name whose workspace is known to be another one. The Forge
// function read the name from Bitbucket as the workspace's own app, but only an
// answer of Bitbucket itself may move a name between workspaces.
func (g *Gate) unlessTaken(ctx context.Context, q Question, name string) (string, error) {
	workspace, _, _ := strings.Cut(name, "/")
	owner, err := g.store.WorkspaceUUID(ctx, workspace)
	if err != nil || owner != "" && owner != q.PullRequest.WorkspaceUUID {
		return "", err
	}
	return name, nil
}

func (g *Gate) askName(ctx context.Context, q Question) (name, problem string) {
	ctx, cancel := context.WithTimeout(ctx, bitbucketBudget/2)
	defer cancel()
	client := g.clientFor(ctx, q.PullRequest.WorkspaceUUID)
	workspace, repository := q.address()
	pr, err := client.PullRequest(ctx, workspace, repository, q.PullRequest.PullRequestID)
	if err != nil {
		return "", "Which repository this is could not be learnt: " + g.bitbucketProblem(ctx, client, err) + ". Re-run this check."
	}
	return pr.Destination.Repository.FullName, ""
}
