package api

import (
	"encoding/json"
	"time"
)

// Every document of the API, of notifications and of what commands print with --json.
// openapi.yaml describes them; a null is a nil pointer. Times are UTC; UUIDs have braces,
// as Bitbucket writes them; ids are opaque.

// Page is one page of a list.
type Page[T any] struct {
	Values  []T    `json:"values"`
	PageLen int    `json:"pagelen"`
	Next    string `json:"next,omitempty"` // the next page's address; "": this is the last
}

// List is a list that has no pages.
type List[T any] struct {
	Values []T `json:"values"`
}

// Problem says why a request wasn't answered: RFC 9457 problem details. Codes are stable.
type Problem struct {
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Code      string  `json:"code"`
	Detail    string  `json:"detail,omitempty"`
	RequestID string  `json:"request_id,omitempty"`
	Errors    []Fault `json:"errors,omitempty"` // of a policy
}

// Fault is something wrong in a policy document, with its place, counted from 1.
type Fault struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
}

// Repository is one on Bitbucket.
type Repository struct {
	FullName *string `json:"full_name"`
	UUID     *string `json:"uuid"`
}

// Project is one on AppVeyor; its slug is "account/slug".
type Project struct {
	ID   int64  `json:"id"`
	Slug string `json:"slug"`
}

// Tests counts tests.
type Tests struct {
	Total  int `json:"total"`
	Passed int `json:"passed"`
	Failed int `json:"failed"`
}

// Job is one job of a build.
type Job struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	State        string `json:"state"`
	AllowFailure bool   `json:"allow_failure"`
	Tests        Tests  `json:"tests"`
}

// Build is one build of a pull request.
type Build struct {
	ID          string      `json:"id"`
	Project     Project     `json:"project"`
	BuildID     int64       `json:"build_id"` // AppVeyor's
	Version     string      `json:"version"`
	State       string      `json:"state"` // queued, running, success, failed or cancelled
	Repository  Repository  `json:"repository"`
	PullRequest PullRequest `json:"pullrequest"`
	Source      Source      `json:"source"`
	Destination Destination `json:"destination"`
	MergeCommit *string     `json:"merge_commit"`
	URL         string      `json:"url"`
	Tests       Tests       `json:"tests"`
	Jobs        []Job       `json:"jobs"`
	CreatedOn   *time.Time  `json:"created_on"`
	StartedOn   *time.Time  `json:"started_on"`
	FinishedOn  *time.Time  `json:"finished_on"`
	DurationMs  *int64      `json:"duration_ms"`  // null while the build runs
	ConfirmedBy string      `json:"confirmed_by"` // appveyor or report
}

// PullRequest is the pull request that a build is of.
type PullRequest struct {
	ID    int64  `json:"id"`
	Title string `json:"title"`
}

// Source is what a build has of the pull request's source.
type Source struct {
	Commit     *string `json:"commit"` // null while it isn't known which head the build is of
	Branch     string  `json:"branch"`
	Repository string  `json:"repository"`
}

// Destination is where a pull request goes.
type Destination struct {
	Branch string  `json:"branch"`
	Commit *string `json:"commit"`
}

// Head is a pull request's head.
type Head struct {
	Commit *string `json:"commit"`
	Branch string  `json:"branch"`
}

// Verdict is whether a pull request may be merged now, and why.
type Verdict struct {
	Success       bool             `json:"success"`
	Code          string           `json:"code"`
	Message       string           `json:"message"`
	NextStep      string           `json:"next_step"`
	Head          Head             `json:"head"`
	Destination   Destination      `json:"destination"`
	Projects      []ProjectVerdict `json:"projects"`
	Rules         []Rule           `json:"rules"`
	Timers        []Timer          `json:"timers"`
	Freeze        *Freeze          `json:"freeze"`
	SkippedBy     *string          `json:"skipped_by"`
	Waivers       []Waiver         `json:"waivers"`
	WouldChange   []string         `json:"would_change"`
	PolicyVersion *int64           `json:"policy_version"`
	BadgeURL      *string          `json:"badge_url"`
	PageURL       *string          `json:"page_url"`
	EvaluatedOn   time.Time        `json:"evaluated_on"`
}

// ProjectVerdict is the verdict on one project's builds.
type ProjectVerdict struct {
	Project   Project    `json:"project"`
	Required  bool       `json:"required"`
	Code      string     `json:"code"`
	Detail    *string    `json:"detail"`
	Build     *Build     `json:"build"`
	Freshness *Freshness `json:"freshness"`
	WaivedBy  *string    `json:"waived_by"` // a waiver's id
}

// Freshness is how far the destination has moved since a build.
type Freshness struct {
	Tested  *string `json:"tested"`
	Current *string `json:"current"`
	Behind  *int    `json:"behind"` // commits
	AtLeast bool    `json:"at_least"`
	Met     bool    `json:"met"`
	Detail  string  `json:"detail"`
}

// Rule is one thing that a verdict depends on.
type Rule struct {
	Rule   string `json:"rule"`
	Met    bool   `json:"met"`
	Detail string `json:"detail"`
}

// Timer is a time limit that the policy sets.
type Timer struct {
	Timer      string    `json:"timer"`
	Project    *Project  `json:"project"`
	DeadlineOn time.Time `json:"deadline_on"`
	Expired    bool      `json:"expired"`
}

// Freeze is a time in which nothing is merged.
type Freeze struct {
	Name   *string   `json:"name"`
	Reason *string   `json:"reason"`
	Until  time.Time `json:"until"`
}

// Waiver is a person's permission to merge without a result.
type Waiver struct {
	ID          string     `json:"id"`
	State       string     `json:"state"`
	Commit      string     `json:"commit"`
	Destination string     `json:"destination"`
	Project     *Project   `json:"project"` // null: all of them
	Reason      string     `json:"reason"`
	By          string     `json:"by"`
	Owner       *string    `json:"owner"`
	TwoPerson   bool       `json:"two_person"`
	CreatedOn   time.Time  `json:"created_on"`
	ExpiresOn   time.Time  `json:"expires_on"`
	RevokedOn   *time.Time `json:"revoked_on"`
	RevokedBy   *string    `json:"revoked_by"`
}

// WaiverRequest asks for a waiver. Project is an id, as a number or text, or
// "account/slug"; without it all are waived.
type WaiverRequest struct {
	Reason    string          `json:"reason"`
	Project   json.RawMessage `json:"project,omitempty"`
	Commit    *string         `json:"commit,omitempty"` // refused where it isn't the head any more
	Expires   *string         `json:"expires,omitempty"`
	ExpiresOn *time.Time      `json:"expires_on,omitempty"`
}

// Decision is a verdict that was given as a merge check's answer.
type Decision struct {
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
	Inputs        json.RawMessage `json:"inputs"` // what it was decided from
	Checked       *string         `json:"checked"`
	DurationMs    int             `json:"duration_ms"`
	CreatedOn     time.Time       `json:"created_on"`
}

// Delivery is a message that was received.
type Delivery struct {
	ID          string     `json:"id"`
	Source      string     `json:"source"`
	Outcome     string     `json:"outcome"` // pending, processed, ignored or failed
	Reason      *string    `json:"reason"`
	Detail      *string    `json:"detail"` // what the reason means here, where it doesn't say it all
	BuildID     *int64     `json:"build_id"`
	Attempts    int        `json:"attempts"`
	ReceivedOn  time.Time  `json:"received_on"`
	ProcessedOn *time.Time `json:"processed_on"`
}

// Replayed is how many deliveries are queued to be processed again.
type Replayed struct {
	Deliveries int  `json:"deliveries"`
	Of         int  `json:"of"`
	Done       bool `json:"done"`
}

// CommitStatus is one that Bitbucket is to show.
type CommitStatus struct {
	ID            string     `json:"id"`
	Repository    Repository `json:"repository"`
	Commit        string     `json:"commit"`
	Key           string     `json:"key"`
	State         string     `json:"state"`
	PostedState   *string    `json:"posted_state"`
	Outcome       string     `json:"outcome"` // pending, posted, failed or not_postable
	HTTPStatus    *int       `json:"http_status"`
	Reason        *string    `json:"reason"`
	Attempts      int        `json:"attempts"`
	NextAttemptOn *time.Time `json:"next_attempt_on"`
	UpdatedOn     time.Time  `json:"updated_on"`
}

// Effect is something else that Bitbucket is to show of a pull request's verdict.
type Effect struct {
	Effect        string     `json:"effect"`
	Wanted        *string    `json:"wanted"`
	Made          *string    `json:"made"`
	Head          *string    `json:"head"`
	Outcome       string     `json:"outcome"` // pending, made or failed
	HTTPStatus    *int       `json:"http_status"`
	Reason        *string    `json:"reason"`
	Attempts      int        `json:"attempts"`
	NextAttemptOn *time.Time `json:"next_attempt_on"`
	UpdatedOn     time.Time  `json:"updated_on"`
}

// Rebuild is what became of asking for a project's build again.
type Rebuild struct {
	Project Project `json:"project"`
	BuildID *int64  `json:"build_id"`
	Reason  *string `json:"reason"`
}

// ResultReport is a result that a build script reports, in the shape of a [Build] as far as a
// script knows it.
type ResultReport struct {
	Project     Project             `json:"project"`
	BuildID     int64               `json:"build_id"`
	Attempt     *int                `json:"attempt"` // null: the first
	Version     string              `json:"version"`
	State       string              `json:"state"`
	PullRequest PullRequest         `json:"pullrequest"`
	Source      ReportedSource      `json:"source"`
	Destination ReportedDestination `json:"destination"`
	URL         string              `json:"url"`
	Tests       Tests               `json:"tests"`
	Jobs        []Job               `json:"jobs"`
	StartedOn   *time.Time          `json:"started_on"`
	FinishedOn  *time.Time          `json:"finished_on"`
}

// ReportedSource is the head that a result is for.
type ReportedSource struct {
	Commit string `json:"commit"` // 40 characters
}

// ReportedDestination is the branch that a result is for.
type ReportedDestination struct {
	Branch *string `json:"branch"` // null: wherever the pull request goes
}

// Workspace is a Bitbucket workspace of which something is known.
type Workspace struct {
	UUID string  `json:"uuid"`
	Slug *string `json:"slug"`
}

// Policy is a workspace's policy.
type Policy struct {
	Version   *int64     `json:"version"` // null: none is set, and the document is the default
	Document  string     `json:"document"`
	AppliedBy *string    `json:"applied_by"`
	AppliedOn *time.Time `json:"applied_on"`
}

// PolicyVersion is who applied a version when.
type PolicyVersion struct {
	Version   int64     `json:"version"`
	AppliedBy string    `json:"applied_by"`
	AppliedOn time.Time `json:"applied_on"`
}

// PolicyRequest is a document to apply or to simulate.
type PolicyRequest struct {
	Document *string `json:"document"`
}

// EffectivePolicy is what applies to a repository and branch.
type EffectivePolicy struct {
	Version    *int64    `json:"version"`
	Repository string    `json:"repository"`
	Branch     string    `json:"branch"`
	Settings   []Setting `json:"settings"`
}

// Setting is one setting, and the rule that gives it; without one it is the default.
type Setting struct {
	Name  string     `json:"name"`
	Value any        `json:"value"`
	Rule  *RulePlace `json:"rule"`
}

// RulePlace is where a rule is in its document, both counted from 1.
type RulePlace struct {
	Number int `json:"number"`
	Line   int `json:"line"`
}

// Simulation is what another policy would have made of past merges.
type Simulation struct {
	Since     time.Time  `json:"since"`
	Decisions int        `json:"decisions"`
	Judged    int        `json:"judged"`
	Blocked   []Change   `json:"newly_blocked"`
	Allowed   []Change   `json:"newly_allowed"`
	Unjudged  []Unjudged `json:"unjudged"`
}

// Change are the decisions of a repository that would have been others for one reason.
type Change struct {
	Code         string  `json:"code"`
	Repository   string  `json:"repository"`
	Decisions    int     `json:"decisions"`
	PullRequests []int64 `json:"pullrequests"`
	More         bool    `json:"more"` // there are other pull requests
}

// Unjudged is why decisions could not be judged.
type Unjudged struct {
	Reason    string `json:"reason"`
	Decisions int    `json:"decisions"`
}

// Stats adds up a repository's builds and merge checks of a time.
type Stats struct {
	Since     time.Time     `json:"since"`
	Until     time.Time     `json:"until"`
	Builds    BuildCount    `json:"builds"`
	PassRate  *float64      `json:"pass_rate"`
	Duration  *Distribution `json:"duration_seconds"`
	ToVerdict *Distribution `json:"push_to_verdict_seconds"`
	Merges    MergeCount    `json:"merge_checks"`
}

// BuildCount counts builds.
type BuildCount struct {
	Total   int64            `json:"total"`
	ByState map[string]int64 `json:"by_state"`
}

// MergeCount counts heads that merge checks let through or blocked.
type MergeCount struct {
	Passed  int64            `json:"passed"`
	Blocked int64            `json:"blocked"`
	ByCode  map[string]int64 `json:"blocked_by_code"`
}

// Distribution is of durations.
type Distribution struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// SeenProject is an AppVeyor project that was seen building pull requests.
type SeenProject struct {
	ID            int64   `json:"id"`
	Slug          string  `json:"slug"`
	Repository    *string `json:"repository"`
	NewestBuildID int64   `json:"newest_build_id"`
	Forgotten     bool    `json:"forgotten"` // it isn't required
}

// Backfill is how far reading a project's history has come.
type Backfill struct {
	Looked    int        `json:"looked"`
	Confirmed int        `json:"confirmed"`
	At        *time.Time `json:"at"` // of the oldest build looked at
	Done      bool       `json:"done"`
}

// Token is an API token, without its text.
type Token struct {
	ID         string      `json:"id"`
	Name       string      `json:"name"`
	State      string      `json:"state"` // valid, expired or revoked
	Scopes     []string    `json:"scopes"`
	Repository string      `json:"repository"` // a glob
	Owner      *string     `json:"owner"`
	ReportsFor *ReportsFor `json:"reports_for"`
	CreatedOn  time.Time   `json:"created_on"`
	ExpiresOn  *time.Time  `json:"expires_on"`
	LastUsedOn *time.Time  `json:"last_used_on"`
	RevokedOn  *time.Time  `json:"revoked_on"`
	Secret     string      `json:"token,omitempty"` // only in the answer that made it
}

// ReportsFor is the project that a token with scope report is for.
type ReportsFor struct {
	ProjectID int64   `json:"project_id"`
	Project   *string `json:"project"` // account/slug, once it was seen
}

// Scopes of API tokens. Admin includes read; no other scope implies another.
const (
	ScopeRead   = "read"
	ScopeReport = "report"
	ScopeWaive  = "waive"
	ScopeAdmin  = "admin"
)

// Scopes lists every scope a token can have.
var Scopes = []string{ScopeRead, ScopeReport, ScopeWaive, ScopeAdmin}

// TokenRequest asks for a token.
type TokenRequest struct {
	Name       string     `json:"name"`
	Scopes     []string   `json:"scopes"`
	Repository string     `json:"repository"`
	Owner      string     `json:"owner,omitempty"`
	ProjectID  *int64     `json:"project_id,omitempty"`
	ExpiresOn  *time.Time `json:"expires_on,omitempty"` // null: never
}

// Subscription says whom to notify of what.
type Subscription struct {
	ID             string     `json:"id"`
	URL            string     `json:"url"`
	Events         []string   `json:"events"`
	Secret         *string    `json:"secret,omitempty"` // only in the answer that made it
	CreatedBy      string     `json:"created_by"`
	CreatedOn      time.Time  `json:"created_on"`
	DisabledOn     *time.Time `json:"disabled_on"`
	DisabledReason *string    `json:"disabled_reason"`
}

// SubscriptionRequest asks for one.
type SubscriptionRequest struct {
	URL    string   `json:"url"`
	Events []string `json:"events"`
}

// Notification is something that a subscriber is told, and how far that has come.
type Notification struct {
	ID            string                `json:"id"`
	Event         string                `json:"event"`
	Outcome       string                `json:"outcome"` // pending, delivered or failed
	NextAttemptOn *time.Time            `json:"next_attempt_on"`
	CreatedOn     time.Time             `json:"created_on"`
	Attempts      []NotificationAttempt `json:"attempts"`
}

// NotificationAttempt is one try at delivering it.
type NotificationAttempt struct {
	AttemptedOn time.Time `json:"attempted_on"`
	HTTPStatus  *int      `json:"http_status"`
	Reason      *string   `json:"reason"`
	DurationMs  int       `json:"duration_ms"`
}

// Event is a notification's body: something that happened in a workspace.
type Event struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      EventData `json:"data"`
}

// EventData is what an event is about, as it was then. Which fields there are depends on
// the event's type.
type EventData struct {
	Repository   *Repository      `json:"repository,omitempty"`
	PullRequest  int64            `json:"pullrequest,omitempty"`
	Build        *Build           `json:"build,omitempty"`
	Verdict      *Verdict         `json:"verdict,omitempty"`
	Previous     *PreviousVerdict `json:"previous,omitempty"` // nil: none was told before
	Waiver       *Waiver          `json:"waiver,omitempty"`
	CommitStatus *CommitStatus    `json:"commit_status,omitempty"`
	Subscription string           `json:"subscription,omitempty"` // its id
}

// PreviousVerdict is the verdict that was told before a changed one.
type PreviousVerdict struct {
	Head    *string `json:"head"`
	Code    string  `json:"code"`
	Success bool    `json:"success"`
}
