package bitbucket

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"

	"mergegate/internal/jsonobject"
	"mergegate/internal/mergecheck"
)

// ErrNotAWebhook is a body that is no JSON object.
var ErrNotAWebhook = errors.New("not a Bitbucket webhook")

// Signed tells whether header, X-Hub-Signature, is that of the raw body by one of the secrets. All of them are tried in
// constant time.
//
// https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
func Signed(secrets []string, body []byte, header string) bool {
	given, err := hex.DecodeString(strings.TrimPrefix(header, "sha256="))
	if err != nil || !strings.HasPrefix(header, "sha256=") {
		return false
	}
	valid := false
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		_, _ = mac.Write(body)
		valid = hmac.Equal(mac.Sum(nil), given) || valid
	}
	return valid
}

// ParseWebhook reads a webhook's body by its X-Event-Key. What it doesn't tell is zero; ErrNotAWebhook when it is no
// JSON object.
//
// https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/
func ParseWebhook(eventKey string, body []byte) (mergecheck.Event, error) {
	object, err := jsonobject.Read(body, "repository", "pullrequest", "push")
	if err != nil || object == nil {
		return mergecheck.Event{}, ErrNotAWebhook
	}
	// Each part is read for itself: one of another shape takes nothing else with it.
	var told *repositoryAnswer
	_ = json.Unmarshal(object["repository"], &told)
	repository := told.repository()
	event := mergecheck.Event{
		WorkspaceUUID: repository.WorkspaceUUID, RepositoryUUID: repository.UUID, FullName: mergecheck.Name(repository.FullName, mergecheck.MaxFullName),
	}
	if eventKey == "repo:push" {
		event.Branches = branchHeads(object.Member("push", "changes")["changes"])
		return event, nil
	}
	var pull webhookPull
	if isPullRequestEvent(eventKey) && json.Unmarshal(object["pullrequest"], &pull) == nil && pull.ID > 0 {
		event.PullRequest, event.On = pull.event(), mergecheck.EventTime(pull.UpdatedOn)
	}
	return event, nil
}

// isPullRequestEvent leaves out events that only mention a pull request, such as comments and approvals: their
// updated_on is not when its head changed.
func isPullRequestEvent(key string) bool {
	switch key {
	case "pullrequest:created", "pullrequest:updated", "pullrequest:push", "pullrequest:fulfilled", "pullrequest:rejected":
		return true
	default:
		return false
	}
}

type webhookPull struct {
	ID          int64          `json:"id"`
	State       string         `json:"state"`
	UpdatedOn   string         `json:"updated_on"`
	Source      endpointAnswer `json:"source"`
	Destination endpointAnswer `json:"destination"`
}

func (p *webhookPull) event() *mergecheck.PullRequestEvent {
	source, destination := p.Source.endpoint(), p.Destination.endpoint()
	return &mergecheck.PullRequestEvent{
		ID: p.ID, State: mergecheck.Name(p.State, mergecheck.MaxState), SourceBranch: source.Branch, SourceCommit: source.Commit,
		SourceRepository: source.Repository.UUID, DestinationBranch: destination.Branch, DestinationCommit: destination.Commit,
	}
}

type pushChange struct {
	New *struct {
		Type   string `json:"type"`
		Name   string `json:"name"`
		Target struct {
			Hash string `json:"hash"`
		} `json:"target"`
	} `json:"new"`
}

func branchHeads(changes json.RawMessage) (heads []mergecheck.BranchHead) {
	jsonobject.Elements(changes, func(element []byte) bool {
		var change pushChange
		if json.Unmarshal(element, &change) != nil || change.New == nil || change.New.Type != "branch" {
			return true // of another shape, deleted, or a tag
		}
		head := mergecheck.BranchHead{Branch: mergecheck.BranchName(change.New.Name), Commit: mergecheck.CommitHash(change.New.Target.Hash)}
		if head.Branch != "" && mergecheck.IsFullCommit(head.Commit) {
			heads = append(heads, head)
		}
		return true
	})
	return heads
}
