package effects

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"time"

	"mergegate/internal/bitbucket"
	"mergegate/internal/postgres"
)

// maker makes Bitbucket show one effect as e wants it, and returns e with what
// Bitbucket shows then. again tells that an earlier attempt may have made it,
// whatever e says. Errors that are not Bitbucket's end the job.
type maker func(ctx context.Context, t task, e postgres.Effect, again bool) (postgres.Effect, error)

// newMark is by what something of ours is found again: a text that nobody can
// have written before it was made, unless the effect has one of its own.
func (w want) newMark() string {
	if w.mark != "" {
		return w.mark
	}
	return strings.ToLower(rand.Text())
}

func (t task) place() (workspace, repository string, id int64) {
	return t.pr.WorkspaceUUID, t.pr.RepositoryUUID, t.pr.PullRequestID
}

// shown is e as it was wanted.
func shown(e postgres.Effect, w want) postgres.Effect {
	e.Made, e.MadeContent, e.Head = w.state, w.content, w.head
	return e
}

// gone is e with nothing left of it.
func gone(e postgres.Effect) postgres.Effect {
	e.Made, e.MadeContent, e.RemoteID, e.Mark, e.Head = "", "", "", "", ""
	return e
}

// participation is an approval or a request for changes: a state of whoever the
// credential is of.
func participation(w want, take, withdraw func(c *bitbucket.Client, ctx context.Context, workspace, repo string, id int64) error) maker {
	return func(ctx context.Context, t task, e postgres.Effect, again bool) (postgres.Effect, error) {
		workspace, repository, id := t.place()
		if w.state == "" {
			if err := withdraw(t.client, ctx, workspace, repository, id); err != nil && !isGone(err) {
				return e, err
			}
			return gone(e), nil
		}
		err := take(t.client, ctx, workspace, repository, id)
		switch {
		case err == nil, isConflict(err) && again:
			return shown(e, w), nil
		case isConflict(err):
			// Somebody did it by hand with the same credential: it is theirs to take back.
			return gone(e), nil
		default:
			return e, err
		}
	}
}

// written is something on a pull request that has an id: a comment or a task.
type written struct {
	create func(ctx context.Context, t task, mark string) (int64, error)
	update func(ctx context.Context, t task, id int64, mark string) error
	remove func(ctx context.Context, t task, id int64) error
	find   func(ctx context.Context, t task, e postgres.Effect) ([]int64, error)
}

func (k written) maker(w want) maker {
	return func(ctx context.Context, t task, e postgres.Effect, again bool) (postgres.Effect, error) {
		id, err := k.known(ctx, t, e, again)
		if err != nil {
			return e, err
		}
		if w.state == "" {
			if id != 0 {
				if err := k.remove(ctx, t, id); err != nil && !isGone(err) {
					return e, err
				}
			}
			return gone(e), nil
		}
		if id != 0 {
			if e, err = k.keep(ctx, t, e, id); err != nil {
				return e, err
			}
			err := k.update(ctx, t, id, e.Mark)
			if err == nil && w.mark != "" {
				e.Mark = w.mark
			}
			if err == nil {
				return shown(e, w), nil
			}
			if !isGone(err) {
				return e, err
			}
			// Somebody removed it by hand. With another mark, nobody can pass a copy of
			// it for ours.
			e.Made, e.MadeContent, e.RemoteID, e.Mark = "", "", "", w.newMark()
			if err := t.note(ctx, e); err != nil {
				return e, err
			}
		}
		return k.add(ctx, t, e, w)
	}
}

func (k written) add(ctx context.Context, t task, e postgres.Effect, w want) (postgres.Effect, error) {
	id, err := k.create(ctx, t, e.Mark)
	if err != nil {
		return e, err
	}
	e.RemoteID = strconv.FormatInt(id, 10)
	if w.state != w.created {
		if err := k.update(ctx, t, id, e.Mark); err != nil {
			return e, err
		}
	}
	return shown(e, w), nil
}

// known is the id of ours, 0 where there is none. What an attempt may have made
// without anybody hearing of it is looked for; of several the first stays.
func (k written) known(ctx context.Context, t task, e postgres.Effect, again bool) (int64, error) {
	if e.RemoteID != "" {
		return strconv.ParseInt(e.RemoteID, 10, 64)
	}
	if !again {
		return 0, nil
	}
	found, err := k.find(ctx, t, e)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	for _, id := range found[1:] {
		if err := k.remove(ctx, t, id); err != nil && !isGone(err) {
			return 0, err
		}
	}
	return found[0], nil
}

// keep notes the id of something that was looked for.
func (k written) keep(ctx context.Context, t task, e postgres.Effect, id int64) (postgres.Effect, error) {
	if e.RemoteID != "" {
		return e, nil
	}
	e.RemoteID = strconv.FormatInt(id, 10)
	return e, t.note(ctx, e)
}

// comment is the text for a mark.
func comment(text func(mark string) string) written {
	return written{
		create: func(ctx context.Context, t task, mark string) (int64, error) {
			workspace, repository, pr := t.place()
			return t.client.CreateComment(ctx, workspace, repository, pr, text(mark))
		},
		update: func(ctx context.Context, t task, id int64, mark string) error {
			workspace, repository, pr := t.place()
			return t.client.UpdateComment(ctx, workspace, repository, pr, id, text(mark))
		},
		remove: func(ctx context.Context, t task, id int64) error {
			workspace, repository, pr := t.place()
			return t.client.DeleteComment(ctx, workspace, repository, pr, id)
		},
		find: func(ctx context.Context, t task, e postgres.Effect) ([]int64, error) {
			workspace, repository, pr := t.place()
			return t.client.FindComments(ctx, workspace, repository, pr, marker(e.Mark))
		},
	}
}

// clocks is how far Bitbucket's clock may be from the database's.
const clocks = 2 * time.Minute

// namedTask has nothing in it but its text, which people read as the policy has
// it: that is its mark too, with when it was begun to be made.
func namedTask(text, state string) written {
	return written{
		create: func(ctx context.Context, t task, _ string) (int64, error) {
			workspace, repository, pr := t.place()
			return t.client.CreateTask(ctx, workspace, repository, pr, text)
		},
		update: func(ctx context.Context, t task, id int64, _ string) error {
			workspace, repository, pr := t.place()
			return t.client.UpdateTask(ctx, workspace, repository, pr, id, text, state)
		},
		remove: func(ctx context.Context, t task, id int64) error {
			workspace, repository, pr := t.place()
			return t.client.DeleteTask(ctx, workspace, repository, pr, id)
		},
		find: func(ctx context.Context, t task, e postgres.Effect) ([]int64, error) {
			if e.BegunOn == nil {
				return nil, nil
			}
			workspace, repository, pr := t.place()
			return t.client.FindTasks(ctx, workspace, repository, pr, e.Mark, e.BegunOn.Add(-clocks))
		},
	}
}

// reportMaker has one report, on the head: that of an earlier one goes with it.
func reportMaker(w want, report bitbucket.Report) maker {
	return func(ctx context.Context, t task, e postgres.Effect, _ bool) (postgres.Effect, error) {
		workspace, repository, id := t.place()
		name := "mergegate-pr-" + strconv.FormatInt(id, 10)
		if e.Head != "" && e.Head != w.head {
			err := t.client.DeleteReport(ctx, workspace, repository, e.Head, name)
			if err != nil && !isGone(err) {
				return e, err
			}
			e.Head, e.Made, e.MadeContent = w.head, "", ""
			if err := t.note(ctx, e); err != nil {
				return e, err
			}
		}
		if w.state == "" {
			return gone(e), nil
		}
		if err := t.client.PutReport(ctx, workspace, repository, w.head, name, report); err != nil {
			return e, err
		}
		e.RemoteID = name
		return shown(e, w), nil
	}
}
