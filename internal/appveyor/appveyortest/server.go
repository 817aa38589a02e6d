// Package appveyortest is a stand-in for AppVeyor: a real HTTP server on loopback with as much of its REST API as
// mergegate uses, and its webhook notifications.
//
//	server, err := appveyortest.New()
//	defer server.Close()
//	err = server.AddProject(appveyortest.Project{ID: 12064, Account: "account", Slug: "slug", RepositoryName: "ws/repo"})
//	build, err := server.PutBuild("account", "slug", appveyortest.Build{PullRequestID: 7, PullRequestHeadCommit: sha, …})
//	err = server.SetStatus(build.ID, "success")
//	status, body, err := server.Notify(ctx, webhookURL, secret, build.ID)
//
// Shapes and habits are those of real answers and of AppVeyor's documentation: see testdata/README.md.
package appveyortest

import (
	"cmp"
	"fmt"
	"net/http"
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

// Quirks are what AppVeyor does in some places, or may do one day.
type Quirks struct {
	BOM         bool // answers begin with a UTF-8 byte order mark
	HTML        bool // answers are pages in HTML with 200
	NoBuildByID bool // the undocumented …/builds/{buildId} is gone
}

// Project is an AppVeyor project.
type Project struct {
	ID             int64
	Account, Slug  string
	Name           string // "": the slug
	RepositoryType string // "": bitBucket
	RepositoryName string // owner/repository
	Private        bool   // only shown with the account's token
}

// Build is a build of a project. What is zero is left out of answers, where AppVeyor leaves it out.
type Build struct {
	ID      int64  // 0: the next one
	Number  int64  // 0: the next one of the project
	Version string // "": 1.0.Number; unique in a project, but may change
	Branch  string // for pull requests the destination; "": master
	CommitID,
	Message string

	PullRequestID             int64 // 0: a branch build
	PullRequestName           string
	PullRequestHeadCommit     string
	PullRequestHeadRepository string
	PullRequestHeadBranch     string

	Status   string // "": queued
	Messages []string
	Jobs     []Job

	Created                    time.Time // zero: now
	Started, Finished, Updated time.Time // zero: left out
}

// Job is a job of a build.
type Job struct {
	ID, Name              string // ID "": one is made up
	Status                string // "": the build's
	AllowFailure          bool
	Tests, Passed, Failed int
	Messages              []string // as Add-AppveyorMessage leaves them; only in webhooks

	Created, Started, Finished, Updated time.Time // zero: the build's
}

// Server is a running stand-in. Its methods are safe for concurrent use.
type Server struct {
	*standin.Server // URL, Close, OnRequest, Requests

	mu        sync.Mutex
	quirks    Quirks
	projects  []*project
	tokens    map[string]string // by account
	lastBuild int64
	onStart   func(account, slug string, pullRequestID int64) (Build, error)
}

type project struct {
	Project
	created time.Time
	builds  []*Build // ascending by ID
}

// New starts a stand-in without any project.
func New() (*Server, error) {
	s := &Server{tokens: map[string]string{}, lastBuild: 1000}
	var err error
	if s.Server, err = standin.Start(s.routes()); err != nil {
		return nil, fmt.Errorf("start the stand-in for AppVeyor: %w", err)
	}
	return s, nil
}

// SetQuirks replaces the quirks; a new server has none.
func (s *Server) SetQuirks(q Quirks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quirks = q
}

// RequireToken has every request for an account answered with 401 unless it has this bearer token.
func (s *Server) RequireToken(account, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[strings.ToLower(account)] = token
}

// OnStartBuild has start asked for the build that POST /api/builds creates; nil: a queued copy of the pull request's
// newest build. An error is answered with 500. The function must not call the server.
func (s *Server) OnStartBuild(start func(account, slug string, pullRequestID int64) (Build, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onStart = start
}

// AddProject adds a project, or changes the one that has the ID: a new Slug renames it.
func (s *Server) AddProject(p Project) error {
	if p.ID <= 0 || p.Account == "" || p.Slug == "" {
		return fmt.Errorf("project %q/%q needs an ID, an account and a slug", p.Account, p.Slug)
	}
	p.Name = cmp.Or(p.Name, p.Slug)
	p.RepositoryType = cmp.Or(p.RepositoryType, "bitBucket")
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, known := range s.projects {
		if known.ID == p.ID {
			known.Project = p
			return nil
		}
	}
	s.projects = append(s.projects, &project{Project: p, created: time.Now()})
	return nil
}

// PutBuild creates a build, or replaces the one that has the ID, and answers it with what was left to the server.
func (s *Server) PutBuild(account, slug string, b Build) (Build, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.project(account, slug)
	if p == nil {
		return Build{}, fmt.Errorf("project %s/%s isn't there", account, slug)
	}
	return s.put(p, b), nil
}

func (s *Server) put(p *project, b Build) Build {
	b.complete(p, s.lastBuild+1)
	s.lastBuild = max(s.lastBuild, b.ID)
	at, known := slices.BinarySearchFunc(p.builds, b.ID, func(have *Build, id int64) int { return cmp.Compare(have.ID, id) })
	if known {
		p.builds[at] = &b
	} else {
		p.builds = slices.Insert(p.builds, at, &b)
	}
	return b
}

func (b *Build) complete(p *project, id int64) {
	b.ID = cmp.Or(b.ID, id)
	b.Number = cmp.Or(b.Number, p.nextNumber())
	b.Version = cmp.Or(b.Version, fmt.Sprintf("1.0.%d", b.Number))
	b.Branch = cmp.Or(b.Branch, "master")
	b.Status = cmp.Or(b.Status, "queued")
	if b.Created.IsZero() {
		b.Created = time.Now()
	}
	b.Jobs = slices.Clone(b.Jobs)
	for i := range b.Jobs {
		b.Jobs[i].ID = cmp.Or(b.Jobs[i].ID, fmt.Sprintf("job%d-%d", b.ID, i+1))
	}
}

func (p *project) nextNumber() int64 {
	last := int64(0)
	for _, b := range p.builds {
		last = max(last, b.Number)
	}
	return last + 1
}

// DeleteBuild deletes a build: nothing shows it any more.
func (s *Server) DeleteBuild(buildID int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, b := s.build(buildID)
	if b == nil {
		return fmt.Errorf("build %d isn't there", buildID)
	}
	p.builds = slices.DeleteFunc(p.builds, func(other *Build) bool { return other == b })
	return nil
}

// DeleteProject deletes a project with its builds. Another one may have its slug afterwards.
func (s *Server) DeleteProject(projectID int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.projects)
	s.projects = slices.DeleteFunc(s.projects, func(p *project) bool { return p.ID == projectID })
	if len(s.projects) == before {
		return fmt.Errorf("project %d isn't there", projectID)
	}
	return nil
}

// SetStatus moves a build on, with the times that AppVeyor would set; jobs without a status of their own follow.
func (s *Server) SetStatus(buildID int64, status string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, b := s.build(buildID)
	if b == nil {
		return fmt.Errorf("build %d isn't there", buildID)
	}
	changed, now := *b, time.Now()
	changed.Status, changed.Updated, changed.Finished = status, now, time.Time{}
	if changed.Started.IsZero() && status != "queued" {
		changed.Started = now
	}
	if isFinal(status) {
		changed.Finished = now
	}
	*b = changed
	return nil
}

func isFinal(status string) bool {
	return slices.Contains([]string{"success", "failed", "cancelled"}, status)
}

// Builds answers the builds of a project, oldest first.
func (s *Server) Builds(account, slug string) []Build {
	s.mu.Lock()
	defer s.mu.Unlock()
	var builds []Build
	if p := s.project(account, slug); p != nil {
		for _, b := range p.builds {
			builds = append(builds, *b)
		}
	}
	return builds
}

func (s *Server) project(account, slug string) *project {
	for _, p := range s.projects {
		if strings.EqualFold(p.Account, account) && strings.EqualFold(p.Slug, slug) {
			return p
		}
	}
	return nil
}

func (s *Server) build(id int64) (*project, *Build) {
	for _, p := range s.projects {
		for _, b := range p.builds {
			if b.ID == id {
				return p, b
			}
		}
	}
	return nil, nil
}

// authorized tells whether a request may have what is an account's.
func (s *Server) authorized(r *http.Request, account string) bool {
	token, required := s.tokens[strings.ToLower(account)]
	return !required || r.Header.Get("Authorization") == "Bearer "+token
}

// knows tells whether a request has a token, and one of those that are required when any is.
func (s *Server) knows(r *http.Request) bool {
	header := r.Header.Get("Authorization")
	for _, token := range s.tokens {
		if header == "Bearer "+token {
			return true
		}
	}
	return header != "" && len(s.tokens) == 0
}
