package forge

import (
	"fmt"
	"strings"

	"mergegate/internal/mergecheck"
)

// maxEventType bounds an event's type.
const maxEventType = 128

// Event is a product or lifecycle event of Forge.
type Event struct {
	Type string // such as avi:bitbucket:push:repository, "" for scheduled triggers
	mergecheck.Event
}

// ParseEvent reads the body of an event, flat or under "payload". Any JSON object is one: what it doesn't tell is
// zero. The error wraps ErrNotAnEvent.
//
// https://developer.atlassian.com/platform/forge/events-reference/bitbucket/
func ParseEvent(body []byte) (Event, error) {
	outer := read(body)
	if outer == nil {
		return Event{}, fmt.Errorf("%w: the body isn't a JSON object", ErrNotAnEvent)
	}
	f := outer
	if _, flat := outer["eventType"]; !flat && outer.object("payload") != nil {
		f = outer.object("payload")
	}
	event := Event{Type: clean(f.text("eventType"), maxEventType), Event: mergecheck.Event{
		WorkspaceUUID:  mergecheck.BareUUID(f.object("workspace").text("uuid")),
		RepositoryUUID: mergecheck.BareUUID(f.object("repository").text("uuid")),
		On:             mergecheck.EventTime(f.text("timestamp")),
	}}
	if push := f.object("push"); push != nil {
		event.Branches = push.branchHeads()
	}
	if pr := f.object("pullrequest"); pr.id("id") > 0 && isPullRequestEvent(event.Type) {
		event.PullRequest = pr.pullRequestEvent()
	}
	return event, nil
}

// isPullRequestEvent leaves out events that only mention a pull request, such as comments.
func isPullRequestEvent(eventType string) bool { return strings.HasSuffix(eventType, ":pullrequest") }

func (f fields) branchHeads() []mergecheck.BranchHead {
	branch := mergecheck.BranchName(strings.TrimPrefix(f.text("ref"), "refs/heads/"))
	commit := mergecheck.CommitHash(f.text("after"))
	if branch == "" || !mergecheck.IsFullCommit(commit) {
		return nil // a branch was deleted, or something else was pushed
	}
	return []mergecheck.BranchHead{{Branch: branch, Commit: commit}}
}

func (f fields) pullRequestEvent() *mergecheck.PullRequestEvent {
	source, destination := f.object("source"), f.object("destination")
	return &mergecheck.PullRequestEvent{
		ID:                f.id("id"),
		State:             clean(f.text("state"), mergecheck.MaxState),
		SourceBranch:      mergecheck.BranchName(source.text("branch")),
		SourceCommit:      mergecheck.CommitHash(source.object("commit").text("hash")),
		SourceRepository:  mergecheck.BareUUID(source.object("repository").text("uuid")),
		DestinationBranch: mergecheck.BranchName(destination.text("branch")),
		DestinationCommit: mergecheck.CommitHash(destination.object("commit").text("hash")),
	}
}
