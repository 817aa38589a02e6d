package builds

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mergegate/internal/commitstatus"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// ReasonUnlinked is what a delivery says whose build waits for its repository.
const ReasonUnlinked = "repository not linked yet"

// Recorded is what recording a build led to.
type Recorded struct {
	Build      mergecheck.Build // as it stands now, after every observation of it
	Repository postgres.Repository
	// Unsettled says why the build's head can't be told, "" when it can.
	Unsettled string
}

// unlinked reports whether the build waits for its repository to be linked.
func (r Recorded) unlinked() bool { return r.Repository.RepositoryUUID == "" }

// Record records one observation of a build that AppVeyor confirmed, with all that follows
// from it. With a delivery (0: none) it also gives that delivery its outcome. All of it is
// committed, or none. found says that only a project's history told of the build.
func Record(ctx context.Context, store *postgres.Store, b mergecheck.Build, delivery int64, found bool) (rec Recorded, err error) {
	err = store.InTx(ctx, func(tx *postgres.Tx) error {
		if rec, err = record(ctx, tx, b, found); err != nil || delivery == 0 {
			return err
		}
		if err := retryStatus(ctx, tx, rec); err != nil {
			return err
		}
		return tx.SettleDelivery(ctx, delivery, postgres.Processed, rec.Unsettled)
	})
	if err != nil {
		return Recorded{}, fmt.Errorf("record build %d: %w", b.BuildID, err)
	}
	return rec, nil
}

// record joins this observation with those before it, by [mergecheck.Build.Merge], finds
// the head that was built, and wants what follows: the commit status, a notification, and a
// look at what isn't known or hasn't ended yet.
func record(ctx context.Context, tx *postgres.Tx, b mergecheck.Build, found bool) (Recorded, error) {
	if err := tx.LockBuild(ctx, b); err != nil {
		return Recorded{}, err
	}
	repository, before, err := tx.PlaceOf(ctx, b)
	if errors.Is(err, postgres.ErrNotFound) {
		return wait(ctx, tx, b, found)
	}
	if err != nil {
		return Recorded{}, err
	}
	b, found, err = joined(ctx, tx, b, before, found)
	if err != nil {
		return Recorded{}, err
	}
	history, err := tx.HistoryOf(ctx, repository, b)
	if err != nil {
		return Recorded{}, err
	}
	rec := Recorded{Repository: repository}
	b.SourceCommit, rec.Unsettled = mergecheck.Attribute(b, history)
	if b.ID, err = tx.SaveBuild(ctx, repository, b, found); err != nil {
		return Recorded{}, err
	}
	rec.Build = b
	if err := tell(ctx, tx, rec, before, found); err != nil {
		return Recorded{}, err
	}
	pr := pullRequestOf(rec)
	if err := lookAtUntold(ctx, tx, pr, b, found); err != nil {
		return Recorded{}, err
	}
	if err := watch(ctx, tx, b); err != nil {
		return Recorded{}, err
	}
	return rec, tx.WantEffects(ctx, pr)
}

func pullRequestOf(rec Recorded) postgres.PullRequestKey {
	return postgres.PullRequestKey{
		WorkspaceUUID: rec.Repository.WorkspaceUUID, RepositoryUUID: rec.Repository.RepositoryUUID, PullRequestID: rec.Build.PullRequestID,
	}
}

// joined is b with what was observed of it before, in its repository or while it waited
// for that. What anything but a history told of once is no longer only found.
func joined(ctx context.Context, tx *postgres.Tx, b mergecheck.Build, before *postgres.Known, found bool) (mergecheck.Build, bool, error) {
	if before != nil {
		joined := before.Build.Merge(b)
		joined.Repository = before.Build.Repository
		return joined, found && before.Found, nil
	}
	waiting, err := tx.TakeUnlinked(ctx, b.BuildID)
	if err != nil || waiting == nil {
		return b, found, err
	}
	return waiting.Build.Merge(b), found && waiting.Found, nil
}

// wait has a build wait for its repository to be linked, and asks for that.
func wait(ctx context.Context, tx *postgres.Tx, b mergecheck.Build, found bool) (Recorded, error) {
	waiting, err := tx.TakeUnlinked(ctx, b.BuildID)
	if err != nil {
		return Recorded{}, err
	}
	if waiting != nil {
		b, found = waiting.Build.Merge(b), found && waiting.Found
		b.Repository = waiting.Build.Repository // the name it was first told under, as for a build that is recorded
	}
	if err := tx.KeepUnlinked(ctx, b, found); err != nil {
		return Recorded{}, err
	}
	if err := watch(ctx, tx, b); err != nil {
		return Recorded{}, err
	}
	rec := Recorded{Build: b, Repository: postgres.Repository{FullName: b.Repository}, Unsettled: ReasonUnlinked}
	return rec, tx.Enqueue(ctx, postgres.LearnRepository{FullName: b.Repository})
}

// tell has a build shown and told of. Nobody can be told of one whose project isn't known
// yet, and one that was only found is shown while its pull request is open.
func tell(ctx context.Context, tx *postgres.Tx, rec Recorded, before *postgres.Known, found bool) error {
	b := rec.Build
	if b.Project.ID == 0 {
		return nil
	}
	if err := tx.SaveProject(ctx, rec.Repository, b); err != nil {
		return err
	}
	shown := !found
	if found {
		var err error
		if shown, err = tx.IsOpen(ctx, pullRequestOf(rec)); err != nil {
			return err
		}
	}
	var last mergecheck.Build // as everybody knows it
	if before != nil && before.Build.Project.ID != 0 {
		last = before.Build
	}
	if shown {
		if err := commitstatus.Want(ctx, tx, rec.Repository, b, last.SourceCommit, rec.Unsettled); err != nil {
			return err
		}
	}
	if last.State == b.State {
		return nil
	}
	return tx.Notify(ctx, rec.Repository.WorkspaceUUID, postgres.Event{
		Type: postgres.EventBuildConfirmed, Repository: rec.Repository, PullRequestID: b.PullRequestID, Build: &b,
	})
}

// untoldEvery is how often one pull request is asked for that nobody told of.
const untoldEvery = 10 * time.Minute

// lookAtUntold asks Bitbucket for the pull request of a build in progress where no
// event told of it, so that the sweep knows of it and notices when it closes. A
// pull request that Bitbucket doesn't show is not asked for at every look at the
// build. That of a build found in a history has to be known to be open, before the
// build is shown.
func lookAtUntold(ctx context.Context, tx *postgres.Tx, pr postgres.PullRequestKey, b mergecheck.Build, found bool) error {
	if b.State.Finished() && !found {
		return nil
	}
	known, err := tx.IsToldOf(ctx, pr, untoldEvery)
	if err != nil || known {
		return err
	}
	return tx.Enqueue(ctx, postgres.LookAtPullRequest(pr))
}

// watch has a build looked at again that has not ended.
func watch(ctx context.Context, tx *postgres.Tx, b mergecheck.Build) error {
	if b.State.Finished() {
		return nil
	}
	return tx.Enqueue(ctx, postgres.WatchBuild{Account: b.Project.Account, Slug: b.Project.Slug, BuildID: b.BuildID, Version: b.Version})
}

// retryStatus has the commit status of a build retried that a webhook confirmed again.
func retryStatus(ctx context.Context, tx *postgres.Tx, rec Recorded) error {
	b := rec.Build
	if rec.unlinked() || b.SourceCommit == "" || b.Project.ID == 0 {
		return nil
	}
	_, err := tx.RetryRefused(ctx, postgres.WebhookRepeats, postgres.Refused{
		WorkspaceUUID: rec.Repository.WorkspaceUUID, RepositoryUUID: rec.Repository.RepositoryUUID,
		Commit: b.SourceCommit, Key: mergecheck.StatusKey(b.Project.ID, b.PullRequestID),
	})
	return err
}

// mostWaitedFor is how many builds of one pull request somebody waits to have recorded: the
// newest.
const mostWaitedFor = 50

// RecordWaiting records the newest builds of a pull request that waited for its repository
// to be linked, by the ordinary path.
func RecordWaiting(ctx context.Context, store *postgres.Store, pr postgres.PullRequestKey) error {
	return recordWaiting(ctx, store, pr, mostWaitedFor)
}

func recordWaiting(ctx context.Context, store *postgres.Store, pr postgres.PullRequestKey, limit int) error {
	list, err := store.Unlinked(ctx, pr, limit)
	if err != nil {
		return err
	}
	return recordAgain(ctx, store, list)
}

// recordAgain records builds as they are known, each in its own transaction, so that it
// can be repeated and stops nobody.
func recordAgain(ctx context.Context, store *postgres.Store, list []postgres.Known) error {
	for _, known := range list {
		if _, err := Record(ctx, store, known.Build, 0, known.Found); err != nil {
			return err
		}
	}
	return nil
}

// SettleHeads tells again which heads a pull request's builds are of, and shows those that
// were found in a history before it was known that the pull request is open.
func SettleHeads(ctx context.Context, store *postgres.Store, pr postgres.PullRequestKey) error {
	list, err := store.AbbreviatedBuilds(ctx, pr)
	if err != nil {
		return err
	}
	if err := recordAgain(ctx, store, list); err != nil {
		return err
	}
	err = store.InTx(ctx, func(tx *postgres.Tx) error {
		open, err := tx.IsOpen(ctx, pr)
		if err == nil && open {
			err = commitstatus.WantBuilds(ctx, tx, pr, postgres.FoundOnly)
		}
		if err == nil && open {
			err = tx.NoteShown(ctx, pr)
		}
		if err != nil {
			return err
		}
		return commitstatus.WantWaived(ctx, tx, pr)
	})
	if err != nil {
		return fmt.Errorf("settle heads of pull request %d: %w", pr.PullRequestID, err)
	}
	return nil
}
