package mergecheck_test

import (
	"fmt"
	"strings"
	"time"

	"mergegate/internal/mergecheck"
)

// A pull request passes with a build of its head, and no more once there is another one.
func Example() {
	pushed := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	first, second := strings.Repeat("1", 40), strings.Repeat("2", 40)
	widgets := mergecheck.Project{ID: 12064, Account: "acme", Slug: "widgets"}
	build := mergecheck.Build{
		BuildID: 1001, Project: widgets, Repository: "acme/widgets", PullRequestID: 7, Version: "1.0.1", State: mergecheck.Success,
		ReportedCommit: first, DestinationBranch: "main", CreatedOn: pushed, UpdatedOn: pushed.Add(5 * time.Minute),
	}
	facts := mergecheck.Facts{
		PullRequest: mergecheck.PullRequest{ID: 7, State: "OPEN", Head: first, DestinationBranch: "main"},
		Heads:       []mergecheck.Head{{Commit: first, FirstSeenOn: pushed, LastSeenOn: pushed}},
		Builds:      []mergecheck.Build{build},
		Seen:        []mergecheck.Project{widgets},
		Now:         pushed.Add(10 * time.Minute),
	}
	verdict := mergecheck.Evaluate(facts)
	fmt.Println(verdict.Success, verdict.Code, verdict.Message)

	facts.PullRequest.Head = second
	facts.Heads = append(facts.Heads, mergecheck.Head{Commit: second, FirstSeenOn: facts.Now, LastSeenOn: facts.Now})
	verdict = mergecheck.Evaluate(facts)
	fmt.Println(verdict.Success, verdict.Code, verdict.Message)
	// Output:
	// true passed AppVeyor build 1.0.1 passed.
	// false no_build No AppVeyor build for 222222222222 yet. Wait for it, or start it on AppVeyor, then re-run this check.
}

// Observations of a build arrive in any order, and more than once.
func ExampleBuild_Merge() {
	started := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	running := mergecheck.Build{BuildID: 1001, State: mergecheck.Running, StartedOn: started, UpdatedOn: started}
	failed := running
	failed.State, failed.FinishedOn, failed.UpdatedOn = mergecheck.Failed, started.Add(time.Minute), started.Add(time.Minute)

	fmt.Println(running.Merge(failed).State, failed.Merge(running).State, failed.Merge(running).Merge(running).State)
	// Output:
	// failed failed failed
}

// A push triggers a check that informs, and a merge one that decides: a policy may let only the first pass while builds run.
func ExampleVerdict_Answer() {
	verdict := mergecheck.Verdict{
		Code: mergecheck.RunningCode, Message: "AppVeyor build 1.0.1 is running (2 min so far).",
		Policy: mergecheck.Policy{PassPendingOnPush: true},
	}
	onPush, _ := verdict.Answer(false)
	onMerge, _ := verdict.Answer(true)
	fmt.Println(onPush, onMerge)
	// Output:
	// true false
}
