package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/mergecheck"
)

// ReceiveEvent stores an event and records what it tells in full, at once: both are
// committed when it returns the id. Only what has to be read elsewhere is left to
// jobs. A request that was stored before is not stored again: the id is that
// delivery's. An event that can't be recorded is kept for a job to try again.
func (s *Store) ReceiveEvent(ctx context.Context, d Delivery, e mergecheck.Event) (id int64, err error) {
	d.Outcome = Processed
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		var before bool
		if id, before, err = insertDelivery(ctx, tx, d); err != nil || before {
			return err
		}
		var received time.Time
		if err := tx.QueryRow(ctx, `SELECT received_on FROM deliveries WHERE id = $1`, id).Scan(&received); err != nil {
			return err
		}
		return s.applyEvent(ctx, tx, e, received)
	})
	if err == nil || IsUnavailable(err) {
		if err != nil {
			err = fmt.Errorf("receive event: %w", err)
		}
		return id, err
	}
	d.Outcome = Pending
	return s.AddDelivery(ctx, d)
}

// ApplyEvent records what an event tells, and gives its delivery its outcome in
// the same transaction. It can be repeated and reordered: every part is kept by
// the time Bitbucket gives it. A repository the event doesn't name changes nothing.
func (s *Store) ApplyEvent(ctx context.Context, e mergecheck.Event, d Delivery) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := s.applyEvent(ctx, tx, e, d.ReceivedOn); err != nil {
			return err
		}
		return settleDelivery(ctx, tx, d.ID, Processed, "")
	})
	if err != nil {
		return fmt.Errorf("apply event of delivery %d: %w", d.ID, err)
	}
	return nil
}

func (s *Store) applyEvent(ctx context.Context, tx pgx.Tx, e mergecheck.Event, received time.Time) error {
	if e.WorkspaceUUID == "" || e.RepositoryUUID == "" {
		return nil
	}
	moment := momentOf(e, received)
	slices.SortFunc(e.Branches, func(a, b mergecheck.BranchHead) int { return strings.Compare(a.Branch, b.Branch) }) // locks are taken in one order
	for _, head := range e.Branches {
		if err := s.applyPush(ctx, tx, e, head, moment); err != nil {
			return err
		}
	}
	if e.PullRequest != nil {
		if err := s.applyPullRequest(ctx, tx, e, moment); err != nil {
			return err
		}
	}
	if err := s.readNameIfOther(ctx, tx, e); err != nil || e.PullRequest == nil {
		return err
	}
	return s.wantEffects(ctx, tx, PullRequestKey{e.WorkspaceUUID, e.RepositoryUUID, e.PullRequest.ID})
}

// moment is when something was the case.
type moment struct {
	on      time.Time
	untimed bool // on is when a message arrived: Bitbucket gave no time
}

// maxAhead is how far Bitbucket's clock may be ahead of the database's. A time beyond
// that is none: it would be newer than everything for good.
const maxAhead = 5 * time.Minute

func momentOf(e mergecheck.Event, received time.Time) moment {
	if e.On.IsZero() || e.On.After(received.Add(maxAhead)) {
		return moment{on: received, untimed: true}
	}
	return moment{on: e.On}
}

// readNameIfOther has Bitbucket asked for the repository's name where an event names
// it in another way than is stored. The event itself renames nothing.
func (s *Store) readNameIfOther(ctx context.Context, tx pgx.Tx, e mergecheck.Event) error {
	if e.FullName == "" {
		return nil
	}
	var other bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM repositories WHERE workspace_uuid = $1 AND repository_uuid = $2
			AND lower(full_name) IS DISTINCT FROM lower($3))`, e.WorkspaceUUID, e.RepositoryUUID, e.FullName).Scan(&other)
	if err != nil || !other {
		return err
	}
	return s.enqueue(ctx, tx, ReadName{WorkspaceUUID: e.WorkspaceUUID, RepositoryUUID: e.RepositoryUUID})
}

// applyPush records a branch's head, which is the head of every pull request from
// that branch that was not closed by then: the closing may be heard of first.
func (s *Store) applyPush(ctx context.Context, tx pgx.Tx, e mergecheck.Event, head mergecheck.BranchHead, at moment) error {
	if err := lockBranch(ctx, tx, e, head.Branch); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO branch_heads (workspace_uuid, repository_uuid, branch, pushed_on, commit, untimed)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`, e.WorkspaceUUID, e.RepositoryUUID, head.Branch, at.on, head.Commit, at.untimed)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `
		SELECT workspace_uuid, repository_uuid, pull_request_id FROM pull_requests
		WHERE workspace_uuid = $1 AND source_repository = $2 AND source_branch = $3
			AND (state = 'OPEN' OR told_on > $4)
		ORDER BY pull_request_id`, e.WorkspaceUUID, e.RepositoryUUID, head.Branch, at.on)
	pullRequests, err := all[PullRequestKey](rows, err)
	if err != nil {
		return err
	}
	for _, pr := range pullRequests {
		if err := s.headSeen(ctx, tx, pr, head.Commit, at); err != nil {
			return err
		}
		if at.untimed { // whether it is the newest head, only Bitbucket can tell
			if err := s.enqueue(ctx, tx, LookAtPullRequest(pr)); err != nil {
				return err
			}
		}
	}
	return nil
}

// headSeen records that commit was the pull request's head at a time that may
// be long past, and has its builds told anew which head they are of.
func (s *Store) headSeen(ctx context.Context, tx pgx.Tx, pr PullRequestKey, commit string, at moment) error {
	var isNew bool
	err := tx.QueryRow(ctx, recordHead, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, commit, at.on, at.untimed).Scan(&isNew)
	if err != nil {
		return err
	}
	if err := s.endWaivers(ctx, tx, pr, commit, "", at.on); err != nil || !isNew {
		return err
	}
	appeared := Refused{WorkspaceUUID: pr.WorkspaceUUID, RepositoryUUID: pr.RepositoryUUID, Commit: commit}
	if _, err := s.retryRefused(ctx, tx, HeadAppears, appeared); err != nil {
		return err
	}
	return s.enqueue(ctx, tx, SettleHeads(pr))
}

// NoteHead records that a commit was a head of the pull request at some time until now.
// When isn't known well enough for a waiver to end by it.
func (s *Store) NoteHead(ctx context.Context, pr PullRequestKey, commit string) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		var now time.Time
		if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&now); err != nil {
			return err
		}
		var isNew bool
		err := tx.QueryRow(ctx, recordHead, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, commit, now, true).Scan(&isNew)
		if err != nil || !isNew {
			return err
		}
		return s.enqueue(ctx, tx, SettleHeads(pr))
	})
	if err != nil {
		return fmt.Errorf("note a head of pull request %d: %w", pr.PullRequestID, err)
	}
	return nil
}

// applyPullRequest records a pull request as it was at the event. Its commit has
// only 12 characters there, and those of recorded pushes may be another's: whatever
// it is, Bitbucket is asked.
func (s *Store) applyPullRequest(ctx context.Context, tx pgx.Tx, e mergecheck.Event, at moment) error {
	pr := e.PullRequest
	key := PullRequestKey{e.WorkspaceUUID, e.RepositoryUUID, pr.ID}
	if err := lockBranch(ctx, tx, e, pr.SourceBranch); err != nil {
		return err
	}
	if err := s.tellPullRequest(ctx, tx, key, *pr, at.on); err != nil {
		return err
	}
	if mergecheck.IsFullCommit(pr.SourceCommit) {
		return s.headSeen(ctx, tx, key, pr.SourceCommit, at)
	}
	if pr.Closed() || pr.SourceCommit == "" {
		return nil
	}
	known, err := toldInFull(ctx, tx, key, pr.SourceCommit, at.on)
	if err != nil || known {
		return err
	}
	return s.enqueue(ctx, tx, LookAtPullRequest(key))
}

// toldInFull reports whether the pull request was read in full as it was at that
// very time, with a head of these characters: then the event tells nothing new.
func toldInFull(ctx context.Context, tx pgx.Tx, pr PullRequestKey, commit string, on time.Time) (known bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pull_request_heads WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3
			AND NOT untimed AND starts_with(commit, $4) AND (first_seen_on = $5 OR last_seen_on = $5))`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, commit, on).Scan(&known)
	return known, err
}

// lockBranch keeps a push and an event of its pull request, which come at the
// same time, from each missing what the other tells.
func lockBranch(ctx context.Context, tx pgx.Tx, e mergecheck.Event, branch string) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('branch ' || $1 || ' ' || $2 || ' ' || $3, 0))`,
		e.WorkspaceUUID, e.RepositoryUUID, branch)
	return err
}

// lockPullRequest keeps a status of the pull request from being wanted by what
// it was before it closed.
func lockPullRequest(ctx context.Context, tx pgx.Tx, pr PullRequestKey, mode lockMode) error {
	_, err := tx.Exec(ctx, `SELECT `+string(mode)+`(hashtextextended('pull request ' || $1 || ' ' || $2, $3))`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID)
	return err
}

// tellPullRequest keeps the newest telling of a pull request; of two at the same
// time the one that closed it. Closing stops what is still in progress. A head that
// is told in full isn't kept here, but among the heads.
func (s *Store) tellPullRequest(ctx context.Context, tx pgx.Tx, key PullRequestKey, pr mergecheck.PullRequestEvent, on time.Time) error {
	if err := lockPullRequest(ctx, tx, key, exclusive); err != nil {
		return err
	}
	abbreviated := pr.SourceCommit
	if mergecheck.IsFullCommit(abbreviated) {
		abbreviated = ""
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO pull_requests AS p (workspace_uuid, repository_uuid, pull_request_id, state, source_repository,
			source_branch, source_commit, destination_branch, told_on)
		VALUES (@workspace, @repository, @id, @state, coalesce(nullif(@source, '')::uuid, @repository), @source_branch, @source_commit,
			@destination_branch, @on)
		ON CONFLICT (workspace_uuid, repository_uuid, pull_request_id) DO UPDATE SET
			state = excluded.state, source_branch = excluded.source_branch, source_commit = excluded.source_commit,
			destination_branch = excluded.destination_branch,
			source_repository = CASE WHEN @source = '' THEN p.source_repository ELSE excluded.source_repository END,
			told_on = excluded.told_on, looked_on = now()
		WHERE p.told_on < excluded.told_on OR p.told_on = excluded.told_on AND p.state = 'OPEN'`, pgx.NamedArgs{
		"source_commit": abbreviated,
		"workspace":     key.WorkspaceUUID, "repository": key.RepositoryUUID, "id": key.PullRequestID, "state": pr.State,
		"source": pr.SourceRepository, "source_branch": pr.SourceBranch, "destination_branch": pr.DestinationBranch, "on": on,
	})
	if err == nil {
		err = s.endWaivers(ctx, tx, key, pr.SourceCommit, pr.DestinationBranch, on)
	}
	if err == nil {
		err = s.settleIfWaived(ctx, tx, key)
	}
	if err != nil {
		return err
	}
	if pr.Closed() {
		return s.stopStatuses(ctx, tx, key)
	}
	return s.settleIfFound(ctx, tx, key)
}

// settleIfFound queues showing builds of an open pull request that were only found
// in a history so far.
func (s *Store) settleIfFound(ctx context.Context, tx pgx.Tx, pr PullRequestKey) error {
	var found bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM builds WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND by_history)`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID).Scan(&found)
	if err != nil || !found {
		return err
	}
	return s.enqueue(ctx, tx, SettleHeads(pr))
}

// endWaivers ends for good what waivers the fact ends, by [mergecheck.Waiver.EndedByFact].
func (s *Store) endWaivers(ctx context.Context, tx pgx.Tx, pr PullRequestKey, head, destination string, on time.Time) error {
	rows, err := tx.Query(ctx, selectWaivers+` AND w.created_on < $4 AND e.ended_by IS NULL`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, on)
	list, err := waivers(rows, err)
	if err != nil {
		return err
	}
	ended := false
	for _, w := range list {
		by := w.EndedByFact(head, destination, on)
		if by == "" {
			continue
		}
		_, err := tx.Exec(ctx, `INSERT INTO waiver_endings (waiver_id, ended_by, ended_on) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, w.ID, by, on)
		if err != nil {
			return err
		}
		ended = true
	}
	if !ended {
		return nil
	}
	return s.enqueue(ctx, tx, SettleWaivers{PullRequestKey: pr})
}

// closedDescription is what a status says that nobody waits for any more.
const closedDescription = "the pull request was closed before the build ended"

// stopStatuses ends what is in progress on a closed pull request: a status that
// stays in progress would block merges of the same commit for good.
func (s *Store) stopStatuses(ctx context.Context, tx pgx.Tx, pr PullRequestKey) error {
	return s.stopWhere(ctx, tx, closedDescription, `b.workspace_uuid = $3 AND b.repository_uuid = $4 AND b.pull_request_id = $5
		AND EXISTS (SELECT FROM pull_requests p WHERE p.workspace_uuid = $3 AND p.repository_uuid = $4 AND p.pull_request_id = $5
			AND p.state NOT IN ('OPEN', ''))`, pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID)
}

// stopWhere ends the commit statuses in progress of the builds b of which a condition
// holds, and says why.
func (s *Store) stopWhere(ctx context.Context, tx pgx.Tx, why, condition string, args ...any) error {
	rows, err := tx.Query(ctx, `
		UPDATE commit_statuses c SET state = $1, description = $2, wanted_version = wanted_version + 1, outcome = 'pending',
			http_status = NULL, reason = '', attempts = 0, pending_since = now(), wanted_on = now(), next_attempt_on = NULL, updated_on = now()
		FROM builds b
		WHERE b.build_id = c.build_id AND c.workspace_uuid = b.workspace_uuid AND c.repository_uuid = b.repository_uuid
			AND c.state = 'INPROGRESS' AND `+condition+`
		RETURNING c.id`, append([]any{mergecheck.StatusStopped, why}, args...)...)
	if err != nil {
		return err
	}
	stopped, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for _, id := range stopped {
		if err := s.enqueue(ctx, tx, PublishStatus{StatusID: id}); err != nil {
			return err
		}
	}
	return nil
}

// stoppedIfOver is the status to want of b, whose pull request may have been closed, or
// its project forgotten, meanwhile.
func stoppedIfOver(ctx context.Context, tx pgx.Tx, pr PullRequestKey, b mergecheck.Build, status mergecheck.CommitStatus) (mergecheck.CommitStatus, error) {
	if status.State != mergecheck.StatusInProgress {
		return status, nil
	}
	if err := lockPullRequest(ctx, tx, pr, shared); err != nil {
		return status, err
	}
	var closed, forgotten bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pull_requests
				WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3 AND state NOT IN ('OPEN', '')),
			EXISTS (SELECT FROM projects
				WHERE workspace_uuid = $1 AND repository_uuid = $2 AND project_id = $4 AND forgotten_on IS NOT NULL)`,
		pr.WorkspaceUUID, pr.RepositoryUUID, pr.PullRequestID, b.Project.ID).Scan(&closed, &forgotten)
	switch {
	case closed:
		status.State, status.Description = mergecheck.StatusStopped, closedDescription
	case forgotten:
		status.State, status.Description = mergecheck.StatusStopped, forgottenDescription
	}
	return status, err
}

// Sighting is a pull request as it was read from Bitbucket, by us or by whoever
// brought it along.
type Sighting struct {
	mergecheck.Told
	// Latest is when it was so at the latest: what was read ends a waiver that was
	// given before. It is not before On.
	Latest           time.Time
	SourceRepository string // UUID, "" where it wasn't told
	SourceBranch     string
}

// See records a pull request as it was seen, with a head of 40 characters, "" for
// none. Everything is kept by Bitbucket's time.
func (s *Store) See(ctx context.Context, key PullRequestKey, seen Sighting) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := s.recordSighting(ctx, tx, key, seen); err != nil {
			return err
		}
		return s.wantEffects(ctx, tx, key)
	})
	if err != nil {
		return fmt.Errorf("record pull request %d: %w", key.PullRequestID, err)
	}
	return nil
}

func (s *Store) recordSighting(ctx context.Context, tx pgx.Tx, key PullRequestKey, seen Sighting) error {
	at := moment{on: seen.On}
	if at.on.IsZero() {
		at.untimed = true
		if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&at.on); err != nil {
			return err
		}
	}
	if err := s.recordTelling(ctx, tx, key, seen, at); err != nil {
		return err
	}
	if mergecheck.IsFullCommit(seen.DestinationCommit) && seen.DestinationBranch != "" {
		_, err := tx.Exec(ctx, recordDestination, key.WorkspaceUUID, key.RepositoryUUID, seen.DestinationBranch, seen.DestinationCommit)
		if err != nil {
			return err
		}
	}
	if !mergecheck.IsFullCommit(seen.Head) {
		return nil
	}
	if err := s.headSeen(ctx, tx, key, seen.Head, at); err != nil {
		return err
	}
	if !seen.Latest.After(at.on) {
		return nil
	}
	return s.endWaivers(ctx, tx, key, seen.Head, seen.DestinationBranch, seen.Latest)
}

// recordTelling keeps state and places of a pull request that has a time: without
// one it can't be told whether they are newer.
func (s *Store) recordTelling(ctx context.Context, tx pgx.Tx, key PullRequestKey, seen Sighting, at moment) error {
	if at.untimed || seen.State == "" {
		return nil
	}
	return s.tellPullRequest(ctx, tx, key, mergecheck.PullRequestEvent{
		ID: key.PullRequestID, State: seen.State, SourceBranch: seen.SourceBranch, SourceCommit: seen.Head,
		SourceRepository: seen.SourceRepository, DestinationBranch: seen.DestinationBranch,
	}, at.on)
}

// lookAtUntold asks Bitbucket for the pull request of a build in progress where no
// event told of it, so that the sweep knows of it and notices when it closes. A
// pull request that Bitbucket doesn't show is not asked for at every look at the
// build. That of a build found in a history has to be known to be open, before the
// build is shown.
func (s *Store) lookAtUntold(ctx context.Context, tx pgx.Tx, r Repository, b mergecheck.Build, found bool) error {
	if b.State.Finished() && !found {
		return nil
	}
	job := LookAtPullRequest{r.WorkspaceUUID, r.RepositoryUUID, b.PullRequestID}
	var known bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pull_requests WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = $3)
			OR EXISTS (SELECT FROM looks WHERE kind = $4 AND subject = $5 AND wanted_on > now() - $6::interval)`,
		r.WorkspaceUUID, r.RepositoryUUID, b.PullRequestID, lookPullRequest, PullRequestKey(job).subject(), untoldEvery).Scan(&known)
	if err != nil || known {
		return err
	}
	return s.enqueue(ctx, tx, job)
}

// untoldEvery is how often one pull request is asked for that nobody told of.
const untoldEvery = 10 * time.Minute

// OpenPullRequests returns pull requests that are open as far as is known and
// were not looked at for a while, those longest ago first.
func (s *Store) OpenPullRequests(ctx context.Context, notFor time.Duration, limit int) ([]PullRequestKey, error) {
	rows, err := s.pool.Query(ctx, `
		UPDATE pull_requests SET looked_on = now()
		WHERE (workspace_uuid, repository_uuid, pull_request_id) IN (
			SELECT workspace_uuid, repository_uuid, pull_request_id FROM pull_requests
			WHERE state = 'OPEN' AND looked_on < now() - $1::interval ORDER BY looked_on LIMIT $2 FOR UPDATE SKIP LOCKED)
		RETURNING workspace_uuid, repository_uuid, pull_request_id`, notFor, limit)
	list, err := all[PullRequestKey](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list open pull requests: %w", err)
	}
	return list, nil
}
