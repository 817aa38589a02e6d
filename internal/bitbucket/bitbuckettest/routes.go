package bitbuckettest

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	workspacePath   = "/repositories/{workspace}"
	repositoryPath  = workspacePath + "/{repo_slug}"
	pullRequestPath = repositoryPath + "/pullrequests/{pull_request_id}"
	commitPath      = repositoryPath + "/commit/{commit}"
)

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(method, path string, h handler) {
		mux.HandleFunc(method+" /2.0"+path, s.operation(path, h))
	}
	handle("GET", workspacePath, s.getRepositories)
	handle("GET", repositoryPath, s.getRepository)
	handle("GET", repositoryPath+"/refs/branches/{name}", s.getBranch)
	handle("GET", repositoryPath+"/pullrequests", s.getPullRequests)
	handle("GET", pullRequestPath, s.getPullRequest)
	handle("GET", pullRequestPath+"/commits", s.getPullRequestCommits)
	handle("GET", repositoryPath+"/commits", s.getCommits)
	handle("GET", pullRequestPath+"/diffstat", s.getPullRequestDiffstat)
	handle("GET", repositoryPath+"/diffstat/{spec}", s.getDiffstat)
	// Bitbucket's own links have the slash of a fork's name in the spec.
	mux.HandleFunc("GET /2.0"+repositoryPath+"/diffstat/{fork}/{spec}", s.operation(repositoryPath+"/diffstat/{spec}", s.getDiffstat))
	handle("GET", commitPath, s.getCommit)
	handle("GET", commitPath+"/statuses", s.getStatuses)
	handle("POST", commitPath+"/statuses/build", s.postStatus)
	handle("GET", commitPath+"/statuses/build/{key}", s.getStatus)
	handle("PUT", commitPath+"/statuses/build/{key}", s.putStatus)
	handle("POST", pullRequestPath+"/approve", s.take(approved))
	handle("DELETE", pullRequestPath+"/approve", s.withdraw(approved))
	handle("POST", pullRequestPath+"/request-changes", s.take(changesRequested))
	handle("DELETE", pullRequestPath+"/request-changes", s.withdraw(changesRequested))
	handle("GET", pullRequestPath+"/comments", s.getComments)
	handle("POST", pullRequestPath+"/comments", s.postComment)
	handle("PUT", pullRequestPath+"/comments/{comment_id}", s.putComment)
	handle("DELETE", pullRequestPath+"/comments/{comment_id}", s.deleteComment)
	handle("GET", pullRequestPath+"/tasks", s.getTasks)
	handle("POST", pullRequestPath+"/tasks", s.postTask)
	handle("PUT", pullRequestPath+"/tasks/{task_id}", s.putTask)
	handle("DELETE", pullRequestPath+"/tasks/{task_id}", s.deleteTask)
	handle("PUT", commitPath+"/reports/{reportId}", s.putReport)
	handle("DELETE", commitPath+"/reports/{reportId}", s.deleteReport)
	mux.HandleFunc("POST /site/oauth2/access_token", s.accessToken)
	mux.HandleFunc("/", s.unknownOperation)
	return mux
}

// find answers the repository of a request: slugs do, and UUIDs in braces.
func (s *Server) find(r *http.Request) (*repository, *refusal) {
	workspace, slug := r.PathValue("workspace"), r.PathValue("repo_slug")
	for _, repo := range s.repositories {
		ownWorkspace, ownSlug, _ := strings.Cut(repo.FullName, "/")
		if isEither(workspace, ownWorkspace, repo.WorkspaceUUID) && isEither(slug, ownSlug, repo.UUID) {
			return repo, s.refuse(r, repo)
		}
	}
	for _, repo := range s.repositories {
		if slices.ContainsFunc(repo.formerly, func(name string) bool { return strings.EqualFold(name, workspace+"/"+slug) }) {
			return nil, s.moved(r, repo)
		}
	}
	return nil, noRepository(workspace + "/" + slug)
}

// moved is Bitbucket's answer to a name that a repository had before.
func (s *Server) moved(r *http.Request, repo *repository) *refusal {
	to := s.URL + "/2.0/repositories/" + repo.FullName
	const before = 5 // "", 2.0, repositories, the workspace and the slug
	if parts := strings.SplitN(r.URL.EscapedPath(), "/", before+1); len(parts) > before {
		to += "/" + parts[before]
	}
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	return &refusal{status: http.StatusMovedPermanently, message: "Repository has moved", location: to}
}

func isEither(name, slug, uuid string) bool {
	return strings.EqualFold(name, slug) || strings.EqualFold(name, uuid)
}

// getRepositories lists the repositories of a workspace that the credential may read.
func (s *Server) getRepositories(r *http.Request, _ *repository) (int, any, *refusal) {
	workspace, values, known := r.PathValue("workspace"), []object{}, false
	for _, repo := range s.repositories {
		if !repo.inWorkspace(strings.Trim(workspace, "{}")) {
			continue
		}
		known = true
		switch refusal := s.refuse(r, repo); {
		case refusal == nil:
			values = append(values, s.repositoryAnswer(repo))
		case refusal.status == http.StatusUnauthorized && identity(r) != "":
			return 0, nil, refusal
		}
	}
	if !known {
		return 0, nil, refused(http.StatusNotFound, "No workspace with identifier '"+workspace+"'.")
	}
	return http.StatusOK, object{"values": values, "page": 1, "pagelen": 10, "size": len(values)}, nil
}

func (s *Server) getBranch(r *http.Request, repo *repository) (int, any, *refusal) {
	name := r.PathValue("name")
	sha, ok := repo.branches[name]
	if !ok {
		return 0, nil, refused(http.StatusNotFound, "Branch \""+name+"\" does not exist.")
	}
	return http.StatusOK, object{"type": "branch", "name": name, "target": s.commitAnswer(repo, sha)}, nil
}

func (s *Server) getRepository(_ *http.Request, repo *repository) (int, any, *refusal) {
	return http.StatusOK, s.repositoryAnswer(repo), nil
}

// getPullRequests lists the open pull requests, which is what Bitbucket does where no state is asked for, newest first.
func (s *Server) getPullRequests(r *http.Request, repo *repository) (int, any, *refusal) {
	values := []object{}
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(repo.pullRequests))) {
		if pr := repo.pullRequests[id]; pr.State == "OPEN" {
			values = append(values, s.pullRequestAnswer(repo, pr))
		}
	}
	values = values[:min(len(values), queryNumber(r, "pagelen", 10, 50))]
	return http.StatusOK, object{"values": values, "page": 1, "pagelen": 10, "size": len(values)}, nil
}

func (s *Server) getPullRequest(r *http.Request, repo *repository) (int, any, *refusal) {
	pr, refusal := repo.pullRequest(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	return http.StatusOK, s.pullRequestAnswer(repo, pr), nil
}

func (r *repository) pullRequest(req *http.Request) (*PullRequest, *refusal) {
	id, _ := strconv.ParseInt(req.PathValue("pull_request_id"), 10, 64) // an integer: the document was held to
	pr, ok := r.pullRequests[id]
	if !ok {
		return nil, refused(http.StatusNotFound, "Resource not found")
	}
	return pr, nil
}

func (s *Server) getPullRequestCommits(r *http.Request, repo *repository) (int, any, *refusal) {
	pr, refusal := repo.pullRequest(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	if pr.SourceGone {
		return 0, nil, refused(http.StatusNotFound, "Resource not found")
	}
	source, err := s.named(pr.SourceRepo)
	if err != nil {
		return 0, nil, refused(http.StatusNotFound, "Resource not found")
	}
	commits := pr.Commits
	if pr.SourceCommit == "" {
		commits = nil // "This list will be empty if the source branch no longer exists."
	}
	shas, next := s.page(r, commits)
	values := make([]object, 0, len(shas))
	for _, sha := range shas {
		values = append(values, s.commitAnswer(source, sha))
	}
	return http.StatusOK, paginated(values, next), nil
}

// page answers one page of a list and the link to the next: 10 by default, 100 at most.
func (s *Server) page(r *http.Request, list []string) (part []string, next string) {
	pagelen := queryNumber(r, "pagelen", 10, 100)
	page := queryNumber(r, "page", 1, 1<<20)
	start, end := min((page-1)*pagelen, len(list)), min(page*pagelen, len(list))
	if end < len(list) {
		next = s.URL + r.URL.EscapedPath() + "?pagelen=" + strconv.Itoa(pagelen) + "&page=" + strconv.Itoa(page+1)
	}
	return list[start:end], next
}

func queryNumber(r *http.Request, name string, otherwise, most int) int {
	n, err := strconv.Atoi(r.URL.Query().Get(name))
	if err != nil || n < 1 {
		return otherwise
	}
	return min(n, most)
}

func (s *Server) getCommit(r *http.Request, repo *repository) (int, any, *refusal) {
	sha, refusal := repo.commit(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	return http.StatusOK, s.commitAnswer(repo, sha), nil
}

// commit answers the full hash of the only commit in the repository that has the path's as prefix. The head of a fork
// isn't there: appveyor/ci#2714.
func (r *repository) commit(req *http.Request) (string, *refusal) {
	prefix := strings.ToLower(req.PathValue("commit"))
	var found []string
	for sha := range r.commits {
		if len(prefix) >= 7 && strings.HasPrefix(sha, prefix) {
			found = append(found, sha)
		}
	}
	if len(found) != 1 {
		return "", refused(http.StatusNotFound, "Commit not found")
	}
	return found[0], nil
}

func (s *Server) getStatuses(r *http.Request, repo *repository) (int, any, *refusal) {
	sha, refusal := repo.commit(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	values := []object{}
	for _, status := range repo.statuses[sha] {
		if refname := r.URL.Query().Get("refname"); refname == "" || slices.Contains([]string{"", refname}, status.Refname) {
			values = append(values, s.statusAnswer(repo, sha, status))
		}
	}
	answer := paginated(values, "")
	answer["page"], answer["pagelen"], answer["size"] = 1, 100, len(values)
	return http.StatusOK, answer, nil
}
