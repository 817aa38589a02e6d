package mergecheck

import (
	"fmt"
	"strings"
)

// Rule is one condition of a verdict and whether it is met.
type Rule struct {
	Rule   string
	Met    bool
	Detail string
}

// rules lists the conditions that were checked, for people who want to see all
// of them and not only the first that failed.
func rules(f Facts, v Verdict) []Rule {
	pr := f.PullRequest
	list := []Rule{
		{Rule: "pull_request_open", Met: isOpen(pr.State), Detail: strings.ToLower(pr.State)},
		{Rule: "head_known", Met: pr.Head != "", Detail: orDefault(pr.HeadProblem, pr.Head)},
	}
	if len(f.Policy.Freezes) > 0 {
		list = append(list, freezeRule(v))
	}
	if len(f.Policy.Skip) > 0 {
		detail := "no skip rule applies"
		if v.SkippedBy != "" {
			detail = v.SkippedBy
		}
		list = append(list, Rule{Rule: "skip", Met: v.SkippedBy != "", Detail: detail})
	}
	for _, p := range v.Projects {
		if p.Required {
			list = append(list, projectRules(p)...)
		}
	}
	if v.Checked != "" {
		list = append(list, Rule{Rule: "checked", Met: !f.lookFailed(), Detail: v.Checked})
	}
	for _, t := range v.Timers {
		list = append(list, Rule{Rule: t.Timer, Met: !t.Expired, Detail: t.of() + "deadline " + instant(t.DeadlineOn)})
	}
	return list
}

func freezeRule(v Verdict) Rule {
	if v.FrozenBy == nil {
		return Rule{Rule: "freeze", Met: true, Detail: "no freeze now"}
	}
	return Rule{Rule: "freeze", Detail: fmt.Sprintf("until %s: %s", instant(v.FrozenUntil), orDefault(v.FrozenBy.Reason, v.FrozenBy.Name))}
}

func projectRules(p ProjectVerdict) []Rule {
	detail := p.name() + ": " + string(p.Code)
	if p.Detail != "" {
		detail += ", " + p.Detail
	}
	if replaced := p.replaced(); replaced != "" {
		detail += "; " + replaced
	}
	list := []Rule{{Rule: "build_passed", Met: p.Code.Success(), Detail: detail}}
	if p.Moved != nil {
		list = append(list, Rule{Rule: "freshness", Met: p.Moved.Within, Detail: p.Moved.Detail})
	}
	return list
}

// wouldChange says what would make the verdict another, in the order in which
// people would try it.
func wouldChange(v Verdict) []string {
	var list []string
	add := func(format string, args ...any) {
		list = append(list, OneLine(fmt.Sprintf(format, args...), MaxMessage))
	}
	if v.Code == PullRequestClosed || v.Code == HeadUnknown {
		return nil
	}
	if v.FrozenBy != nil && v.Code != WaivedCode {
		add("The freeze ends at %s.", instant(v.FrozenUntil))
	}
	for _, p := range v.Projects {
		if p.Required && v.SkippedBy == "" && !p.Code.Success() {
			add("%s", wayOut(p, v.PullRequest))
		}
	}
	for _, t := range v.Timers {
		if !t.Expired {
			add("%sthe code becomes timed_out at %s (%s).", t.of(), instant(t.DeadlineOn), t.Timer)
		}
	}
	for _, w := range v.Waivers {
		switch w.State {
		case WaiverLive:
			add("Waiver %d ends at %s, or earlier with a new head or another target branch.", w.ID, instant(w.ExpiresOn))
		case WaiverWaiting:
			add("A second person, who isn't the author, gives a waiver like waiver %d.", w.ID)
		}
	}
	if !v.Success && !v.Policy.Waivers.Refused && (v.Code != Frozen || v.Policy.Waivers.Freezes) {
		add("A person gives a waiver, with a token of scope waive.")
	}
	return list
}

func wayOut(p ProjectVerdict, pr PullRequest) string {
	switch p.Code {
	case RunningCode, QueuedCode:
		return fmt.Sprintf("Build %s of %s passes.", p.Build.Version, p.Project.Name())
	case StaleDestination, CancelledCode:
		return fmt.Sprintf("AppVeyor rebuilds %s for %s with the newest commit of %s, and it passes.", p.Project.Name(), abbreviate(pr.Head), orDefault(pr.DestinationBranch, "its target branch"))
	case FailedCode:
		return fmt.Sprintf("A new build of %s passes, for %s or for a new commit.", p.Project.Name(), abbreviate(pr.Head))
	default:
		return fmt.Sprintf("AppVeyor builds %s for %s, and it passes.", p.name(), abbreviate(pr.Head))
	}
}

// of names the timer's project, where it is of one.
func (t Timer) of() string {
	if t.Project == (Project{}) {
		return ""
	}
	return t.Project.Name() + ": "
}
