package commitstatus

import (
	"testing"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/mergecheck/messagetest"
)

// TestTexts writes out what a commit status says.
func TestTexts(t *testing.T) {
	t.Parallel()
	build := mergecheck.Build{
		BuildID: 14636, Version: "1.0.26", DestinationBranch: "main", Jobs: []mergecheck.Job{{Tests: mergecheck.Tests{Total: 312, Passed: 310, Failed: 2}}},
	}
	row := func(facts string, s mergecheck.CommitStatus) messagetest.Row {
		return messagetest.Row{Facts: facts, Code: s.State, Message: s.Description}
	}
	var rows []messagetest.Row
	for _, state := range mergecheck.States {
		b := build
		b.State = state
		rows = append(rows, row("the build is "+string(state), mergecheck.StatusOf(b, nil)))
	}
	deleted, failed := build, build
	deleted.State, deleted.DeletedOn, failed.State = mergecheck.Cancelled, time.Now(), mergecheck.Failed
	shown := mergecheck.StatusOf(failed, nil)
	rows = append(rows,
		row("the build was deleted", mergecheck.StatusOf(deleted, nil)),
		row("the build failed and is waived", mergecheck.StatusOf(failed, &mergecheck.Waiver{By: "ann", Reason: "The agents are down."})),
		row("the pull request was closed", shown.Stopped(closedDescription)),
		row("the project was forgotten", shown.Stopped(forgottenDescription)),
		row("the build turned out to be for another commit", shown.Stopped(otherCommit(build))),
	)
	messagetest.Hold(t, "Commit status", messagetest.Phrases, rows)
}
