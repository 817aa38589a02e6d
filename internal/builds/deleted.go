package builds

import (
	"context"
	"errors"
	"time"

	"mergegate/internal/appveyor"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// An unfinished build is taken for deleted when this many looks in a row, over this
// long, have not found it.
const (
	deletedLooks = 3
	deletedAfter = 2 * time.Minute
)

// watch looks at an unfinished build, and ends one that is no more.
func (s *Service) watch(ctx context.Context, ref appveyor.Ref) (result, error) {
	r, err := s.confirm(ctx, ref, 0, "watch")
	switch {
	case err != nil || r.problem != "" && !r.notFound:
		return r, err
	case r.problem == "":
		return r, s.store.NoteShown(ctx, ref.BuildID)
	}
	b, err := s.store.ConfirmedBuild(ctx, ref.BuildID)
	switch {
	case errors.Is(err, postgres.ErrNotFound):
		return r, nil
	case err != nil:
		return r, err
	case b.State.Finished(): // by another look, or a delivery
		return result{recorded: Recorded{Build: b}}, nil
	}
	ended, err := s.endIfDeleted(ctx, b)
	if ended {
		b.State = mergecheck.Cancelled
		r = result{recorded: Recorded{Build: b}}
	}
	return r, err
}

// endIfDeleted ends an unfinished build that AppVeyor doesn't show any more, as
// cancelled: nothing else would ever be heard of it. A finished one keeps its result
// whatever is deleted, or deleting a failure would bring an older success back. It
// reports whether the build has ended. An error is the database's.
func (s *Service) endIfDeleted(ctx context.Context, b mergecheck.Build) (ended bool, err error) {
	missing, err := s.lacks(ctx, b)
	if err != nil || !missing {
		return false, err
	}
	m, err := s.store.NoteMissing(ctx, b.BuildID)
	if errors.Is(err, postgres.ErrNotFound) {
		return true, nil // it has ended meanwhile
	}
	if err != nil || m.Looks < deletedLooks || m.Now.Sub(m.Since) < deletedAfter {
		return false, err
	}
	recorded, err := Record(ctx, s.store, deleted(b, m), 0, false)
	if err != nil {
		return false, err
	}
	s.log.InfoContext(ctx, "build deleted on AppVeyor", "build_id", b.BuildID, "project", b.Project.Name(), "state", recorded.Build.State, "missing_since", m.Since)
	return recorded.Build.State.Finished(), nil
}

// deleted is the build as it ended. It counts as a moment newer than what AppVeyor
// said last and no more, so that anything it still says of the build is newer.
func deleted(b mergecheck.Build, m postgres.Missing) mergecheck.Build {
	last := b.UpdatedOn
	if last.IsZero() {
		last = b.CreatedOn
	}
	if last.IsZero() {
		last = m.Since
	}
	b.State, b.DeletedOn, b.FinishedOn = mergecheck.Cancelled, m.Now.UTC(), m.Since.UTC()
	b.UpdatedOn = last.Add(time.Microsecond) // the least that PostgreSQL tells apart
	return b
}

// lacks reports whether AppVeyor shows the build's project without the build, or
// lists the account's projects without that project. Where neither can be told, as
// without a token for a private project, nothing is.
func (s *Service) lacks(ctx context.Context, b mergecheck.Build) (bool, error) {
	p, err := s.projectOf(ctx, b)
	if err != nil || p.ID == 0 || !s.accounts.Known(p.Account) {
		return false, err
	}
	ref := appveyor.Ref{Account: p.Account, Slug: p.Slug, BuildID: b.BuildID, Version: b.Version}
	lacking, err := s.appveyor.Lacks(ctx, ref, p.ID)
	if err == nil {
		if !lacking {
			err = s.store.NoteShown(ctx, b.BuildID)
		}
		return lacking, err
	}
	if !appveyor.IsNotFound(err) {
		return false, nil // it couldn't be asked
	}
	slug, err := s.renamed(ctx, postgres.SeenProject{ProjectID: p.ID, Account: p.Account, Slug: p.Slug})
	if err != nil || slug != "" {
		return false, err // the next look asks for it by that name
	}
	return s.unlisted(ctx, p), nil
}
