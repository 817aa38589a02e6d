package builds

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mergegate/internal/appveyor"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// branchHistory is how many builds of a branch are looked through for one of a
// commit: its head's is among the newest.
const branchHistory = 20

// BranchBuilds reads from AppVeyor, for every project of the repository, the newest
// build of a commit itself, without a pull request, in whatever state it is: it
// decides, and an older one says nothing beside it. A project whose newest build
// can't be told for certain has none here, and an error. Nothing is kept: what such
// a build proves depends on where the destination is at that moment.
func (s *Service) BranchBuilds(ctx context.Context, r postgres.Repository, branch, commit string) ([]mergecheck.Build, error) {
	projects, err := s.store.NamedProjectsOf(ctx, r.WorkspaceUUID, r.RepositoryUUID)
	if err != nil {
		return nil, err
	}
	found := []mergecheck.Build{}
	var faults []error
	for _, p := range projects {
		if !s.accounts.MaySpeakFor(p.Account, r.WorkspaceUUID, r.FullName) {
			continue
		}
		build, err := s.branchBuild(ctx, p, r, branch, commit)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s/%s: %w", p.Account, p.Slug, err))
			continue
		}
		if build != nil {
			found = append(found, *build)
		}
	}
	return found, errors.Join(faults...)
}

// branchBuild is the newest build of a commit itself in one project, nil where it
// has none.
func (s *Service) branchBuild(ctx context.Context, p postgres.SeenProject, r postgres.Repository, branch, commit string) (*mergecheck.Build, error) {
	history, err := s.appveyor.BranchHistory(ctx, p.Project(), branch, branchHistory)
	if err != nil {
		return nil, err
	}
	for _, row := range history { // the newest first
		if !mayBeOf(row.Build, r, commit) {
			continue
		}
		// A row has no jobs, and may be older than the build.
		ref := appveyor.Ref{Account: p.Account, Slug: p.Slug, BuildID: row.Build.BuildID, Version: row.Build.Version}
		answer, err := s.appveyor.Build(ctx, ref)
		if err != nil {
			return nil, err
		}
		if answer.Build.Project.ID != p.ProjectID {
			return nil, fmt.Errorf("build %d is of project %d now", ref.BuildID, answer.Build.Project.ID)
		}
		if !mayBeOf(answer.Build, r, commit) {
			continue
		}
		if answer.Build.CommitID != commit {
			return nil, fmt.Errorf("build %d names its commit %q", ref.BuildID, answer.Build.CommitID)
		}
		build := answer.Build.Merge(row.Build) // whichever AppVeyor changed last
		if build.CommitID != commit {
			return nil, fmt.Errorf("build %d was of %q", ref.BuildID, row.Build.CommitID)
		}
		build.Project, build.URL = answer.Build.Project, answer.Build.URL
		return &build, nil
	}
	return nil, nil
}

// mayBeOf reports whether a build is of the commit itself, or names it too short to
// tell. One of a pull request is of the merge.
func mayBeOf(b mergecheck.Build, r postgres.Repository, commit string) bool {
	return b.PullRequestID == 0 && strings.HasPrefix(commit, b.CommitID) && strings.EqualFold(b.Repository, r.FullName)
}
