package builds

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"mergegate/internal/postgres"
)

const (
	// recheckTimeout bounds one look, whoever waits for it.
	recheckTimeout = 1500 * time.Millisecond
	// unreachableFor is how long a merge check doesn't wait again for a project that
	// couldn't be read.
	unreachableFor = 15 * time.Second
)

// rechecks are looks at projects that merges wait for, one at a time for each project.
// The zero value is ready to use.
type rechecks struct {
	group singleflight.Group

	mu     sync.Mutex
	failed map[int64]failedLook
}

type failedLook struct {
	problem string
	until   time.Time
}

// lately is why the project couldn't be read a moment ago, "" where it could.
func (r *rechecks) lately(project int64, now time.Time) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.failed[project]; now.Before(f.until) {
		return f.problem
	}
	delete(r.failed, project)
	return ""
}

func (r *rechecks) note(project int64, problem string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if problem == "" {
		delete(r.failed, project)
		return
	}
	if r.failed == nil {
		r.failed = map[int64]failedLook{}
	}
	r.failed[project] = failedLook{problem: problem, until: now.Add(unreachableFor)}
}

// Recheck reads the newest builds of projects from AppVeyor while a merge check waits, and
// stores what it finds. It returns why it couldn't, by project id; a project that isn't in
// the map was read.
func (s *Service) Recheck(ctx context.Context, workspaceUUID, repositoryUUID string, projects []int64) map[int64]string {
	problems := map[int64]string{}
	known, err := s.store.ProjectsOf(ctx, workspaceUUID, repositoryUUID)
	if err != nil {
		s.log.WarnContext(ctx, "reading projects before a merge failed", "error", err)
		return problems
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, p := range known {
		if !slices.Contains(projects, p.ProjectID) || !s.accounts.Known(p.Account) {
			continue
		}
		group.Go(func() {
			if problem := s.recheckProject(ctx, p); problem != "" {
				mu.Lock()
				defer mu.Unlock()
				problems[p.ProjectID] = problem
			}
		})
	}
	group.Wait()
	return problems
}

func (s *Service) recheckProject(ctx context.Context, p postgres.SeenProject) (problem string) {
	if problem := s.rechecks.lately(p.ProjectID, s.now()); problem != "" {
		return problem
	}
	look := s.rechecks.group.DoChan(strconv.FormatInt(p.ProjectID, 10), func() (any, error) {
		// Others wait for it too, so that it doesn't end with who asked first.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recheckTimeout)
		defer cancel()
		problem := s.lookAtNewest(ctx, p)
		s.rechecks.note(p.ProjectID, problem, s.now())
		return problem, nil
	})
	select {
	case done := <-look:
		problem, _ = done.Val.(string)
		return problem
	case <-ctx.Done():
		return problemLate
	}
}

const (
	problemLate        = "AppVeyor didn't answer in time"
	problemUnreachable = "mergegate can't reach AppVeyor"
)

// lookAtNewest confirms what is new or has changed among a project's builds since the
// last whole look.
func (s *Service) lookAtNewest(ctx context.Context, p postgres.SeenProject) (problem string) {
	whole, err := s.reconcileNamed(ctx, p, "merge_check")
	switch {
	case ctx.Err() != nil:
		return problemLate
	case err != nil || !whole:
		s.log.WarnContext(ctx, "reading AppVeyor before a merge failed", "project", p.Account+"/"+p.Slug, "error", err)
		return problemUnreachable
	default:
		return ""
	}
}
