package server

import (
	"mergegate/api"
	"mergegate/internal/postgres"
)

// Describe is what subscribers are told of an event: in the API's documents.
func Describe(e postgres.Event) any {
	var d api.EventData
	switch e.Type {
	case postgres.EventBuildConfirmed:
		d.Build = new(buildOf(e.Repository, *e.Build))
	case postgres.EventVerdictChanged:
		d.Repository, d.PullRequest = new(repositoryOf(e.Repository, e.Repository.FullName)), e.PullRequestID
		d.Verdict = new(verdictOf(e.Repository, *e.Verdict))
		if p := e.Previous; p != nil {
			d.Previous = &api.PreviousVerdict{Head: null(p.Head), Code: p.Code, Success: p.Success}
		}
	case postgres.EventWaiverGiven:
		d.Repository, d.PullRequest = new(repositoryOf(e.Repository, e.Repository.FullName)), e.PullRequestID
		d.Waiver = new(waiverOf(*e.Waiver))
	case postgres.EventStatusRefused:
		d.CommitStatus = new(statusOf(*e.Status))
	case postgres.EventTest:
		d.Subscription = formatID(e.SubscriptionID)
	}
	return d
}
