package server

import (
	"strconv"
	"time"

	"mergegate/api"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

func buildOf(r postgres.Repository, b mergecheck.Build) api.Build {
	name := r.FullName
	if name == "" {
		name = b.Repository
	}
	return api.Build{
		ID: formatBuildID(r.WorkspaceUUID, b), Project: projectOf(b.Project), BuildID: b.BuildID, Version: b.Version, State: string(b.State),
		Repository:  repositoryOf(r, name),
		PullRequest: api.PullRequest{ID: b.PullRequestID, Title: b.PullRequestTitle},
		Source:      api.Source{Commit: null(b.SourceCommit), Branch: b.SourceBranch, Repository: b.SourceRepository},
		Destination: api.Destination{Branch: b.DestinationBranch, Commit: null(b.DestinationCommit)},
		MergeCommit: null(b.MergeCommit()), URL: b.URL, Tests: api.Tests(b.Tests()), Jobs: each(b.Jobs, jobOf),
		CreatedOn: nullTime(b.CreatedOn), StartedOn: nullTime(b.StartedOn), FinishedOn: nullTime(b.FinishedOn),
		DurationMs:  durationOf(b),
		ConfirmedBy: b.ConfirmedBy,
	}
}

// durationOf is how long a build took, nil while it isn't known when it began or ended.
// A build that AppVeyor says ended before it began took no time.
func durationOf(b mergecheck.Build) *int64 {
	if b.StartedOn.IsZero() || b.FinishedOn.IsZero() {
		return nil
	}
	took := max(0, b.FinishedOn.Sub(b.StartedOn).Milliseconds())
	return &took
}

func jobOf(j mergecheck.Job) api.Job {
	return api.Job{ID: j.ID, Name: j.Name, State: string(j.State), AllowFailure: j.AllowFailure, Tests: api.Tests(j.Tests)}
}

func projectOf(p mergecheck.Project) api.Project { return api.Project{ID: p.ID, Slug: p.Name()} }

// repositoryOf is r, called name.
func repositoryOf(r postgres.Repository, name string) api.Repository {
	return api.Repository{FullName: null(name), UUID: uuidOf(r)}
}

// uuidOf is the repository's UUID as Bitbucket writes it, in braces.
func uuidOf(r postgres.Repository) *string {
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

func verdictOf(r postgres.Repository, v mergecheck.Verdict) api.Verdict {
	w := api.Verdict{
		Success: v.Success, Code: string(v.Code), Message: v.Message, NextStep: v.NextStep,
		Head:        api.Head{Commit: null(v.PullRequest.Head), Branch: v.PullRequest.SourceBranch},
		Destination: api.Destination{Branch: v.PullRequest.DestinationBranch, Commit: null(v.PullRequest.DestinationCommit)},
		Projects:    each(v.Projects, func(p mergecheck.ProjectVerdict) api.ProjectVerdict { return projectVerdictOf(r, p) }),
		Rules:       each(v.Rules, func(rule mergecheck.Rule) api.Rule { return api.Rule(rule) }),
		Timers:      each(v.Timers, timerOf), Waivers: each(v.Waivers, waiverOf), SkippedBy: null(v.SkippedBy),
		WouldChange: append([]string{}, v.WouldChange...), EvaluatedOn: v.EvaluatedOn.UTC(),
	}
	if v.Policy.Version != 0 {
		w.PolicyVersion = &v.Policy.Version
	}
	if v.FrozenBy != nil {
		w.Freeze = &api.Freeze{Name: null(v.FrozenBy.Name), Reason: null(v.FrozenBy.Reason), Until: v.FrozenUntil.UTC()}
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

func projectVerdictOf(r postgres.Repository, p mergecheck.ProjectVerdict) api.ProjectVerdict {
	w := api.ProjectVerdict{Project: projectOf(p.Project), Required: p.Required, Code: string(p.Code), Detail: null(p.Detail)}
	if p.Build != nil {
		w.Build = new(buildOf(r, *p.Build))
	}
	if m := p.Moved; m != nil {
		w.Freshness = &api.Freshness{
			Tested: null(m.Tested), Current: null(m.Current), Behind: m.Commits, AtLeast: m.AtLeast, Met: m.Within, Detail: m.Detail,
		}
	}
	if p.Waiver != nil {
		w.WaivedBy = new(formatID(p.Waiver.ID))
	}
	return w
}

func timerOf(t mergecheck.Timer) api.Timer {
	w := api.Timer{Timer: t.Timer, DeadlineOn: t.DeadlineOn.UTC(), Expired: t.Expired}
	if t.Project != (mergecheck.Project{}) {
		w.Project = new(projectOf(t.Project))
	}
	return w
}

func decisionOf(d postgres.Decision) api.Decision {
	return api.Decision{
		ID: formatID(d.ID), PullRequest: d.PullRequestID, Trigger: d.Trigger, Success: d.Success, Code: d.Code, Message: d.Message,
		Head: null(d.Head), Destination: null(d.Destination), PolicyVersion: d.PolicyVersion, Builds: d.Builds, Inputs: d.Inputs,
		Checked: null(d.Checked), DurationMs: d.DurationMs, CreatedOn: d.CreatedOn.UTC(),
	}
}

func (s *Server) deliveryOf(d postgres.Delivery) api.Delivery {
	w := api.Delivery{
		ID: formatID(d.ID), Source: d.Source, Outcome: string(d.Outcome), Reason: null(d.Reason), Detail: null(s.Builds.Detail(d)), Attempts: d.Attempts,
		ReceivedOn: d.ReceivedOn.UTC(), ProcessedOn: utc(d.ProcessedOn),
	}
	if d.BuildID != 0 {
		w.BuildID = &d.BuildID
	}
	return w
}

func statusOf(s postgres.CommitStatus) api.CommitStatus {
	place := postgres.Repository{WorkspaceUUID: s.WorkspaceUUID, RepositoryUUID: s.RepositoryUUID}
	return api.CommitStatus{
		ID: formatID(s.ID), Repository: repositoryOf(place, s.Repository),
		Commit: s.Commit, Key: s.Key, State: s.State, PostedState: null(s.PostedState), Outcome: string(s.Outcome),
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
