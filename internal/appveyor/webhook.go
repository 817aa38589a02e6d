package appveyor

import (
	"bytes"
	"errors"
	"fmt"

	"mergegate/internal/jsonobject"
)

// Why a webhook body can't be stored as a hint at a build.
var (
	ErrNotJSON  = errors.New("the body is not JSON")
	ErrNotBuild = errors.New("the body is not an AppVeyor build event")
)

// The events AppVeyor sends; there is none for started or cancelled builds.
const (
	EventSuccess = "build_success"
	EventFailure = "build_failure"
)

// Webhook is what a delivery hints at. Every field but BuildID may be missing
// and holds its zero value then.
type Webhook struct {
	EventName     string
	BuildID       int64
	ProjectID     int64
	Provider      string // "bitBucket", "gitHub", …
	Repository    string // "workspace/repo"
	Version       string
	BuildURL      string
	PullRequestID int64
	// NotPullRequest is set when the body says outright that the build is none.
	NotPullRequest bool
}

// ParseWebhook reads AppVeyor's default webhook body. It is strict only about
// what a hint can't do without: [ErrNotJSON], or [ErrNotBuild] when there is no
// object eventData with a positive buildId. Fields of other types than AppVeyor
// documents are taken as missing.
func ParseWebhook(body []byte) (Webhook, error) {
	envelope, err := jsonobject.Read(trimBOM(body), "eventName", "eventData")
	if err != nil {
		return Webhook{}, ErrNotJSON
	}
	data := envelope.Member("eventData", "buildId", "projectId", "repositoryProvider", "repositoryName", "buildVersion", "buildUrl",
		"pullRequestId", "isPullRequest")
	if data == nil {
		return Webhook{}, fmt.Errorf("%w: eventData is missing or not an object", ErrNotBuild)
	}
	hook := Webhook{
		EventName:      hintOf(envelope["eventName"], maxEventName),
		BuildID:        intOf(data["buildId"]),
		ProjectID:      intOf(data["projectId"]),
		Provider:       hintOf(data["repositoryProvider"], maxProvider),
		Repository:     hintOf(data["repositoryName"], maxRepository),
		Version:        hintOf(data["buildVersion"], maxVersion),
		BuildURL:       hintOf(data["buildUrl"], maxURL),
		PullRequestID:  intOf(data["pullRequestId"]),
		NotPullRequest: string(data["isPullRequest"]) == "false",
	}
	if hook.BuildID <= 0 {
		return Webhook{}, fmt.Errorf("%w: eventData.buildId is missing or not a positive number", ErrNotBuild)
	}
	return hook, nil
}

// trimBOM drops the UTF-8 byte order mark that AppVeyor puts before some answers.
func trimBOM(body []byte) []byte { return bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")) }
