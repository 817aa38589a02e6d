package commitstatus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// What a status says whose build decides nothing any more.
const (
	closedDescription    = "Pull request closed before the build finished"
	forgottenDescription = "AppVeyor project forgotten before the build finished"
)

// Want makes the commit status of b's project, pull request and head that of the newest
// build there is for them; and so that of a head, before, which b was taken to be of until
// now ("" for none). unsettled says why b's head can't be told.
func Want(ctx context.Context, tx *postgres.Tx, r postgres.Repository, b mergecheck.Build, before, unsettled string) error {
	if b.SourceCommit != "" {
		if err := wantNewest(ctx, tx, r, b); err != nil {
			return err
		}
	}
	if before == "" || before == b.SourceCommit {
		return nil
	}
	b.SourceCommit = before
	return withdraw(ctx, tx, r, b, unsettled)
}

// wantNewest wants the commit status of the newest build of b's project, pull request and
// head, waived if it is.
func wantNewest(ctx context.Context, tx *postgres.Tx, r postgres.Repository, b mergecheck.Build) error {
	newest, err := tx.NewestOf(ctx, r, b)
	if err != nil {
		return err
	}
	waiver, err := liveWaiver(ctx, tx, r, newest)
	if err != nil {
		return err
	}
	return want(ctx, tx, r, newest, mergecheck.StatusOf(newest, waiver))
}

// withdraw is for a commit that b turned out not to be of, or not surely. A status can't be
// taken back from Bitbucket: without another build it is stopped.
func withdraw(ctx context.Context, tx *postgres.Tx, r postgres.Repository, b mergecheck.Build, unsettled string) error {
	err := wantNewest(ctx, tx, r, b)
	if !errors.Is(err, postgres.ErrNotFound) {
		return err
	}
	if unsettled == "" {
		unsettled = otherCommit(b)
	}
	return want(ctx, tx, r, b, mergecheck.StatusOf(b, nil).Stopped(unsettled))
}

func otherCommit(b mergecheck.Build) string {
	return fmt.Sprintf("AppVeyor build %d is for another commit", b.BuildID)
}

// liveWaiver is the waiver that is live now for b's project and head, nil where none is.
// What isn't known of the pull request, its head or its destination now, ends no waiver
// here: a commit status is a display.
func liveWaiver(ctx context.Context, tx *postgres.Tx, r postgres.Repository, b mergecheck.Build) (*mergecheck.Waiver, error) {
	pr := postgres.PullRequestKey{WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, PullRequestID: b.PullRequestID}
	list, err := tx.UnexpiredWaivers(ctx, pr, b.SourceCommit)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return nil, err
	}
	shown, err := tx.LastKnown(ctx, pr, mergecheck.PullRequest{Head: b.SourceCommit, DestinationBranch: b.DestinationBranch})
	if err != nil {
		return nil, err
	}
	return mergecheck.LiveWaiver(mergecheck.WithStates(list, shown, mergecheck.WaiverRules{}, now), b.Project.ID), nil
}

// want has a status shown. One in progress is stopped where nothing would end it any more.
func want(ctx context.Context, tx *postgres.Tx, r postgres.Repository, b mergecheck.Build, status mergecheck.CommitStatus) error {
	if status.State == mergecheck.StatusInProgress {
		ended, err := tx.Ended(ctx, r, b)
		switch {
		case err != nil:
			return err
		case ended.Closed:
			status = status.Stopped(closedDescription)
		case ended.Forgotten:
			status = status.Stopped(forgottenDescription)
		}
	}
	fork := b.SourceRepository
	if strings.EqualFold(fork, b.Repository) || strings.EqualFold(fork, r.FullName) {
		fork = ""
	}
	return tx.WantStatus(ctx, r, b, fork, status)
}

// WantBuilds wants the commit statuses of some of a pull request's builds anew.
func WantBuilds(ctx context.Context, tx *postgres.Tx, pr postgres.PullRequestKey, which postgres.OfBuilds) error {
	list, err := tx.NewestBuilds(ctx, pr, which)
	if err != nil || len(list) == 0 {
		return err
	}
	r, err := tx.Repository(ctx, pr.WorkspaceUUID, pr.RepositoryUUID)
	if err != nil {
		return err
	}
	for _, b := range list {
		if err := wantNewest(ctx, tx, r, b); err != nil {
			return err
		}
	}
	return nil
}

// WantWaived makes the commit statuses of heads that were ever waived what they are with
// the waivers that are live now, and so what else shows the verdict.
func WantWaived(ctx context.Context, tx *postgres.Tx, pr postgres.PullRequestKey) error {
	if err := WantBuilds(ctx, tx, pr, postgres.OfWaivedHeads); err != nil {
		return err
	}
	return tx.WantEffects(ctx, pr)
}

// StopClosed ends what is in progress on a pull request, if it is closed: a status that
// stays in progress would block merges of the same commit for good.
func StopClosed(ctx context.Context, tx *postgres.Tx, pr postgres.PullRequestKey) error {
	return tx.StopStatuses(ctx, postgres.OfClosed(pr), closedDescription)
}

// Forget stops a project from being required, wherever it was seen, and ends its commit
// statuses in progress: nothing would end them any more. One that was never seen is
// [postgres.ErrNotFound].
func Forget(ctx context.Context, store *postgres.Store, projectID int64) error {
	err := store.InTx(ctx, func(tx *postgres.Tx) error {
		if err := tx.ForgetProject(ctx, projectID); err != nil {
			return err
		}
		return tx.StopStatuses(ctx, postgres.OfProject(projectID), forgottenDescription)
	})
	if err != nil {
		return fmt.Errorf("forget project %d: %w", projectID, err)
	}
	return nil
}
