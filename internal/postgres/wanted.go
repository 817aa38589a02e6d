package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
)

// look is something to be looked at, by however many messages that say so.
type look struct {
	kind    string
	subject string // which one of its kind
}

const (
	lookPullRequest    = "pull_request"
	lookHeads          = "heads"
	lookBuild          = "build"
	lookRepository     = "repository"
	lookRepositoryName = "repository_name"
)

// lookOf tells which jobs are looks, and at what.
func lookOf(args river.JobArgs) (look, bool) {
	switch args := args.(type) {
	case LookAtPullRequest:
		return look{lookPullRequest, PullRequestKey(args).subject()}, true
	case SettleHeads:
		return look{lookHeads, PullRequestKey(args).subject()}, true
	case WatchBuild:
		return look{lookBuild, strconv.FormatInt(args.BuildID, 10)}, true
	case LearnRepository:
		return look{lookRepositoryName, strings.ToLower(args.FullName)}, true
	case ReadName:
		return look{lookRepository, args.WorkspaceUUID + "/" + args.RepositoryUUID}, true
	default:
		return look{}, false
	}
}

func (pr PullRequestKey) subject() string {
	return pr.WorkspaceUUID + "/" + pr.RepositoryUUID + "/" + strconv.FormatInt(pr.PullRequestID, 10)
}

// lostLook is after how long without a try the job of a look is taken for lost:
// longer than any waits between two tries.
const lostLook = time.Hour

// wantLook counts that a look is wanted, from now on, and reports whether a job has
// to be queued for it: none is live, or the one that should be is lost. It locks
// the look until tx ends.
func (tx *Tx) wantLook(ctx context.Context, l look) (queue bool, err error) {
	var wanted, turn int64
	err = tx.db.QueryRow(ctx, `
		INSERT INTO looks AS l (kind, subject) VALUES ($1, $2)
		ON CONFLICT (kind, subject) DO UPDATE SET wanted = l.wanted + 1, live = true, wanted_on = now(),
			turn = CASE WHEN l.live AND l.tried_on > now() - $3::interval THEN l.turn ELSE l.wanted + 1 END,
			tried_on = CASE WHEN l.live AND l.tried_on > now() - $3::interval THEN l.tried_on ELSE now() END
		RETURNING wanted, turn`, l.kind, l.subject, lostLook).Scan(&wanted, &turn)
	if err != nil {
		return false, fmt.Errorf("want a look at %s %s: %w", l.kind, l.subject, err)
	}
	return turn == wanted, nil
}

// Looking works the job of a look: f looks, after everything that was wanted so far
// was committed. Where more was wanted while f looked, or nobody counted this job,
// it is worked again at once. f returns nil when there is nothing left to look at,
// else what the job is to end with.
func (s *Store) Looking(ctx context.Context, args river.JobArgs, f func(context.Context) error) error {
	l, _ := lookOf(args)
	var seen int64
	err := s.pool.QueryRow(ctx, `
		INSERT INTO looks AS l (kind, subject, seen) VALUES ($1, $2, 1)
		ON CONFLICT (kind, subject) DO UPDATE SET seen = l.wanted, live = true, tried_on = now() RETURNING seen`, l.kind, l.subject).Scan(&seen)
	if err != nil {
		return fmt.Errorf("begin a look at %s %s: %w", l.kind, l.subject, err)
	}
	if err := f(ctx); err != nil {
		return err
	}
	again, err := s.endLook(ctx, args, seen)
	if err == nil && again {
		return river.JobSnooze(0)
	}
	return err
}

// endLook ends a look that has seen what was wanted so often, unless more was wanted
// meanwhile. With a pull request's, its builds that waited are told which head they
// are of.
func (s *Store) endLook(ctx context.Context, args river.JobArgs, seen int64) (again bool, err error) {
	l, _ := lookOf(args)
	err = s.InTx(ctx, func(tx *Tx) error {
		err := tx.db.QueryRow(ctx, `
			UPDATE looks SET live = wanted > $3 WHERE (kind, subject) = ($1, $2) RETURNING live`, l.kind, l.subject, seen).Scan(&again)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // swept meanwhile: nobody wanted it for days
		}
		pr, is := args.(LookAtPullRequest)
		if err != nil || again || !is {
			return err
		}
		return tx.Enqueue(ctx, SettleHeads(pr))
	})
	if err != nil {
		return false, fmt.Errorf("end the look at %s %s: %w", l.kind, l.subject, err)
	}
	return again, nil
}

// noMore is more often than any look is wanted.
const noMore = math.MaxInt64

// giveUpLook ends a look whose job won't be worked any more: the next that is
// wanted is queued.
func (s *Store) giveUpLook(ctx context.Context, args river.JobArgs) error {
	_, err := s.endLook(ctx, args, noMore)
	return err
}
