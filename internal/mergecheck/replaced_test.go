package mergecheck_test

import (
	"slices"
	"strings"
	"testing"

	"mergegate/internal/mergecheck"
)

// TestProjectsOfOneName has a project that was deleted and created again.
func TestProjectsOfOneName(t *testing.T) {
	t.Parallel()
	old := mergecheck.Project{ID: 501, Account: "acme", Slug: "widgets"}
	again := mergecheck.Project{ID: 502, Account: "acme", Slug: "Widgets"}
	replacing := again
	replacing.Replaces = old.ID
	tests := []struct {
		name    string
		policy  mergecheck.Policy
		seen    []mergecheck.Project
		builds  []mergecheck.Build
		want    mergecheck.Code
		message string
		rule    string
	}{
		{
			name: "nobody knows that it was replaced", seen: []mergecheck.Project{old, again}, builds: []mergecheck.Build{build(10, of(again))},
			want: mergecheck.MissingProject,
			message: "No AppVeyor build of acme/widgets (project 501) for aaaaaaaaaaaa yet. " +
				"If project 501 was deleted on AppVeyor, ask your mergegate admin to run `mergegate projects forget 501`.",
			rule: "acme/widgets (project 501): no_build",
		},
		{
			name: "replaced", seen: []mergecheck.Project{replacing}, builds: []mergecheck.Build{build(10, of(again), passing)}, want: mergecheck.Passed,
			message: "AppVeyor build 1.0.26 passed (312 tests); project 502 replaces 501, which was deleted on AppVeyor.",
			rule:    "acme/Widgets: passed; project 502 replaces 501, which was deleted on AppVeyor",
		},
		{
			name: "what the old one built doesn't count for the new one", seen: []mergecheck.Project{replacing, docs},
			builds: []mergecheck.Build{build(10, of(old)), build(11, of(docs))}, want: mergecheck.MissingProject,
			message: "No AppVeyor build of acme/Widgets (project 502) for aaaaaaaaaaaa yet.", rule: "acme/Widgets (project 502): no_build; project 502 replaces 501",
		},
		{
			name: "required by its name", policy: mergecheck.Policy{Required: []string{"acme/widgets"}}, seen: []mergecheck.Project{replacing},
			builds: []mergecheck.Build{build(10, of(again))}, want: mergecheck.Passed,
		},
		{
			name: "required by a name that two have, and nobody knows which", policy: mergecheck.Policy{Required: []string{"acme/widgets"}},
			seen: []mergecheck.Project{old, again}, builds: []mergecheck.Build{build(10, of(old)), build(11, of(again), failing())},
			want: mergecheck.FailedCode,
		},
		{
			name: "required by a name that two have, one without a build", policy: mergecheck.Policy{Required: []string{"acme/widgets"}},
			seen: []mergecheck.Project{old, again}, builds: []mergecheck.Build{build(10, of(again))},
			want: mergecheck.MissingProject, message: "run `mergegate projects forget 501`",
		},
		{
			name: "required by its number, which never moves", policy: mergecheck.Policy{Required: []string{"501", "acme/docs"}}, seen: []mergecheck.Project{replacing, docs},
			builds: []mergecheck.Build{build(10, of(again)), build(11, of(docs))}, want: mergecheck.MissingProject,
		},
		{
			name: "projects of other names", seen: []mergecheck.Project{widgets, docs}, builds: []mergecheck.Build{build(10)}, want: mergecheck.MissingProject,
			message: "No AppVeyor build of acme/docs for aaaaaaaaaaaa yet. Wait for it, or start it on AppVeyor, then re-run this check.",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := mergecheck.Evaluate(mergecheck.Facts{PullRequest: pullRequest(), Policy: tt.policy, Seen: tt.seen, Builds: tt.builds, Now: now})
			if v.Code != tt.want || !strings.Contains(v.Message, tt.message) {
				t.Errorf("%s, %q; want %s, %q", v.Code, v.Message, tt.want, tt.message)
			}
			has := func(r mergecheck.Rule) bool { return strings.HasPrefix(r.Detail, tt.rule) }
			if tt.rule != "" && !slices.ContainsFunc(v.Rules, has) {
				t.Errorf("rules %+v lack %q", v.Rules, tt.rule)
			}
		})
	}
}

// TestDeletedBuildIsNamedSo ends a build that AppVeyor doesn't show any more.
func TestDeletedBuildIsNamedSo(t *testing.T) {
	t.Parallel()
	deleted := build(10, in(mergecheck.Cancelled), func(b *mergecheck.Build) { b.DeletedOn = now })
	v := mergecheck.Evaluate(mergecheck.Facts{PullRequest: pullRequest(), Seen: []mergecheck.Project{widgets}, Builds: []mergecheck.Build{deleted}, Now: now})
	if want := "AppVeyor build 1.0.26 was deleted on AppVeyor. Rebuild the pull request on AppVeyor, then re-run this check."; v.Code != mergecheck.CancelledCode || v.Message != want {
		t.Errorf("%s, %q; want %q", v.Code, v.Message, want)
	}
}
