package effects

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"mergegate/internal/bitbucket"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// The states that effects are wanted and made in, beside those of a report.
const (
	stateApproved   = "approved"
	stateRequested  = "changes_requested"
	stateShown      = "shown"
	stateResolved   = "resolved"
	stateUnresolved = "unresolved"
)

// want is what Bitbucket is to show by one effect.
type want struct {
	effect  string
	state   string // "": nothing of ours
	content string // a hash of the rest, or what stands for it
	head    string
	created string // the state that something new is in
	mark    string // "": a new one
	make    maker
}

// wanted is what an open pull request's verdict asks for, what is to be taken back
// first. Where the head isn't known there is nothing to report on.
func wanted(v mergecheck.Verdict, asked mergecheck.Effects) []want {
	wants := []want{changesWanted(v, asked), approvalWanted(v, asked)}
	if wants[1].state == "" { // one participant is in one state: the other is left first
		slices.Reverse(wants)
	}
	wants = append(wants, commentWanted(v, asked), taskWanted(v, asked))
	if v.PullRequest.Head != "" || !asked.Report {
		wants = append(wants, reportWanted(v, asked))
	}
	return wants
}

// todo reports whether anything is to be done about e, now or later.
func (w want) todo(e postgres.Effect, now time.Time) (todo bool, later time.Duration) {
	if e.Effect == "" {
		return w.state != "", 0
	}
	if e.Wanted != w.state || e.WantedContent != w.content {
		return true, 0
	}
	switch e.Outcome {
	case postgres.Posted:
		return false, 0
	case postgres.Failed: // until something changes, unless it was only held up
		return e.Made == w.state && e.MadeContent == w.content, 0
	}
	if e.NextAttemptOn != nil && e.NextAttemptOn.After(now) {
		return false, e.NextAttemptOn.Sub(now)
	}
	return true, 0
}

func approvalWanted(v mergecheck.Verdict, asked mergecheck.Effects) want {
	w := want{effect: postgres.EffectApprove}
	if asked.Approve && v.Success {
		w.state, w.content, w.head = stateApproved, v.PullRequest.Head, v.PullRequest.Head
	}
	w.make = participation(w, (*bitbucket.Client).Approve, (*bitbucket.Client).Unapprove)
	return w
}

// changesWanted requests changes for a build that failed alone: nothing else is
// the author's to change.
func changesWanted(v mergecheck.Verdict, asked mergecheck.Effects) want {
	w := want{effect: postgres.EffectRequestChanges}
	if asked.RequestChanges && !v.Success && v.SkippedBy == "" && slices.ContainsFunc(v.Projects, func(p mergecheck.ProjectVerdict) bool {
		return p.Required && p.Code == mergecheck.FailedCode
	}) {
		w.state, w.content, w.head = stateRequested, v.PullRequest.Head, v.PullRequest.Head
	}
	w.make = participation(w, (*bitbucket.Client).RequestChanges, (*bitbucket.Client).WithdrawChanges)
	return w
}

func commentWanted(v mergecheck.Verdict, asked mergecheck.Effects) want {
	w := want{effect: postgres.EffectComment, created: stateShown}
	text := commentText(v)
	if asked.Comment {
		w.state, w.content, w.head = stateShown, hash(text), v.PullRequest.Head
	}
	w.make = comment(func(mark string) string { return text + "\n\n" + marker(mark) + "\n" }).maker(w)
	return w
}

func taskWanted(v mergecheck.Verdict, asked mergecheck.Effects) want {
	w := want{effect: postgres.EffectTask, created: stateUnresolved, mark: asked.Task}
	state := bitbucket.TaskUnresolved
	if asked.Task != "" {
		w.state, w.content, w.head = stateUnresolved, hash(asked.Task), v.PullRequest.Head
		if v.Success {
			w.state, state = stateResolved, bitbucket.TaskResolved
		}
	}
	w.make = namedTask(asked.Task, state).maker(w)
	return w
}

func reportWanted(v mergecheck.Verdict, asked mergecheck.Effects) want {
	w := want{effect: postgres.EffectReport}
	report := reportOf(v)
	if asked.Report {
		text, _ := json.Marshal(report) // strings and numbers always can be
		w.state, w.content, w.head = report.Result, hash(v.PullRequest.Head+string(text)), v.PullRequest.Head
	}
	w.make = reportMaker(w, report)
	return w
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}
