package mergecheck_test

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/mergecheck/messagetest"
)

// TestTexts writes out the message of every code, in the variants that it has.
func TestTexts(t *testing.T) {
	t.Parallel()
	const commit = "3d688362cb1f00000000000000000000000000aa"
	moved := strings.Repeat("d", 40)
	allowed := func(job string) bool { return job == "nightly" }
	docsOnly := mergecheck.SkipRule{Name: "documentation", Path: inDocs}
	yearEnd := mergecheck.Freeze{Name: "year end", Reason: "Everyone is on holiday.", From: now.Add(-time.Hour), Until: now.Add(time.Hour)}
	waiver := mergecheck.Waiver{
		ID: 5, Head: commit, Destination: "main", By: "ann", Reason: "The agents are down.", CreatedOn: now.Add(-time.Minute), ExpiresOn: now.Add(time.Hour),
	}
	b := func(changes ...func(*mergecheck.Build)) mergecheck.Build {
		made := build(14636, changes...)
		made.URL = "https://ci.appveyor.com/project/acme/widgets/builds/14636"
		if made.ReportedCommit == head {
			made.ReportedCommit = commit
		}
		if made.State != mergecheck.Failed {
			made.Jobs = []mergecheck.Job{{ID: "j", Tests: mergecheck.Tests{Total: 312, Passed: 312}}}
		}
		return made
	}
	another := func(p mergecheck.Project, version string) func(*mergecheck.Build) {
		return func(b *mergecheck.Build) { b.Project, b.Version, b.BuildID = p, version, b.BuildID+1 }
	}
	into := func(branch string) func(*mergecheck.Build) {
		return func(b *mergecheck.Build) { b.DestinationBranch = branch }
	}
	tested := func(b *mergecheck.Build) { b.DestinationCommit = other }
	behind := func(f *mergecheck.Facts) {
		f.PullRequest.DestinationCommit = moved
		f.Distances = []mergecheck.Distance{{Destination: moved, Tested: other, Behind: 4, Complete: true}}
	}
	with := func(builds ...mergecheck.Build) func(*mergecheck.Facts) {
		return func(f *mergecheck.Facts) { f.Builds = builds }
	}
	all := func(changes ...func(*mergecheck.Facts)) func(*mergecheck.Facts) {
		return func(f *mergecheck.Facts) {
			for _, change := range changes {
				change(f)
			}
		}
	}
	waived := func(f *mergecheck.Facts) { f.Waivers = []mergecheck.Waiver{waiver} }
	policy := func(p mergecheck.Policy) func(*mergecheck.Facts) {
		return func(f *mergecheck.Facts) { f.Policy = p }
	}
	unread := func(f *mergecheck.Facts) { f.Unread = "Bitbucket didn't answer in time" }
	limit := mergecheck.Freshness{Mode: mergecheck.FreshnessLimit, MaxBehind: new(3)}
	aged := mergecheck.Freshness{Mode: mergecheck.FreshnessLimit, MaxBehind: new(10), MaxAge: time.Minute}
	unconfirmed := func(u mergecheck.Unconfirmed) func(*mergecheck.Facts) {
		return func(f *mergecheck.Facts) { f.Unconfirmed = []mergecheck.Unconfirmed{u} }
	}
	twoProjects := func(f *mergecheck.Facts) { f.Seen = append(f.Seen, docs) }

	tests := []struct {
		facts  string
		change func(*mergecheck.Facts)
		want   mergecheck.Code
	}{
		{facts: "the build passed", change: with(b()), want: mergecheck.Passed},
		{facts: "the builds of two projects passed", change: all(twoProjects, with(b(), b(another(docs, "2.0.4")))), want: mergecheck.Passed},
		{facts: "a job failed that may fail", change: all(policy(mergecheck.Policy{AllowFailure: allowed}), with(b(in(mergecheck.Failed), func(b *mergecheck.Build) {
			b.Jobs = []mergecheck.Job{{Name: "nightly", State: mergecheck.Failed, Tests: mergecheck.Tests{Total: 312, Passed: 310, Failed: 2}}}
			b.JobsState, b.JobsUpdatedOn = mergecheck.Failed, b.UpdatedOn
		}))), want: mergecheck.Passed},
		{facts: "a build script reported the result", change: all(policy(mergecheck.Policy{AcceptReports: []string{"1"}}), with(b(func(b *mergecheck.Build) { b.ConfirmedBy = mergecheck.ConfirmedByReport }))), want: mergecheck.Passed},
		{facts: "the project took the place of a deleted one", change: all(with(b()), func(f *mergecheck.Facts) { f.Seen[0].Replaces = 3 }), want: mergecheck.Passed},
		{facts: "main has moved, and the policy warns", change: all(policy(mergecheck.Policy{Freshness: mergecheck.Freshness{Mode: mergecheck.FreshnessWarn}}), with(b(tested)), behind), want: mergecheck.Passed},
		{facts: "main has moved, the policy warns, and Bitbucket is down", change: all(policy(mergecheck.Policy{Freshness: mergecheck.Freshness{Mode: mergecheck.FreshnessWarn}}), with(b(tested)), behind, unread, func(f *mergecheck.Facts) { f.Distances = nil }), want: mergecheck.Passed},
		{facts: "AppVeyor is down at the moment of merging", change: all(with(b()), func(f *mergecheck.Facts) {
			f.Looks = []mergecheck.Look{{ProjectID: 1, On: now.Add(-time.Minute), Problem: "AppVeyor didn't answer in time"}}
		}), want: mergecheck.Passed},
		{facts: "waived after the build failed", change: all(waived, with(b(in(mergecheck.Failed)))), want: mergecheck.WaivedCode},
		{facts: "waived while the build runs", change: all(waived, with(b(in(mergecheck.Running)))), want: mergecheck.WaivedCode},
		{facts: "waived without any build", change: waived, want: mergecheck.WaivedCode},
		{facts: "waived, and one project of two is missing", change: all(waived, twoProjects, with(b(in(mergecheck.Failed)))), want: mergecheck.WaivedCode},
		{facts: "waived, and the build is out of date", change: all(waived, policy(mergecheck.Policy{Freshness: limit}), with(b(tested)), behind), want: mergecheck.WaivedCode},
		{facts: "waived, and the build was for another target branch", change: all(waived, with(b(into("develop")))), want: mergecheck.WaivedCode},
		{facts: "waived, and AppVeyor doesn't say which commit it built", change: all(waived, with(b(reported(""), func(b *mergecheck.Build) { b.CreatedOn = time.Time{} }))), want: mergecheck.WaivedCode},
		{facts: "the freeze is waived", change: all(waived, with(b()), policy(mergecheck.Policy{Freezes: []mergecheck.Freeze{yearEnd}, Waivers: mergecheck.WaiverRules{Freezes: true}})), want: mergecheck.WaivedCode},
		{facts: "a skip rule applies", change: all(policy(mergecheck.Policy{Skip: []mergecheck.SkipRule{docsOnly}}), func(f *mergecheck.Facts) { f.Changed = []string{"docs/a.md"} }), want: mergecheck.NotRequired},
		{facts: "the pull request is merged", change: func(f *mergecheck.Facts) { f.PullRequest.State = "MERGED" }, want: mergecheck.PullRequestClosed},
		{facts: "the pull request is declined", change: func(f *mergecheck.Facts) { f.PullRequest.State = "DECLINED" }, want: mergecheck.PullRequestClosed},
		{facts: "two commits share 12 characters", change: func(f *mergecheck.Facts) {
			f.PullRequest.Head, f.PullRequest.HeadProblem, f.PullRequest.HeadNextStep = "", "two commits share the prefix 3d688362cb1f", "Push a new commit."
		}, want: mergecheck.HeadUnknown},
		{facts: "Bitbucket names no head", change: func(f *mergecheck.Facts) { f.PullRequest.Head = "" }, want: mergecheck.HeadUnknown},
		{facts: "a freeze", change: all(with(b()), policy(mergecheck.Policy{Freezes: []mergecheck.Freeze{yearEnd}})), want: mergecheck.Frozen},
		{facts: "a freeze that can be waived", change: all(with(b()), policy(mergecheck.Policy{Freezes: []mergecheck.Freeze{yearEnd}, Waivers: mergecheck.WaiverRules{Freezes: true}})), want: mergecheck.Frozen},
		{facts: "the build failed", change: with(b(in(mergecheck.Failed))), want: mergecheck.FailedCode},
		{facts: "two builds failed", change: all(twoProjects, with(b(in(mergecheck.Failed)), b(in(mergecheck.Failed), another(docs, "2.0.4")))), want: mergecheck.FailedCode},
		{facts: "the build was cancelled", change: with(b(in(mergecheck.Cancelled))), want: mergecheck.CancelledCode},
		{facts: "the build was deleted", change: with(b(in(mergecheck.Cancelled), func(b *mergecheck.Build) { b.DeletedOn = now })), want: mergecheck.CancelledCode},
		{facts: "no build in time", change: policy(mergecheck.Policy{NotStartedAfter: 10 * time.Minute}), want: mergecheck.TimedOut},
		{facts: "no build in time, and no project is known", change: all(policy(mergecheck.Policy{NotStartedAfter: 10 * time.Minute}), func(f *mergecheck.Facts) { f.Seen = nil }), want: mergecheck.TimedOut},
		{facts: "the build runs for too long", change: all(policy(mergecheck.Policy{RunningLongerThan: 2 * time.Minute}), with(b(in(mergecheck.Running)))), want: mergecheck.TimedOut},
		{facts: "AppVeyor says neither which commit it built nor when", change: with(b(reported(""), func(b *mergecheck.Build) { b.CreatedOn = time.Time{} })), want: mergecheck.Unavailable},
		{facts: "AppVeyor doesn't name the commit, and no head was seen before", change: all(with(b(reported(""))), func(f *mergecheck.Facts) { f.Heads = nil }), want: mergecheck.Unavailable},
		{facts: "AppVeyor doesn't name the commit, and a push came while it built", change: all(with(b(reported(""))), func(f *mergecheck.Facts) { f.Heads = append(f.Heads, seen(other, -2*time.Minute, -2*time.Minute)) }), want: mergecheck.Unavailable},
		{facts: "AppVeyor doesn't name the commit, and built another head", change: all(with(b(reported(""), func(b *mergecheck.Build) { b.CommitID = other })), func(f *mergecheck.Facts) {
			f.Heads = []mergecheck.Head{seen(other, -time.Hour, -time.Hour), seen(commit, -20*time.Minute, -time.Minute)}
		}), want: mergecheck.Unavailable},
		{facts: "AppVeyor abbreviates the commit, and two heads fit", change: all(with(b(reported(commit[:12]))), func(f *mergecheck.Facts) {
			f.Heads = append(f.Heads, seen(commit[:12]+strings.Repeat("c", 28), -2*time.Hour, -2*time.Hour))
		}), want: mergecheck.Unavailable},
		{facts: "AppVeyor abbreviates the commit, and the head is still being read", change: all(with(b(reported(commit[:12]))), func(f *mergecheck.Facts) { f.Waiting = true }), want: mergecheck.Unavailable},
		{facts: "mergegate is reading a build", change: unconfirmed(mergecheck.Unconfirmed{BuildID: 14636}), want: mergecheck.Unavailable},
		{facts: "AppVeyor is down", change: unconfirmed(mergecheck.Unconfirmed{BuildID: 14636, Reason: "AppVeyor answered 502"}), want: mergecheck.Unavailable},
		{facts: "AppVeyor was down for too long", change: unconfirmed(mergecheck.Unconfirmed{BuildID: 14636, Reason: "AppVeyor answered 502", Failed: true}), want: mergecheck.Unavailable},
		{facts: "something can't be read", change: func(f *mergecheck.Facts) {
			f.Problem = "mergegate can't reach its database, so it can't approve this merge."
		}, want: mergecheck.Unavailable},
		{facts: "nothing was built", change: nil, want: mergecheck.NoBuild},
		{facts: "an account that isn't trusted built it", change: unconfirmed(mergecheck.Unconfirmed{BuildID: 14636, Untrusted: "mallory"}), want: mergecheck.NoBuild},
		{facts: "nothing was built, and a skip rule can't be checked", change: all(unread, policy(mergecheck.Policy{Skip: []mergecheck.SkipRule{docsOnly}})), want: mergecheck.NoBuild},
		{facts: "one project of two is missing", change: all(twoProjects, with(b())), want: mergecheck.MissingProject},
		{facts: "a project is missing that was probably deleted on AppVeyor", change: all(with(b()), func(f *mergecheck.Facts) {
			f.Seen = append(f.Seen, mergecheck.Project{ID: 2, Account: "acme", Slug: "widgets"})
		}), want: mergecheck.MissingProject},
		{facts: "the build was for another target branch", change: with(b(into("develop"))), want: mergecheck.StaleDestination},
		{facts: "AppVeyor doesn't name the target branch", change: with(b(into(""))), want: mergecheck.StaleDestination},
		{facts: "Bitbucket doesn't name the target branch", change: all(with(b()), func(f *mergecheck.Facts) { f.PullRequest.DestinationBranch = "" }), want: mergecheck.StaleDestination},
		{facts: "main has moved too far", change: all(policy(mergecheck.Policy{Freshness: limit}), with(b(tested)), behind), want: mergecheck.StaleDestination},
		{facts: "main has moved, and the build is too old", change: all(policy(mergecheck.Policy{Freshness: aged}), with(b(tested)), behind), want: mergecheck.StaleDestination},
		{facts: "main has moved, and the policy is strict", change: all(policy(mergecheck.Policy{Freshness: mergecheck.Freshness{Mode: mergecheck.FreshnessStrict}}), with(b(tested)), behind), want: mergecheck.StaleDestination},
		{facts: "main has moved, and Bitbucket is down", change: all(policy(mergecheck.Policy{Freshness: limit}), with(b(tested)), behind, unread, func(f *mergecheck.Facts) { f.Distances = nil }), want: mergecheck.StaleDestination},
		{facts: "it isn't known which commit of main was tested", change: all(policy(mergecheck.Policy{Freshness: limit}), with(b()), behind), want: mergecheck.StaleDestination},
		{facts: "it isn't known which commit main is at", change: all(policy(mergecheck.Policy{Freshness: limit}), with(b(tested))), want: mergecheck.StaleDestination},
		{facts: "the build is running", change: with(b(in(mergecheck.Running))), want: mergecheck.RunningCode},
		{facts: "two builds are running", change: all(twoProjects, with(b(in(mergecheck.Running)), b(in(mergecheck.Running), another(docs, "2.0.4")))), want: mergecheck.RunningCode},
		{facts: "the build is queued", change: with(b(in(mergecheck.Queued))), want: mergecheck.QueuedCode},
	}
	rows := make([]messagetest.Row, 0, len(tests)+1)
	var changes []messagetest.Row
	for _, tt := range tests {
		f := mergecheck.Facts{PullRequest: pullRequest(), Seen: []mergecheck.Project{widgets}, Now: now, Heads: []mergecheck.Head{seen(commit, -20*time.Minute, -time.Minute)}}
		f.PullRequest.Head = commit
		if tt.change != nil {
			tt.change(&f)
		}
		v := mergecheck.Evaluate(f)
		if v.Code != tt.want {
			t.Errorf("%s: %s (%s), want %s", tt.facts, v.Code, v.Message, tt.want)
		}
		row := messagetest.Row{Facts: tt.facts, Code: string(v.Code), Message: v.Message, NextStep: v.NextStep}
		if len(f.Builds) == 1 {
			row.Status = mergecheck.StatusOf(f.Builds[0], mergecheck.LiveWaiver(v.Waivers, 0)).Description
		}
		rows = append(rows, row)
		for _, change := range v.WouldChange {
			changes = append(changes, messagetest.Row{Facts: tt.facts, Code: string(v.Code), Message: change})
		}
	}
	pushed := mergecheck.Verdict{Code: mergecheck.RunningCode, Message: "AppVeyor build 1.0.27 is running (3 min so far).", Policy: mergecheck.Policy{PassPendingOnPush: true}}
	_, message := pushed.Answer(false)
	rows = append(rows, messagetest.Row{Facts: "the build is running, and the policy lets the check on push pass", Code: string(pushed.Code), Message: message, NextStep: "as above"})

	codes := messagetest.Codes(rows)
	for _, code := range declaredCodes(t) {
		if !codes[string(code)] {
			t.Errorf("no row shows %s", code)
		}
	}
	messagetest.Hold(t, "Merge check", messagetest.Messages, rows)
	slices.SortStableFunc(changes, func(a, b messagetest.Row) int { return strings.Compare(a.Message, b.Message) })
	changes = slices.CompactFunc(changes, func(a, b messagetest.Row) bool { return a.Message == b.Message })
	messagetest.Hold(t, "What would change a verdict", messagetest.Phrases, changes)
}

// texts are what the Forge function answers where mergegate doesn't, in its source: what
// each failure leads to is held by its own tests.
var texts = regexp.MustCompile("(?:case (\\d+|'[a-z ]+'):|(default):|(BACKEND_URL|if \\(name).*\\{)?\\n +return (?:'((?:[^'\\\\]|\\\\.)*)'|`([^`]*)`);")

// placeholder is where the function puts a number.
var placeholder = regexp.MustCompile(`\$\{[^}]*\}`)

func TestTextsOfTheForgeFunction(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../../manifest/src/index.js")
	if errors.Is(err, os.ErrNotExist) {
		t.Fatal("the Forge function has moved")
	}
	if err != nil {
		t.Fatal(err)
	}
	_, source2, found := strings.Cut(string(source), "function explain(error, limits) {")
	if !found {
		t.Fatal("the Forge function has no explain")
	}
	explains, _, _ := strings.Cut(source2, "class Failure")
	var rows []messagetest.Row
	for _, m := range texts.FindAllStringSubmatch(explains, -1) {
		facts := strings.Trim(m[1], "'")
		switch {
		case m[2] != "" && strings.Contains(m[5], "status"):
			facts = "any other status"
		case m[2] != "":
			facts = "anything else"
		case facts == "":
			facts = "Forge refused the call"
		case len(facts) == 3:
			facts = "status " + facts
		}
		text := placeholder.ReplaceAllString(strings.ReplaceAll(m[4]+m[5], `\'`, `'`), "N")
		message, next, _ := strings.Cut(text, ". ")
		rows = append(rows, messagetest.Row{Facts: facts, Message: message + ". " + next, NextStep: next})
	}
	if returns := strings.Count(explains, "return ") - 1; len(rows) != returns { // one hands over to explainStatus
		t.Errorf("%d texts of %d were found", len(rows), returns)
	}
	messagetest.Hold(t, "Forge function", messagetest.Messages, rows)
}
