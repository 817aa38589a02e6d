package appveyortest

import (
	"cmp"
	"hash/fnv"
	"strconv"
	"time"
)

// object is a JSON object in an answer.
type object map[string]any

// timestamp writes a time as AppVeyor's REST API does: .NET's seven digits of a fraction.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000-07:00") }

// putTime leaves out what has not happened yet.
func (o object) putTime(name string, t time.Time) {
	if !t.IsZero() {
		o[name] = timestamp(t)
	}
}

func (o object) putText(name, text string) {
	if text != "" {
		o[name] = text
	}
}

// answer is a project without its builds.
func (p *project) answer() object {
	account := fnv.New32a()
	_, _ = account.Write([]byte(p.Account))
	return object{
		"projectId": p.ID, "accountId": account.Sum32()%100000 + 1, "accountName": p.Account, "builds": []any{},
		"name": p.Name, "slug": p.Slug,
		"repositoryType": p.RepositoryType, "repositoryScm": "git", "repositoryName": p.RepositoryName,
		"isPrivate": p.Private, "isGitHubApp": false, "skipBranchesWithoutAppveyorYml": false,
		"enableSecureVariablesInPullRequests": false, "enableSecureVariablesInPullRequestsFromSameRepo": false,
		"enableDeploymentInPullRequests": false, "saveBuildCacheInPullRequests": false,
		"rollingBuilds": false, "rollingBuildsDoNotCancelRunningBuilds": false, "rollingBuildsOnlyForPullRequests": false,
		"alwaysBuildClosedPullRequests": false, "tags": "", "securityDescriptor": object{},
		"disablePushWebhooks": false, "disablePullRequestWebhooks": false,
		"created": timestamp(p.created), "updated": timestamp(p.created),
	}
}

// listAnswer is a project with its newest build, as in the list of projects.
func (p *project) listAnswer() object {
	answer := p.answer()
	if n := len(p.builds); n > 0 {
		answer["builds"] = []object{p.builds[n-1].row()}
	}
	return answer
}

func (p *project) buildAnswer(b *Build) object {
	build := b.answer()
	build["projectId"] = p.ID
	jobs := []object{}
	for _, job := range b.Jobs {
		jobs = append(jobs, job.answer(b))
	}
	build["jobs"] = jobs
	return object{"project": p.answer(), "build": build}
}

// row is a build in a list: without its jobs and without its project.
func (b *Build) row() object {
	row := b.answer()
	row["projectId"] = 0
	row["jobs"] = []any{}
	return row
}

// startedAnswer is the answer to starting a build.
func (b *Build) startedAnswer() object {
	answer := b.answer()
	answer["jobs"] = []any{}
	return answer
}

func (b *Build) answer() object {
	answer := object{
		"buildId": b.ID, "buildNumber": b.Number, "version": b.Version, "message": b.Message,
		"branch": b.Branch, "isTag": false, "commitId": b.CommitID,
		"authorName": "Ada", "committerName": "Ada", "committed": b.Created.UTC().Format("2006-01-02T15:04:05-07:00"),
		"messages": messages(b.Messages, b.Created), "status": b.Status,
	}
	if b.PullRequestID != 0 {
		answer["pullRequestId"] = strconv.FormatInt(b.PullRequestID, 10) // a string, unlike in webhooks
	}
	answer.putText("pullRequestName", b.PullRequestName)
	answer.putText("pullRequestHeadCommitId", b.PullRequestHeadCommit)
	answer.putText("pullRequestHeadRepository", b.PullRequestHeadRepository)
	answer.putText("pullRequestHeadBranch", b.PullRequestHeadBranch)
	answer.putTime("created", b.Created)
	answer.putTime("started", b.Started)
	answer.putTime("finished", b.Finished)
	answer.putTime("updated", b.Updated)
	return answer
}

func messages(texts []string, created time.Time) []object {
	list := []object{}
	for _, text := range texts {
		list = append(list, object{"message": text, "category": "information", "created": timestamp(created)})
	}
	return list
}

func (j Job) answer(b *Build) object {
	answer := object{
		"jobId": j.ID, "name": j.Name, "osType": "Windows", "allowFailure": j.AllowFailure, "messagesCount": len(j.Messages),
		"compilationMessagesCount": 0, "compilationErrorsCount": 0, "compilationWarningsCount": 0,
		"testsCount": j.Tests, "passedTestsCount": j.Passed, "failedTestsCount": j.Failed, "artifactsCount": 0,
		"status": cmp.Or(j.Status, b.Status),
	}
	answer.putTime("created", cmp.Or(j.Created, b.Created))
	answer.putTime("started", cmp.Or(j.Started, b.Started))
	answer.putTime("finished", cmp.Or(j.Finished, b.Finished))
	answer.putTime("updated", cmp.Or(j.Updated, b.Updated))
	return answer
}
