package bitbuckettest

import (
	"net/http"
	"slices"
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

// getDiffstat answers what a pull request's source commit changes, for the spec "source..destination".
func (s *Server) getDiffstat(r *http.Request, repo *repository) (int, any, *refusal) {
	source, destination, ok := strings.Cut(r.PathValue("spec"), "..")
	if !ok || r.URL.Query().Get("topic") != "true" {
		return 0, nil, refused(http.StatusBadRequest, "the stand-in compares two commits, by topic")
	}
	head, ok := repo.only(source)
	if _, known := repo.only(destination); !ok || !known {
		return 0, nil, refused(http.StatusNotFound, "Commit not found")
	}
	values := []object{}
	for _, pr := range repo.pullRequests {
		if pr.SourceCommit != head {
			continue
		}
		for _, change := range pr.Changes {
			values = append(values, change.answer())
		}
	}
	return http.StatusOK, object{"values": values, "page": 1, "pagelen": 500, "size": len(values)}, nil
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
