// Package bitbuckettest is a stand-in for Bitbucket Cloud: a real HTTP server on loopback with as much of its REST API
// as mergegate uses, held to Atlassian's own OpenAPI document in both directions.
//
//	server, err := bitbuckettest.New()
//	defer server.Close()
//	err = server.AddRepository(bitbuckettest.Repository{FullName: "ws/repo", UUID: "{…}", WorkspaceUUID: "{…}"})
//	err = server.PutPullRequest("ws/repo", bitbuckettest.PullRequest{ID: 7, SourceBranch: "feature", SourceCommit: sha, …})
//	client, err := bitbucket.NewClient(bitbucket.Config{BaseURL: server.URL})
//	…
//	err = server.WaitCommitStatus(ctx, "ws/repo", sha, "appveyor-7", "SUCCESSFUL")
//	if v := server.Violations(); len(v) > 0 { … }
//
// Everything is open until AllowToken or AllowClient is called.
package bitbuckettest

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"mergegate/internal/standin"
)

// Fault is how a request is answered instead of properly.
type Fault = standin.Fault

// Request is one request that was received.
type Request = standin.Request

// Server is a running stand-in. Its methods are safe for concurrent use.
type Server struct {
	*standin.Server // URL, Close, OnRequest, Requests

	spec    specification
	hold    Hold
	changes standin.Changes

	mu           sync.Mutex
	repositories []*repository
	tokens       map[string][]string // workspaces by bearer token or "email:token"
	scopes       map[string][]string // by the same; none: every scope
	clients      map[string]client   // OAuth consumers by id
	issued       int
	limit        rateLimit
	violations   []string
}

// Repository is a repository as Bitbucket has it. UUIDs may be given with or without braces.
type Repository struct {
	WorkspaceUUID, UUID string
	FullName            string // workspace/slug
	Private             bool
}

// PullRequest is a pull request to the repository that it is put into.
type PullRequest struct {
	ID    int64
	State string // "": OPEN
	Title string

	SourceRepo   string // full name; "": the same repository
	SourceBranch string
	SourceCommit string // 40 characters; "": the branch is gone
	SourceGone   bool   // the fork was deleted: Bitbucket answers null
	AuthorUUID   string // with or without braces; "": Bitbucket doesn't tell
	// Changes are what the source commit changes; none: nothing is known of it.
	Changes []Change

	DestinationBranch, DestinationCommit string // 40 characters

	// Commits are the pull request's, newest first, each the parent of the one before; nil: the source commit alone.
	Commits []string

	Draft bool
	// UpdatedOn is when the pull request last changed; zero: now, or as it was where nothing changed.
	UpdatedOn time.Time
}

// repository is a repository with what is in it.
type repository struct {
	Repository
	formerly     []string            // full names that lead here
	branches     map[string]string   // commits by name
	commits      map[string][]string // parents by commit
	pullRequests map[int64]*PullRequest
	statuses     map[string][]*status // by commit, oldest first
	reviews      map[int64]*review    // by pull request
	reports      map[string][]*Report // by commit
}

// New starts a stand-in without any repository.
func New() (*Server, error) {
	spec, err := loadSpecification()
	if err != nil {
		return nil, err
	}
	s := &Server{spec: spec, tokens: map[string][]string{}, scopes: map[string][]string{}, clients: map[string]client{}}
	s.Server, err = standin.Start(s.routes())
	if err != nil {
		return nil, fmt.Errorf("start the stand-in for Bitbucket: %w", err)
	}
	return s, nil
}

// Violations answers what was received or answered against Atlassian's document; none is what a test wants.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

func (s *Server) violation(r *http.Request, kind string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, fmt.Sprintf("%s of %s %s: %v", kind, r.Method, r.URL.Path, err))
}

// AddRepository adds a repository, or changes the one that has the UUID: a new FullName renames it.
func (s *Server) AddRepository(r Repository) error {
	r.UUID, r.WorkspaceUUID = braces(r.UUID), braces(r.WorkspaceUUID)
	if workspace, slug, ok := strings.Cut(r.FullName, "/"); !ok || workspace == "" || slug == "" {
		return fmt.Errorf("add repository %q: the name is not workspace/slug", r.FullName)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, known := range s.repositories {
		if known.UUID == r.UUID {
			s.renameSources(known.FullName, r.FullName)
			known.Repository = r
			return nil
		}
	}
	s.repositories = append(s.repositories, &repository{
		Repository:   r,
		branches:     map[string]string{},
		commits:      map[string][]string{},
		pullRequests: map[int64]*PullRequest{},
		statuses:     map[string][]*status{},
		reviews:      map[int64]*review{},
		reports:      map[string][]*Report{},
	})
	return nil
}

// Rename gives a repository another full name. Requests to the old one are redirected, as long as no other repository has
// it.
func (s *Server) Rename(repoFullName, newFullName string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.named(repoFullName)
	if err == nil {
		s.renameSources(repo.FullName, newFullName)
		repo.formerly = append(repo.formerly, repo.FullName)
		repo.FullName = newFullName
	}
	return err
}

// renameSources has pull requests from a repository name it as it is called now.
func (s *Server) renameSources(from, to string) {
	for _, repo := range s.repositories {
		for _, pr := range repo.pullRequests {
			if strings.EqualFold(pr.SourceRepo, from) {
				pr.SourceRepo = to
			}
		}
	}
}

// SetBranch makes a branch of a repository point to a commit of 40 characters, "" to delete the branch. Pull requests
// stay as they are: Bitbucket changes them a moment later.
func (s *Server) SetBranch(repoFullName, branch, sha string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.named(repoFullName)
	if err == nil {
		repo.setBranch(branch, sha)
	}
	return err
}

func (r *repository) setBranch(name, sha string) {
	if sha == "" {
		delete(r.branches, name)
		return
	}
	r.branches[name] = sha
}

// AddCommit adds a commit with its parents, all of 40 characters, to a repository.
func (s *Server) AddCommit(repoFullName, sha string, parents ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.named(repoFullName)
	if err == nil {
		repo.commits[sha] = parents
	}
	return err
}

// PutPullRequest creates or replaces a pull request, and its commits and branches where they belong: the source's in
// the source repository, the destination's in the repository itself.
func (s *Server) PutPullRequest(repoFullName string, pr PullRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(repoFullName, pr)
}

func (s *Server) put(repoFullName string, pr PullRequest) error {
	repo, err := s.named(repoFullName)
	if err != nil {
		return err
	}
	if pr.State == "" {
		pr.State = "OPEN"
	}
	if pr.SourceRepo == "" {
		pr.SourceRepo = repo.FullName
	}
	if pr.Commits == nil && pr.SourceCommit != "" {
		pr.Commits = []string{pr.SourceCommit}
	}
	pr.Commits = slices.Clone(pr.Commits)
	before := repo.pullRequests[pr.ID]
	if !pr.SourceGone {
		source, err := s.named(pr.SourceRepo)
		if err != nil {
			return err
		}
		source.addChain(pr.Commits, pr.DestinationCommit)
		if before == nil || before.SourceBranch != pr.SourceBranch || before.SourceCommit != pr.SourceCommit {
			source.setBranch(pr.SourceBranch, pr.SourceCommit)
		}
	}
	repo.addChain([]string{pr.DestinationCommit}, "")
	if before == nil || before.DestinationBranch != pr.DestinationBranch || before.DestinationCommit != pr.DestinationCommit {
		repo.setBranch(pr.DestinationBranch, pr.DestinationCommit)
	}
	pr.UpdatedOn = updatedOn(pr, before)
	repo.pullRequests[pr.ID] = &pr
	return nil
}

// updatedOn is when pr changed from what it was before, nil where it is new. No change has the time of another.
func updatedOn(pr PullRequest, before *PullRequest) time.Time {
	if !pr.UpdatedOn.IsZero() || before == nil {
		return cmp.Or(pr.UpdatedOn, time.Now())
	}
	same := *before
	same.UpdatedOn = time.Time{}
	if reflect.DeepEqual(pr, same) {
		return before.UpdatedOn
	}
	now := time.Now()
	if soonest := before.UpdatedOn.Add(time.Microsecond); now.Before(soonest) {
		return soonest
	}
	return now
}

// addChain adds commits, newest first, down to root. What is known already keeps its parents.
func (r *repository) addChain(commits []string, root string) {
	for i, sha := range commits {
		parent := root
		if i+1 < len(commits) {
			parent = commits[i+1]
		}
		if _, known := r.commits[sha]; known || sha == "" {
			continue
		}
		r.commits[sha] = nil
		if parent != "" {
			r.commits[sha] = []string{parent}
		}
	}
}

// Push adds a commit on top of a pull request's source branch, as `git push` does.
func (s *Server) Push(repoFullName string, id int64, sha string) error {
	return s.change(repoFullName, id, func(pr *PullRequest) {
		pr.SourceCommit = sha
		pr.Commits = slices.Insert(slices.Clone(pr.Commits), 0, sha)
	})
}

// Merge closes a pull request as merged.
func (s *Server) Merge(repoFullName string, id int64) error {
	return s.change(repoFullName, id, func(pr *PullRequest) { pr.State = "MERGED" })
}

// Decline closes a pull request without merging it.
func (s *Server) Decline(repoFullName string, id int64) error {
	return s.change(repoFullName, id, func(pr *PullRequest) { pr.State = "DECLINED" })
}

func (s *Server) change(repoFullName string, id int64, change func(*PullRequest)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.named(repoFullName)
	if err != nil {
		return err
	}
	pr, ok := repo.pullRequests[id]
	if !ok {
		return fmt.Errorf("pull request %d of %s isn't there", id, repoFullName)
	}
	changed := *pr
	changed.UpdatedOn = time.Time{}
	change(&changed)
	return s.put(repoFullName, changed)
}

// CommitStatuses answers what Bitbucket shows on a commit, the latest of each key, oldest key first.
func (s *Server) CommitStatuses(repoFullName, sha string) []CommitStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.named(repoFullName)
	if err != nil {
		return nil
	}
	var shown []CommitStatus
	for _, status := range repo.statuses[sha] {
		shown = append(shown, status.CommitStatus)
	}
	return shown
}

// WaitCommitStatus waits until Bitbucket shows the state for the key on the commit, or ctx ends.
func (s *Server) WaitCommitStatus(ctx context.Context, repoFullName, sha, key, state string) error {
	err := s.changes.Wait(ctx, func() bool {
		return slices.ContainsFunc(s.CommitStatuses(repoFullName, sha), func(c CommitStatus) bool {
			return c.Key == key && c.State == state
		})
	})
	if err != nil {
		return fmt.Errorf("status %s of %s is not %s but %v: %w", key, sha, state, s.CommitStatuses(repoFullName, sha), err)
	}
	return nil
}

func (s *Server) named(fullName string) (*repository, error) {
	for _, repo := range s.repositories {
		if strings.EqualFold(repo.FullName, fullName) {
			return repo, nil
		}
	}
	return nil, fmt.Errorf("repository %q isn't there", fullName)
}

// braces writes a UUID as Bitbucket does.
func braces(uuid string) string {
	return "{" + strings.ToLower(strings.Trim(uuid, "{}")) + "}"
}
