package mergecheck

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestEveryCodeHasASentence explains each code with facts that say nothing of it: a
// new rule may return any.
func TestEveryCodeHasASentence(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for _, code := range slices.Concat(FailCodes, []Code{Passed, NotRequired}) {
		if code == Frozen { // says which freeze
			continue
		}
		f := Facts{PullRequest: PullRequest{ID: 7, State: "OPEN", Head: strings.Repeat("a", 40)}, Now: now}
		v := Verdict{Code: code, PullRequest: f.PullRequest}
		if len(v.Projects) == 0 && (code == FailedCode || code == CancelledCode || code == StaleDestination || code == RunningCode || code == QueuedCode) {
			v.Projects = []ProjectVerdict{{Required: true, Code: code, Build: &Build{Version: "1.0.1"}}}
		}
		if message, _ := explain(f, v); message == "" {
			t.Errorf("%s: no message", code)
		}
	}
}

// TestCausesHaveTheirOwnSentences reads messages for what people can't use: nothing is
// missing in them, and nothing of the inside shows.
func TestCausesHaveTheirOwnSentences(t *testing.T) {
	t.Parallel()
	head := strings.Repeat("a", 40)
	open := PullRequest{ID: 7, State: "OPEN", Head: head, DestinationBranch: "main"}
	nowhere, unknown := open, open
	nowhere.DestinationBranch = ""
	unknown.Head, unknown.HeadProblem, unknown.HeadNextStep = "", "two commits share the prefix aaaaaaaaaaaa", "Push a new commit."
	widgets := Project{ID: 1, Account: "acme", Slug: "widgets"}
	build := Build{BuildID: 10, Project: widgets, Version: "1.0.10", State: Success, ReportedCommit: head, DestinationBranch: "main"}
	unnamed := build
	unnamed.DestinationBranch = ""
	skip := Policy{Skip: []SkipRule{{Name: "docs only", Path: func(string) bool { return true }}}}
	tests := []struct {
		name string
		f    Facts
		want string
	}{
		{
			name: "the pull request goes nowhere", f: Facts{PullRequest: nowhere, Builds: []Build{build}, Seen: []Project{widgets}},
			want: "AppVeyor build 1.0.10 was for main, but Bitbucket doesn't name the pull request's target branch now. Rebuild the pull request on AppVeyor, then re-run this check.",
		},
		{
			name: "AppVeyor names no branch", f: Facts{PullRequest: open, Builds: []Build{unnamed}, Seen: []Project{widgets}},
			want: "AppVeyor build 1.0.10 was for a target branch that AppVeyor doesn't name, but the pull request now targets main. Rebuild the pull request on AppVeyor, then re-run this check.",
		},
		{
			name: "the account may not speak", f: Facts{PullRequest: open, Seen: []Project{widgets}, Unconfirmed: []Unconfirmed{{BuildID: 10, Untrusted: "mallory"}}},
			want: "mergegate ignored AppVeyor build 10: it doesn't trust the AppVeyor account mallory for this workspace. Ask your mergegate admin to check MERGEGATE_APPVEYOR_ACCOUNTS.",
		},
		{
			name: "AppVeyor is still asked", f: Facts{PullRequest: open, Unconfirmed: []Unconfirmed{{BuildID: 10, Reason: "AppVeyor answered 502"}}},
			want: "mergegate can't confirm AppVeyor build 10: AppVeyor answered 502. mergegate keeps retrying. If this continues, ask your mergegate admin.",
		},
		{
			name: "AppVeyor is asked no more", f: Facts{PullRequest: open, Unconfirmed: []Unconfirmed{{BuildID: 10, Reason: "AppVeyor answered 502", Failed: true}}},
			want: "mergegate can't confirm AppVeyor build 10: AppVeyor answered 502. mergegate has stopped retrying. Rebuild the pull request on AppVeyor, or ask your mergegate admin to replay the delivery.",
		},
		{
			name: "twins", f: Facts{PullRequest: unknown},
			want: "mergegate can't tell which commit is the head of this pull request: two commits share the prefix aaaaaaaaaaaa. Push a new commit.",
		},
		{
			name: "a skip rule that can't be checked", f: Facts{PullRequest: open, Seen: []Project{widgets}, Policy: skip, Unread: "Bitbucket didn't answer in time"},
			want: `No AppVeyor build for aaaaaaaaaaaa yet. mergegate couldn't check skip rule "docs only": Bitbucket didn't answer in time. Wait for it, or start it on AppVeyor, then re-run this check.`,
		},
	}
	for _, tt := range tests {
		tt.f.Now = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
		if got := Evaluate(tt.f).Message; got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}
