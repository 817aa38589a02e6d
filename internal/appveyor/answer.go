package appveyor

import (
	"strings"
	"time"

	"mergegate/internal/mergecheck"
)

// Answer is a build as AppVeyor's REST API tells it, with the project's own word
// on which repository it builds.
type Answer struct {
	Build mergecheck.Build // PullRequestID is 0 when it is no pull request build
	// RepositoryType is AppVeyor's word for the provider, "bitBucket" for
	// Bitbucket Cloud. Compare it with [Answer.IsBitbucket].
	RepositoryType string
}

// IsBitbucket reports whether the project builds a Bitbucket Cloud repository.
// AppVeyor calls Bitbucket Server "stash".
func (a Answer) IsBitbucket() bool { return strings.EqualFold(a.RepositoryType, "bitBucket") }

// Workspace is the workspace part of the repository's name.
func (a Answer) Workspace() string {
	workspace, _, _ := strings.Cut(a.Build.Repository, "/")
	return workspace
}

type wireProject struct {
	ProjectID      integer `json:"projectId"`
	AccountName    label   `json:"accountName"`
	Slug           label   `json:"slug"`
	RepositoryType label   `json:"repositoryType"`
	RepositoryName label   `json:"repositoryName"`
}

type wireBuild struct {
	BuildID                   integer   `json:"buildId"`
	Version                   label     `json:"version"`
	Branch                    label     `json:"branch"`
	CommitID                  label     `json:"commitId"`
	PullRequestID             integer   `json:"pullRequestId"`
	PullRequestName           label     `json:"pullRequestName"`
	PullRequestHeadCommitID   label     `json:"pullRequestHeadCommitId"`
	PullRequestHeadRepository label     `json:"pullRequestHeadRepository"`
	PullRequestHeadBranch     label     `json:"pullRequestHeadBranch"`
	Status                    label     `json:"status"`
	Created                   instant   `json:"created"`
	Started                   instant   `json:"started"`
	Finished                  instant   `json:"finished"`
	Updated                   instant   `json:"updated"`
	Jobs                      []wireJob `json:"jobs"`
}

type wireJob struct {
	JobID        label   `json:"jobId"`
	Name         label   `json:"name"`
	Status       label   `json:"status"`
	AllowFailure flag    `json:"allowFailure"`
	TestsCount   integer `json:"testsCount"`
	PassedTests  integer `json:"passedTestsCount"`
	FailedTests  integer `json:"failedTestsCount"`
}

func (c *Client) answer(p wireProject, w wireBuild) Answer {
	b := mergecheck.Build{
		BuildID:           int64(w.BuildID),
		Project:           mergecheck.Project{ID: int64(p.ProjectID), Account: string(p.AccountName), Slug: string(p.Slug)},
		Repository:        string(p.RepositoryName),
		PullRequestID:     int64(w.PullRequestID),
		PullRequestTitle:  string(w.PullRequestName),
		Version:           string(w.Version),
		State:             stateOf(string(w.Status)),
		ReportedCommit:    mergecheck.CommitPrefix(string(w.PullRequestHeadCommitID)),
		SourceBranch:      string(w.PullRequestHeadBranch),
		SourceRepository:  string(w.PullRequestHeadRepository),
		DestinationBranch: string(w.Branch),
		CommitID:          mergecheck.CommitPrefix(string(w.CommitID)),
		URL:               c.BuildURL(string(p.AccountName), string(p.Slug), int64(w.BuildID)),
		Jobs:              jobsOf(w.Jobs),
		CreatedOn:         w.Created.Time,
		StartedOn:         w.Started.Time,
		FinishedOn:        w.Finished.Time,
		UpdatedOn:         updatedOn(w),
		ConfirmedBy:       mergecheck.ConfirmedByAppVeyor,
	}
	if len(b.Jobs) > 0 {
		b.JobsUpdatedOn, b.JobsState = b.UpdatedOn, b.State
	}
	return Answer{Build: b, RepositoryType: string(p.RepositoryType)}
}

// updatedOn falls back to the newest time there is: a queued build has only been
// created.
func updatedOn(w wireBuild) time.Time {
	for _, t := range []instant{w.Updated, w.Finished, w.Started, w.Created} {
		if !t.IsZero() {
			return t.Time
		}
	}
	return time.Time{}
}

// stateOf takes AppVeyor's "starting", "cancelling" and any word it adds later
// for running: not finished is the safe reading.
func stateOf(word string) mergecheck.State {
	state := mergecheck.State(strings.ToLower(word))
	if !state.Valid() {
		return mergecheck.Running
	}
	return state
}

func jobsOf(wire []wireJob) []mergecheck.Job {
	jobs := make([]mergecheck.Job, 0, len(wire))
	for _, w := range wire {
		jobs = append(jobs, mergecheck.Job{
			ID: string(w.JobID), Name: string(w.Name), State: stateOf(string(w.Status)), AllowFailure: bool(w.AllowFailure),
			Tests: mergecheck.Tests{Total: int(w.TestsCount), Passed: int(w.PassedTests), Failed: int(w.FailedTests)},
		})
	}
	return jobs
}
