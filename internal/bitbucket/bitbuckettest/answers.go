package bitbuckettest

import (
	"strings"
	"time"
)

// object is a JSON object in an answer.
type object map[string]any

// created is when everything but the statuses was made, and everything but them and pull requests last changed.
const created = "2026-08-21T09:00:00.000000+00:00"

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000-07:00") }

func link(url string) object { return object{"href": url} }

func paginated(values []object, next string) object {
	answer := object{"values": values}
	if next != "" {
		answer["next"] = next
	}
	return answer
}

func (s *Server) repositoryLinks(repo *repository) object {
	return object{
		"self": link(s.URL + "/2.0/repositories/" + repo.FullName),
		"html": link("https://bitbucket.org/" + repo.FullName),
	}
}

// repositoryReference is how other answers name a repository.
func (s *Server) repositoryReference(repo *repository) object {
	_, slug, _ := strings.Cut(repo.FullName, "/")
	return object{
		"type": "repository", "uuid": repo.UUID, "full_name": repo.FullName, "name": slug,
		"links": s.repositoryLinks(repo),
	}
}

func (s *Server) repositoryAnswer(repo *repository) object {
	workspace, slug, _ := strings.Cut(repo.FullName, "/")
	answer := s.repositoryReference(repo)
	answer["slug"] = slug
	answer["scm"] = "git"
	answer["is_private"] = repo.Private
	answer["created_on"] = created
	answer["updated_on"] = created
	answer["workspace"] = object{"type": "workspace", "uuid": repo.WorkspaceUUID, "slug": workspace, "name": workspace}
	return answer
}

func (s *Server) pullRequestAnswer(repo *repository, pr *PullRequest) object {
	source, err := s.named(pr.SourceRepo)
	if err != nil || pr.SourceGone {
		source = nil
	}
	answer := object{
		"type": "pullrequest", "id": pr.ID, "state": pr.State, "title": pr.Title, "description": "",
		"source":      s.endpointAnswer(source, pr.SourceBranch, pr.SourceCommit),
		"destination": s.endpointAnswer(repo, pr.DestinationBranch, pr.DestinationCommit),
		"created_on":  created, "updated_on": timestamp(pr.UpdatedOn), "draft": pr.Draft,
		"comment_count": 0, "task_count": 0, "reason": "", "close_source_branch": false,
		"reviewers": []any{}, "participants": []any{},
	}
	if pr.AuthorUUID != "" {
		answer["author"] = object{"type": "user", "uuid": braces(pr.AuthorUUID), "display_name": "An Author"}
	}
	return answer
}

// endpointAnswer abbreviates the commit to 12 characters, as Bitbucket does in pull requests alone.
func (s *Server) endpointAnswer(repo *repository, branch, sha string) object {
	answer := object{"repository": nil, "branch": object{"name": branch}, "commit": nil}
	if repo != nil {
		answer["repository"] = s.repositoryReference(repo)
	}
	if sha != "" {
		answer["commit"] = object{"type": "commit", "hash": short(sha)}
	}
	return answer
}

func short(sha string) string { return sha[:min(12, len(sha))] }

func (s *Server) commitAnswer(repo *repository, sha string) object {
	answer := s.commitReference(repo, sha)
	parents := []object{}
	for _, parent := range repo.commits[sha] {
		parents = append(parents, s.commitReference(repo, parent))
	}
	answer["parents"] = parents
	answer["repository"] = s.repositoryReference(repo)
	answer["date"] = created
	answer["message"] = "Change something\n"
	return answer
}

func (s *Server) commitReference(repo *repository, sha string) object {
	return object{"type": "commit", "hash": sha, "links": object{"self": link(s.commitURL(repo, sha))}}
}

func (s *Server) commitURL(repo *repository, sha string) string {
	return s.URL + "/2.0/repositories/" + repo.FullName + "/commit/" + sha
}

func (s *Server) statusAnswer(repo *repository, sha string, status *status) object {
	answer := object{
		"type": "build", "key": status.Key, "state": status.State, "name": status.Name,
		"description": status.Description, "url": status.URL, "refname": nil,
		"created_on": timestamp(status.CreatedOn), "updated_on": timestamp(status.UpdatedOn),
		"repository": s.repositoryReference(repo),
		"commit":     s.commitReference(repo, sha),
		"links": object{
			"self":   link(s.commitURL(repo, sha) + "/statuses/build/" + status.Key),
			"commit": link(s.commitURL(repo, sha)),
		},
	}
	if status.Refname != "" {
		answer["refname"] = status.Refname
	}
	return answer
}
