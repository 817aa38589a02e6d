package bitbuckettest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// The states of a participant.
const (
	approved         = "approved"
	changesRequested = "changes_requested"
)

// review is what people and apps left on a pull request.
type review struct {
	participants map[string]string // states by credential
	comments     []*Written
	tasks        []*Written
	last         int64 // id
}

// Written is a comment or a task.
type Written struct {
	ID       int64
	Raw      string
	Resolved bool // of a task

	creator   string
	createdOn time.Time
}

// Report is a Code Insights report of a commit.
type Report struct {
	ID, Title, Details, Reporter, Link, Result string
	Type                                       string `json:"report_type"`
	Data                                       []ReportData
}

// ReportData is a fact that a report shows.
type ReportData struct {
	Title, Type string
	Value       any
}

func (r *repository) review(id int64) *review {
	if r.reviews[id] == nil {
		r.reviews[id] = &review{participants: map[string]string{}}
	}
	return r.reviews[id]
}

// seen copies something of a pull request's review.
func seen[T any](s *Server, repoFullName string, id int64, what func(*review) T) (none T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.named(repoFullName)
	if err != nil {
		return none
	}
	return what(repo.review(id))
}

// Participant answers what a token's owner thinks of a pull request: approved, changes_requested or "".
func (s *Server) Participant(repoFullName string, id int64, token string) string {
	return seen(s, repoFullName, id, func(r *review) string { return r.participants[token] })
}

// Comments answers a pull request's comments, oldest first.
func (s *Server) Comments(repoFullName string, id int64) []Written {
	return seen(s, repoFullName, id, func(r *review) []Written { return copies(r.comments) })
}

// Tasks answers a pull request's tasks, oldest first.
func (s *Server) Tasks(repoFullName string, id int64) []Written {
	return seen(s, repoFullName, id, func(r *review) []Written { return copies(r.tasks) })
}

func copies(list []*Written) (copied []Written) {
	for _, w := range list {
		copied = append(copied, *w)
	}
	return copied
}

// Comment has somebody comment on a pull request.
func (s *Server) Comment(repoFullName string, id int64, token, text string) int64 {
	return seen(s, repoFullName, id, func(r *review) int64 { return r.add(&r.comments, token, text).ID })
}

// AddTask has somebody add a task to a pull request.
func (s *Server) AddTask(repoFullName string, id int64, token, text string) int64 {
	return seen(s, repoFullName, id, func(r *review) int64 { return r.add(&r.tasks, token, text).ID })
}

// Think has somebody approve a pull request, request changes, or with "" neither.
func (s *Server) Think(repoFullName string, id int64, token, state string) {
	seen(s, repoFullName, id, func(r *review) bool { r.set(token, state); return true })
}

// RemoveWritten has somebody delete all comments and tasks of a pull request.
func (s *Server) RemoveWritten(repoFullName string, id int64) {
	seen(s, repoFullName, id, func(r *review) bool { r.comments, r.tasks = nil, nil; return true })
}

// Reports answers the reports of a commit, oldest first.
func (s *Server) Reports(repoFullName, sha string) (reports []Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.named(repoFullName)
	if err != nil {
		return nil
	}
	for _, r := range repo.reports[sha] {
		reports = append(reports, *r)
	}
	return reports
}

func (r *review) set(who, state string) {
	if state == "" {
		delete(r.participants, who)
		return
	}
	r.participants[who] = state
}

func (r *review) add(to *[]*Written, who, text string) *Written {
	r.last++
	w := &Written{ID: r.last, Raw: text, creator: who, createdOn: time.Now()}
	*to = append(*to, w)
	return w
}

// take puts whoever asks into a state. Who is in it already is answered 409: hirakiuc/tinybucket#75.
func (s *Server) take(state string) handler {
	return func(r *http.Request, repo *repository) (int, any, *refusal) {
		pr, refusal := repo.pullRequest(r)
		if refusal != nil {
			return 0, nil, refusal
		}
		review, who := repo.review(pr.ID), identity(r)
		if review.participants[who] == state {
			return 0, nil, refused(http.StatusConflict, "You already did this.")
		}
		review.set(who, state)
		s.changes.Announce()
		return http.StatusOK, object{
			"type": "participant", "role": "PARTICIPANT", "approved": state == approved, "state": state,
			"user": object{"type": "app_user"}, "participated_on": timestamp(time.Now()),
		}, nil
	}
}

// withdraw answers 404 to who is not in the state, by the same source, and 400 once the pull request is merged, by the
// document.
func (s *Server) withdraw(state string) handler {
	return func(r *http.Request, repo *repository) (int, any, *refusal) {
		pr, refusal := repo.pullRequest(r)
		if refusal != nil {
			return 0, nil, refusal
		}
		review, who := repo.review(pr.ID), identity(r)
		switch {
		case pr.State == "MERGED":
			return 0, nil, refused(http.StatusBadRequest, "The pull request has already been merged.")
		case review.participants[who] != state:
			return 0, nil, refused(http.StatusNotFound, "You haven't done this.")
		}
		review.set(who, "")
		s.changes.Announce()
		return http.StatusNoContent, nil, nil
	}
}

func (s *Server) getComments(r *http.Request, repo *repository) (int, any, *refusal) {
	return s.list(r, repo, func(review *review) []*Written { return review.comments }, commentAnswer)
}

func (s *Server) getTasks(r *http.Request, repo *repository) (int, any, *refusal) {
	return s.list(r, repo, func(review *review) []*Written { return review.tasks }, taskAnswer)
}

func (s *Server) list(r *http.Request, repo *repository, of func(*review) []*Written, answer func(*Written) object) (int, any, *refusal) {
	pr, refusal := repo.pullRequest(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	byID := map[string]*Written{}
	var ids []string
	for _, w := range of(repo.review(pr.ID)) {
		id := strconv.FormatInt(w.ID, 10)
		byID[id], ids = w, append(ids, id)
	}
	if r.URL.Query().Get("sort") == "-created_on" {
		slices.Reverse(ids)
	}
	ids, next := s.page(r, ids)
	values := []object{}
	for _, id := range ids {
		values = append(values, answer(byID[id]))
	}
	if next != "" {
		next += "&sort=" + r.URL.Query().Get("sort")
	}
	return http.StatusOK, paginated(values, next), nil
}

func (s *Server) postComment(r *http.Request, repo *repository) (int, any, *refusal) {
	return s.post(r, repo, func(review *review) *[]*Written { return &review.comments }, commentAnswer)
}

func (s *Server) postTask(r *http.Request, repo *repository) (int, any, *refusal) {
	return s.post(r, repo, func(review *review) *[]*Written { return &review.tasks }, taskAnswer)
}

func (s *Server) post(r *http.Request, repo *repository, to func(*review) *[]*Written, answer func(*Written) object) (int, any, *refusal) {
	pr, refusal := repo.pullRequest(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	body, refusal := readWritten(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	review := repo.review(pr.ID)
	w := review.add(to(review), identity(r), body.Content.Raw)
	s.changes.Announce()
	return http.StatusCreated, answer(w), nil
}

type writtenBody struct {
	Content struct{ Raw string }
	State   string
}

func readWritten(r *http.Request) (body writtenBody, refusal *refusal) {
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Content.Raw == "" {
		return body, badField("content.raw", "This field is required.")
	}
	return body, nil
}

func (s *Server) putComment(r *http.Request, repo *repository) (int, any, *refusal) {
	review, i, refusal := repo.written(r, "comment_id", func(review *review) []*Written { return review.comments })
	if refusal != nil {
		return 0, nil, refusal
	}
	w := review.comments[i]
	if w.creator != identity(r) {
		return 0, nil, refused(http.StatusForbidden, "You are not allowed to edit this comment.")
	}
	body, refusal := readWritten(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	w.Raw = body.Content.Raw
	s.changes.Announce()
	return http.StatusOK, commentAnswer(w), nil
}

func (s *Server) putTask(r *http.Request, repo *repository) (int, any, *refusal) {
	review, i, refusal := repo.written(r, "task_id", func(review *review) []*Written { return review.tasks })
	if refusal != nil {
		return 0, nil, refusal
	}
	body, refusal := readWritten(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	w := review.tasks[i]
	w.Raw, w.Resolved = body.Content.Raw, body.State == "RESOLVED"
	s.changes.Announce()
	return http.StatusOK, taskAnswer(w), nil
}

func (s *Server) deleteComment(r *http.Request, repo *repository) (int, any, *refusal) {
	review, i, refusal := repo.written(r, "comment_id", func(review *review) []*Written { return review.comments })
	switch {
	case refusal != nil:
		return 0, nil, refusal
	case review.comments[i].creator != identity(r):
		return 0, nil, refused(http.StatusForbidden, "You are not allowed to delete this comment.")
	}
	review.comments = slices.Delete(review.comments, i, i+1)
	s.changes.Announce()
	return http.StatusNoContent, nil, nil
}

func (s *Server) deleteTask(r *http.Request, repo *repository) (int, any, *refusal) {
	review, i, refusal := repo.written(r, "task_id", func(review *review) []*Written { return review.tasks })
	if refusal != nil {
		return 0, nil, refusal
	}
	review.tasks = slices.Delete(review.tasks, i, i+1)
	s.changes.Announce()
	return http.StatusNoContent, nil, nil
}

// written finds the comment or the task that a path names.
func (r *repository) written(req *http.Request, name string, of func(*review) []*Written) (*review, int, *refusal) {
	pr, refusal := r.pullRequest(req)
	if refusal != nil {
		return nil, 0, refusal
	}
	id, _ := strconv.ParseInt(req.PathValue(name), 10, 64) // an integer: the document was held to
	review := r.review(pr.ID)
	i := slices.IndexFunc(of(review), func(w *Written) bool { return w.ID == id })
	if i < 0 {
		return nil, 0, refused(http.StatusNotFound, "Resource not found")
	}
	return review, i, nil
}

func commentAnswer(w *Written) object {
	return object{
		"type": "pullrequest_comment", "id": w.ID, "deleted": false, "pending": false, "content": rendered(w.Raw),
		"created_on": timestamp(w.createdOn), "updated_on": timestamp(w.createdOn), "user": object{"type": "app_user"},
	}
}

func taskAnswer(w *Written) object {
	answer := object{
		"id": w.ID, "state": "UNRESOLVED", "content": rendered(w.Raw), "pending": false, "creator": object{"type": "app_user"},
		"created_on": timestamp(w.createdOn), "updated_on": timestamp(w.createdOn),
	}
	if w.Resolved {
		answer["state"], answer["resolved_on"] = "RESOLVED", timestamp(time.Now())
	}
	return answer
}

func rendered(raw string) object { return object{"raw": raw, "markup": "markdown", "html": ""} }

// Limits of a report: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-reports/
const (
	maxReportData    = 10
	maxReportDetails = 2000
)

func (s *Server) putReport(r *http.Request, repo *repository) (int, any, *refusal) {
	sha, refusal := repo.commit(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	put := Report{}
	if err := json.NewDecoder(r.Body).Decode(&put); err != nil {
		return 0, nil, refused(http.StatusBadRequest, "Bad request")
	}
	put.ID = r.PathValue("reportId")
	switch {
	case put.Title == "" || put.Details == "" || put.Type == "":
		return 0, nil, badField("title", "title, details and report_type are required")
	case len(put.Data) > maxReportData || len([]rune(put.Details)) > maxReportDetails:
		return 0, nil, badField("data", "too much")
	}
	answer := object{
		"type": "report", "uuid": braces(repo.UUID), "external_id": put.ID, "title": put.Title, "details": put.Details,
		"reporter": put.Reporter, "report_type": put.Type, "result": put.Result, "data": []object{},
		"created_on": timestamp(time.Now()), "updated_on": timestamp(time.Now()),
	}
	defer s.changes.Announce()
	if i := repo.report(sha, put.ID); i >= 0 {
		repo.reports[sha][i] = &put
		return http.StatusOK, answer, nil
	}
	repo.reports[sha] = append(repo.reports[sha], &put)
	return http.StatusOK, answer, nil
}

func (r *repository) report(sha, id string) int {
	return slices.IndexFunc(r.reports[sha], func(known *Report) bool { return known.ID == id })
}

func (s *Server) deleteReport(r *http.Request, repo *repository) (int, any, *refusal) {
	sha, refusal := repo.commit(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	if i := repo.report(sha, r.PathValue("reportId")); i >= 0 {
		repo.reports[sha] = slices.Delete(repo.reports[sha], i, i+1)
		s.changes.Announce()
	}
	return http.StatusNoContent, nil, nil
}
