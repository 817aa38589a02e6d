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
		return passedMessage(v), ""
	case PullRequestClosed:
		return fmt.Sprintf("Pull request %d is %s.", pr.ID, strings.ToLower(pr.State)), "There is nothing left to merge."
	case HeadUnknown:
		return fmt.Sprintf("The head commit of pull request %d is not known: %s.", pr.ID, orDefault(pr.HeadProblem, "Bitbucket did not tell it")), "Re-run this check."
	case Unavailable:
		return unavailableMessage(f, v)
	case NoBuild:
		return fmt.Sprintf("AppVeyor has not built %s of pull request %d yet.", abbreviate(pr.Head), pr.ID),
			"Wait for the build, or start it on AppVeyor, then re-run this check."
	case MissingProject:
		return missingMessage(v), "Start it on AppVeyor, then re-run this check."
	default:
		return buildMessage(f, v)
	}
}

func passedMessage(v Verdict) string {
	var parts []string
	for _, p := range v.Projects {
		if p.Required && p.Build != nil {
			parts = append(parts, fmt.Sprintf("%s passed%s", p.Build.Version, tests(p.Build.Tests())))
		}
	}
	if len(parts) == 1 {
		return "AppVeyor build " + parts[0]
	}
	return fmt.Sprintf("%d AppVeyor builds: %s", len(parts), strings.Join(parts, ", "))
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
	// The newest delivery says most about what is wrong now.
	newest := slices.MaxFunc(f.Unconfirmed, func(a, b Unconfirmed) int {
		if a.BuildID != b.BuildID {
			return int(max(-1, min(1, a.BuildID-b.BuildID)))
		}
		return strings.Compare(a.Reason, b.Reason)
	})
	if newest.Reason == "" {
		return fmt.Sprintf("AppVeyor has not confirmed build %d yet.", newest.BuildID), "Re-run this check in a minute."
	}
	return fmt.Sprintf("AppVeyor did not confirm build %d: %s.", newest.BuildID, newest.Reason),
		"It is asked again by itself; if this lasts, tell who runs mergegate."
}

func missingMessage(v Verdict) string {
	var names []string
	for _, p := range v.Projects {
		if isMissing(p) {
			names = append(names, p.Project.Name())
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
		return withURL(fmt.Sprintf("AppVeyor build %s was cancelled%s", b.Version, more), b.URL), "Build the pull request again on AppVeyor."
	case StaleDestination:
		return fmt.Sprintf("AppVeyor build %s merged into %s, but the pull request now goes to %s%s.", b.Version, b.DestinationBranch, f.PullRequest.DestinationBranch, more),
			"Build the pull request again on AppVeyor, then re-run this check."
	case QueuedCode:
		return fmt.Sprintf("AppVeyor build %s has been queued%s%s.", b.Version, since(b.CreatedOn, f.Now), more), waitAndRerun
	default:
		return fmt.Sprintf("AppVeyor build %s has been running%s%s.", b.Version, since(started(b), f.Now), more), waitAndRerun
	}
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

// rules lists the conditions every verdict checks, for people who want to see
// all of them and not only the first that failed.
func rules(f Facts, projects []ProjectVerdict) []Rule {
	pr := f.PullRequest
	list := []Rule{
		{Rule: "pull_request_open", Met: isOpen(pr.State), Detail: strings.ToLower(pr.State)},
		{Rule: "head_known", Met: pr.Head != "", Detail: orDefault(pr.HeadProblem, pr.Head)},
	}
	for _, p := range projects {
		if p.Required {
			list = append(list, Rule{Rule: "build_passed", Met: p.Code.Success(), Detail: p.Project.Name() + ": " + string(p.Code)})
		}
	}
	return list
}

func ended(s State) string {
	switch s {
	case Success:
		return "passed"
	case Cancelled:
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
	d := now.Sub(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf(" for %d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf(" for %d min", int(d.Minutes()))
	default:
		return fmt.Sprintf(" for %d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
}

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
