package builds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"mergegate/internal/appveyor"
	"mergegate/internal/postgres"
)

// Why a delivery is ignored. The words are stable: they are what operators and
// programs look for.
const (
	ReasonUnknownEvent     = "unknown_event"
	ReasonNotPullRequest   = "not_pull_request"
	ReasonOtherProvider    = "other_provider"
	ReasonOtherHost        = "other_host"
	ReasonUntrustedAccount = "untrusted_account"
)

// SourceAppVeyor is the source of deliveries of AppVeyor's webhook.
const SourceAppVeyor = "appveyor"

// reasonNoBuildURL is why a delivery fails that doesn't lead to a project.
const reasonNoBuildURL = "buildUrl is missing or doesn't name a project; a custom webhook body needs {{buildUrl}}"

// Receive stores one webhook body as a delivery and returns its id once that is
// committed. [appveyor.ErrNotJSON] and [appveyor.ErrNotBuild] are the sender's
// faults; with any other error nothing is stored.
func (s *Service) Receive(ctx context.Context, body []byte) (id int64, err error) {
	hook, err := appveyor.ParseWebhook(body)
	if err != nil {
		return 0, err
	}
	delivery := s.delivery(hook)
	delivery.Body = body
	id, err = s.store.AddDelivery(ctx, delivery)
	if err != nil {
		return 0, err
	}
	s.deliveries.WithLabelValues(SourceAppVeyor, string(delivery.Outcome)).Inc()
	s.log.InfoContext(ctx, "delivery stored", "delivery", id, "build_id", hook.BuildID,
		"outcome", delivery.Outcome, "reason", delivery.Reason)
	if delivery.Reason == ReasonUntrustedAccount {
		s.warnUntrusted(ctx, delivery.Account, delivery.HintedRepository)
	}
	return id, nil
}

// warnUntrusted says what somebody has to look at who wonders where the builds are.
func (s *Service) warnUntrusted(ctx context.Context, account, repository string) {
	s.log.WarnContext(ctx, "AppVeyor account isn't mapped to the workspace of its build", "account", account, "repository", repository,
		"mapping", s.accounts.String())
}

// Detail says in a sentence what the reason of a delivery means here, "" where the reason
// says it all.
func (s *Service) Detail(d postgres.Delivery) string {
	if d.Reason != ReasonUntrustedAccount {
		return ""
	}
	return fmt.Sprintf("MERGEGATE_APPVEYOR_ACCOUNTS (%s) doesn't map AppVeyor account %s to the workspace of %s.",
		s.accounts, d.Account, cmp.Or(d.HintedRepository, "its build"))
}

// delivery decides what can be decided without asking anybody. The body may be
// written by a pull request author, so this can only end in not asking.
func (s *Service) delivery(hook appveyor.Webhook) postgres.Delivery {
	d := postgres.Delivery{
		Source: SourceAppVeyor, BuildID: hook.BuildID, Version: hook.Version,
		HintedRepository: hook.Repository, HintedPullRequest: hook.PullRequestID,
		Outcome: postgres.Ignored,
	}
	ref, err := s.appveyor.ParseBuildURL(hook.BuildURL)
	d.Account, d.Slug = ref.Account, ref.Slug
	if d.Version == "" { // the body has it as it is, the URL escaped or not
		d.Version = ref.Version
	}
	switch {
	case errors.Is(err, appveyor.ErrOtherHost):
		d.Reason = ReasonOtherHost
	case hook.EventName != appveyor.EventSuccess && hook.EventName != appveyor.EventFailure:
		d.Reason = ReasonUnknownEvent
	case hook.NotPullRequest:
		d.Reason = ReasonNotPullRequest
	case hook.Provider != "" && !strings.EqualFold(hook.Provider, "bitBucket"):
		d.Reason = ReasonOtherProvider
	case err != nil:
		d.Outcome, d.Reason = postgres.Failed, reasonNoBuildURL
	case !s.accounts.Known(ref.Account):
		d.Reason = ReasonUntrustedAccount
	default:
		d.Outcome = postgres.Pending
	}
	return d
}
