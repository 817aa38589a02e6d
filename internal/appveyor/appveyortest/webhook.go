package appveyortest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxAnswer bounds what is kept of the receiver's answer.
const maxAnswer = 1 << 20

// Notify delivers the webhook of a build once, as AppVeyor does: the default body, the secret as bearer token, no second
// try. It answers the receiver's status and body.
func (s *Server) Notify(ctx context.Context, webhookURL, secret string, buildID int64) (status int, body []byte, err error) {
	sent := s.WebhookBody(buildID)
	if sent == nil {
		return 0, nil, fmt.Errorf("build %d isn't there", buildID)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, webhookURL, bytes.NewReader(sent))
	if err != nil {
		return 0, nil, fmt.Errorf("notify of build %d: %w", buildID, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+secret)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("notify of build %d: %w", buildID, err)
	}
	defer res.Body.Close() //nolint:errcheck // read as far as it is kept
	body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return res.StatusCode, body, err
}

// WebhookBody answers the default body of a build's notification, nil when there is no such build.
func (s *Server) WebhookBody(buildID int64) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, b := s.build(buildID)
	if b == nil {
		return nil
	}
	name := "build_failure" // whatever is no success: appveyor/ci#2075
	if b.Status == "success" {
		name = "build_success"
	}
	body, _ := json.Marshal(object{"eventName": name, "eventData": s.eventData(p, b)}) // texts and numbers always can be
	return body
}

func (s *Server) eventData(p *project, b *Build) object {
	passed := b.Status == "success"
	data := object{
		"passed": passed, "failed": !passed, "status": choose(passed, "completed", "failed"),
		"started": minute(b.Started), "finished": minute(b.Finished), "duration": duration(b.Started, b.Finished),
		"projectId": p.ID, "projectName": p.Name,
		"buildId": b.ID, "buildNumber": b.Number, "buildVersion": b.Version,
		"repositoryProvider": p.RepositoryType, "repositoryScm": "git", "repositoryName": p.RepositoryName,
		"branch": b.Branch, "commitId": b.CommitID[:min(10, len(b.CommitID))],
		"commitAuthor": "Ada", "commitAuthorEmail": "ada@example.com", "commitDate": minute(b.Created),
		"commitMessage": b.Message, "commitMessageExtended": "",
		"committerName": "Ada", "committerEmail": "ada@example.com",
		"buildUrl":                s.URL + "/project/" + p.Account + "/" + p.Slug + "/builds/" + strconv.FormatInt(b.ID, 10),
		"notificationSettingsUrl": s.URL + "/notifications",
		"isPullRequest":           b.PullRequestID != 0,
		"messages":                messages(b.Messages, b.Created),
	}
	if b.PullRequestID != 0 {
		data["pullRequestId"] = b.PullRequestID // a number, unlike in the REST API
	}
	jobs := []object{}
	for _, job := range b.Jobs {
		jobs = append(jobs, job.eventData(b))
	}
	data["jobs"] = jobs
	return data
}

func (j Job) eventData(b *Build) object {
	passed := cmp.Or(j.Status, b.Status) == "success"
	started, finished := cmp.Or(j.Started, b.Started), cmp.Or(j.Finished, b.Finished)
	return object{
		"id": j.ID, "name": j.Name, "passed": passed, "failed": !passed, "status": choose(passed, "Success", "Failed"),
		"started": minute(started), "finished": minute(finished), "duration": duration(started, finished),
		"messages": messages(j.Messages, b.Created), "compilationMessages": []any{}, "artifacts": []any{},
	}
}

func choose(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

// minute writes a time as webhooks do: without seconds and zone.
func minute(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("1/2/2006 3:04 PM")
}

// duration writes .NET's TimeSpan.
func duration(from, to time.Time) string {
	d := to.Sub(from)
	if from.IsZero() || to.IsZero() {
		d = 0
	}
	ticks := d / 100 // nanoseconds
	seconds := int64(d / time.Second)
	return fmt.Sprintf("%02d:%02d:%02d.%07d", seconds/3600, seconds/60%60, seconds%60, int64(ticks)%1e7)
}
