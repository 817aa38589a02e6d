package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"
)

type deliveriesCommand struct {
	List   deliveriesList   `cmd:"" help:"List what AppVeyor, Forge and Bitbucket sent, newest first."`
	Replay deliveriesReplay `cmd:"" help:"Have a delivery processed again."`
}

type deliveriesList struct {
	Limit int `default:"20" placeholder:"N" help:"At most so many."`
	remote
	jsonFlag
}

// Help shows examples.
func (deliveriesList) Help() string {
	return `A running service wants a token with scope admin.

Examples:
  mergegate deliveries list
  mergegate deliveries list --limit 500 --json | jq '.[] | select(.outcome == "failed")'`
}

// wantedDelivery is a delivery of the API, as far as people are told.
type wantedDelivery struct {
	ID, Source, Outcome, Reason string
	BuildID                     *int64 `json:"build_id"`
	Attempts                    int
	ReceivedOn                  time.Time `json:"received_on"`
}

// Run lists deliveries.
func (d deliveriesList) Run(p *program) error {
	return p.withAPI(d.remote, p.token("deliveries list"), func(ctx context.Context, api *apiClient) error {
		list, err := api.list(ctx, "/api/v1/deliveries", url.Values{}, d.Limit)
		if err != nil {
			return err
		}
		columns := []string{"ID", "RECEIVED", "SOURCE", "OUTCOME", "BUILD", "ATTEMPTS", "REASON"}
		return printDocuments(p, d.JSON, list, columns, func(d wantedDelivery) []any {
			build := ""
			if d.BuildID != nil {
				build = fmt.Sprint(*d.BuildID)
			}
			return []any{d.ID, when(&d.ReceivedOn, ""), d.Source, d.Outcome, build, d.Attempts, d.Reason}
		})
	})
}

type deliveriesReplay struct {
	ID int64 `arg:"" help:"The id deliveries list shows."`
	remote
	jsonFlag
}

// Help shows an example.
func (deliveriesReplay) Help() string {
	return `The running service processes it; mergegate replay --since does this for many.

Example:
  mergegate deliveries replay 4711`
}

// Run queues a delivery to be processed again.
func (d deliveriesReplay) Run(p *program) error {
	return p.withAPI(d.remote, p.token("deliveries replay"), func(ctx context.Context, api *apiClient) error {
		var raw json.RawMessage
		if err := api.post(ctx, fmt.Sprintf("/api/v1/deliveries/%d/replay", d.ID), nil, &raw); err != nil {
			return unknown(err, fmt.Sprintf("there is no delivery %d; see mergegate deliveries list", d.ID))
		}
		if d.JSON {
			return writeJSON(p.stdout, raw)
		}
		_, err := fmt.Fprintf(p.stdout, "delivery %d is queued\n", d.ID)
		return err
	})
}

type statusesCommand struct {
	List  statusesList  `cmd:"" help:"List commit statuses and how far they have come, newest first."`
	Retry statusesRetry `cmd:"" help:"Post a commit status again that Bitbucket refused."`
}

type statusesList struct {
	State string `placeholder:"S" enum:",pending,posted,failed,not_postable" default:"" help:"Those that are pending, posted, failed or not_postable."`
	Limit int    `default:"20" placeholder:"N" help:"At most so many."`
	remote
	jsonFlag
}

// Help shows examples.
func (statusesList) Help() string {
	return `A running service wants a token with scope admin.

Examples:
  mergegate statuses list --state failed
  mergegate statuses list --limit 100 --json`
}

// wantedStatus is a commit status of the API, as far as people are told.
type wantedStatus struct {
	ID         string
	Repository struct {
		FullName string `json:"full_name"`
	}
	Commit, Key, State, Delivery, Reason string
	HTTPStatus                           *int `json:"http_status"`
	Attempts                             int
	UpdatedOn                            time.Time `json:"updated_on"`
}

// Run lists commit statuses.
func (s statusesList) Run(p *program) error {
	query := url.Values{}
	if s.State != "" {
		query.Set("state", s.State)
	}
	return p.withAPI(s.remote, p.token("statuses list"), func(ctx context.Context, api *apiClient) error {
		list, err := api.list(ctx, "/api/v1/commit-statuses", query, s.Limit)
		if err != nil {
			return err
		}
		columns := []string{"ID", "REPOSITORY", "COMMIT", "KEY", "STATE", "DELIVERY", "HTTP", "ATTEMPTS", "UPDATED", "REASON"}
		return printDocuments(p, s.JSON, list, columns, func(s wantedStatus) []any {
			code := ""
			if s.HTTPStatus != nil {
				code = fmt.Sprint(*s.HTTPStatus)
			}
			return []any{s.ID, s.Repository.FullName, short(s.Commit), s.Key, s.State, s.Delivery, code, s.Attempts, when(&s.UpdatedOn, ""), s.Reason}
		})
	})
}

type statusesRetry struct {
	ID int64 `arg:"" help:"The id statuses list shows."`
	remote
	jsonFlag
}

// Help shows an example.
func (statusesRetry) Help() string {
	return `Example:
  mergegate statuses retry 12`
}

// Run queues a commit status again.
func (s statusesRetry) Run(p *program) error {
	return p.withAPI(s.remote, p.token("statuses retry"), func(ctx context.Context, api *apiClient) error {
		var raw json.RawMessage
		if err := api.post(ctx, fmt.Sprintf("/api/v1/commit-statuses/%d/retry", s.ID), nil, &raw); err != nil {
			return unknown(err, fmt.Sprintf("there is no commit status %d; see mergegate statuses list", s.ID))
		}
		if s.JSON {
			return writeJSON(p.stdout, raw)
		}
		_, err := fmt.Fprintf(p.stdout, "commit status %d is queued\n", s.ID)
		return err
	})
}
