package bitbuckettest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Change is a path that a pull request changes: Old alone was removed, New alone added.
type Change struct{ Old, New string }

// getCommits answers the commits that include reaches and exclude doesn't.
func (s *Server) getCommits(r *http.Request, repo *repository) (int, any, *refusal) {
	query := r.URL.Query()
	reached := map[string]bool{}
	for _, name := range query["include"] {
		start, ok := repo.only(name)
		if !ok {
			return 0, nil, refused(http.StatusNotFound, "Commit not found")
		}
		repo.reach(start, reached)
	}
	excluded := map[string]bool{}
	for _, name := range query["exclude"] {
		start, ok := repo.only(name)
		if !ok {
			return 0, nil, refused(http.StatusNotFound, "Commit not found")
		}
		repo.reach(start, excluded)
	}
	var list []string
	for sha := range reached {
		if !excluded[sha] {
			list = append(list, sha)
		}
	}
	slices.Sort(list)
	shas, next := s.page(r, list)
	if next != "" {
		query.Del("page")
		query.Del("pagelen")
		next += "&" + query.Encode()
	}
	values := make([]object, 0, len(shas))
	for _, sha := range shas {
		values = append(values, s.commitAnswer(repo, sha))
	}
	return http.StatusOK, paginated(values, next), nil
}

// only answers the one commit that has the prefix.
func (r *repository) only(prefix string) (string, bool) {
	var found []string
	for sha := range r.commits {
		if len(prefix) >= 7 && strings.HasPrefix(sha, strings.ToLower(prefix)) {
			found = append(found, sha)
		}
	}
	if len(found) != 1 {
		return "", false
	}
	return found[0], true
}

func (r *repository) reach(sha string, reached map[string]bool) {
	if reached[sha] {
		return
	}
	reached[sha] = true
	for _, parent := range r.commits[sha] {
		r.reach(parent, reached)
	}
}

// getPullRequestDiffstat redirects to the diffstat of the repository, as Bitbucket does.
func (s *Server) getPullRequestDiffstat(r *http.Request, repo *repository) (int, any, *refusal) {
	pr, refusal := repo.pullRequest(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	if pr.SourceGone || pr.SourceCommit == "" {
		return 0, nil, refused(http.StatusNotFound, "Resource not found")
	}
	to := fmt.Sprintf("%s/2.0/repositories/%s/diffstat/%s:%s%%0D%s?from_pullrequest_id=%d&topic=true",
		s.URL, repo.FullName, pr.SourceRepo, short(pr.SourceCommit), short(pr.DestinationCommit), pr.ID)
	if pagelen := r.URL.Query().Get("pagelen"); pagelen != "" {
		to += "&pagelen=" + pagelen
	}
	return http.StatusFound, redirect(to), nil
}

// getDiffstat answers what a pull request's source commit changes, for the spec "source..destination" of two commits
// that are in the repository, or for the one that a pull request's own diffstat redirects to.
func (s *Server) getDiffstat(r *http.Request, repo *repository) (int, any, *refusal) {
	changes, refusal := s.compared(r, repo)
	if refusal != nil {
		return 0, nil, refusal
	}
	pagelen, page := queryNumber(r, "pagelen", 500, 5000), queryNumber(r, "page", 1, 1<<20)
	start, end := min((page-1)*pagelen, len(changes)), min(page*pagelen, len(changes))
	values := []object{}
	for _, change := range changes[start:end] {
		values = append(values, change.answer())
	}
	answer := object{"values": values, "page": page, "pagelen": pagelen, "size": len(changes)}
	if end < len(changes) {
		query := r.URL.Query()
		query.Set("page", strconv.Itoa(page+1))
		answer["next"] = s.URL + r.URL.EscapedPath() + "?" + query.Encode()
	}
	return http.StatusOK, answer, nil
}

func (s *Server) compared(r *http.Request, repo *repository) ([]Change, *refusal) {
	query, spec := r.URL.Query(), r.PathValue("spec")
	if id, err := strconv.ParseInt(query.Get("from_pullrequest_id"), 10, 64); err == nil {
		pr, ok := repo.pullRequests[id]
		if !ok || !strings.HasSuffix(spec, ":"+short(pr.SourceCommit)+"\r"+short(pr.DestinationCommit)) {
			return nil, refused(http.StatusNotFound, "Commit not found")
		}
		return pr.Changes, nil
	}
	source, destination, ok := strings.Cut(spec, "..")
	if !ok || query.Get("topic") != "true" {
		return nil, refused(http.StatusBadRequest, "the stand-in compares two commits, by topic")
	}
	head, ok := repo.only(source)
	if _, known := repo.only(destination); !ok || !known {
		return nil, refused(http.StatusNotFound, "Commit not found")
	}
	var changes []Change
	for _, pr := range repo.pullRequests {
		if pr.SourceCommit == head {
			changes = append(changes, pr.Changes...)
		}
	}
	return changes, nil
}

func (c Change) answer() object {
	side := func(path string) any {
		if path == "" {
			return nil
		}
		return object{"type": "commit_file", "path": path}
	}
	status := "modified"
	switch {
	case c.Old == "":
		status = "added"
	case c.New == "":
		status = "removed"
	case c.Old != c.New:
		status = "renamed"
	}
	return object{"type": "diffstat", "status": status, "lines_added": 1, "lines_removed": 1, "old": side(c.Old), "new": side(c.New)}
}
