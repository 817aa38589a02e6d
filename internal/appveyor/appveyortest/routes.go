package appveyortest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	byteOrderMark  = "\ufeff"
	defaultRecords = 10
	maxRecords     = 100
)

// refusal is AppVeyor's answer when it doesn't answer: {"message":…}.
type refusal struct {
	status  int
	message string
}

var (
	unauthorized = &refusal{http.StatusUnauthorized, "Authorization has been denied for this request."}
	noProject    = &refusal{http.StatusNotFound, "Project not found or access denied."}
	noBuild      = &refusal{http.StatusNotFound, "Build not found or access denied."}
	noRoute      = &refusal{http.StatusNotFound, "No HTTP resource was found that matches the request URI."}
)

// handler answers a request; it is called with the lock held.
type handler func(r *http.Request) (any, *refusal)

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h handler) { mux.HandleFunc(pattern, s.serve(h)) }
	handle("GET /api/projects", s.getProjects)
	handle("GET /api/projects/{account}/{slug}", s.getLastBuild)
	handle("GET /api/projects/{account}/{slug}/build/{version}", s.getBuildByVersion)
	handle("GET /api/projects/{account}/{slug}/builds/{buildId}", s.getBuildByID)
	handle("GET /api/projects/{account}/{slug}/history", s.getHistory)
	handle("POST /api/builds", s.postBuild)
	// User-level (v2) tokens name the account first, in these two calls; elsewhere the prefix gets a page.
	handle("GET /api/account/{account}/projects", s.getProjects)
	handle("POST /api/account/{account}/builds", s.postBuild)
	mux.HandleFunc("/api/account/", writeHTML)
	handle("/", func(*http.Request) (any, *refusal) { return nil, noRoute })
	return mux
}

func (s *Server) serve(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		quirks := s.quirks
		answer, refused := h(r)
		s.mu.Unlock()
		if quirks.HTML {
			writeHTML(w, r)
			return
		}
		status := http.StatusOK
		if refused != nil {
			status, answer = refused.status, object{"message": refused.message}
		}
		body, err := json.Marshal(answer)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if quirks.BOM {
			body = append([]byte(byteOrderMark), body...)
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}
}

func writeHTML(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte("<!DOCTYPE html><title>AppVeyor</title>"))
}

// getProjects lists what the token is for. It needs one even where none is required, and a valid one where one is.
func (s *Server) getProjects(r *http.Request) (any, *refusal) {
	account := r.PathValue("account")
	if !s.knows(r) || !s.authorized(r, account) {
		return nil, unauthorized
	}
	list := []object{}
	for _, p := range s.projects {
		if (account == "" || strings.EqualFold(account, p.Account)) && s.authorized(r, p.Account) {
			list = append(list, p.listAnswer())
		}
	}
	return list, nil
}

// find answers the project of a request. A private one is as good as not there for whoever sends no token.
func (s *Server) find(r *http.Request) (*project, *refusal) {
	account := r.PathValue("account")
	if !s.authorized(r, account) {
		return nil, unauthorized
	}
	p := s.project(account, r.PathValue("slug"))
	if p == nil || (p.Private && r.Header.Get("Authorization") == "") {
		return nil, noProject
	}
	return p, nil
}

func (s *Server) getLastBuild(r *http.Request) (any, *refusal) {
	p, refused := s.find(r)
	if refused != nil {
		return nil, refused
	}
	if len(p.builds) == 0 {
		return object{"project": p.answer()}, nil
	}
	return p.buildAnswer(p.builds[len(p.builds)-1]), nil
}

func (s *Server) getBuildByVersion(r *http.Request) (any, *refusal) {
	return s.getBuild(r, func(b *Build) bool { return b.Version == r.PathValue("version") })
}

// getBuildByID is not documented by AppVeyor; its own pages and RPCS3/discord-bot use it.
func (s *Server) getBuildByID(r *http.Request) (any, *refusal) {
	if s.quirks.NoBuildByID {
		return nil, noRoute
	}
	return s.getBuild(r, func(b *Build) bool { return strconv.FormatInt(b.ID, 10) == r.PathValue("buildId") })
}

func (s *Server) getBuild(r *http.Request, wanted func(*Build) bool) (any, *refusal) {
	p, refused := s.find(r)
	if refused != nil {
		return nil, refused
	}
	at := slices.IndexFunc(p.builds, wanted)
	if at < 0 {
		return nil, noBuild
	}
	return p.buildAnswer(p.builds[at]), nil
}

// getHistory answers the newest first. The branch of a pull request's build is its destination, so that filter
// includes pull requests to it.
func (s *Server) getHistory(r *http.Request) (any, *refusal) {
	p, refused := s.find(r)
	if refused != nil {
		return nil, refused
	}
	query := r.URL.Query()
	most, err := strconv.Atoi(query.Get("recordsNumber"))
	if err != nil || most < 1 {
		most = defaultRecords
	}
	before, _ := strconv.ParseInt(query.Get("startBuildId"), 10, 64) // 0: from the newest
	branch, rows := query.Get("branch"), []object{}
	for _, b := range slices.Backward(p.builds) {
		if len(rows) == min(most, maxRecords) {
			break
		}
		if (before == 0 || b.ID < before) && (branch == "" || branch == b.Branch) {
			rows = append(rows, b.row())
		}
	}
	return object{"project": p.answer(), "builds": rows}, nil
}

// postBuild starts a build of a pull request; AppVeyor can start others, mergegate doesn't.
func (s *Server) postBuild(r *http.Request) (any, *refusal) {
	var wanted struct {
		AccountName, ProjectSlug, Branch, CommitID string
		PullRequestID                              json.RawMessage
	}
	if err := json.NewDecoder(r.Body).Decode(&wanted); err != nil {
		return nil, &refusal{http.StatusBadRequest, "The request is invalid."}
	}
	p := s.project(wanted.AccountName, wanted.ProjectSlug)
	switch {
	case r.Header.Get("Authorization") == "" || !s.authorized(r, wanted.AccountName):
		return nil, unauthorized
	case p == nil:
		return nil, noProject
	}
	id, err := strconv.ParseInt(strings.Trim(string(wanted.PullRequestID), `"`), 10, 64)
	if err != nil || id <= 0 || wanted.Branch != "" || wanted.CommitID != "" {
		return nil, &refusal{http.StatusBadRequest, "pullRequestId is needed, without branch and commitId."}
	}
	b, refused := s.started(p, id)
	if refused != nil {
		return nil, refused
	}
	b = s.put(p, b)
	return b.startedAnswer(), nil
}

func (s *Server) started(p *project, pullRequestID int64) (Build, *refusal) {
	if s.onStart != nil {
		b, err := s.onStart(p.Account, p.Slug, pullRequestID)
		if err != nil {
			return Build{}, &refusal{http.StatusInternalServerError, err.Error()}
		}
		b.PullRequestID = pullRequestID
		return b, nil
	}
	for _, b := range slices.Backward(p.builds) {
		if b.PullRequestID == pullRequestID {
			return b.again(), nil
		}
	}
	return Build{}, &refusal{http.StatusNotFound, "Pull request not found."}
}

// again answers a new build of the same thing.
func (b *Build) again() Build {
	return Build{
		Branch: b.Branch, CommitID: b.CommitID, Message: b.Message,
		PullRequestID: b.PullRequestID, PullRequestName: b.PullRequestName,
		PullRequestHeadCommit:     b.PullRequestHeadCommit,
		PullRequestHeadRepository: b.PullRequestHeadRepository,
		PullRequestHeadBranch:     b.PullRequestHeadBranch,
	}
}
