package builds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/riverqueue/river"
	"golang.org/x/sync/errgroup"

	"mergegate/internal/appveyor"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/retry"
)

const (
	// historyLength is how many builds of a project's history are read at once.
	historyLength = 50
	// maxHistoryPages bounds a round against a history that doesn't end. What is
	// missing is fetched however much it is: a round that takes too long leaves
	// less to the next one.
	maxHistoryPages = 1000
	// projectsAtOnce is how many projects' histories are read at a time.
	projectsAtOnce = 4
)

// Reconciliation is the round that finds builds that no delivery told of.
func (s *Service) Reconciliation() *river.PeriodicJob {
	return postgres.Round(postgres.Reconcile{}, postgres.Every(s.interval), false)
}

func (s *Service) reconcile(ctx context.Context, _ *river.Job[postgres.Reconcile]) error {
	if err := s.store.QueueUnlinked(ctx); err != nil {
		return err
	}
	seen, err := s.store.Projects(ctx)
	if err != nil {
		return err
	}
	seen, unseen, err := s.readLists(ctx, seen)
	if err != nil {
		return err
	}
	projects := slices.DeleteFunc(seen, func(p postgres.SeenProject) bool {
		return p.Forgotten || p.ReplacedBy != 0 || !s.accounts.Known(p.Account)
	})
	return s.lookThrough(ctx, append(projects, unseen...), "reconcile")
}

// readLists reads each trusted account's list of projects, where a token allows to,
// and once a round. It returns the projects that were seen, as they are called now,
// and those that have built no pull request so far, or none under an account that
// is trusted.
func (s *Service) readLists(ctx context.Context, seen []postgres.SeenProject) (known, unseen []postgres.SeenProject, err error) {
	ids := map[int64]bool{}
	for _, p := range seen {
		ids[p.ProjectID] = ids[p.ProjectID] || s.accounts.Known(p.Account) || p.Forgotten
	}
	for account := range s.accounts {
		list, complete, err := s.listed(ctx, account, 0)
		if err != nil {
			s.log.DebugContext(ctx, "listing projects failed", "account", account, "error", err)
			continue
		}
		if seen, err = s.follow(ctx, account, list, complete, seen); err != nil {
			return nil, nil, err
		}
		for _, p := range list {
			if !ids[p.Project.ID] && p.IsBitbucket() {
				unseen = append(unseen, postgres.SeenProject{ProjectID: p.Project.ID, Account: p.Project.Account, Slug: p.Project.Slug})
			}
		}
	}
	return seen, unseen, nil
}

// lookThrough reads the projects' histories, some at a time. One that can't be
// read doesn't keep the others from it; the errors are for the log.
func (s *Service) lookThrough(ctx context.Context, projects []postgres.SeenProject, askedBy string) error {
	slices.SortFunc(projects, func(a, b postgres.SeenProject) int { return cmp.Compare(a.ProjectID, b.ProjectID) })
	projects = slices.CompactFunc(projects, func(a, b postgres.SeenProject) bool { return a.ProjectID == b.ProjectID })
	// In no order that lasts: none is always the last one, or beside the same.
	rand.Shuffle(len(projects), func(i, j int) { projects[i], projects[j] = projects[j], projects[i] })
	var group errgroup.Group
	group.SetLimit(projectsAtOnce)
	for _, p := range projects {
		if !s.accounts.Known(p.Account) || !s.faults.over(p.ProjectID, s.now()) {
			continue
		}
		group.Go(func() error {
			_, err := s.reconcileNamed(ctx, p, askedBy)
			if ctx.Err() == nil {
				s.faults.note(p.ProjectID, err, s.now())
			}
			if err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "reconciling a project failed", "project", p.Account+"/"+p.Slug, "error", err)
			}
			return nil
		})
	}
	_ = group.Wait() // every error was logged
	return ctx.Err()
}

// reconcileNamed follows a project that AppVeyor has under another name now.
func (s *Service) reconcileNamed(ctx context.Context, p postgres.SeenProject, askedBy string) (whole bool, err error) {
	whole, err = s.reconcileProject(ctx, p, askedBy)
	if !appveyor.IsNotFound(err) {
		return whole, err
	}
	slug, unknown := s.renamed(ctx, p)
	if unknown != nil || slug == "" {
		return false, errors.Join(err, unknown)
	}
	p.Slug = slug
	return s.reconcileProject(ctx, p, askedBy)
}

// reconcileProject pages back to where the last whole round began, and confirms
// what is new or has changed since. Newer builds that were seen since then, of a
// webhook or of a round that was cut off, say nothing of those before them. whole
// says that AppVeyor answered for every one of them.
func (s *Service) reconcileProject(ctx context.Context, p postgres.SeenProject, askedBy string) (whole bool, err error) {
	newest, before, whole := int64(0), int64(0), true
	seen := cmp.Or(p.ReconciledTo, p.OldestBuildID)
	begun := time.Now()
	for range maxHistoryPages {
		page, err := s.appveyor.History(ctx, p.Project(), before, historyLength)
		if err != nil {
			return false, err
		}
		if len(page) == 0 {
			break
		}
		_, unclear, err := s.reconcilePage(ctx, p, page, askedBy)
		if err != nil {
			return false, err
		}
		whole = whole && unclear == 0
		for _, a := range page {
			newest = max(newest, a.Build.BuildID)
		}
		oldest := oldestOf(page)
		if len(page) < historyLength || oldest <= seen || seen == 0 || before != 0 && oldest >= before {
			break
		}
		before = oldest
	}
	if !whole {
		return false, nil
	}
	if err := s.store.NoteLooked(ctx, p.ProjectID, time.Since(begun)); err != nil || newest <= p.ReconciledTo {
		return err == nil, err
	}
	return true, s.store.NoteReconciled(ctx, p.ProjectID, newest)
}

// oldestOf is the least id of a page, 0 where no build in it has one.
func oldestOf(page []appveyor.Answer) (oldest int64) {
	for _, a := range page {
		if id := a.Build.BuildID; id > 0 && (oldest == 0 || id < oldest) {
			oldest = id
		}
	}
	return oldest
}

// reconcilePage confirms what is new or has changed, and returns how many, and
// of how many AppVeyor gave no answer.
func (s *Service) reconcilePage(ctx context.Context, p postgres.SeenProject, page []appveyor.Answer, askedBy string) (confirmed, unclear int, err error) {
	ids := make([]int64, len(page))
	for i, a := range page {
		ids[i] = a.Build.BuildID
	}
	known, err := s.store.UpdatedOn(ctx, ids)
	if err != nil {
		return 0, 0, err
	}
	for _, a := range page {
		b := a.Build
		if seen, ok := known[b.BuildID]; b.BuildID == 0 || b.PullRequestID == 0 || ok && !b.UpdatedOn.After(seen) || !ok && s.wasThere(p, b) {
			continue
		}
		ref := appveyor.Ref{Account: p.Account, Slug: p.Slug, BuildID: b.BuildID, Version: b.Version}
		r, err := s.confirm(ctx, ref, 0, askedBy)
		switch {
		case err != nil:
			return confirmed, unclear, fmt.Errorf("confirm build %d: %w", b.BuildID, err)
		case r.problem != "":
			unclear++
		default:
			confirmed++
		}
	}
	return confirmed, unclear, nil
}

// forgetAfter is less than any retention of builds.
const forgetAfter = 23 * time.Hour

// wasThere reports whether a build that isn't known was looked at in an earlier
// round: it was none of ours, or is deleted because of its age.
func (s *Service) wasThere(p postgres.SeenProject, b mergecheck.Build) bool {
	return b.BuildID <= p.ReconciledTo && s.now().Sub(b.CreatedOn) > forgetAfter
}

// LookNow looks through the histories of a repository's projects at once, for
// somebody who waits for the answer, until ctx ends, and has them looked through
// again for a while. It reports whether there was anything to look through; what
// it finds is in the store.
func (s *Service) LookNow(ctx context.Context, workspaceUUID, repositoryUUID string) (bool, error) {
	projects, err := s.store.ProjectsOf(ctx, workspaceUUID, repositoryUUID)
	if err != nil || len(projects) == 0 {
		return false, err
	}
	if err := s.store.NoteAsked(ctx, workspaceUUID, repositoryUUID); err != nil {
		s.log.WarnContext(ctx, "scheduling a look at a repository failed", "error", err)
	}
	err = s.lookThrough(ctx, projects, "merge_check")
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // what was found by then is found
	}
	return true, err
}

const (
	// oftenEvery is how often a repository is looked at that was just asked about,
	// for oftenFor; after that less and less often.
	oftenEvery = 5 * time.Second
	oftenFor   = time.Minute
)

func (s *Service) lookAgain(ctx context.Context, job *river.Job[postgres.LookAgain]) error {
	workspace, repository := job.Args.WorkspaceUUID, job.Args.RepositoryUUID
	askedOn, err := s.store.AskedOn(ctx, workspace, repository)
	if err != nil {
		return err
	}
	if !askedOn.Equal(job.Args.AskedOn) {
		return nil // it was asked about again, and another job looks
	}
	projects, err := s.store.ProjectsOf(ctx, workspace, repository)
	if err != nil {
		return err
	}
	if err := s.lookThrough(ctx, projects, "look_again"); err != nil {
		return err
	}
	next := lookAgainIn(s.now().Sub(askedOn))
	if next >= s.interval {
		return nil // the rounds are as often
	}
	return river.JobSnooze(next)
}

// lookAgainIn is how long to leave a repository alone that was asked about so
// long ago.
func lookAgainIn(ago time.Duration) time.Duration {
	if ago < oftenFor {
		return retry.Slower(0, oftenEvery, oftenEvery)
	}
	return retry.Slower(ago/2, oftenEvery, time.Hour)
}
