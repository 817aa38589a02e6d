package mergecheck

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// MaxMessage is how long a merge check's message may be, in characters. Forge
// documents no limit; what Bitbucket shows is one line.
const MaxMessage = 255

// explain puts a verdict into words: what is the case, what to do about it, and where to
// look.
func explain(f Facts, v Verdict) (message, nextStep string) {
	message, nextStep = sentences(f, v)
	link := linkOf(v)
	message = shortened(message, link)
	if rules := f.unevaluated(); !v.Success && v.Code != PullRequestClosed && len(rules) > 0 {
		message = withSentence(message, fmt.Sprintf("mergegate couldn't check skip rule %q: %s.", rules[0], f.Unread), link)
	}
	if !v.Success {
		message = withSentence(message, nextStep, link)
	}
	if link != "" {
		message += " " + link
	}
	return OneLine(message, MaxMessage), OneLine(nextStep, MaxMessage)
}

// withSentence adds a sentence where it fits whole beside the link: half an instruction is
// worse than none, and the verdict document has the next step anyway.
func withSentence(message, sentence, link string) string {
	if sentence == "" || len([]rune(message))+1+len([]rune(sentence)) > room(link) {
		return message
	}
	return message + " " + sentence
}

// leastText is how many characters a message keeps for its words: a longer link is left out.
const leastText = 40

// room is how long a message can be before its link.
func room(link string) int {
	if link == "" {
		return MaxMessage
	}
	return MaxMessage - 1 - len([]rune(link))
}

// shortened makes room for the link, which is only of use whole. A build script can make
// its version as long as it likes.
func shortened(message, link string) string { return OneLine(message, room(link)) }

// linkOf is AppVeyor's page of the build that decides, where a person has to act on that
// build; "" where none does, or the page is gone.
func linkOf(v Verdict) string {
	if v.Code != FailedCode && v.Code != CancelledCode && v.Code != TimedOut {
		return ""
	}
	p, _ := deciding(v)
	if p.Build == nil || !p.Build.DeletedOn.IsZero() || room(p.Build.URL) < leastText {
		return ""
	}
	return p.Build.URL
}

// sentences are the message without its link, and the next step.
func sentences(f Facts, v Verdict) (message, nextStep string) {
	pr := f.PullRequest
	switch v.Code {
	case Passed:
		return passedMessage(f, v), ""
	case WaivedCode:
		return waivedMessage(v), ""
	case NotRequired:
		return fmt.Sprintf("No AppVeyor build is required (policy rule %q).", v.SkippedBy), ""
	case Frozen:
		return frozenMessage(v)
	case TimedOut:
		return timedOutMessage(f, v)
	case PullRequestClosed:
		return closedMessage(pr)
	case HeadUnknown:
		return "mergegate can't tell which commit is the head of this pull request: " + orDefault(pr.HeadProblem, "Bitbucket doesn't name it") + ".",
			orDefault(pr.HeadNextStep, "Re-run this check in a minute.")
	case Unavailable:
		return unavailableMessage(f, v)
	case NoBuild:
		if u := untrusted(f); u != nil {
			return fmt.Sprintf("mergegate ignored AppVeyor build %d: it doesn't trust the AppVeyor account %s for this workspace.", u.BuildID, u.Untrusted),
				"Ask your mergegate admin to check MERGEGATE_APPVEYOR_ACCOUNTS."
		}
		return fmt.Sprintf("No AppVeyor build for %s yet.", abbreviate(pr.Head)), waitOrStart
	case MissingProject:
		return missingMessage(v), missingStep(v)
	default:
		return buildMessage(f, v)
	}
}

func closedMessage(pr PullRequest) (message, nextStep string) {
	message = fmt.Sprintf("Pull request %d is %s.", pr.ID, strings.ToLower(pr.State))
	if strings.EqualFold(pr.State, "MERGED") {
		return message, "Nothing is left to merge."
	}
	return message, "To merge these commits, open a new pull request."
}

// untrusted is the newest delivery of an account that may not speak for the workspace.
func untrusted(f Facts) (newest *Unconfirmed) {
	for _, u := range f.Unconfirmed {
		if u.Untrusted != "" && (newest == nil || u.BuildID > newest.BuildID) {
			newest = &u
		}
	}
	return newest
}

func passedMessage(f Facts, v Verdict) string {
	var versions, parts []string
	for _, p := range v.Projects {
		if p.Required && p.Build != nil {
			parts = append(parts, testsOf(*p.Build, Success)+remark(p))
			versions = append(versions, p.Build.Version)
		}
	}
	message := "AppVeyor build " + strings.Join(versions, "") + " passed" + strings.Join(parts, "") + "."
	if len(parts) != 1 {
		for i, version := range versions {
			parts[i] = version + parts[i]
		}
		message = fmt.Sprintf("%d AppVeyor builds passed: %s.", len(parts), strings.Join(parts, ", "))
	}
	if f.lookFailed() && v.Checked != "" {
		message += " " + v.Checked + "."
	}
	return message
}

// remark is what to know about a build that passed.
func remark(p ProjectVerdict) (text string) {
	if p.Detail != "" {
		text = ", " + p.Detail
	}
	if p.Build.ConfirmedBy == ConfirmedByReport {
		text += ", reported by its build script"
	}
	if replaced := p.replaced(); replaced != "" {
		text += "; " + replaced
	}
	if m := p.Moved; m != nil && (m.Commits == nil || *m.Commits > 0) {
		text += "; " + p.movedSince(" since")
	}
	return text
}

// waivedMessage says of each waiver who gave it and why, then what it waives.
func waivedMessage(v Verdict) string {
	var used []*Waiver
	waived := map[int64][]string{} // by the waiver's id
	add := func(w *Waiver, what string) {
		if waived[w.ID] == nil {
			used = append(used, w)
		}
		waived[w.ID] = append(waived[w.ID], what)
	}
	if v.FrozenBy != nil {
		add(LiveWaiver(v.Waivers, 0), v.PullRequest.DestinationBranch+" is frozen until "+instant(v.FrozenUntil))
	}
	for _, p := range v.Projects {
		if p.Required && p.Waiver != nil {
			add(p.Waiver, projectState(p))
		}
	}
	if len(used) == 0 {
		add(LiveWaiver(v.Waivers, 0), "No AppVeyor build for "+abbreviate(v.PullRequest.Head))
	}
	var parts []string
	for _, w := range used {
		parts = append(parts, "Waived "+w.words()+". "+strings.Join(waived[w.ID], "; ")+".")
	}
	return strings.Join(parts, " ")
}

// projectState is how a project stands, in a few words.
func projectState(p ProjectVerdict) string {
	code := p.Code
	if p.Waiver != nil {
		code = p.Waived
	}
	switch {
	case p.Build == nil:
		return p.Project.Name() + " hasn't built this commit"
	case code == StaleDestination && p.Moved != nil:
		return fmt.Sprintf("AppVeyor build %s is out of date: %s", p.Build.Version, p.movedSince(""))
	case code == StaleDestination:
		return builtFor(*p.Build)
	case code == Unavailable:
		return fmt.Sprintf("AppVeyor build %s may be for another commit", p.Build.Version)
	case p.Build.State.Finished():
		return fmt.Sprintf("AppVeyor build %s %s", p.Build.Version, ended(*p.Build))
	default:
		return fmt.Sprintf("AppVeyor build %s is %s", p.Build.Version, p.Build.State)
	}
}

func frozenMessage(v Verdict) (message, nextStep string) {
	message = fmt.Sprintf("%s is frozen until %s", v.PullRequest.DestinationBranch, instant(v.FrozenUntil))
	if reason := orDefault(v.FrozenBy.Reason, v.FrozenBy.Name); reason != "" {
		message += ": " + strings.TrimSuffix(reason, ".")
	}
	if v.Policy.Waivers.Freezes && !v.Policy.Waivers.Refused {
		return message + ".", "Merge after that, or ask your mergegate admin for a waiver."
	}
	return message + ".", "Merge after that."
}

func timedOutMessage(f Facts, v Verdict) (message, nextStep string) {
	p, more := deciding(v)
	if p.Build == nil {
		what := "a build"
		if p.Required {
			what = p.name()
		}
		return fmt.Sprintf("AppVeyor hasn't started %s for %s%s (limit %s)%s.", what, abbreviate(v.PullRequest.Head),
			lasted(" in ", f.HeadSince(), f.Now), span(v.Policy.NotStartedAfter), more), "Start it on AppVeyor, then re-run this check."
	}
	return fmt.Sprintf("AppVeyor build %s has been running%s (limit %s)%s.", p.Build.Version,
		lasted(" for ", started(*p.Build), f.Now), span(v.Policy.RunningLongerThan), more), "Cancel it on AppVeyor and rebuild the pull request."
}

func unavailableMessage(f Facts, v Verdict) (message, nextStep string) {
	if f.Problem != "" {
		return f.Problem, orDefault(f.ProblemNextStep, RetryLater)
	}
	for _, p := range v.Projects {
		switch {
		case !p.Required || p.Code != Unavailable:
		case f.Waiting:
			return p.Detail + ".", "Re-run this check in a minute."
		default:
			return p.Detail + ".", "Rebuild the pull request on AppVeyor or push a new commit, then re-run this check."
		}
	}
	pending := slices.DeleteFunc(slices.Clone(f.Unconfirmed), func(u Unconfirmed) bool { return u.Untrusted != "" })
	if len(pending) == 0 {
		return "mergegate can't tell whether AppVeyor built this pull request.", RetryLater
	}
	// The newest delivery says most about what is wrong now.
	newest := slices.MaxFunc(pending, func(a, b Unconfirmed) int {
		if a.BuildID != b.BuildID {
			return int(max(-1, min(1, a.BuildID-b.BuildID)))
		}
		return strings.Compare(a.Reason, b.Reason)
	})
	if newest.Reason == "" {
		return fmt.Sprintf("mergegate is still reading AppVeyor build %d.", newest.BuildID), "Re-run this check in a minute."
	}
	message = fmt.Sprintf("mergegate can't confirm AppVeyor build %d: %s.", newest.BuildID, newest.Reason)
	if newest.Failed {
		return message, "mergegate has stopped retrying. Rebuild the pull request on AppVeyor, or ask your mergegate admin to replay the delivery."
	}
	return message, "mergegate keeps retrying. If this continues, ask your mergegate admin."
}

func missingMessage(v Verdict) string {
	var names []string
	for _, p := range v.Projects {
		if p.Required && p.Code == NoBuild {
			names = append(names, p.name())
		}
	}
	return fmt.Sprintf("No AppVeyor build of %s for %s yet.", strings.Join(names, ", "), abbreviate(v.PullRequest.Head))
}

// buildMessage is for the codes that one build stands for; the others like it
// are counted.
func buildMessage(f Facts, v Verdict) (message, nextStep string) {
	first, more := deciding(v)
	b := *first.Build
	switch v.Code {
	case FailedCode:
		return fmt.Sprintf("AppVeyor build %s failed%s%s.", b.Version, testsOf(b, Failed), more), "Push a fix, or rebuild the pull request on AppVeyor."
	case CancelledCode:
		return fmt.Sprintf("AppVeyor build %s %s%s.", b.Version, ended(b), more), rebuildAndRerun
	case StaleDestination:
		if first.Moved != nil {
			return first.outOfDate(f, more)
		}
		return fmt.Sprintf("%s, but %s%s.", builtFor(b), targets(f.PullRequest), more), rebuildAndRerun
	case QueuedCode:
		return fmt.Sprintf("AppVeyor build %s is queued%s%s.", b.Version, soFar(b.CreatedOn, f.Now), more), waitAndRerun
	default:
		return fmt.Sprintf("AppVeyor build %s is running%s%s.", b.Version, soFar(started(b), f.Now), more), waitAndRerun
	}
}

// builtFor says which target branch a build merged into.
func builtFor(b Build) string {
	return fmt.Sprintf("AppVeyor build %s was for %s", b.Version, orDefault(b.DestinationBranch, "a target branch that AppVeyor doesn't name"))
}

func targets(pr PullRequest) string {
	if pr.DestinationBranch == "" {
		return "Bitbucket doesn't name the pull request's target branch now"
	}
	return "the pull request now targets " + pr.DestinationBranch
}

// The next steps that several messages share.
const (
	// RetryLater is for what time may mend, and an admin if it doesn't.
	RetryLater      = "Re-run this check in a minute. If this continues, ask your mergegate admin."
	waitAndRerun    = "Re-run this check when it finishes, or click Merge to check again."
	waitOrStart     = "Wait for it, or start it on AppVeyor, then re-run this check."
	rebuildAndRerun = "Rebuild the pull request on AppVeyor, then re-run this check."
)

func started(b Build) time.Time {
	if b.StartedOn.IsZero() {
		return b.CreatedOn
	}
	return b.StartedOn
}

func deciding(v Verdict) (first ProjectVerdict, more string) {
	count := 0
	for _, p := range v.Projects {
		if !p.Required || p.Code != v.Code {
			continue
		}
		if count == 0 {
			first = p
		}
		count++
	}
	if count > 1 {
		more = fmt.Sprintf(", and %d more", count-1)
	}
	return first, more
}

func ended(b Build) string {
	switch {
	case b.State == Success:
		return "passed"
	case b.State == Cancelled && !b.DeletedOn.IsZero():
		return "was deleted on AppVeyor"
	case b.State == Cancelled:
		return "was cancelled"
	default:
		return "failed"
	}
}

// testsOf counts a build's tests for a sentence that says how the build ended: "failed (2 of
// 312 tests)", "passed (312 tests)". It is empty where AppVeyor counted none.
func testsOf(b Build, ended State) string {
	t := b.Tests()
	switch {
	case t.Total == 0:
		return ""
	case t.Failed > 0 && ended == Failed:
		return fmt.Sprintf(" (%d of %d tests)", t.Failed, t.Total)
	case t.Failed > 0:
		return fmt.Sprintf(" (%d of %d tests failed)", t.Failed, t.Total)
	default:
		return fmt.Sprintf(" (%d tests)", t.Total)
	}
}

// lasted is how long something has lasted since t, with what stands before that; "" where
// it isn't known.
func lasted(before string, t, now time.Time) string {
	if t.IsZero() || now.Before(t) {
		return ""
	}
	return before + span(now.Sub(t))
}

// soFar is how long a build has been at it.
func soFar(t, now time.Time) string {
	if t.IsZero() || now.Before(t) {
		return ""
	}
	return lasted(" (", t, now) + " so far)"
}

// span is a length of time as people say it.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d%time.Hour < time.Minute:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
}

// instant is a moment as people of any place can read it.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }

func abbreviate(commit string) string { return commit[:min(12, len(commit))] }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// OneLine makes s one line of plain text of at most limit characters: versions,
// branches and slugs in it are what people on the other side have typed.
func OneLine(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return s
}
