package appveyor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Why a webhook body can't be stored as a hint at a build.
var (
	ErrNotJSON  = errors.New("the body is not JSON")
	ErrNotBuild = errors.New("the body names no build")
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
	envelope, err := decodeObject(body)
	if err != nil {
		return Webhook{}, err
	}
	var data map[string]json.RawMessage
	if err := json.Unmarshal(envelope["eventData"], &data); err != nil || data == nil {
		return Webhook{}, fmt.Errorf("%w: eventData is not an object", ErrNotBuild)
	}
	hook := Webhook{
		EventName:      textOf(envelope["eventName"], 64),
		BuildID:        intOf(data["buildId"]),
		ProjectID:      intOf(data["projectId"]),
		Provider:       textOf(data["repositoryProvider"], 64),
		Repository:     textOf(data["repositoryName"], 512),
		Version:        textOf(data["buildVersion"], 512),
		BuildURL:       textOf(data["buildUrl"], 4096),
		PullRequestID:  intOf(data["pullRequestId"]),
		NotPullRequest: bytes.Equal(bytes.TrimSpace(data["isPullRequest"]), []byte("false")),
	}
	if hook.BuildID <= 0 {
		return Webhook{}, fmt.Errorf("%w: eventData.buildId is not a positive number", ErrNotBuild)
	}
	return hook, nil
}

// decodeObject reads one JSON value and nothing after it. A value that isn't an
// object has no members.
func decodeObject(body []byte) (map[string]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(trimBOM(body)))
	var value json.RawMessage
	if err := decoder.Decode(&value); err != nil {
		return nil, ErrNotJSON
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, ErrNotJSON
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(value, &object); err != nil {
		return map[string]json.RawMessage{}, nil //nolint:nilerr // JSON, but no object: it names no build
	}
	return object, nil
}

// trimBOM drops the UTF-8 byte order mark that AppVeyor puts before some answers.
func trimBOM(body []byte) []byte { return bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")) }
