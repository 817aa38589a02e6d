package builds

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mergegate/internal/appveyor"
	"mergegate/internal/bitbucket"
	"mergegate/internal/postgres"
)

// result is what became of asking AppVeyor about a build.
type result struct {
	ignored  string // the reason, when the build is none of ours
	problem  string // why nothing can be concluded yet; ask again
	notFound bool   // the problem is that AppVeyor doesn't show the build
	retryIn  time.Duration
	recorded Recorded
}

func (r result) word() string {
	switch {
	case r.ignored != "":
		return r.ignored
	case r.problem != "":
		return "unconfirmed"
	default:
		return "recorded"
	}
}

// confirm is the one way in for what AppVeyor says of a build: it reads the build back
// from AppVeyor, checks whose it is by that answer alone, and records it. With a
// delivery, that delivery gets its outcome in the same transaction. An error is
// the database's; everything else is a result.
func (s *Service) confirm(ctx context.Context, ref appveyor.Ref, delivery int64, askedBy string) (result, error) {
	r, err := s.ask(ctx, ref, delivery, askedBy)
	if err != nil {
		return r, err
	}
	s.confirmed.WithLabelValues(askedBy, r.word()).Inc()
	s.log.InfoContext(ctx, "build read from AppVeyor", "build_id", ref.BuildID, "project", ref.Account+"/"+ref.Slug,
		"asked_by", askedBy, "result", r.word(), "state", r.recorded.Build.State, "problem", r.problem)
	return r, nil
}

// byHistory tells whether only a project's history told of a build that is asked for.
func byHistory(askedBy string) bool {
	return askedBy != "delivery" && askedBy != "watch"
}

func (s *Service) ask(ctx context.Context, ref appveyor.Ref, delivery int64, askedBy string) (result, error) {
	answer, err := s.read(ctx, ref)
	if err != nil {
		return unconfirmed(err), nil
	}
	b := answer.Build
	switch {
	case !answer.IsBitbucket():
		return result{ignored: ReasonOtherProvider}, nil
	case b.PullRequestID == 0:
		return result{ignored: ReasonNotPullRequest}, nil
	case b.Project.ID == 0 || b.Repository == "":
		return result{problem: "AppVeyor's answer doesn't name the project or the repository"}, nil
	}
	trusted, problem, err := s.trusted(ctx, answer)
	switch {
	case err != nil:
		return result{}, err
	case problem != "":
		return result{problem: problem}, nil
	case !trusted:
		s.warnUntrusted(ctx, b.Project.Account, b.Repository)
		return result{ignored: ReasonUntrustedAccount}, nil
	}
	// Before recording, so that what is recorded is found by the merge check at
	// once; if Bitbucket can't be asked now a job asks later.
	if _, err := s.learn(ctx, b.Repository); err != nil {
		s.log.WarnContext(ctx, "looking up repository on Bitbucket failed", "repository", b.Repository, "error", err)
		switch _, err := s.store.RepositoryFormerly(ctx, b.Repository); {
		case err == nil: // whose the name is by now only Bitbucket can tell
			return result{problem: "mergegate can't look up on Bitbucket which repository is called " + b.Repository + " now"}, nil
		case !errors.Is(err, postgres.ErrNotFound):
			return result{}, err
		}
	}
	recorded, err := Record(ctx, s.store, b, delivery, byHistory(askedBy))
	return result{recorded: recorded}, err
}

func unconfirmed(err error) result {
	var e *appveyor.Error
	if errors.As(err, &e) {
		return result{problem: e.Reason, retryIn: e.RetryAfter, notFound: e.Kind == appveyor.NotFound}
	}
	return result{problem: "reading it from AppVeyor failed"}
}

// trusted reports whether the account that AppVeyor says the build is of may
// speak for the repository's workspace. A workspace that is configured by UUID
// has to be named by Bitbucket first; problem says when it could not be.
func (s *Service) trusted(ctx context.Context, answer appveyor.Answer) (ok bool, problem string, err error) {
	account, slug := answer.Build.Project.Account, answer.Workspace()
	switch {
	case s.accounts.MayName(account, slug):
		return true, "", nil
	case !s.accounts.NeedsUUID(account):
		return false, "", nil
	}
	id, err := s.store.WorkspaceUUID(ctx, slug)
	if err != nil {
		return false, "", err
	}
	if id == "" {
		repository, err := s.learn(ctx, answer.Build.Repository)
		if err != nil {
			return false, fmt.Sprintf("mergegate can't look up workspace %s on Bitbucket", slug), nil //nolint:nilerr // asked again later
		}
		id = repository.WorkspaceUUID
	}
	return s.accounts.Names(account, id), "", nil
}

// learn returns the repository with this name, asking Bitbucket for its UUIDs
// where they aren't known.
func (s *Service) learn(ctx context.Context, fullName string) (postgres.Repository, error) {
	known, err := s.store.RepositoryByName(ctx, fullName)
	if !errors.Is(err, postgres.ErrNotFound) {
		return known, err
	}
	workspace, slug, _ := strings.Cut(fullName, "/")
	repository, unread := s.readRepository(ctx, workspace, slug)
	if unread != nil {
		return known, unread
	}
	if strings.EqualFold(repository.FullName, fullName) {
		return repository, s.store.LinkRepository(ctx, repository)
	}
	// Renamed since AppVeyor learnt the name: what waits under the old one belongs to it
	// too.
	if former, err := s.store.RepositoryFormerly(ctx, fullName); err == nil && former == repository {
		return repository, nil // as is known
	}
	return repository, s.store.LinkRepository(ctx, repository, fullName)
}

// readRepository asks Bitbucket for a repository, by its name or by its UUIDs.
func (s *Service) readRepository(ctx context.Context, workspace, repo string) (r postgres.Repository, err error) {
	if s.bitbucket.Wait(bitbucket.Background) > 0 {
		return r, errors.New("waiting for Bitbucket's rate limit")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	answer, err := s.bitbucket.Repository(ctx, workspace, repo)
	if err != nil {
		return r, err
	}
	if answer.WorkspaceUUID == "" {
		return r, errors.New("Bitbucket's answer doesn't name the workspace") //nolint:staticcheck // a proper name
	}
	return postgres.Repository{WorkspaceUUID: answer.WorkspaceUUID, RepositoryUUID: answer.UUID, FullName: answer.FullName}, nil
}
