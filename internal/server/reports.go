package server

import (
	"cmp"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"mergegate/api"
	"mergegate/internal/builds"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// maxReportedJobs bounds a report; AppVeyor's matrices have some dozens.
const maxReportedJobs = 500

// reportBuild records a result that a build script reports.
func (s *Server) reportBuild(c *gin.Context, token postgres.Token) error {
	repository, err := s.reportedRepository(c, token)
	if err != nil {
		return err
	}
	var body api.ResultReport
	if err := readJSON(c, &body); err != nil {
		return err
	}
	build, err := buildOfReport(body)
	if err != nil {
		return err
	}
	if err := reportsFor(token, build.Project.ID); err != nil {
		return err
	}
	pr := s.Explaining.Explain(c.Request.Context(), repository, build.PullRequestID).PullRequest
	switch {
	case pr.Head == "":
		return errConflict.with("mergegate can't tell the head of pull request %d: %s", pr.ID, pr.HeadProblem)
	case build.SourceCommit != pr.Head:
		return errConflict.with("the head of pull request %d is %s, not %s", pr.ID, pr.Head, build.SourceCommit)
	case build.DestinationBranch != "" && build.DestinationBranch != pr.DestinationBranch:
		return errConflict.with("pull request %d targets %s, not %s", pr.ID, pr.DestinationBranch, build.DestinationBranch)
	}
	build.Repository, build.SourceBranch, build.DestinationBranch = repository.FullName, pr.SourceBranch, pr.DestinationBranch
	stays, isNew, err := s.Builds.RecordResultReport(c.Request.Context(), repository, builds.ResultReport{Build: build, Attempt: attemptOf(body), TokenID: token.ID})
	if err != nil {
		return err
	}
	status := http.StatusOK
	if isNew {
		status = http.StatusCreated
	}
	c.JSON(status, buildOf(repository, stays))
	return nil
}

// attemptOf is which run of its build a result is of.
func attemptOf(r api.ResultReport) int {
	if r.Attempt == nil {
		return 1
	}
	return *r.Attempt
}

// reportsFor refuses a report for another project than the one that the token was
// made for.
func reportsFor(token postgres.Token, projectID int64) error {
	switch {
	case token.ReportProject == nil:
		return errForbidden.with("the API token has no AppVeyor project; create one with `mergegate token create --scope report --project %d`", projectID)
	case *token.ReportProject != projectID:
		return errForbidden.with("the API token reports for AppVeyor project %d, not for %d", *token.ReportProject, projectID)
	}
	return nil
}

// reportedRepository is the repository of the path; one that nobody has told of
// yet is asked for, if the token covers it.
func (s *Server) reportedRepository(c *gin.Context, token postgres.Token) (postgres.Repository, error) {
	repository, err := s.repository(c, token)
	name := c.Param("workspace") + "/" + c.Param("repo_slug")
	if !errors.Is(err, postgres.ErrNotFound) || !covers(token, name) || strings.Contains(name, "{") {
		return repository, err
	}
	return s.Builds.Learn(c.Request.Context(), name)
}

var projectSlugPattern = regexp.MustCompile(`^[^/\s]+/[^/\s]+$`)

func buildOfReport(r api.ResultReport) (b mergecheck.Build, err error) {
	r.Source.Commit = strings.ToLower(r.Source.Commit)
	var destination string
	if r.Destination.Branch != nil {
		if destination = *r.Destination.Branch; destination == "" {
			return b, errInvalidBody.with("destination.branch: empty; give APPVEYOR_REPO_BRANCH, or leave it out")
		}
	}
	texts := []string{r.Project.Slug, r.Version, r.PullRequest.Title, destination, r.URL}
	for _, job := range r.Jobs {
		texts = append(texts, job.ID, job.Name)
	}
	for _, text := range texts {
		if !storable(text) {
			return b, errInvalidBody.with("a text is over 1024 characters or has control characters: %s", quoted(text))
		}
	}
	switch {
	case r.Project.ID <= 0:
		return b, errInvalidBody.with("project.id: %d is not a positive number; give APPVEYOR_PROJECT_ID", r.Project.ID)
	case !projectSlugPattern.MatchString(r.Project.Slug):
		return b, errInvalidBody.with("project.slug: %s is not account/slug; give APPVEYOR_ACCOUNT_NAME/APPVEYOR_PROJECT_SLUG", quoted(r.Project.Slug))
	case r.BuildID <= 0:
		return b, errInvalidBody.with("build_id: %d is not a positive number; give APPVEYOR_BUILD_ID", r.BuildID)
	case attemptOf(r) < 1 || attemptOf(r) > 1_000_000:
		return b, errInvalidBody.with("attempt: %d is not from 1 to 1000000", attemptOf(r))
	case r.PullRequest.ID <= 0:
		return b, errInvalidBody.with("pullrequest.id: %d is not a positive number; give APPVEYOR_PULL_REQUEST_NUMBER", r.PullRequest.ID)
	case !mergecheck.IsFullCommit(r.Source.Commit):
		return b, errInvalidBody.with("source.commit: %s is not a hash of 40 characters; give APPVEYOR_PULL_REQUEST_HEAD_COMMIT", quoted(r.Source.Commit))
	case !mergecheck.State(r.State).Valid():
		return b, errInvalidBody.with("state: %s is not queued, running, success, failed or cancelled", quoted(r.State))
	case r.URL != "" && !strings.HasPrefix(r.URL, "https://") && !strings.HasPrefix(r.URL, "http://"):
		return b, errInvalidBody.with("url: %s is not an http or https URL", quoted(r.URL))
	case len(r.Jobs) > maxReportedJobs:
		return b, errInvalidBody.with("jobs: %d are over the limit of %d", len(r.Jobs), maxReportedJobs)
	}
	account, slug, _ := strings.Cut(r.Project.Slug, "/")
	b = mergecheck.Build{
		BuildID: r.BuildID, Project: mergecheck.Project{ID: r.Project.ID, Account: account, Slug: slug},
		PullRequestID: r.PullRequest.ID, PullRequestTitle: r.PullRequest.Title, Version: r.Version, State: mergecheck.State(r.State),
		ReportedCommit: r.Source.Commit, SourceCommit: r.Source.Commit, DestinationBranch: destination, URL: r.URL,
		StartedOn: micros(r.StartedOn), FinishedOn: micros(r.FinishedOn), ConfirmedBy: mergecheck.ConfirmedByReport,
	}
	if b.Version == "" {
		b.Version = strconv.FormatInt(r.BuildID, 10)
	}
	if b.Jobs, err = jobsOfReport(r); err != nil {
		return b, err
	}
	return b, nil
}

// jobsOfReport are those reported, or one that has the tests of them all.
func jobsOfReport(r api.ResultReport) ([]mergecheck.Job, error) {
	if !isCount(r.Tests) {
		return nil, errInvalidBody.with("tests: total, passed and failed can't be negative")
	}
	if len(r.Jobs) == 0 && r.Tests != (api.Tests{}) {
		return []mergecheck.Job{{State: mergecheck.State(r.State), Tests: mergecheck.Tests(r.Tests)}}, nil
	}
	jobs := make([]mergecheck.Job, len(r.Jobs))
	for i, j := range r.Jobs {
		jobs[i] = mergecheck.Job{
			ID: j.ID, Name: j.Name, State: mergecheck.State(cmp.Or(j.State, r.State)), AllowFailure: j.AllowFailure, Tests: mergecheck.Tests(j.Tests),
		}
		if !jobs[i].State.Valid() || !isCount(j.Tests) {
			return nil, errInvalidBody.with("jobs: job %d needs a state of queued, running, success, failed or cancelled, and numbers of tests from 0 up", i+1)
		}
	}
	return jobs, nil
}

func isCount(t api.Tests) bool { return t.Total >= 0 && t.Passed >= 0 && t.Failed >= 0 }

// micros is a time with the microseconds that PostgreSQL keeps.
func micros(t *time.Time) time.Time {
	if t == nil || t.Year() < 2000 || t.Year() > 2200 {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}
