package forge

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"mergegate/internal/jsonobject"
	"mergegate/internal/mergecheck"
)

// ErrNotAnEvent says that a body isn't a merge check event.
var ErrNotAnEvent = errors.New("not a Forge merge check event")

// Most characters of a text that is kept; Postgres indexes and people's eyes both have limits.
const (
	maxTrigger = 64
)

// MergeCheck is one question from Forge: may this pull request be merged?
type MergeCheck struct {
	WorkspaceUUID, RepositoryUUID string // lower case, no braces
	PullRequestID                 int64  // above 0
	Trigger                       string // mergecheck.TriggerOnMerge and others; what Forge may add later is kept as it is
	PullRequest                   *PullRequest
}

// PullRequest is what mergegate's own Forge function read from Bitbucket and sent along; "" is what it didn't send.
type PullRequest struct {
	State                    string // OPEN, MERGED, DECLINED or SUPERSEDED
	SourceCommit             string // lower-case hex, 40 characters or fewer
	SourceBranch             string
	SourceRepositoryUUID     string // lower case, no braces
	SourceRepositoryFullName string
	DestinationCommit        string // lower-case hex
	DestinationBranch        string
	// RepositoryUUID and RepositoryFullName are those of the pull request's own
	// repository.
	RepositoryUUID     string // lower case, no braces
	RepositoryFullName string
	UpdatedOn          time.Time // by Bitbucket's clock; zero when it isn't told
	Draft              bool
}

// ParseMergeCheck reads the body of a merge check: Forge's event, flat or under "payload". Every text in the result can
// be stored in Postgres. The error wraps ErrNotAnEvent and names what is missing; a pullRequest that isn't usable is no
// error, for the pull request can be read from Bitbucket as well.
func ParseMergeCheck(body []byte) (MergeCheck, error) {
	outer := read(body)
	if outer == nil {
		return MergeCheck{}, fmt.Errorf("%w: the body isn't a JSON object", ErrNotAnEvent)
	}
	event := outer
	if _, flat := outer["workspace"]; !flat && outer.object("payload") != nil {
		event = outer.object("payload")
	}
	check := MergeCheck{
		WorkspaceUUID:  mergecheck.BareUUID(event.object("workspace").text("uuid")),
		RepositoryUUID: mergecheck.BareUUID(event.object("repository").text("uuid")),
		PullRequestID:  event.object("pullrequest").id("id"),
		Trigger:        clean(event.object("trigger").text("type"), maxTrigger),
	}
	switch {
	case check.WorkspaceUUID == "":
		return MergeCheck{}, fmt.Errorf("%w: workspace.uuid isn't a UUID", ErrNotAnEvent)
	case check.RepositoryUUID == "":
		return MergeCheck{}, fmt.Errorf("%w: repository.uuid isn't a UUID", ErrNotAnEvent)
	case check.PullRequestID <= 0:
		return MergeCheck{}, fmt.Errorf("%w: pullrequest.id isn't a positive number", ErrNotAnEvent)
	}
	// Atlassian's own example of a check on merge has another trigger.type, but mergeProperties.
	if event.has("mergeProperties") || outer.has("mergeProperties") {
		check.Trigger = mergecheck.TriggerOnMerge
	}
	if check.PullRequest = outer.pullRequest(); check.PullRequest == nil {
		check.PullRequest = event.pullRequest()
	}
	return check, nil
}

// fields is a JSON object that is read leniently: what isn't there or has another type is empty. Its keys are matched
// exactly, unlike a struct's, where pullrequest and pullRequest could be taken for each other. Only those that are known
// here are kept.
type fields jsonobject.Members

// known are the keys that anything here asks for.
var known = []string{
	"payload", "eventType", "timestamp", "trigger", "type", "mergeProperties", "workspace", "repository", "uuid", "full_name",
	"pullrequest", "pullRequest", "id", "state", "source", "destination", "branch", "commit", "hash", "push", "ref", "after", "updated_on", "draft",
}

// read reads a body that is a JSON object; nil: it is none.
func read(body []byte) fields {
	object, err := jsonobject.Read(body, known...)
	if err != nil {
		return nil
	}
	return fields(object)
}

func (f fields) has(name string) bool { return present(f[name]) }

func (f fields) object(name string) fields {
	return fields(jsonobject.Members(f).Member(name, known...))
}

func (f fields) text(name string) string {
	var text string
	if json.Unmarshal(f[name], &text) != nil {
		return ""
	}
	return text
}

// id reads a number or a string of digits, 0 for anything else.
func (f fields) id(name string) int64 {
	text := f.text(name)
	if text == "" {
		text = string(f[name])
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || text[0] == '+' {
		return 0
	}
	return id
}

func (f fields) pullRequest() *PullRequest {
	brought := f.object("pullRequest")
	source, destination := brought.object("source"), brought.object("destination")
	repository := source.object("repository")
	pr := PullRequest{
		State:                    clean(brought.text("state"), mergecheck.MaxState),
		SourceCommit:             mergecheck.CommitHash(source.text("commit")),
		SourceBranch:             mergecheck.BranchName(source.text("branch")),
		SourceRepositoryUUID:     mergecheck.BareUUID(repository.text("uuid")),
		SourceRepositoryFullName: mergecheck.Name(repository.text("full_name"), mergecheck.MaxFullName),
		DestinationCommit:        mergecheck.CommitHash(destination.text("commit")),
		DestinationBranch:        mergecheck.BranchName(destination.text("branch")),
		RepositoryUUID:           mergecheck.BareUUID(destination.object("repository").text("uuid")),
		RepositoryFullName:       mergecheck.Name(destination.object("repository").text("full_name"), mergecheck.MaxFullName),
		UpdatedOn:                mergecheck.EventTime(brought.text("updated_on")),
		Draft:                    string(brought["draft"]) == "true",
	}
	if pr == (PullRequest{}) {
		return nil
	}
	return &pr
}

// clean keeps the first printable characters of a text.
func clean(s string, most int) string {
	printable := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "")))
	return string(printable[:min(len(printable), most)])
}
