package pullrequests

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"mergegate/internal/commitstatus"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// Record stores an event and records what it tells in full, at once: both are committed
// when it returns the delivery's id. Only what has to be read elsewhere is left to jobs. A
// request that was stored before is not stored again: the id is that delivery's. An event
// that can't be recorded is kept for a job to try again.
func Record(ctx context.Context, store *postgres.Store, d postgres.Delivery, e mergecheck.Event) (id int64, err error) {
	d.Outcome = postgres.Processed
	err = store.InTx(ctx, func(tx *postgres.Tx) error {
		var before bool
		if id, before, err = tx.AddDelivery(ctx, d); err != nil || before {
			return err
		}
		received, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		return apply(ctx, tx, e, received)
	})
	if err != nil && !postgres.IsUnavailable(err) {
		d.Outcome = postgres.Pending
		id, err = store.AddDelivery(ctx, d)
	}
	if err != nil {
		return 0, fmt.Errorf("receive event: %w", err)
	}
	return id, nil
}

// apply records what an event tells. It can be repeated and reordered: every part is kept
// by the time Bitbucket gives it. A repository the event doesn't name changes nothing.
func apply(ctx context.Context, tx *postgres.Tx, e mergecheck.Event, received time.Time) error {
	if e.WorkspaceUUID == "" || e.RepositoryUUID == "" {
		return nil
	}
	at := momentOf(e, received)
	slices.SortFunc(e.Branches, func(a, b mergecheck.BranchHead) int { return strings.Compare(a.Branch, b.Branch) }) // locks are taken in one order
	for _, head := range e.Branches {
		if err := applyPush(ctx, tx, e, head, at); err != nil {
			return err
		}
	}
	if e.PullRequest != nil {
		if err := applyPullRequest(ctx, tx, e, at); err != nil {
			return err
		}
	}
	if err := readNameIfOther(ctx, tx, e); err != nil || e.PullRequest == nil {
		return err
	}
	return tx.WantEffects(ctx, keyOf(e))
}

func keyOf(e mergecheck.Event) postgres.PullRequestKey {
	return postgres.PullRequestKey{WorkspaceUUID: e.WorkspaceUUID, RepositoryUUID: e.RepositoryUUID, PullRequestID: e.PullRequest.ID}
}

// maxAhead is how far Bitbucket's clock may be ahead of the database's. A time beyond
// that is none: it would be newer than everything for good.
const maxAhead = 5 * time.Minute

func momentOf(e mergecheck.Event, received time.Time) postgres.Moment {
	if e.On.IsZero() || e.On.After(received.Add(maxAhead)) {
		return postgres.Moment{On: received, Untimed: true}
	}
	return postgres.Moment{On: e.On}
}

// readNameIfOther has Bitbucket asked for the repository's name where an event names
// it in another way than is stored. The event itself renames nothing.
func readNameIfOther(ctx context.Context, tx *postgres.Tx, e mergecheck.Event) error {
	if e.FullName == "" {
		return nil
	}
	other, err := tx.IsNamedOtherwise(ctx, e.WorkspaceUUID, e.RepositoryUUID, e.FullName)
	if err != nil || !other {
		return err
	}
	return tx.Enqueue(ctx, postgres.ReadName{WorkspaceUUID: e.WorkspaceUUID, RepositoryUUID: e.RepositoryUUID})
}

// applyPush records a branch's head, which is the head of every pull request from
// that branch that was not closed by then.
func applyPush(ctx context.Context, tx *postgres.Tx, e mergecheck.Event, head mergecheck.BranchHead, at postgres.Moment) error {
	if err := tx.LockBranch(ctx, e.WorkspaceUUID, e.RepositoryUUID, head.Branch); err != nil {
		return err
	}
	if err := tx.AddBranchHead(ctx, e.WorkspaceUUID, e.RepositoryUUID, head, at); err != nil {
		return err
	}
	from, err := tx.PullRequestsFrom(ctx, e.WorkspaceUUID, e.RepositoryUUID, head.Branch, at.On)
	if err != nil {
		return err
	}
	for _, pr := range from {
		if err := addHead(ctx, tx, pr, head.Commit, at); err != nil {
			return err
		}
		if at.Untimed { // whether it is the newest head, only Bitbucket can tell
			if err := tx.Enqueue(ctx, postgres.LookAtPullRequest(pr)); err != nil {
				return err
			}
		}
	}
	return nil
}

// addHead records that commit was the pull request's head at a time that may
// be long past, and has its builds told anew which head they are of.
func addHead(ctx context.Context, tx *postgres.Tx, pr postgres.PullRequestKey, commit string, at postgres.Moment) error {
	isNew, err := tx.AddHead(ctx, pr, commit, at)
	if err != nil {
		return err
	}
	if err := endWaivers(ctx, tx, pr, commit, "", at.On); err != nil || !isNew {
		return err
	}
	appeared := postgres.Refused{WorkspaceUUID: pr.WorkspaceUUID, RepositoryUUID: pr.RepositoryUUID, Commit: commit}
	if _, err := tx.RetryRefused(ctx, postgres.HeadAppears, appeared); err != nil {
		return err
	}
	return tx.Enqueue(ctx, postgres.SettleHeads(pr))
}

// applyPullRequest records a pull request as it was at the event. Its commit has
// only 12 characters there, and those of recorded pushes may be another's: whatever
// it is, Bitbucket is asked, unless it was read in full as it was at that very time.
func applyPullRequest(ctx context.Context, tx *postgres.Tx, e mergecheck.Event, at postgres.Moment) error {
	pr, key := e.PullRequest, keyOf(e)
	if err := tx.LockBranch(ctx, e.WorkspaceUUID, e.RepositoryUUID, pr.SourceBranch); err != nil {
		return err
	}
	if err := save(ctx, tx, key, *pr, at.On); err != nil {
		return err
	}
	if mergecheck.IsFullCommit(pr.SourceCommit) {
		return addHead(ctx, tx, key, pr.SourceCommit, at)
	}
	if pr.Closed() || pr.SourceCommit == "" {
		return nil
	}
	known, err := tx.IsToldInFull(ctx, key, pr.SourceCommit, at.On)
	if err != nil || known {
		return err
	}
	return tx.Enqueue(ctx, postgres.LookAtPullRequest(key))
}

// save keeps the newest telling of a pull request. Closing stops what is in progress; an
// open one's builds are shown that were only found in a history so far.
func save(ctx context.Context, tx *postgres.Tx, key postgres.PullRequestKey, pr mergecheck.PullRequestEvent, on time.Time) error {
	if err := tx.SavePullRequest(ctx, key, pr, on); err != nil {
		return err
	}
	if err := endWaivers(ctx, tx, key, pr.SourceCommit, pr.DestinationBranch, on); err != nil {
		return err
	}
	waived, err := tx.IsWaived(ctx, key)
	if err == nil && waived {
		err = tx.Enqueue(ctx, postgres.SettleWaivers{PullRequestKey: key})
	}
	if err != nil {
		return err
	}
	if pr.Closed() {
		return commitstatus.StopClosed(ctx, tx, key)
	}
	found, err := tx.HasFound(ctx, key)
	if err != nil || !found {
		return err
	}
	return tx.Enqueue(ctx, postgres.SettleHeads(key))
}

// endWaivers ends for good what waivers the fact ends, by [mergecheck.Waiver.EndedByFact].
func endWaivers(ctx context.Context, tx *postgres.Tx, pr postgres.PullRequestKey, head, destination string, on time.Time) error {
	list, err := tx.UnendedWaivers(ctx, pr, on)
	if err != nil {
		return err
	}
	ended := false
	for _, w := range list {
		by := w.EndedByFact(head, destination, on)
		if by == "" {
			continue
		}
		if err := tx.EndWaiver(ctx, w.ID, string(by), on); err != nil {
			return err
		}
		ended = true
	}
	if !ended {
		return nil
	}
	return tx.Enqueue(ctx, postgres.SettleWaivers{PullRequestKey: pr})
}

// NoteHead records that a commit was a head of the pull request at some time until now, where
// what was seen may have the time of its twin. The Forge function reads the head after the
// time, which comes with the destination: the head was one then or later, and the destination
// was it then. Both are enough to end a waiver.
func NoteHead(ctx context.Context, store *postgres.Store, pr postgres.PullRequestKey, seen postgres.Sighting) error {
	err := store.InTx(ctx, func(tx *postgres.Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		isNew, err := tx.AddHead(ctx, pr, seen.Head, postgres.Moment{On: now, Untimed: true})
		if err != nil {
			return err
		}
		if err := endWaivers(ctx, tx, pr, seen.Head, seen.DestinationBranch, seen.On); err != nil || !isNew {
			return err
		}
		return tx.Enqueue(ctx, postgres.SettleHeads(pr))
	})
	if err != nil {
		return fmt.Errorf("note a head of pull request %d: %w", pr.PullRequestID, err)
	}
	return nil
}

// See records a pull request as it was seen. Everything is kept by Bitbucket's time.
func See(ctx context.Context, store *postgres.Store, pr postgres.PullRequestKey, seen postgres.Sighting) error {
	err := store.InTx(ctx, func(tx *postgres.Tx) error {
		if err := Saw(ctx, tx, pr, seen); err != nil {
			return err
		}
		return tx.WantEffects(ctx, pr)
	})
	if err != nil {
		return fmt.Errorf("record pull request %d: %w", pr.PullRequestID, err)
	}
	return nil
}

// Saw is [See] in a transaction, in which the effects are still to be wanted.
func Saw(ctx context.Context, tx *postgres.Tx, pr postgres.PullRequestKey, seen postgres.Sighting) error {
	at := postgres.Moment{On: seen.On}
	if at.On.IsZero() {
		var err error
		if at.On, err = tx.Now(ctx); err != nil {
			return err
		}
		at.Untimed = true
	}
	if err := saveTimed(ctx, tx, pr, seen, at); err != nil {
		return err
	}
	if mergecheck.IsFullCommit(seen.DestinationCommit) && seen.DestinationBranch != "" {
		if err := tx.AddDestination(ctx, pr, seen.DestinationBranch, seen.DestinationCommit); err != nil {
			return err
		}
	}
	if !mergecheck.IsFullCommit(seen.Head) {
		return nil
	}
	if err := addHead(ctx, tx, pr, seen.Head, at); err != nil {
		return err
	}
	if !seen.Latest.After(at.On) {
		return nil
	}
	return endWaivers(ctx, tx, pr, seen.Head, seen.DestinationBranch, seen.Latest)
}

// saveTimed keeps state and places of a pull request that has a time: without one it can't
// be told whether they are newer.
func saveTimed(ctx context.Context, tx *postgres.Tx, pr postgres.PullRequestKey, seen postgres.Sighting, at postgres.Moment) error {
	if at.Untimed || seen.State == "" {
		return nil
	}
	return save(ctx, tx, pr, mergecheck.PullRequestEvent{
		ID: pr.PullRequestID, State: seen.State, SourceBranch: seen.SourceBranch, SourceCommit: seen.Head,
		SourceRepository: seen.SourceRepository, DestinationBranch: seen.DestinationBranch,
	}, at.On)
}
