package builds

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// ErrUntrustedAccount says that the AppVeyor account isn't trusted for the
// workspace.
var ErrUntrustedAccount = errors.New("MERGEGATE_APPVEYOR_ACCOUNTS doesn't trust the AppVeyor account for this workspace")

// ResultReport is a build as its script reports it, with a token.
type ResultReport struct {
	Build   mergecheck.Build // with SourceCommit and DestinationBranch as Bitbucket tells them now
	Attempt int              // 1 for the first; a re-run of the same build has a higher one
	TokenID int64
}

// nameTimeout bounds asking AppVeyor what it calls a project.
const nameTimeout = 2 * time.Second

// RecordResultReport records a result report, which the same again doesn't change. It counts where a
// policy accepts it. The errors are [ErrUntrustedAccount], [postgres.ErrOtherPlace], or
// the store's.
func (s *Service) RecordResultReport(ctx context.Context, r postgres.Repository, report ResultReport) (stays mergecheck.Build, isNew bool, err error) {
	if !s.accounts.MaySpeakFor(report.Build.Project.Account, r.WorkspaceUUID, r.FullName) {
		return stays, false, fmt.Errorf("%s: %w", report.Build.Project.Account, ErrUntrustedAccount)
	}
	stays, isNew, err = s.store.RecordResultReport(ctx, r, postgres.ResultReport{
		Build: report.Build, Attempt: report.Attempt, TokenID: report.TokenID, Named: s.isNamed(ctx, report.Build.Project),
	})
	if err == nil && isNew {
		s.log.InfoContext(ctx, "build reported", "repository", r.FullName, "project", stays.Project.Name(), "build_id", stays.BuildID,
			"attempt", report.Attempt, "state", stays.State)
	}
	return stays, isNew, err
}

// Learn returns the repository with this name, asking Bitbucket where it isn't
// known.
func (s *Service) Learn(ctx context.Context, fullName string) (postgres.Repository, error) {
	r, err := s.learn(ctx, fullName)
	if err != nil {
		return r, fmt.Errorf("learn of %s: %w", fullName, errors.Join(postgres.ErrNotFound, err))
	}
	return r, nil
}

// isNamed reports whether AppVeyor calls the project by that name. Where it doesn't
// say so now, the project goes without one until a later report.
func (s *Service) isNamed(ctx context.Context, p mergecheck.Project) bool {
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	named, err := s.appveyor.Project(ctx, p.Account, p.Slug)
	if err != nil {
		s.log.InfoContext(ctx, "reading a reported project's name from AppVeyor failed", "project_id", p.ID, "name", p.Name(), "error", err)
		return false
	}
	return named.ID == p.ID
}
