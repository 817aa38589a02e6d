package mergecheck_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mergegate/internal/mergecheck"
)

// byScript makes a build one that its script reported, at the end of the build.
func byScript(b *mergecheck.Build) { b.ConfirmedBy = mergecheck.ConfirmedByReport }

func byAppVeyor(b *mergecheck.Build) { b.ConfirmedBy = mergecheck.ConfirmedByAppVeyor }

func called(account, slug string) func(*mergecheck.Build) {
	return func(b *mergecheck.Build) { b.Project.Account, b.Project.Slug = account, slug }
}

// reportsOnly is a project that AppVeyor knows and builds nothing in.
func reportsOnly(p mergecheck.Project) mergecheck.Project {
	p.ReportsOnly = true
	return p
}

// TestReportsAnswerForTheirProjectAlone has reports call their project what they
// like. Project 1 is acme/widgets, which AppVeyor builds.
func TestReportsAnswerForTheirProjectAlone(t *testing.T) {
	t.Parallel()
	lint := mergecheck.Project{ID: 3, Account: "acme", Slug: "lint"}
	nameless := mergecheck.Project{ID: 3, ReportsOnly: true}
	failed := build(10, byAppVeyor, in(mergecheck.Failed))
	tests := []struct {
		name    string
		accept  []string
		require []string
		seen    []mergecheck.Project
		builds  []mergecheck.Build
		want    mergecheck.Code
	}{
		{
			name: "called as what the policy accepts", accept: []string{"acme/lint"}, seen: []mergecheck.Project{widgets},
			builds: []mergecheck.Build{failed, build(11, byScript, called("acme", "lint"))}, want: mergecheck.FailedCode,
		},
		{
			name: "called as what the policy accepts and requires", accept: []string{"acme/lint"}, require: []string{"acme/lint"}, seen: []mergecheck.Project{widgets},
			builds: []mergecheck.Build{build(11, byScript, called("acme", "lint"))}, want: mergecheck.NoBuild,
		},
		{
			name: "of another project under that name", accept: []string{"acme/lint"}, require: []string{"acme/lint"}, seen: []mergecheck.Project{widgets, nameless},
			builds: []mergecheck.Build{build(11, byScript, of(lint))}, want: mergecheck.NoBuild,
		},
		{
			name: "a failure under another's name", accept: []string{"acme/widgets"}, seen: []mergecheck.Project{widgets},
			builds: []mergecheck.Build{build(10, byAppVeyor), build(11, byScript, of(mergecheck.Project{ID: 3, Account: "acme", Slug: "widgets"}), in(mergecheck.Failed))},
			want:   mergecheck.Passed,
		},
		{
			name: "of a project that AppVeyor builds, accepted by name", accept: []string{"acme/widgets"}, seen: []mergecheck.Project{widgets},
			builds: []mergecheck.Build{failed, build(11, byScript)}, want: mergecheck.FailedCode,
		},
		{
			name: "of a project that AppVeyor has built, before it is among the projects", accept: []string{"acme/widgets"}, require: []string{"acme/widgets"},
			seen: []mergecheck.Project{reportsOnly(widgets)}, builds: []mergecheck.Build{failed, build(11, byScript)}, want: mergecheck.FailedCode,
		},
		{
			name: "of a project that AppVeyor builds, accepted by id", accept: []string{"1"}, seen: []mergecheck.Project{widgets},
			builds: []mergecheck.Build{failed, build(11, byScript)}, want: mergecheck.Passed,
		},
		{
			name: "accepted by the name AppVeyor has for it", accept: []string{"acme/lint"}, require: []string{"acme/lint"}, seen: []mergecheck.Project{reportsOnly(lint)},
			builds: []mergecheck.Build{build(11, byScript, of(mergecheck.Project{ID: 3, Account: "any", Slug: "thing"}))}, want: mergecheck.Passed,
		},
		{
			name: "accepted by id, without a name", accept: []string{"3"}, require: []string{"3"}, seen: []mergecheck.Project{nameless},
			builds: []mergecheck.Build{build(11, byScript, of(lint))}, want: mergecheck.Passed,
		},
		{
			name: "required if present by a name that only a report gave", accept: []string{"3"}, seen: []mergecheck.Project{widgets, nameless},
			builds: []mergecheck.Build{build(10, byAppVeyor), build(11, byScript, of(lint), in(mergecheck.Failed))}, want: mergecheck.FailedCode,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := mergecheck.Evaluate(mergecheck.Facts{
				PullRequest: pullRequest(), Seen: tt.seen, Builds: tt.builds, Now: now,
				Policy: mergecheck.Policy{AcceptReports: tt.accept, Required: tt.require},
			})
			if v.Code != tt.want {
				t.Errorf("code %s (%s), want %s", v.Code, v.Message, tt.want)
			}
		})
	}
}

// TestWhatScriptsWriteIdentifiesNothing changes everything that a build script can
// write into a report but its result, and expects the same outcome.
func TestWhatScriptsWriteIdentifiesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := genFacts().Draw(t, "facts")
		names := []string{"1", "2", "acme/widgets", "acme/docs"}
		f.Policy.AcceptReports = rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID).Draw(t, "accept_reports")
		f.Policy.Required = rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID).Draw(t, "required")
		f.Policy.RequiredIfPresent = rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID).Draw(t, "required_if_present")
		for i := range f.Builds {
			f.Builds[i].ConfirmedBy = rapid.SampledFrom([]string{mergecheck.ConfirmedByAppVeyor, mergecheck.ConfirmedByReport}).Draw(t, "confirmed by")
			if f.Builds[i].ConfirmedBy == mergecheck.ConfirmedByReport { // of a head that Bitbucket named in full
				f.Builds[i].ReportedCommit = rapid.SampledFrom([]string{head, other}).Draw(t, "head")
			}
		}
		rewritten := f
		rewritten.Builds = slices.Clone(f.Builds)
		for i, b := range rewritten.Builds {
			if b.ConfirmedBy != mergecheck.ConfirmedByReport {
				continue
			}
			b.Project.Account, b.Project.Slug, _ = strings.Cut(rapid.SampledFrom(names[2:]).Draw(t, "called"), "/")
			b.Repository, b.PullRequestTitle, b.Version, b.CommitID, b.URL = "x/y", "title", "9.9", twin, "https://example.com"
			rewritten.Builds[i] = b
		}
		if diff := cmp.Diff(outcome(mergecheck.Evaluate(f)), outcome(mergecheck.Evaluate(rewritten))); diff != "" {
			t.Fatalf("the words of a report changed the verdict (-before +after):\n%s", diff)
		}
	})
}

// outcome is what a verdict says of which project, without its texts.
func outcome(v mergecheck.Verdict) (lines []string) {
	lines = append(lines, string(v.Code))
	for _, p := range v.Projects {
		line := strings.Join([]string{string(p.Code), "required", map[bool]string{true: "yes", false: "no"}[p.Required]}, " ")
		if p.Build != nil {
			line += " build " + string(p.Build.State)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines[1:])
	return lines
}

// TestNewestResultDecides puts results of one head and project beside each other.
func TestNewestResultDecides(t *testing.T) {
	t.Parallel()
	after := func(d time.Duration) func(*mergecheck.Build) {
		return func(b *mergecheck.Build) {
			b.CreatedOn, b.UpdatedOn = b.CreatedOn.Add(d), b.UpdatedOn.Add(d)
		}
	}
	itself := func(b *mergecheck.Build) { b.PullRequestID, b.CommitID, b.ReportedCommit = 0, head, "" }
	unsure := func(b *mergecheck.Build) { b.ReportedCommit = "" }
	tests := []struct {
		name   string
		builds []mergecheck.Build
		branch []mergecheck.Build
		want   mergecheck.Code
	}{
		{name: "a newer failed build", builds: []mergecheck.Build{build(10), build(11, in(mergecheck.Failed))}, want: mergecheck.FailedCode},
		{name: "a newer build that runs", builds: []mergecheck.Build{build(10), build(11, in(mergecheck.Running))}, want: mergecheck.RunningCode},
		{name: "a newer report", builds: []mergecheck.Build{build(10), build(11, byScript, in(mergecheck.Failed))}, want: mergecheck.FailedCode},
		{name: "an older report", builds: []mergecheck.Build{build(10), build(9, byScript, in(mergecheck.Failed))}, want: mergecheck.Passed},
		{
			name:   "a report with an id from the future, and a build created after it arrived",
			builds: []mergecheck.Build{build(999_999, byScript), build(11, after(time.Hour), in(mergecheck.Failed))}, want: mergecheck.FailedCode,
		},
		{
			name: "a report that is the newest only if a build is of this head, which nobody knows",
			builds: []mergecheck.Build{
				build(999_999, byScript, in(mergecheck.Running)), build(11, unsure, after(9*time.Minute+30*time.Second), in(mergecheck.Failed)), build(12, byScript, after(50*time.Second)),
			}, want: mergecheck.Unavailable,
		},
		{
			name:   "a report that is the newest whichever head a build is of",
			builds: []mergecheck.Build{build(11, unsure, in(mergecheck.Failed)), build(12, byScript, after(time.Hour))}, want: mergecheck.Passed,
		},
		{name: "a branch build that passed", branch: []mergecheck.Build{build(10, itself)}, want: mergecheck.Passed},
		{name: "a newer branch build failed", branch: []mergecheck.Build{build(10, itself), build(11, itself, in(mergecheck.Failed))}, want: mergecheck.FailedCode},
		{name: "a newer branch build runs", branch: []mergecheck.Build{build(11, itself, in(mergecheck.Running)), build(10, itself)}, want: mergecheck.RunningCode},
		{name: "a newer branch build was cancelled", branch: []mergecheck.Build{build(10, itself), build(11, itself, in(mergecheck.Cancelled))}, want: mergecheck.CancelledCode},
		{name: "an older branch build failed", branch: []mergecheck.Build{build(11, itself), build(10, itself, in(mergecheck.Failed))}, want: mergecheck.Passed},
		{name: "a newer branch build beside a pull request build", builds: []mergecheck.Build{build(10)}, branch: []mergecheck.Build{build(11, itself, in(mergecheck.Failed))}, want: mergecheck.FailedCode},
		{name: "a newer pull request build", builds: []mergecheck.Build{build(12)}, branch: []mergecheck.Build{build(11, itself, in(mergecheck.Failed))}, want: mergecheck.Passed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pr := pullRequest()
			pr.DestinationCommit = other
			v := mergecheck.Evaluate(mergecheck.Facts{
				PullRequest: pr, Seen: []mergecheck.Project{widgets}, Builds: tt.builds, BranchBuilds: tt.branch, Now: now,
				Distances: []mergecheck.Distance{{Destination: other, Tested: head, Complete: true}},
				Policy:    mergecheck.Policy{AcceptReports: []string{"1"}, AcceptBranchBuilds: true},
			})
			if v.Code != tt.want {
				t.Errorf("code %s (%s), want %s", v.Code, v.Message, tt.want)
			}
		})
	}
}
