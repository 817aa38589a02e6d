package demo

import (
	"fmt"
	"strings"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/mergecheck"
)

// step is one step of the story.
type step struct {
	title string
	tell  func(*tale)
}

// story is the story: pull request 7 to its merge, then two that are harder.
var story = []step{
	{"Ada opens pull request 7", (*tale).opened},
	{"AppVeyor starts a build, without a webhook", (*tale).started},
	{"The build fails", (*tale).failed},
	{"Ada pushes a fix: the old result no longer counts", (*tale).fixed},
	{"AppVeyor builds the fix", (*tale).passed},
	{"Ada clicks Merge", (*tale).merged},
	{"A build script forges webhooks about pull request 8", (*tale).lied},
	{"Pull request 9 comes from a private fork, where mergegate can't post a commit status", (*tale).forked},
	{"You can look everything up", (*tale).lookedUp},
}

// Heads of the story's pull requests, in its order.
var (
	headBefore = commitOf("before")
	headBroken = commitOf("broken")
	headFixed  = commitOf("fixed")
	headLied   = commitOf("lied")
	headForked = commitOf("forked")
)

// before has the repository used mergegate before: a project is looked after from
// its first confirmed build on.
func (s *tale) before() {
	s.pullRequest(6, headBefore)
	b := s.build("acme", appveyortest.Build{PullRequestID: 6, PullRequestHeadCommit: headBefore, Status: "success", Jobs: testsOf(310, 0)})
	s.page.print("")
	s.page.text("Before the story: AppVeyor built pull request 6 and sent its webhook, so mergegate knows the project.")
	status, _ := s.do("POST", "/webhooks/appveyor", webhookSecret, s.appveyor.WebhookBody(b.ID))
	s.expect("the delivery is stored", "202", fmt.Sprint(status))
	s.shows(6, headBefore, "SUCCESSFUL", "Build 1.0.1 for main passed (310 tests)")
	s.fail(s.bitbucket.Merge(repositoryName, 6))
}

func (s *tale) opened() {
	s.text("Bitbucket runs the check on every push. AppVeyor hasn't built anything yet.")
	s.pullRequest(7, headBroken)
	s.check(7, mergecheck.TriggerOnCodePushed, "no_build", "No AppVeyor build for "+headBroken[:12]+" yet.")
	s.showsNone(headBroken)
}

func (s *tale) started() {
	s.text("AppVeyor sends no webhook when a build starts. mergegate finds it by polling the project's history.")
	s.build("acme", appveyortest.Build{PullRequestID: 7, PullRequestHeadCommit: headBroken, Status: "running"})
	s.shows(7, headBroken, "INPROGRESS", "Build 1.0.2 for main is running")
	s.check(7, mergecheck.TriggerOnCodePushed, "running", "AppVeyor build 1.0.2 is running (")
}

func (s *tale) failed() {
	s.text("AppVeyor's webhook is only a hint: mergegate reads the build back from AppVeyor before it counts.")
	b := s.appveyor.Builds("acme", "widgets")[1]
	b.PullRequestHeadCommit, b.Status, b.Jobs = headBroken, "failed", testsOf(312, 2)
	s.build("acme", b)
	s.notify(b.ID)
	s.shows(7, headBroken, "FAILED", "Build 1.0.2 for main failed (2 of 312 tests)")
	s.check(7, mergecheck.TriggerOnCodePushed, "failed", "AppVeyor build 1.0.2 failed (2 of 312 tests)")
}

func (s *tale) fixed() {
	s.fail(s.bitbucket.Push(repositoryName, 7, headFixed))
	s.check(7, mergecheck.TriggerOnCodePushed, "no_build", "No AppVeyor build for "+headFixed[:12])
	s.showsNone(headFixed)
}

func (s *tale) passed() {
	b := s.build("acme", appveyortest.Build{PullRequestID: 7, PullRequestHeadCommit: headFixed, Status: "success", Jobs: testsOf(314, 0)})
	s.notify(b.ID)
	s.shows(7, headFixed, "SUCCESSFUL", "Build 1.0.3 for main passed (314 tests)")
	s.check(7, mergecheck.TriggerOnCodePushed, "passed", "AppVeyor build 1.0.3 passed (314 tests)")
}

func (s *tale) merged() {
	s.text("Bitbucket runs the check again, and merges only if it passes.")
	s.check(7, mergecheck.TriggerOnMerge, "passed", "AppVeyor build 1.0.3 passed (314 tests)")
	s.fail(s.bitbucket.Merge(repositoryName, 7))
	s.text("Pull request 7 is merged, and the check says so.")
	s.check(7, mergecheck.TriggerOnMerge, "pull_request_closed", "Pull request 7 is merged.")
}

// lied has three lies told: about a build that failed, about one that does not
// exist, and from an AppVeyor account that does not speak for the repository.
func (s *tale) lied() {
	s.text("Its build failed. A build script can read the webhook's secret, so it can send what it likes.")
	s.pullRequest(8, headLied)
	b := s.build("acme", appveyortest.Build{PullRequestID: 8, PullRequestHeadCommit: headLied, Status: "failed", Jobs: testsOf(314, 1)})
	theirs := s.build("mallory", appveyortest.Build{PullRequestID: 8, PullRequestHeadCommit: headLied, Status: "success", Jobs: testsOf(314, 0)})
	success := []string{"build_failure", "build_success", `"passed":false`, `"passed":true`, `"failed":true`, `"failed":false`}

	s.text("The first forgery says that the failed build passed.")
	s.notify(b.ID, success...)
	s.text("The second says that a build passed which doesn't exist.")
	s.notify(b.ID, append(success, fmt.Sprint(b.ID), "999999", b.Version, "1.0.99")...)
	s.text("The third names a build that did pass, in another AppVeyor account.")
	s.notify(theirs.ID)
	s.told()
	s.check(8, mergecheck.TriggerOnMerge, "failed", "AppVeyor build 1.0.4 failed (1 of 314 tests)")
	s.shows(8, headLied, "FAILED", "Build 1.0.4 for main failed (1 of 314 tests)")
}

// told waits until AppVeyor was asked about the three deliveries.
func (s *tale) told() {
	type delivery struct {
		ID      string  `json:"id"`
		BuildID int64   `json:"build_id"`
		Outcome string  `json:"outcome"`
		Reason  *string `json:"reason"`
	}
	var list struct {
		Values []delivery `json:"values"`
	}
	const path = "/api/v1/deliveries?pagelen=3"
	s.eventually("mergegate has asked AppVeyor about each delivery", func() bool {
		s.get(path, &list)
		return s.err != nil || len(list.Values) == 3 && list.Values[2].Outcome != "pending" && list.Values[1].Reason != nil
	})
	s.text("mergegate asked AppVeyor about the first two. The first failed. AppVeyor doesn't know the second, so mergegate retries " +
		"for a day. It ignores the third, because it doesn't trust that account. Newest first:")
	s.show(path, &list)
	if s.err == nil {
		s.expect("outcome of the first", "processed", list.Values[2].Outcome)
		s.expect("outcome of the second", "pending", list.Values[1].Outcome)
		s.expect("outcome of the third", "ignored", list.Values[0].Outcome)
	}
}

func (s *tale) forked() {
	s.pullRequest(9, headForked, func(pr *bitbuckettest.PullRequest) { pr.SourceRepo = "someone/widgets" })
	b := s.build("acme", appveyortest.Build{
		PullRequestID: 9, PullRequestHeadCommit: headForked, PullRequestHeadRepository: "someone/widgets",
		Status: "success", Jobs: testsOf(315, 0),
	})
	s.notify(b.ID)
	s.notPostable()
	s.text("The merge check needs no commit status:")
	s.check(9, mergecheck.TriggerOnMerge, "passed", "AppVeyor build 1.0.5 passed (315 tests)")
}

func (s *tale) notPostable() {
	type status struct {
		Commit     string `json:"commit"`
		Key        string `json:"key"`
		State      string `json:"state"`
		Outcome    string `json:"outcome"`
		HTTPStatus int    `json:"http_status"`
		Reason     string `json:"reason"`
	}
	var list struct {
		Values []status `json:"values"`
	}
	const path = "/api/v1/commit-statuses?outcome=not_postable"
	s.eventually("mergegate knows that it can't post the status", func() bool {
		s.get(path, &list)
		return s.err != nil || len(list.Values) > 0
	})
	s.text("The fork's commit isn't in acme/widgets, and mergegate can't see the fork: Bitbucket answers 404 for both.")
	s.show(path, &list)
	if s.err == nil {
		s.expect("commit status of "+headForked[:12], "SUCCESSFUL, not_postable", list.Values[0].State+", "+list.Values[0].Outcome)
		s.showsNone(headForked)
	}
}

func (s *tale) lookedUp() {
	s.builds()
	s.decisions()
	s.verdict()
}

func (s *tale) builds() {
	type build struct {
		BuildID     int64  `json:"build_id"`
		Version     string `json:"version"`
		State       string `json:"state"`
		PullRequest struct {
			ID int64 `json:"id"`
		} `json:"pullrequest"`
	}
	var list struct {
		Values []build `json:"values"`
	}
	s.text("The builds of the repository, newest first:")
	s.show("/api/v1/repositories/"+repositoryName+"/builds?pagelen=20", &list)
	var states []string
	for _, b := range list.Values {
		states = append(states, b.State)
	}
	s.expect("builds", "success, failed, success, failed, success", strings.Join(states, ", "))
}

func (s *tale) decisions() {
	type decision struct {
		Code   string  `json:"code"`
		Head   string  `json:"head"`
		Builds []int64 `json:"builds"`
	}
	var list struct {
		Values []decision `json:"values"`
	}
	s.text("Every answer to a merge check of pull request 7, with the builds that decided:")
	s.show(pullRequestPath(7)+"/decisions", &list)
	var codes []string
	for _, d := range list.Values {
		codes = append(codes, d.Code)
	}
	s.expect("decisions", strings.Join(s.codes, ", "), strings.Join(codes, ", "))
}

func (s *tale) verdict() {
	type named struct {
		Slug string `json:"slug"`
	}
	var v struct {
		Success bool   `json:"success"`
		Code    string `json:"code"`
		Message string `json:"message"`
		Head    struct {
			Commit string `json:"commit"`
			Branch string `json:"branch"`
		} `json:"head"`
		Projects []struct {
			Project  named  `json:"project"`
			Required bool   `json:"required"`
			Code     string `json:"code"`
		} `json:"projects"`
		Rules []struct {
			Rule string `json:"rule"`
			Met  bool   `json:"met"`
		} `json:"rules"`
	}
	s.text("The verdict of pull request 9 now, explained:")
	s.show(pullRequestPath(9), &v)
	s.expect("verdict", "passed", v.Code)
}
