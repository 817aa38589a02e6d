package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// The queues. Talking to Bitbucket must not wait behind talking to AppVeyor.
const (
	QueueBuilds        = "builds"
	QueueStatuses      = "commit_statuses"
	QueueEffects       = "effects"
	QueueNotifications = "notifications" // a subscriber may be slow
)

var queueOf = map[EntryKind]string{
	StatusEntry: QueueStatuses, EffectsEntry: QueueEffects, NotificationEntry: QueueNotifications,
}

// jobAttempts bounds what is only retried when this program itself fails: jobs
// that wait for a remote snooze, and bound that by time. After the last attempt
// [Store.GiveUp] fails what waits for the job.
const jobAttempts = 50

// eventAttempts are some minutes: an event that can't be recorded then never can.
const eventAttempts = 8

// Job is one of the kinds below, with its arguments.
type Job = river.JobArgs

// ConfirmDelivery asks AppVeyor about the build a delivery hints at.
type ConfirmDelivery struct {
	DeliveryID int64 `json:"delivery_id"`
}

// Kind names the job in the queue.
func (ConfirmDelivery) Kind() string { return "confirm_delivery" }

// ApplyEvent records what an event tells of branches and pull requests.
type ApplyEvent struct {
	DeliveryID int64 `json:"delivery_id"`
}

// Kind names the job in the queue.
func (ApplyEvent) Kind() string { return "apply_event" }

// LookAtPullRequest reads a pull request from Bitbucket and records what it is
// now.
type LookAtPullRequest struct {
	WorkspaceUUID  string `json:"workspace_uuid"`
	RepositoryUUID string `json:"repository_uuid"`
	PullRequestID  int64  `json:"pull_request_id"`
}

// Kind names the job in the queue.
func (LookAtPullRequest) Kind() string { return "look_at_pull_request" }

// WatchBuild looks at a build again until it has ended: AppVeyor sends nothing
// for builds that start, run or are cancelled.
type WatchBuild struct {
	Account string `json:"account"`
	Slug    string `json:"slug"`
	BuildID int64  `json:"build_id"`
	Version string `json:"version"`
}

// Kind names the job in the queue.
func (WatchBuild) Kind() string { return "watch_build" }

// Publish makes what is wanted of an entry of the outbox.
type Publish struct {
	EntryID   int64     `json:"entry_id"`
	EntryKind EntryKind `json:"entry_kind"`
	// Unfinished statuses give way to results.
	Unfinished bool `json:"unfinished,omitempty"`
}

// Kind names the job in the queue.
func (Publish) Kind() string { return "publish" }

// LearnRepository asks Bitbucket for the UUIDs behind a repository's name.
type LearnRepository struct {
	FullName string `json:"full_name"`
}

// Kind names the job in the queue.
func (LearnRepository) Kind() string { return "learn_repository" }

// ReadName asks Bitbucket what a repository is called now, by its UUIDs, after an
// event called it something else: an event is only a hint.
type ReadName struct {
	WorkspaceUUID  string `json:"workspace_uuid"`
	RepositoryUUID string `json:"repository_uuid"`
}

// Kind names the job in the queue.
func (ReadName) Kind() string { return "read_name" }

// SettleHeads tells again which heads a pull request's builds are of, after a
// head was recorded that changes the answer.
type SettleHeads struct {
	WorkspaceUUID  string `json:"workspace_uuid"`
	RepositoryUUID string `json:"repository_uuid"`
	PullRequestID  int64  `json:"pull_request_id"`
}

// Kind names the job in the queue.
func (SettleHeads) Kind() string { return "settle_heads" }

// RebuildPullRequest asks AppVeyor to build a pull request again that the policy
// wants built: by what a merge check found.
type RebuildPullRequest struct {
	PullRequestKey
	ProjectIDs        []int64 `json:"project_ids"`
	Head              string  `json:"head"`
	DestinationBranch string  `json:"destination_branch"`
	DestinationCommit string  `json:"destination_commit"`
}

// Kind names the job in the queue.
func (RebuildPullRequest) Kind() string { return "rebuild_pull_request" }

// LookAgain looks through the histories of a repository's projects, often at
// first, after a merge check asked for a build that isn't there.
type LookAgain struct {
	WorkspaceUUID  string    `json:"workspace_uuid"`
	RepositoryUUID string    `json:"repository_uuid"`
	AskedOn        time.Time `json:"asked_on"`
}

// Kind names the job in the queue.
func (LookAgain) Kind() string { return "look_again" }

// RecordUnlinked records the builds that waited for a repository to be linked.
type RecordUnlinked struct {
	WorkspaceUUID  string `json:"workspace_uuid"`
	RepositoryUUID string `json:"repository_uuid"`
}

// Kind names the job in the queue.
func (RecordUnlinked) Kind() string { return "record_unlinked" }

// SettleWaivers has the commit statuses of waived heads settled, at once or, with
// ExpiresOn, when a waiver ends.
type SettleWaivers struct {
	PullRequestKey
	ExpiresOn time.Time `json:"expires_on,omitzero"`
}

// Kind names the job in the queue.
func (SettleWaivers) Kind() string { return "settle_waivers" }

// WakeEffects has the effects of a pull request looked at when a time has come
// that can change its verdict.
type WakeEffects struct {
	PullRequestKey
	On time.Time `json:"on"`
}

// Kind names the job in the queue.
func (WakeEffects) Kind() string { return "wake_effects" }

// SpreadEffects has the effects of all open pull requests of a workspace looked
// at, some at a time: those after the pull request that is named.
type SpreadEffects struct {
	WorkspaceUUID   string `json:"workspace_uuid"`
	AfterRepository string `json:"after_repository"`
	AfterID         int64  `json:"after_id"`
}

// Kind names the job in the queue.
func (SpreadEffects) Kind() string { return "spread_effects" }

// Reconcile is a round through the histories of all projects, for builds that no
// delivery told of: AppVeyor sends each webhook once, and none for builds that start or
// are cancelled.
type Reconcile struct{}

// Kind names the job in the queue.
func (Reconcile) Kind() string { return "reconcile" }

// InsertOpts keep rounds from piling up behind a slow one.
func (Reconcile) InsertOpts() river.InsertOpts { return oneRound }

// SweepPullRequests is a round through open pull requests that no event told of for a
// while.
type SweepPullRequests struct {
	NotFor time.Duration `json:"not_for"`
}

// Kind names the job in the queue.
func (SweepPullRequests) Kind() string { return "sweep_pull_requests" }

// InsertOpts keep rounds from piling up behind a slow one.
func (SweepPullRequests) InsertOpts() river.InsertOpts { return oneRound }

// DeleteOld is a round that deletes what is older than it is kept.
type DeleteOld struct{}

// Kind names the job in the queue.
func (DeleteOld) Kind() string { return "delete_old" }

// InsertOpts keep rounds from piling up behind a slow one.
func (DeleteOld) InsertOpts() river.InsertOpts { return oneRound }

// oneRound has a round that fails followed by the next one, and none begin while one isn't
// over.
var oneRound = river.InsertOpts{Queue: QueueBuilds, MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByState: Unfinished}}

// Round is a job that comes again by a schedule, and at once after a start where atStart
// says so. One replica inserts it, any works it.
func Round(args river.JobArgs, schedule river.PeriodicSchedule, atStart bool) *river.PeriodicJob {
	return river.NewPeriodicJob(schedule, func() (river.JobArgs, *river.InsertOpts) { return args, nil },
		&river.PeriodicJobOpts{RunOnStart: atStart})
}

// Unfinished are the states of jobs that are yet to end.
var Unfinished = []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
	rivertype.JobStateRunning, rivertype.JobStateScheduled,
}

// What makes a job a duplicate of another, and why dropping it is safe:
//
//   - Looks (see [look]) are never dropped. River's uniqueness counts running jobs
//     too, and one that runs has read what there was before. So each look is counted
//     as wanted, and a job that ends looks again while it has seen fewer.
//   - [ConfirmDelivery] and [ApplyEvent] are one for each delivery.
//   - [Publish] is not unique: what is wanted has a version, and a job too many finds
//     nothing to do.
//   - [RebuildPullRequest] repeats the same request to AppVeyor for the same head and
//     destination. One that runs makes it, or gives its claim back, and then the next
//     merge check asks again.
//   - [WakeEffects] only says that a moment has come; any job of that moment that
//     runs says so in a transaction that is yet to commit.
//   - [LookAgain] is not unique: an earlier one ends when it isn't the latest.
//   - [RecordUnlinked] records what waits when it runs, and each [Reconcile] queues it
//     again while anything does: so it may be missed by one that runs.
//   - A [Round] is followed by the next one.
var uniqueByArgs = river.UniqueOpts{ByArgs: true, ByState: Unfinished}

func insertOpts(args river.JobArgs) *river.InsertOpts {
	opts := &river.InsertOpts{Queue: QueueBuilds, MaxAttempts: jobAttempts}
	switch args := args.(type) {
	case ApplyEvent:
		opts.MaxAttempts = eventAttempts
	case Publish:
		if args.Unfinished {
			opts.Priority = 2
		}
		opts.Queue = queueOf[args.EntryKind]
	case WatchBuild:
		opts.ScheduledAt = time.Now().Add(2 * time.Second)
	case LookAgain:
		opts.ScheduledAt = time.Now().Add(5 * time.Second) // who asked looks first
	case SettleWaivers:
		opts.ScheduledAt = args.ExpiresOn
	case WakeEffects:
		opts.ScheduledAt = args.On
		opts.UniqueOpts = uniqueByArgs
	case RebuildPullRequest, RecordUnlinked:
		opts.UniqueOpts = uniqueByArgs
	}
	return opts
}

// Enqueue queues jobs, which begin when the transaction is committed. A look for which a
// job is queued already is only counted.
func (tx *Tx) Enqueue(ctx context.Context, jobs ...Job) error {
	for _, args := range jobs {
		if look, is := lookOf(args); is {
			queued, err := tx.wantLook(ctx, look)
			if err != nil {
				return err
			}
			if !queued {
				continue
			}
		}
		if _, err := tx.store.jobs.InsertTx(ctx, tx.db, args, insertOpts(args)); err != nil {
			return fmt.Errorf("insert job %s: %w", args.Kind(), err)
		}
	}
	return nil
}
