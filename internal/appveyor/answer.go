package appveyor

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"mergegate/internal/jsonobject"
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

// readProject reads AppVeyor's project. One whose names can't be kept is refused:
// a part of a name is another project's.
func readProject(m jsonobject.Members) (ListedProject, error) {
	p := ListedProject{
		Project: mergecheck.Project{
			ID: intOf(m["projectId"]), Account: nameOf(m["accountName"], maxAccount), Slug: nameOf(m["slug"], maxSlug),
		},
		RepositoryType: nameOf(m["repositoryType"], maxProvider), RepositoryName: nameOf(m["repositoryName"], maxRepository),
	}
	if p.Project.Account == "" && given(m["accountName"]) || p.Project.Slug == "" && given(m["slug"]) {
		return ListedProject{}, &Error{Kind: Unusable, Status: http.StatusOK, Reason: fmt.Sprintf("the account's or project's name in AppVeyor's answer is longer than %d bytes", maxSlug)}
	}
	return p, nil
}

// given reports whether a member has a text.
func given(raw json.RawMessage) bool { return len(raw) > len(`""`) && raw[0] == '"' }

var projectMembers = []string{"projectId", "accountName", "slug", "repositoryType", "repositoryName"}

var buildMembers = []string{
	"buildId", "version", "branch", "commitId", "pullRequestId", "pullRequestName", "pullRequestHeadCommitId", "pullRequestHeadRepository",
	"pullRequestHeadBranch", "status", "created", "started", "finished", "updated", "jobs",
}

// readBuild reads AppVeyor's build of a project. One whose target branch can't be
// kept is refused.
func readBuild(p ListedProject, m jsonobject.Members) (Answer, error) {
	b := mergecheck.Build{
		BuildID:           intOf(m["buildId"]),
		Project:           p.Project,
		Repository:        p.RepositoryName,
		PullRequestID:     intOf(m["pullRequestId"]),
		PullRequestTitle:  proseOf(m["pullRequestName"], maxTitle),
		Version:           nameOf(m["version"], maxVersion),
		State:             stateOf(nameOf(m["status"], maxStatus)),
		ReportedCommit:    mergecheck.CommitPrefix(nameOf(m["pullRequestHeadCommitId"], maxCommit)),
		SourceBranch:      nameOf(m["pullRequestHeadBranch"], maxBranch),
		SourceRepository:  nameOf(m["pullRequestHeadRepository"], maxRepository),
		DestinationBranch: nameOf(m["branch"], maxBranch),
		CommitID:          mergecheck.CommitPrefix(nameOf(m["commitId"], maxCommit)),
		Jobs:              readJobs(m["jobs"]),
		CreatedOn:         timeOf(m["created"]),
		StartedOn:         timeOf(m["started"]),
		FinishedOn:        timeOf(m["finished"]),
		ConfirmedBy:       mergecheck.ConfirmedByAppVeyor,
	}
	if b.DestinationBranch == "" && given(m["branch"]) {
		return Answer{}, &Error{Kind: Unusable, Status: http.StatusOK, Reason: fmt.Sprintf("the target branch's name in AppVeyor's answer is longer than %d bytes", maxBranch)}
	}
	// A queued build has only been created.
	b.UpdatedOn = cmp.Or(timeOf(m["updated"]), b.FinishedOn, b.StartedOn, b.CreatedOn)
	if len(b.Jobs) > 0 {
		b.JobsUpdatedOn, b.JobsState = b.UpdatedOn, b.State
	}
	return Answer{Build: b, RepositoryType: p.RepositoryType}, nil
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

// readJobs reads a build's jobs: all of them, or none where there are too many or
// one says nothing, since what isn't known of a job may be that it failed.
func readJobs(raw json.RawMessage) []mergecheck.Job {
	jobs, whole := []mergecheck.Job{}, true
	jsonobject.Elements(raw, func(element []byte) bool {
		m := jsonobject.Object(element, "jobId", "name", "status", "allowFailure", "testsCount", "passedTestsCount", "failedTestsCount")
		whole = len(m) > 0 && len(jobs) < maxJobs
		if whole {
			jobs = append(jobs, readJob(m))
		}
		return whole
	})
	if !whole {
		return []mergecheck.Job{}
	}
	return slices.Clip(jobs)
}

func readJob(m jsonobject.Members) mergecheck.Job {
	return mergecheck.Job{
		ID: nameOf(m["jobId"], maxJobID), Name: proseOf(m["name"], maxJobName), State: stateOf(nameOf(m["status"], maxStatus)),
		AllowFailure: boolOf(m["allowFailure"]),
		Tests: mergecheck.Tests{
			Total: int(intOf(m["testsCount"])), Passed: int(intOf(m["passedTestsCount"])), Failed: int(intOf(m["failedTestsCount"])),
		},
	}
}
