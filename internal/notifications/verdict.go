package notifications

import (
	"context"
	"errors"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// NotifyVerdict has subscribers notified of a verdict on a pull request that is another than
// the one they were notified of before.
func NotifyVerdict(ctx context.Context, tx *postgres.Tx, pr postgres.PullRequestKey, v mergecheck.Verdict) error {
	before, err := tx.ReplaceVerdict(ctx, pr, v)
	if err != nil || before.Head == v.PullRequest.Head && before.Code == string(v.Code) {
		return err
	}
	r, err := tx.Repository(ctx, pr.WorkspaceUUID, pr.RepositoryUUID)
	if errors.Is(err, postgres.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	event := postgres.Event{Type: postgres.EventVerdictChanged, Repository: r, PullRequestID: pr.PullRequestID, Verdict: &v}
	if before.Code != "" {
		event.Previous = &before
	}
	return tx.Notify(ctx, pr.WorkspaceUUID, event)
}
