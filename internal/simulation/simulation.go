// Package simulation judges a workspace's past merges by another policy:
//
//	result, err := simulation.Run(ctx, store, workspaceUUID, document, since, nil)
//
// It reads decisions in batches and keeps none, so that any number of them can be
// judged.
package simulation

import (
	"context"
	"fmt"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
	"mergegate/internal/postgres"
)

// batch is how many decisions are read at a time. What one was decided from is a
// few kilobytes, and tens of them where many paths are changed.
const batch = 250

// Run judges the decisions on merging that a workspace's pull requests got since
// a time. progress, unless it is nil, is told how many are done.
func Run(ctx context.Context, store *postgres.Store, workspaceUUID string, d *policy.Document, since time.Time, progress func(done int)) (policy.Simulation, error) {
	var last postgres.MergeDecision
	return policy.Simulate(ctx, d, func(ctx context.Context) ([]policy.Decision, error) {
		rows, err := store.MergeDecisions(ctx, workspaceUUID, since, last, batch)
		if err != nil || len(rows) == 0 {
			return nil, err
		}
		last = rows[len(rows)-1]
		decisions := make([]policy.Decision, len(rows))
		for i, row := range rows {
			decisions[i] = policy.Decision{
				Repository: row.FullName, RepositoryID: "{" + row.RepositoryUUID + "}", PullRequestID: row.PullRequestID,
				Success: row.Success, Code: mergecheck.Code(row.Code), Inputs: row.Inputs,
			}
		}
		return decisions, nil
	}, progress)
}

// Since reads how far back decisions are judged: a duration like "30d", or a time
// like "2026-01-31" or "2026-01-31T12:00:00Z".
func Since(text string, now time.Time) (time.Time, error) {
	if d, err := policy.ParseDuration(text); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		// PostgreSQL's years end sooner than RFC 3339's begin.
		if t, err := time.Parse(layout, text); err == nil && t.Year() > 0 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a duration like 30d or a time like 2026-01-31", text)
}
