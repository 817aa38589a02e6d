package builds

import (
	"context"
	"slices"
	"strings"

	"github.com/riverqueue/river"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// Rebuilt is what became of asking for a build of one project.
type Rebuilt struct {
	Project mergecheck.Project
	BuildID int64  // 0 where none was started
	Reason  string // why none was
}

// reasonAsked is why a second request starts nothing.
const reasonAsked = "mergegate asked for this head and target branch before"

// Rebuild asks AppVeyor to build a pull request again in every project of its
// repository: the cure for a build that is missing, or that tested another
// destination. Each project is asked once for a head and a destination head.
//
// With only, other projects are left alone.
func (s *Service) Rebuild(ctx context.Context, r postgres.Repository, pr mergecheck.PullRequest, only ...int64) ([]Rebuilt, error) {
	projects, err := s.store.ProjectsOf(ctx, r.WorkspaceUUID, r.RepositoryUUID)
	if err != nil {
		return nil, err
	}
	rebuilt := []Rebuilt{}
	for _, p := range projects {
		if !s.accounts.Known(p.Account) || len(only) > 0 && !slices.Contains(only, p.ProjectID) {
			continue
		}
		one, err := s.rebuildIn(ctx, p, r, pr)
		if err != nil {
			return rebuilt, err
		}
		rebuilt = append(rebuilt, one)
	}
	return rebuilt, nil
}

func (s *Service) rebuildIn(ctx context.Context, p postgres.SeenProject, r postgres.Repository, pr mergecheck.PullRequest) (Rebuilt, error) {
	result := Rebuilt{Project: p.Project()}
	claim := postgres.Rebuild{
		PullRequest: postgres.PullRequestKey{WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, PullRequestID: pr.ID},
		ProjectID:   p.ProjectID, Head: pr.Head, Destination: pr.DestinationBranch + " " + strings.ToLower(pr.DestinationCommit),
	}
	first, err := s.store.ClaimRebuild(ctx, claim)
	if err != nil {
		return result, err
	}
	if !first {
		result.Reason = reasonAsked
		return result, nil
	}
	ref, err := s.appveyor.StartPullRequestBuild(ctx, p.Account, p.Slug, pr.ID)
	if err != nil {
		s.log.WarnContext(ctx, "starting a build on AppVeyor failed", "project", p.Account+"/"+p.Slug, "pull_request", pr.ID, "error", err)
		result.Reason = unconfirmed(err).problem
		return result, s.store.GiveUpRebuild(ctx, claim)
	}
	result.BuildID = ref.BuildID
	return result, s.store.Enqueue(ctx, postgres.WatchBuild(ref))
}

// rebuildWanted does what a policy had a merge check ask for.
func (s *Service) rebuildWanted(ctx context.Context, job *river.Job[postgres.RebuildPullRequest]) error {
	args := job.Args
	_, err := s.Rebuild(ctx, postgres.Repository{WorkspaceUUID: args.WorkspaceUUID, RepositoryUUID: args.RepositoryUUID}, mergecheck.PullRequest{
		ID: args.PullRequestID, Head: args.Head, DestinationBranch: args.DestinationBranch, DestinationCommit: args.DestinationCommit,
	}, args.ProjectIDs...)
	return err
}
