package builds

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"mergegate/internal/appveyor"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// listAge is how long an account's list of projects answers for whoever misses one.
// A round reads it anew.
const listAge = 30 * time.Second

// lists are the accounts' projects as AppVeyor listed them last. The zero value is
// ready to use.
type lists struct {
	mu       sync.Mutex
	accounts map[string]*projectList
}

// projectList is what AppVeyor last said when it was asked for an account's
// projects. It is read by one at a time; others wait for what that one gets.
type projectList struct {
	mu       sync.Mutex
	readOn   time.Time
	projects []appveyor.ListedProject
	complete bool
	err      error
}

func (l *lists) of(account string) *projectList {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.accounts == nil {
		l.accounts = map[string]*projectList{}
	}
	key := strings.ToLower(account)
	if l.accounts[key] == nil {
		l.accounts[key] = &projectList{} // one for each account that is trusted, no more
	}
	return l.accounts[key]
}

// listed returns an account's projects as AppVeyor lists them, not longer ago than
// age, and whether the list is complete.
func (s *Service) listed(ctx context.Context, account string, age time.Duration) ([]appveyor.ListedProject, bool, error) {
	l := s.lists.of(account)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readOn.IsZero() || s.now().Sub(l.readOn) >= age {
		projects, complete, err := s.appveyor.ProjectList(ctx, account)
		if ctx.Err() != nil {
			return nil, false, ctx.Err() // that who asked went away says nothing of AppVeyor
		}
		l.projects, l.complete, l.err, l.readOn = projects, complete, err, s.now()
	}
	return l.projects, l.complete, l.err
}

// follow records what AppVeyor's list says of an account's projects that were seen:
// how they are called now, and which of them another one replaced. It returns them
// as they are then.
func (s *Service) follow(ctx context.Context, account string, list []appveyor.ListedProject, complete bool, seen []postgres.SeenProject) ([]postgres.SeenProject, error) {
	for i := range seen {
		p := &seen[i]
		if !strings.EqualFold(p.Account, account) {
			continue
		}
		now, ok := listedByID(list, p.ProjectID)
		if !ok {
			if complete {
				if err := s.replace(ctx, p, list); err != nil {
					return nil, err
				}
			}
			continue
		}
		if now.Project.Account == p.Account && now.Project.Slug == p.Slug && p.ReplacedBy == 0 {
			continue
		}
		if err := s.store.NoteListed(ctx, now.Project); err != nil {
			return nil, err
		}
		s.log.InfoContext(ctx, "project renamed on AppVeyor", "project_id", p.ProjectID, "before", p.Account+"/"+p.Slug, "project", now.Project.Name())
		p.Account, p.Slug, p.ReplacedBy = now.Project.Account, now.Project.Slug, 0
	}
	return seen, nil
}

func listedByID(list []appveyor.ListedProject, id int64) (appveyor.ListedProject, bool) {
	for _, p := range list {
		if p.Project.ID == id {
			return p, true
		}
	}
	return appveyor.ListedProject{}, false
}

// replace records that a project, which AppVeyor doesn't list any more, was created
// again: another one has its slug and builds the same repository.
func (s *Service) replace(ctx context.Context, p *postgres.SeenProject, list []appveyor.ListedProject) error {
	for _, other := range list {
		if !strings.EqualFold(other.Project.Slug, p.Slug) || !other.IsBitbucket() ||
			p.Repository == "" || !strings.EqualFold(other.RepositoryName, p.Repository) {
			continue
		}
		replaced, err := s.store.NoteReplaced(ctx, *p, other.Project)
		if err != nil {
			return err
		}
		if replaced {
			s.log.WarnContext(ctx, "project replaced by another one with its name", "repository", p.Repository, "project", other.Project.Name(),
				"project_id", p.ProjectID, "replaced_by", other.Project.ID)
			p.ReplacedBy = other.Project.ID
		}
	}
	return nil
}

// renamed looks AppVeyor's list up for a project that isn't found under its name,
// and returns what it is called now; "" where the list has nothing newer.
func (s *Service) renamed(ctx context.Context, p postgres.SeenProject) (slug string, err error) {
	list, complete, err := s.listed(ctx, p.Account, listAge)
	if err != nil {
		return "", nil //nolint:nilerr // without a list there is no newer name
	}
	before := p.Slug
	seen, err := s.follow(ctx, p.Account, list, complete, []postgres.SeenProject{p})
	if err != nil || seen[0].Slug == before {
		return "", err
	}
	return seen[0].Slug, nil
}

// unlisted reports whether AppVeyor's list of its account's projects, read with the
// account's token, lacks a project.
func (s *Service) unlisted(ctx context.Context, p mergecheck.Project) bool {
	list, complete, err := s.listed(ctx, p.Account, listAge)
	if err != nil || !complete {
		return false
	}
	_, ok := listedByID(list, p.ID)
	return !ok
}

// read reads a build from AppVeyor. One that isn't found where ref says, and is
// recorded, is asked for again under the name that its project has now.
func (s *Service) read(ctx context.Context, ref appveyor.Ref) (appveyor.Answer, error) {
	answer, err := s.appveyor.Build(ctx, ref)
	if !appveyor.IsNotFound(err) {
		return answer, err
	}
	b, unknown := s.store.ConfirmedBuild(ctx, ref.BuildID)
	if unknown != nil {
		return answer, err // as AppVeyor said
	}
	p, unknown := s.projectOf(ctx, b)
	if unknown != nil || p.Account == ref.Account && p.Slug == ref.Slug {
		return answer, err
	}
	ref.Account, ref.Slug = p.Account, p.Slug
	return s.appveyor.Build(ctx, ref)
}

// projectOf is the project of a build as it is called now.
func (s *Service) projectOf(ctx context.Context, b mergecheck.Build) (mergecheck.Project, error) {
	p, err := s.store.ProjectByID(ctx, b.Project.ID)
	if errors.Is(err, postgres.ErrNotFound) {
		return b.Project, nil
	}
	return p, err
}
