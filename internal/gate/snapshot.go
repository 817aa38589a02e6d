package gate

import (
	"context"
	"strings"
	"time"

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
	// Repository is what the pull request's repository is called, "workspace/repo",
	// "" where it wasn't told. What is brought along is only a hint.
	Repository string
	// On is when all that was so, by Bitbucket's clock; zero where it wasn't told.
	// Latest is when at the latest: an answer's time has whole seconds.
	On, Latest time.Time
	// Problem says why SourceCommit is empty, and NextStep what to do about it.
	Problem, NextStep string

	read bool // by us, just now
}

// complete reports whether the snapshot leaves nothing to ask Bitbucket for.
func (s *Snapshot) complete() bool {
	return s != nil && s.State != "" && s.DestinationBranch != "" && mergecheck.IsFullCommit(s.SourceCommit)
}

func (s Snapshot) pullRequest(id int64) mergecheck.PullRequest {
	return mergecheck.PullRequest{
		ID: id, State: s.State, Head: s.SourceCommit, HeadProblem: s.Problem, HeadNextStep: s.NextStep, SourceBranch: s.SourceBranch, SourceRepository: s.SourceRepositoryUUID,
		DestinationBranch: s.DestinationBranch, DestinationCommit: s.DestinationCommit, Author: s.Author, On: s.On,
	}
}

// set says why the head can't be told.
func (s *Snapshot) set(p problem) { s.Problem, s.NextStep = p.text, p.nextStep }

func (s Snapshot) told() mergecheck.Told {
	return mergecheck.Told{
		State: s.State, Head: s.SourceCommit, DestinationBranch: s.DestinationBranch, DestinationCommit: s.DestinationCommit, On: s.On,
	}
}

func (s Snapshot) sighting() postgres.Sighting {
	return postgres.Sighting{Told: s.told(), Latest: s.Latest, SourceRepository: s.SourceRepositoryUUID, SourceBranch: s.SourceBranch}
}

// snapshot returns the pull request as brought along, else as Bitbucket tells it
// now.
func (g *Gate) snapshot(ctx context.Context, q Question) Snapshot {
	if q.Brought.complete() {
		s := *q.Brought
		s.Latest = s.On
		return s
	}
	return g.read(ctx, q)
}

// read reads the pull request from Bitbucket. A head that can't be told for certain
// is none.
func (g *Gate) read(ctx context.Context, q Question) Snapshot {
	ctx, cancel := context.WithTimeout(ctx, bitbucketBudget)
	defer cancel()
	client := g.clientFor(ctx, q.PullRequest.WorkspaceUUID)
	pr, head, err := client.PullRequestAndHead(ctx, q.PullRequest.WorkspaceUUID, q.PullRequest.RepositoryUUID, q.PullRequest.PullRequestID)
	s := Snapshot{
		SourceCommit: head,
		State:        pr.State, SourceBranch: pr.Source.Branch, SourceRepositoryUUID: pr.Source.Repository.UUID,
		SourceRepository: pr.Source.Repository.FullName, DestinationBranch: pr.Destination.Branch,
		DestinationCommit: pr.Destination.Commit, Author: pr.Author, Repository: pr.Destination.Repository.FullName,
		On: pr.Told().On, Latest: pr.Latest(), read: true,
	}
	if err != nil {
		s.set(g.bitbucketProblem(ctx, client, err))
	}
	return s
}

// readAgain is for a snapshot that contradicts what is recorded, where the times don't
// tell which is newer: Bitbucket does. Where it can't be read, what is recorded
// holds.
func (g *Gate) readAgain(ctx context.Context, q Question, s Snapshot, recorded mergecheck.Recorded) Snapshot {
	read := g.read(ctx, q)
	if read.Problem == "" {
		return read
	}
	known, problem := recorded.Instead(s.told(), read.Problem)
	if read.State != "" { // only its head can't be told
		known.State, known.DestinationBranch, known.DestinationCommit = read.State, read.DestinationBranch, read.DestinationCommit
	}
	s.State, s.SourceCommit, s.Problem, s.NextStep = known.State, known.Head, problem, read.NextStep
	s.DestinationBranch, s.DestinationCommit = known.DestinationBranch, known.DestinationCommit
	return s
}

func (g *Gate) clientFor(ctx context.Context, workspaceUUID string) *bitbucket.Client {
	return g.client.AsApp(ctx, g.tokens, workspaceUUID)
}

// isCalled is what the repository is said to be called, by whoever read the pull
// request, "" where that wasn't said.
func (s Snapshot) isCalled(q Question) string {
	if s.Repository == "" && strings.EqualFold(s.SourceRepositoryUUID, q.PullRequest.RepositoryUUID) {
		return s.SourceRepository
	}
	return s.Repository
}

// newName is what the repository is called now where that isn't what is stored, else
// "". Only Bitbucket's answer to a request by UUID says so: a policy goes by names,
// and a name that is brought along is a hint to ask.
func (g *Gate) newName(ctx context.Context, q Question, s Snapshot, stored postgres.Repository) (name string, unnamed *problem) {
	hint := s.isCalled(q)
	if hint == "" && stored.FullName != "" || stored.FullName != "" && strings.EqualFold(hint, stored.FullName) {
		return "", nil
	}
	if s.read && s.Repository != "" { // by UUID
		return s.Repository, nil
	}
	if q.seen != nil { // it is only shown
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, bitbucketBudget/2)
	defer cancel()
	client := g.clientFor(ctx, q.PullRequest.WorkspaceUUID)
	name, err := client.NameOf(ctx, q.PullRequest.WorkspaceUUID, q.PullRequest.RepositoryUUID)
	if err != nil {
		p := problemName(g.bitbucketProblem(ctx, client, err))
		return "", &p
	}
	if strings.EqualFold(name, stored.FullName) {
		return "", nil
	}
	return name, nil
}
