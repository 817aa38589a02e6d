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

// explain puts a verdict into words: what is the case, and what to do about it.
func explain(f Facts, v Verdict) (message, nextStep string) {
	message, nextStep = sentences(f, v)
	if rules := f.unevaluated(); !v.Success && v.Code != PullRequestClosed && len(rules) > 0 {
		message = withNextStep(message, fmt.Sprintf("mergegate couldn't check the policy's rule %q: %s.", rules[0], f.Unread))
	}
	if !v.Success && nextStep != "" {
		message = withNextStep(message, nextStep)
	}
	return OneLine(message, MaxMessage), OneLine(nextStep, MaxMessage)
}

// withNextStep adds the next step where it fits whole: half an instruction is
// worse than none, and the verdict document has it anyway.
func withNextStep(message, nextStep string) string {
	if len([]rune(message))+1+len([]rune(nextStep)) > MaxMessage {
		return message
	}
	return message + " " + nextStep
}

func sentences(f Facts, v Verdict) (message, nextStep string) {
	pr := f.PullRequest
	switch v.Code {
	case Passed:
		return passedMessage(f, v), ""
	case WaivedCode:
		return waivedMessage(v), ""
	case NotRequired:
		return fmt.Sprintf("No AppVeyor build is required, by the policy's rule %q.", v.SkippedBy), ""
	case Frozen:
		return frozenMessage(v)
	case TimedOut:
		return timedOutMessage(f, v)
	case PullRequestClosed:
		return fmt.Sprintf("Pull request %d is %s.", pr.ID, strings.ToLower(pr.State)), "There is nothing left to merge."
	case HeadUnknown:
		return "mergegate can't tell which commit is the head of this pull request: " + orDefault(pr.HeadProblem, "Bitbucket doesn't say") + ".",
			orDefault(pr.HeadNextStep, "Re-run this check in a minute.")
	case Unavailable:
		return unavailableMessage(f, v)
	case NoBuild:
		if u := untrusted(f); u != nil {
			return fmt.Sprintf("mergegate ignored AppVeyor build %d: the AppVeyor account %s may not speak for this workspace.", u.BuildID, u.Untrusted),
				"Ask your mergegate admin to check MERGEGATE_APPVEYOR_ACCOUNTS."
		}
		return fmt.Sprintf("AppVeyor has not built %s of pull request %d yet.", abbreviate(pr.Head), pr.ID),
			"Wait for the build, or start it on AppVeyor, then re-run this check."
	case MissingProject:
		return missingMessage(v), missingStep(v)
	default:
		return buildMessage(f, v)
	}
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
	var parts []string
	for _, p := range v.Projects {
		if p.Required && p.Build != nil {
			parts = append(parts, fmt.Sprintf("%s passed%s%s", p.Build.Version, tests(p.Build.Tests()), remark(p)))
		}
	}
	message := fmt.Sprintf("%d AppVeyor builds: %s", len(parts), strings.Join(parts, ", "))
	if len(parts) == 1 {
		message = "AppVeyor build " + parts[0]
	}
	if f.lookFailed() && v.Checked != "" {
		message += "; " + v.Checked
	}
	return message
}

// remark is what to know about a build that passed.
func remark(p ProjectVerdict) (text string) {
	if p.Detail != "" {
		text = " " + p.Detail
	}
	if p.Build.ConfirmedBy == ConfirmedByReport {
		text += " (reported by its build script)"
	}
	if replaced := p.replaced(); replaced != "" {
		text += " (" + replaced + ")"
	}
	if m := p.Moved; m != nil && (m.Commits == nil || *m.Commits > 0) {
		text += "; " + m.Detail
	}
	return text
}

func waivedMessage(v Verdict) string {
	var parts []string
	if v.FrozenBy != nil {
		parts = append(parts, "The freeze of "+v.PullRequest.DestinationBranch+" is "+LiveWaiver(v.Waivers, 0).words())
	}
	for _, p := range v.Projects {
		if p.Required && p.Waiver != nil {
			parts = append(parts, projectState(p)+", "+p.Waiver.words())
		}
	}
	if len(parts) == 0 {
		return "No AppVeyor build is there, " + LiveWaiver(v.Waivers, 0).words()
	}
	return strings.Join(parts, "; ")
}

// projectState is how a project stands, in a few words.
func projectState(p ProjectVerdict) string {
	code := p.Code
	if p.Waiver != nil {
		code = p.Waived
	}
	switch {
	case p.Build == nil:
		return p.Project.Name() + " has not built this commit"
	case code == StaleDestination && p.Moved != nil:
		return fmt.Sprintf("AppVeyor build %s is not fresh", p.Build.Version)
	case code == StaleDestination:
		return fmt.Sprintf("AppVeyor build %s merged into %s", p.Build.Version, orDefault(p.Build.DestinationBranch, "a branch that AppVeyor doesn't name"))
	case code == Unavailable:
		return fmt.Sprintf("AppVeyor build %s may be of another commit", p.Build.Version)
	case p.Build.State.Finished():
		return fmt.Sprintf("AppVeyor build %s %s", p.Build.Version, ended(*p.Build))
	default:
		return fmt.Sprintf("AppVeyor build %s is %s", p.Build.Version, p.Build.State)
	}
}

func frozenMessage(v Verdict) (message, nextStep string) {
	reason := orDefault(v.FrozenBy.Reason, orDefault(v.FrozenBy.Name, "by the policy"))
	message = fmt.Sprintf("%s is frozen until %s: %s.", v.PullRequest.DestinationBranch, instant(v.FrozenUntil), strings.TrimSuffix(reason, "."))
	if v.Policy.Waivers.Freezes && !v.Policy.Waivers.Refused {
		return message, "Merge after that, or have the freeze waived."
	}
	return message, "Merge after that."
}

func timedOutMessage(f Facts, v Verdict) (message, nextStep string) {
	p, more := deciding(v)
	if p.Build == nil {
		in := ""
		if p.Required {
			in = " in " + p.Project.Name()
		}
		return fmt.Sprintf("AppVeyor has not begun to build %s%s%s%s; the policy allows %s.", abbreviate(v.PullRequest.Head), in, more,
			since(f.HeadSince(), f.Now), span(v.Policy.NotStartedAfter)), "Start it on AppVeyor, then re-run this check."
	}
	return withURL(fmt.Sprintf("AppVeyor build %s has been running%s%s; the policy allows %s", p.Build.Version,
		since(started(*p.Build), f.Now), more, span(v.Policy.RunningLongerThan)), p.Build.URL), "Cancel it on AppVeyor and build the pull request again."
}

func unavailableMessage(f Facts, v Verdict) (message, nextStep string) {
	if f.Problem != "" {
		return f.Problem, ""
	}
	for _, p := range v.Projects {
		if p.Required && p.Code == Unavailable {
			return p.Detail + ".", "Push a commit or build the pull request again on AppVeyor, then re-run this check."
		}
	}
	pending := slices.DeleteFunc(slices.Clone(f.Unconfirmed), func(u Unconfirmed) bool { return u.Untrusted != "" })
	if len(pending) == 0 {
		return "mergegate can't tell whether this pull request was built.", "Re-run this check in a minute. If this continues, ask your mergegate admin."
	}
	// The newest delivery says most about what is wrong now.
	newest := slices.MaxFunc(pending, func(a, b Unconfirmed) int {
		if a.BuildID != b.BuildID {
			return int(max(-1, min(1, a.BuildID-b.BuildID)))
		}
		return strings.Compare(a.Reason, b.Reason)
	})
	if newest.Reason == "" {
		return fmt.Sprintf("AppVeyor has not confirmed build %d yet.", newest.BuildID), "Re-run this check in a minute."
	}
	message = fmt.Sprintf("AppVeyor did not confirm build %d: %s.", newest.BuildID, newest.Reason)
	if newest.Failed {
		return message, "mergegate has stopped asking. Build the pull request again on AppVeyor, or ask your mergegate admin to replay the delivery."
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
	return fmt.Sprintf("AppVeyor has not built %s in %s yet.", abbreviate(v.PullRequest.Head), strings.Join(names, ", "))
}

// buildMessage is for the codes that one build stands for; the others like it
// are counted.
func buildMessage(f Facts, v Verdict) (message, nextStep string) {
	first, more := deciding(v)
	b := *first.Build
	switch v.Code {
	case FailedCode:
		return withURL(fmt.Sprintf("AppVeyor build %s failed%s%s", b.Version, tests(b.Tests()), more), b.URL), ""
	case CancelledCode:
		if !b.DeletedOn.IsZero() { // its link leads nowhere
			return fmt.Sprintf("AppVeyor build %s %s%s.", b.Version, ended(b), more), "Build the pull request again on AppVeyor."
		}
		return withURL(fmt.Sprintf("AppVeyor build %s %s%s", b.Version, ended(b), more), b.URL), "Build the pull request again on AppVeyor."
	case StaleDestination:
		if first.Moved != nil {
			return fmt.Sprintf("AppVeyor build %s passed, but %s%s; the policy asks for %s.", b.Version, first.Moved.Detail, more, v.Policy.Freshness.words()),
				"Build the pull request again on AppVeyor, then re-run this check."
		}
		return fmt.Sprintf("AppVeyor build %s merged into %s, but %s%s.", b.Version, orDefault(b.DestinationBranch, "a branch that AppVeyor doesn't name"),
				goesTo(f.PullRequest), more),
			"Build the pull request again on AppVeyor, then re-run this check."
	case QueuedCode:
		return fmt.Sprintf("AppVeyor build %s has been queued%s%s.", b.Version, since(b.CreatedOn, f.Now), more), waitAndRerun
	default:
		return fmt.Sprintf("AppVeyor build %s has been running%s%s.", b.Version, since(started(b), f.Now), more), waitAndRerun
	}
}

func goesTo(pr PullRequest) string {
	if pr.DestinationBranch == "" {
		return "Bitbucket doesn't say where the pull request goes now"
	}
	return "the pull request now goes to " + pr.DestinationBranch
}

// withURL keeps the link whole: it shortens what stands before it, since a build
// script can make its version as long as it likes.
func withURL(text, url string) string {
	room := MaxMessage - len([]rune(url)) - 2
	if url == "" || room < 40 {
		return text
	}
	return OneLine(text, room) + ": " + url
}

const waitAndRerun = "Re-run this check when it ends, or press Merge: it is asked again then."

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

// tests is " (2 of 312 tests)" for failures, " (312 tests)" where all passed,
// and nothing where AppVeyor counted none.
func tests(t Tests) string {
	switch {
	case t.Total == 0:
		return ""
	case t.Failed > 0:
		return fmt.Sprintf(" (%d of %d tests)", t.Failed, t.Total)
	default:
		return fmt.Sprintf(" (%d tests)", t.Total)
	}
}

func since(t, now time.Time) string {
	if t.IsZero() || now.Before(t) {
		return ""
	}
	return " for " + span(now.Sub(t))
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
