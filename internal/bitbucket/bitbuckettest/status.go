package bitbuckettest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// CommitStatus is a build status that Bitbucket shows.
type CommitStatus struct {
	Key, State, Name, Description, URL, Refname string
	CreatedOn, UpdatedOn                        time.Time
}

// status is a commit status and whose token made it.
type status struct {
	CommitStatus
	creator string
}

// Limits that Bitbucket enforces without documenting them in its OpenAPI document: the key's is in its own 400
// answer (buildbot#7049), name and url are known from Jenkins' plugin (bitbucket-branch-source-plugin#928); the
// description's is taken to be the name's.
const (
	maxKey         = 40
	maxName        = 255
	maxDescription = 255
	maxURL         = 450 // must stay below
)

// statusBody is a request: nil is what wasn't sent.
type statusBody struct {
	Key, State, Name, Description, URL, Refname *string
}

func readStatus(r *http.Request) (statusBody, *refusal) {
	var body statusBody
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return body, refused(http.StatusBadRequest, "Bad request")
	}
	return body, nil
}

func (s *Server) postStatus(r *http.Request, repo *repository) (int, any, *refusal) {
	sha, refusal := repo.commit(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	body, refusal := readStatus(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	known := repo.status(sha, *body.Key) // required: the document was held to
	posted := status{creator: identity(r), CommitStatus: CommitStatus{Key: *body.Key, CreatedOn: time.Now()}}
	if known != nil {
		posted.CreatedOn = known.CreatedOn
	}
	if refusal := posted.apply(body); refusal != nil {
		return 0, nil, refusal
	}
	if known == nil {
		known = &status{creator: posted.creator}
		repo.statuses[sha] = append(repo.statuses[sha], known)
	}
	return s.replace(repo, sha, known, posted, http.StatusCreated)
}

func (s *Server) putStatus(r *http.Request, repo *repository) (int, any, *refusal) {
	sha, known, refusal := repo.statusOf(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	body, refusal := readStatus(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	if body.Key != nil && *body.Key != known.Key {
		return 0, nil, badField("key", "The key can't be changed.")
	}
	changed := *known
	changed.creator = identity(r)
	if refusal := changed.apply(body); refusal != nil {
		return 0, nil, refusal
	}
	return s.replace(repo, sha, known, changed, http.StatusOK)
}

// replace makes known what it is now. Only the creator may: Bitbucket's change of 2021-05-21 to commit statuses.
func (s *Server) replace(repo *repository, sha string, known *status, now status, code int) (int, any, *refusal) {
	if known.creator != now.creator {
		return 0, nil, refused(http.StatusForbidden, "You are not allowed to update this build status.")
	}
	now.UpdatedOn = time.Now()
	*known = now
	s.changes.Announce()
	return code, s.statusAnswer(repo, sha, known), nil
}

func (s *Server) getStatus(r *http.Request, repo *repository) (int, any, *refusal) {
	sha, known, refusal := repo.statusOf(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	return http.StatusOK, s.statusAnswer(repo, sha, known), nil
}

func (r *repository) statusOf(req *http.Request) (string, *status, *refusal) {
	sha, refusal := r.commit(req)
	if refusal != nil {
		return "", nil, refusal
	}
	known := r.status(sha, req.PathValue("key"))
	if known == nil {
		return "", nil, refused(http.StatusNotFound, "Build status not found")
	}
	return sha, known, nil
}

func (r *repository) status(sha, key string) *status {
	for _, known := range r.statuses[sha] {
		if known.Key == key {
			return known
		}
	}
	return nil
}

// apply takes over what was sent, then holds the whole to Bitbucket's limits.
func (s *status) apply(body statusBody) *refusal {
	for to, from := range map[*string]*string{
		&s.State: body.State, &s.Name: body.Name, &s.Description: body.Description, &s.URL: body.URL, &s.Refname: body.Refname,
	} {
		if from != nil {
			*to = *from
		}
	}
	for _, limit := range []struct {
		field, text string
		most        int
	}{{"key", s.Key, maxKey}, {"name", s.Name, maxName}, {"description", s.Description, maxDescription}, {"url", s.URL, maxURL - 1}} {
		if n := utf8.RuneCountInString(limit.text); n > limit.most {
			return badField(limit.field, fmt.Sprintf("Ensure this value has at most %d characters (it has %d).", limit.most, n))
		}
	}
	return checkURL(s.URL)
}

// checkURL wants a dot in the host: localhost is refused (runatlantis/atlantis, Jenkins' checkURL).
func checkURL(given string) *refusal {
	if given == "" {
		return badField("url", "This field is required.")
	}
	u, err := url.Parse(given)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || !strings.Contains(u.Hostname(), ".") {
		return badField("url", "Enter a valid URL.")
	}
	return nil
}
