package builds

import (
	"context"
	"errors"
	"strings"

	"mergegate/internal/appveyor"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// branchHistory is how many builds of a branch are looked through for one of a
// commit: its head's is among the newest.
const branchHistory = 20

// BranchBuilds reads from AppVeyor its builds of a commit itself, without a pull
// request, in every project of the repository. Nothing is kept: what such a build
// proves depends on where the destination is at that moment.
func (s *Service) BranchBuilds(ctx context.Context, r postgres.Repository, branch, commit string) ([]mergecheck.Build, error) {
	projects, err := s.store.ProjectsOf(ctx, r.WorkspaceUUID, r.RepositoryUUID)
	if err != nil {
		return nil, err
	}
	found := []mergecheck.Build{}
	var faults []error
	for _, p := range projects {
		if !s.accounts.known(p.Account) {
			continue
		}
		history, err := s.appveyor.BranchHistory(ctx, p.Account, p.Slug, branch, branchHistory)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		for _, a := range history {
			if !isBranchBuild(a, r, commit) {
				continue
			}
			// A row of the history has no project id, and is older than the build.
			ref := appveyor.Ref{Account: p.Account, Slug: p.Slug, BuildID: a.Build.BuildID, Version: a.Build.Version}
			answer, err := s.appveyor.Build(ctx, ref)
			if err == nil && isBranchBuild(answer, r, commit) && answer.Build.Project.ID == p.ProjectID {
				found = append(found, answer.Build)
			}
			faults = append(faults, err)
		}
	}
	return found, errors.Join(faults...)
}

func isBranchBuild(a appveyor.Answer, r postgres.Repository, commit string) bool {
	b := a.Build
	return b.PullRequestID == 0 && b.CommitID == commit && strings.EqualFold(b.Repository, r.FullName)
}
