package effects

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"mergegate/internal/bitbucket"
	"mergegate/internal/mergecheck"
)

const (
	// maxLine bounds what is said in one line; it may become twice as long by
	// being escaped.
	maxLine = 200
	// maxLines bounds every list.
	maxLines = 15
	// maxComment is less than the 32,768 characters that Bitbucket takes.
	maxComment = 30_000
	// maxDetails is how long Bitbucket lets a report's details be.
	maxDetails = 2000
)

// marker is by what our comment is found again. A link's definition that nothing
// refers to is not shown, where Bitbucket would show an HTML comment
// (https://github.com/The-PR-Agent/pr-agent/issues/3283).
func marker(mark string) string { return "[mergegate-" + mark + "]: https://bitbucket.org/" }

// commentText explains a verdict. It names moments, never how long ago they were:
// the same verdict gives the same text at any time.
func commentText(v mergecheck.Verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s** %s\n", title(v), escape(headline(v)))
	if v.NextStep != "" {
		fmt.Fprintf(&b, "\n**Next:** %s\n", escape(v.NextStep))
	}
	fmt.Fprintf(&b, "\nHead %s, target branch %s%s.\n", commit(v.PullRequest.Head), escape(orUnknown(v.PullRequest.DestinationBranch)), policyOf(v))
	if len(v.Projects) > 0 {
		b.WriteString("\n| project | newest build | verdict |\n|---|---|---|\n")
		lines(&b, v.Projects, projectLine)
	}
	section(&b, "Rules", v.Rules, func(r mergecheck.Rule) string {
		return fmt.Sprintf("- %s %s: %s\n", yesNo(r.Met), escape(r.Rule), escape(r.Detail))
	})
	section(&b, "Waivers", v.Waivers, waiverLine)
	section(&b, "Timers", v.Timers, timerLine)
	section(&b, "What would change it", v.WouldChange, func(s string) string { return "- " + escape(s) + "\n" })
	text := []rune(b.String())
	if len(text) <= maxComment {
		return string(text)
	}
	cut := string(text[:maxComment])
	return cut[:strings.LastIndex(cut, "\n")+1] + "…"
}

func title(v mergecheck.Verdict) string {
	switch {
	case v.Success:
		return "AppVeyor: ready to merge."
	case v.Code.Pending():
		return "AppVeyor: not ready to merge yet."
	default:
		return "AppVeyor: not ready to merge."
	}
}

// headline is the verdict's message without its link and its next step, which are shown
// elsewhere, and without how long something has lasted.
func headline(v mergecheck.Verdict) string {
	switch v.Code {
	case mergecheck.RunningCode:
		return "A build is running."
	case mergecheck.QueuedCode:
		return "A build is queued."
	case mergecheck.TimedOut:
		return "AppVeyor exceeded the policy's time limit."
	}
	message := v.Message
	for _, p := range v.Projects {
		if p.Build != nil && p.Build.URL != "" {
			message = strings.TrimSuffix(message, " "+p.Build.URL)
		}
	}
	return strings.TrimSuffix(message, " "+v.NextStep)
}

func policyOf(v mergecheck.Verdict) string {
	if v.Policy.Version == 0 {
		return ""
	}
	return fmt.Sprintf(", policy version %d", v.Policy.Version)
}

func projectLine(p mergecheck.ProjectVerdict) string {
	required := "not required: "
	if p.Required {
		required = ""
	}
	detail := string(p.Code)
	if p.Waiver != nil {
		detail += fmt.Sprintf(" (waiver %d, otherwise %s)", p.Waiver.ID, p.Waived)
	}
	if p.Detail != "" {
		detail += ", " + p.Detail
	}
	if p.Moved != nil {
		detail += "; " + p.Moved.Detail
	}
	return fmt.Sprintf("| %s | %s | %s%s |\n", escape(p.Project.Name()), buildText(p.Build), required, escape(detail))
}

func buildText(b *mergecheck.Build) string {
	if b == nil {
		return "none"
	}
	text := linked(b.Version, b.URL) + " " + string(b.State)
	if t := b.Tests(); t.Total > 0 {
		text += fmt.Sprintf(", %d of %d tests passed", t.Passed, t.Total)
	}
	switch {
	case b.State.Finished() && !b.FinishedOn.IsZero():
		text += ", " + instant(b.FinishedOn)
	case !b.State.Finished() && !b.StartedOn.IsZero():
		text += " since " + instant(b.StartedOn)
	}
	if b.ConfirmedBy == mergecheck.ConfirmedByReport {
		text += ", reported by its build script"
	}
	return text
}

func waiverLine(w mergecheck.WaiverWithState) string {
	of := "every project"
	if w.ProjectName != "" {
		of = w.ProjectName
	}
	return fmt.Sprintf("- Waiver %d (%s) for %s: %s (by %s, until %s)\n", w.ID, w.State, escape(of), escape(w.Reason), escape(w.By), instant(w.ExpiresOn))
}

func timerLine(t mergecheck.Timer) string {
	of := ""
	if t.Project != (mergecheck.Project{}) {
		of = escape(t.Project.Name()) + ": "
	}
	return fmt.Sprintf("- %s%s, deadline %s%s\n", of, escape(t.Timer), instant(t.DeadlineOn), map[bool]string{true: ", exceeded"}[t.Expired])
}

func section[T any](b *strings.Builder, name string, list []T, line func(T) string) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(b, "\n**%s**\n\n", name)
	lines(b, list, line)
}

func lines[T any](b *strings.Builder, list []T, line func(T) string) {
	for i, item := range list {
		if i == maxLines {
			fmt.Fprintf(b, "\nand %d more\n", len(list)-i)
			return
		}
		b.WriteString(line(item))
	}
}

func yesNo(met bool) string {
	if met {
		return "✓"
	}
	return "✗"
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }

func commit(sha string) string {
	if sha == "" {
		return "unknown"
	}
	return "`" + sha[:min(12, len(sha))] + "`"
}

func orUnknown(s string) string {
	if s == "" {
		return "an unknown branch"
	}
	return s
}

// special is what Markdown, or Bitbucket in it, takes for more than a character:
// markup, HTML, links, mentions, numbers of issues.
var special = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "{", `\{`, "}", `\}`, "[", `\[`, "]", `\]`,
	"#", `\#`, "!", `\!`, "~", `\~`, "|", `\|`, "&", "&amp;", "<", "&lt;", ">", "&gt;",
	"@", "@\u2060", "://", ":\u2060//", "www.", "www\u2060.",
)

// escape makes text that anybody may have typed plain.
func escape(s string) string { return special.Replace(mergecheck.OneLine(s, maxLine)) }

// linked is text that links to a build where its address is one.
func linked(text, address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.ContainsAny(address, " ()<>[]\"'`\\|\r\n\t") {
		return escape(text)
	}
	return "[" + escape(text) + "](" + address + ")"
}

// reportOf is a verdict as Code Insights shows it.
func reportOf(v mergecheck.Verdict) bitbucket.Report {
	r := bitbucket.Report{
		Title: fmt.Sprintf("AppVeyor, pull request %d", v.PullRequest.ID), Reporter: "mergegate", Type: "TEST", Result: resultOf(v),
		Details: mergecheck.OneLine(strings.TrimSpace(headline(v)+" "+v.NextStep), maxDetails),
	}
	var sum mergecheck.Tests
	builds := 0
	for _, p := range v.Projects {
		if !p.Required || p.Build == nil {
			continue
		}
		t := p.Build.Tests()
		sum.Total, sum.Passed, sum.Failed = sum.Total+t.Total, sum.Passed+t.Passed, sum.Failed+t.Failed
		builds++
		if r.Link == "" || p.Code == v.Code && !v.Success {
			r.Link = p.Build.URL
		}
	}
	r.Data = []bitbucket.ReportData{
		{Title: "Verdict", Type: "TEXT", Value: string(v.Code)},
		{Title: "Builds", Type: "NUMBER", Value: builds},
		{Title: "Tests", Type: "NUMBER", Value: sum.Total},
		{Title: "Tests passed", Type: "NUMBER", Value: sum.Passed},
		{Title: "Tests failed", Type: "NUMBER", Value: sum.Failed},
	}
	return r
}

func resultOf(v mergecheck.Verdict) string {
	switch {
	case v.Success:
		return bitbucket.ReportPassed
	case v.Code.Pending():
		return bitbucket.ReportPending
	default:
		return bitbucket.ReportFailed
	}
}
