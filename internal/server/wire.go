package server

import (
	"encoding/json"
	"strconv"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// The shapes of the API, as api/openapi.yaml describes them.

type wireRepository struct {
	FullName *string `json:"full_name"`
	UUID     *string `json:"uuid"`
}

type wireProject struct {
	ID   int64  `json:"id"`
	Slug string `json:"slug"`
}

type wireBuild struct {
	ID          string           `json:"id"`
	Project     wireProject      `json:"project"`
	BuildID     int64            `json:"build_id"`
	Version     string           `json:"version"`
	State       mergecheck.State `json:"state"`
	Repository  wireRepository   `json:"repository"`
	PullRequest wirePullRequest  `json:"pullrequest"`
	Source      wireSource       `json:"source"`
	Destination wireDestination  `json:"destination"`
	MergeCommit *string          `json:"merge_commit"`
	URL         string           `json:"url"`
	Tests       mergecheck.Tests `json:"tests"`
	Jobs        []mergecheck.Job `json:"jobs"`
	CreatedOn   *time.Time       `json:"created_on"`
	StartedOn   *time.Time       `json:"started_on"`
	FinishedOn  *time.Time       `json:"finished_on"`
	ConfirmedBy string           `json:"confirmed_by"`
}

type wirePullRequest struct {
	ID    int64  `json:"id"`
	Title string `json:"title"`
}

type wireSource struct {
	Commit     *string `json:"commit"`
	Branch     string  `json:"branch"`
	Repository string  `json:"repository"`
}

type wireDestination struct {
	Branch string  `json:"branch"`
	Commit *string `json:"commit"`
}

func buildOf(r postgres.Repository, b mergecheck.Build) wireBuild {
	jobs := b.Jobs
	if jobs == nil {
		jobs = []mergecheck.Job{}
	}
	name := r.FullName
	if name == "" {
		name = b.Repository
	}
	return wireBuild{
		ID: formatID(b.ID), Project: projectOf(b.Project), BuildID: b.BuildID, Version: b.Version, State: b.State,
		Repository:  wireRepository{FullName: null(name), UUID: uuidOf(r)},
		PullRequest: wirePullRequest{ID: b.PullRequestID, Title: b.PullRequestTitle},
		Source:      wireSource{Commit: null(b.SourceCommit), Branch: b.SourceBranch, Repository: b.SourceRepository},
		Destination: wireDestination{Branch: b.DestinationBranch, Commit: null(b.DestinationCommit)},
		MergeCommit: null(b.MergeCommit()), URL: b.URL, Tests: b.Tests(), Jobs: jobs,
		CreatedOn: nullTime(b.CreatedOn), StartedOn: nullTime(b.StartedOn), FinishedOn: nullTime(b.FinishedOn),
		ConfirmedBy: b.ConfirmedBy,
	}
}

func projectOf(p mergecheck.Project) wireProject { return wireProject{ID: p.ID, Slug: p.Name()} }

// uuidOf is the repository's UUID as Bitbucket writes it, in braces.
func uuidOf(r postgres.Repository) *string {
	if !r.Linked() {
		return nil
	}
	return new("{" + r.RepositoryUUID + "}")
}

func formatID(id int64) string { return strconv.FormatInt(id, 10) }

func null(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

type wireVerdict struct {
	Success       bool                 `json:"success"`
	Code          mergecheck.Code      `json:"code"`
	Message       string               `json:"message"`
	NextStep      string               `json:"next_step"`
	Head          wireHead             `json:"head"`
	Destination   wireDestination      `json:"destination"`
	Projects      []wireProjectVerdict `json:"projects"`
	Rules         []wireRule           `json:"rules"`
	Timers        []wireTimer          `json:"timers"`
	Freeze        *wireFreeze          `json:"freeze"`
	SkippedBy     *string              `json:"skipped_by"`
	Waivers       []wireWaiver         `json:"waivers"`
	WouldChange   []string             `json:"would_change"`
	PolicyVersion *int64               `json:"policy_version"`
	BadgeURL      *string              `json:"badge_url"`
	PageURL       *string              `json:"page_url"`
	EvaluatedOn   time.Time            `json:"evaluated_on"`
}

type wireHead struct {
	Commit *string `json:"commit"`
	Branch string  `json:"branch"`
}

type wireProjectVerdict struct {
	Project  wireProject     `json:"project"`
	Required bool            `json:"required"`
	Code     mergecheck.Code `json:"code"`
	Detail   *string         `json:"detail"`
	Build    *wireBuild      `json:"build"`
	Moved    *wireMoved      `json:"freshness"`
	WaivedBy *string         `json:"waived_by"` // a waiver's id
}

// wireMoved is how far the destination has moved since a build.
type wireMoved struct {
	Tested  *string `json:"tested"`
	Current *string `json:"current"`
	Behind  *int    `json:"behind"`
	AtLeast bool    `json:"at_least"`
	Met     bool    `json:"met"`
	Detail  string  `json:"detail"`
}

type wireTimer struct {
	Timer      string       `json:"timer"`
	Project    *wireProject `json:"project"`
	DeadlineOn time.Time    `json:"deadline_on"`
	Expired    bool         `json:"expired"`
}

type wireFreeze struct {
	Name   *string   `json:"name"`
	Reason *string   `json:"reason"`
	Until  time.Time `json:"until"`
}

type wireRule struct {
	Rule   string `json:"rule"`
	Met    bool   `json:"met"`
	Detail string `json:"detail"`
}

func verdictOf(r postgres.Repository, v mergecheck.Verdict) wireVerdict {
	w := wireVerdict{
		Success: v.Success, Code: v.Code, Message: v.Message, NextStep: v.NextStep,
		Head:        wireHead{Commit: null(v.PullRequest.Head), Branch: v.PullRequest.SourceBranch},
		Destination: wireDestination{Branch: v.PullRequest.DestinationBranch, Commit: null(v.PullRequest.DestinationCommit)},
		Projects:    each(v.Projects, func(p mergecheck.ProjectVerdict) wireProjectVerdict { return projectVerdictOf(r, p) }),
		Rules:       each(v.Rules, func(rule mergecheck.Rule) wireRule { return wireRule(rule) }),
		Timers:      each(v.Timers, timerOf), Waivers: each(v.Waivers, waiverOf), SkippedBy: null(v.SkippedBy),
		WouldChange: append([]string{}, v.WouldChange...), EvaluatedOn: v.EvaluatedOn.UTC(),
	}
	if v.Policy.Version != 0 {
		w.PolicyVersion = &v.Policy.Version
	}
	if v.FrozenBy != nil {
		w.Freeze = &wireFreeze{Name: null(v.FrozenBy.Name), Reason: null(v.FrozenBy.Reason), Until: v.FrozenUntil.UTC()}
	}
	return w
}

// each renders a list, an empty one as [].
func each[T, W any](list []T, wire func(T) W) []W {
	values := make([]W, len(list))
	for i, item := range list {
		values[i] = wire(item)
	}
	return values
}

func projectVerdictOf(r postgres.Repository, p mergecheck.ProjectVerdict) wireProjectVerdict {
	w := wireProjectVerdict{Project: projectOf(p.Project), Required: p.Required, Code: p.Code, Detail: null(p.Detail)}
	if p.Build != nil {
		w.Build = new(buildOf(r, *p.Build))
	}
	if m := p.Moved; m != nil {
		w.Moved = &wireMoved{
			Tested: null(m.Tested), Current: null(m.Current), Behind: m.Commits, AtLeast: m.AtLeast, Met: m.Within, Detail: m.Detail,
		}
	}
	if p.Waiver != nil {
		w.WaivedBy = new(formatID(p.Waiver.ID))
	}
	return w
}

func timerOf(t mergecheck.Timer) wireTimer {
	w := wireTimer{Timer: t.Timer, DeadlineOn: t.DeadlineOn.UTC(), Expired: t.Expired}
	if t.Project != (mergecheck.Project{}) {
		w.Project = new(projectOf(t.Project))
	}
	return w
}

type wireDecision struct {
	ID            string          `json:"id"`
	PullRequest   int64           `json:"pullrequest"`
	Trigger       string          `json:"trigger"`
	Success       bool            `json:"success"`
	Code          string          `json:"code"`
	Message       string          `json:"message"`
	Head          *string         `json:"head"`
	Destination   *string         `json:"destination"`
	PolicyVersion *int64          `json:"policy_version"`
	Builds        []int64         `json:"builds"`
	Inputs        json.RawMessage `json:"inputs"`
	Checked       *string         `json:"checked"`
	DurationMs    int             `json:"duration_ms"`
	CreatedOn     time.Time       `json:"created_on"`
}

func decisionOf(d postgres.Decision) wireDecision {
	return wireDecision{
		ID: formatID(d.ID), PullRequest: d.PullRequestID, Trigger: d.Trigger, Success: d.Success, Code: d.Code, Message: d.Message,
		Head: null(d.Head), Destination: null(d.Destination), PolicyVersion: d.PolicyVersion, Builds: d.Builds, Inputs: d.Inputs,
		Checked: null(d.Checked), DurationMs: d.DurationMs, CreatedOn: d.CreatedOn.UTC(),
	}
}

type wireDelivery struct {
	ID          string           `json:"id"`
	Source      string           `json:"source"`
	Outcome     postgres.Outcome `json:"outcome"`
	Reason      *string          `json:"reason"`
	BuildID     *int64           `json:"build_id"`
	Attempts    int              `json:"attempts"`
	ReceivedOn  time.Time        `json:"received_on"`
	ProcessedOn *time.Time       `json:"processed_on"`
}

func deliveryOf(d postgres.Delivery) wireDelivery {
	w := wireDelivery{
		ID: formatID(d.ID), Source: d.Source, Outcome: d.Outcome, Reason: null(d.Reason), Attempts: d.Attempts,
		ReceivedOn: d.ReceivedOn.UTC(), ProcessedOn: utc(d.ProcessedOn),
	}
	if d.BuildID != 0 {
		w.BuildID = &d.BuildID
	}
	return w
}

type wireStatus struct {
	ID            string                  `json:"id"`
	Repository    wireRepository          `json:"repository"`
	Commit        string                  `json:"commit"`
	Key           string                  `json:"key"`
	State         string                  `json:"state"`
	PostedState   *string                 `json:"posted_state"`
	Delivery      postgres.StatusDelivery `json:"delivery"`
	HTTPStatus    *int                    `json:"http_status"`
	Reason        *string                 `json:"reason"`
	Attempts      int                     `json:"attempts"`
	NextAttemptOn *time.Time              `json:"next_attempt_on"`
	UpdatedOn     time.Time               `json:"updated_on"`
}

func statusOf(s postgres.CommitStatus) wireStatus {
	place := postgres.Repository{WorkspaceUUID: s.WorkspaceUUID, RepositoryUUID: s.RepositoryUUID}
	return wireStatus{
		ID: formatID(s.ID), Repository: wireRepository{FullName: null(s.Repository), UUID: uuidOf(place)},
		Commit: s.Commit, Key: s.Key, State: s.State, PostedState: null(s.PostedState), Delivery: s.Delivery,
		HTTPStatus: s.HTTPStatus, Reason: null(s.Reason), Attempts: s.Attempts,
		NextAttemptOn: utc(s.NextAttemptOn), UpdatedOn: s.UpdatedOn.UTC(),
	}
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return new(t.UTC())
}
