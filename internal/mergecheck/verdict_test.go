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

var (
	now     = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	head    = strings.Repeat("a", 40)
	other   = strings.Repeat("b", 40)
	twin    = strings.Repeat("a", 12) + strings.Repeat("c", 28) // shares 12 characters with head
	widgets = mergecheck.Project{ID: 1, Account: "acme", Slug: "widgets"}
	docs    = mergecheck.Project{ID: 2, Account: "acme", Slug: "docs"}
)

func pullRequest() mergecheck.PullRequest {
	return mergecheck.PullRequest{ID: 7, State: "OPEN", Head: head, SourceBranch: "feature", DestinationBranch: "main"}
}

// build is a successful build of head; each change makes it another.
func build(id int64, changes ...func(*mergecheck.Build)) mergecheck.Build {
	b := mergecheck.Build{
		BuildID: id, Project: widgets, Repository: "acme/widgets", PullRequestID: 7, Version: "1.0.26",
		State: mergecheck.Success, ReportedCommit: head, DestinationBranch: "main",
		URL:       "https://ci.appveyor.com/project/acme/widgets/builds/14636",
		CreatedOn: now.Add(-10 * time.Minute), StartedOn: now.Add(-3*time.Minute - 4*time.Second),
		FinishedOn: now.Add(-time.Minute), UpdatedOn: now.Add(-time.Minute),
		Jobs: []mergecheck.Job{{ID: "j", Tests: mergecheck.Tests{Total: 312, Passed: 310, Failed: 2}}},
	}
	for _, change := range changes {
		change(&b)
	}
	return b
}

func in(s mergecheck.State) func(*mergecheck.Build) {
	return func(b *mergecheck.Build) {
		b.State = s
		if !s.Finished() {
			b.FinishedOn = time.Time{}
		}
	}
}

func of(p mergecheck.Project) func(*mergecheck.Build) {
	return func(b *mergecheck.Build) { b.Project = p }
}

func reported(commit string) func(*mergecheck.Build) {
	return func(b *mergecheck.Build) { b.ReportedCommit = commit }
}

func into(branch string) func(*mergecheck.Build) {
	return func(b *mergecheck.Build) { b.DestinationBranch = branch }
}

func passing(b *mergecheck.Build) {
	b.Jobs = []mergecheck.Job{{Tests: mergecheck.Tests{Total: 312, Passed: 312}}}
}

func seen(commit string, from, to time.Duration) mergecheck.Head {
	return mergecheck.Head{Commit: commit, FirstSeenOn: now.Add(from), LastSeenOn: now.Add(to)}
}

func TestEvaluate(t *testing.T) {
	t.Parallel()
	one := []mergecheck.Project{widgets}
	tests := []struct {
		name        string
		pr          func(*mergecheck.PullRequest)
		heads       []mergecheck.Head
		builds      []mergecheck.Build
		required    []mergecheck.Project
		unconfirmed []mergecheck.Unconfirmed
		problem     string
		want        mergecheck.Code
		message     string // a part of it
	}{
		{
			name: "passed", builds: []mergecheck.Build{build(10, passing)}, required: one,
			want: mergecheck.Passed, message: "AppVeyor build 1.0.26 passed (312 tests)",
		},
		{
			name: "passed in two projects", builds: []mergecheck.Build{build(10, passing), build(11, of(docs), passing)},
			required: []mergecheck.Project{widgets, docs}, want: mergecheck.Passed, message: "2 AppVeyor builds passed: 1.0.26 (312 tests), 1.0.26 (312 tests).",
		},
		{
			name: "failed", builds: []mergecheck.Build{build(10, in(mergecheck.Failed))}, required: one, want: mergecheck.FailedCode,
			message: "AppVeyor build 1.0.26 failed (2 of 312 tests). Push a fix, or rebuild the pull request on AppVeyor. https://ci.appveyor.com/project/acme/widgets/builds/14636",
		},
		{
			name: "the newest build decides", builds: []mergecheck.Build{build(11, in(mergecheck.Failed)), build(10)}, required: one,
			want: mergecheck.FailedCode,
		},
		{
			name: "a re-build that passes", builds: []mergecheck.Build{build(11), build(10, in(mergecheck.Failed))}, required: one,
			want: mergecheck.Passed,
		},
		{
			name: "cancelled", builds: []mergecheck.Build{build(10, in(mergecheck.Cancelled))}, required: one,
			want: mergecheck.CancelledCode, message: "was cancelled",
		},
		{
			name: "running", builds: []mergecheck.Build{build(10, in(mergecheck.Running))}, required: one, want: mergecheck.RunningCode,
			message: "AppVeyor build 1.0.26 is running (3 min so far). Re-run this check when it finishes, or click Merge to check again.",
		},
		{
			name: "queued", builds: []mergecheck.Build{build(10, in(mergecheck.Queued))}, required: one,
			want: mergecheck.QueuedCode, message: "AppVeyor build 1.0.26 is queued (10 min so far).",
		},
		{
			name: "nothing was ever built", want: mergecheck.NoBuild, message: "No AppVeyor build for aaaaaaaaaaaa yet.",
		},
		{
			name: "only an earlier head was built", builds: []mergecheck.Build{build(10, reported(other))}, required: one,
			want: mergecheck.NoBuild,
		},
		{
			name: "a twin that shares 12 characters was built", builds: []mergecheck.Build{build(10, reported(twin))}, required: one,
			heads: []mergecheck.Head{seen(twin, -time.Hour, -time.Hour), seen(head, 0, 0)}, want: mergecheck.NoBuild,
		},
		{
			name: "12 characters fit one head", builds: []mergecheck.Build{build(10, reported(head[:12]))}, required: one,
			heads: []mergecheck.Head{seen(other, -time.Hour, -time.Hour), seen(head, 0, 0)}, want: mergecheck.Passed,
		},
		{
			name: "12 characters fit two heads", builds: []mergecheck.Build{build(10, reported(head[:12]))}, required: one,
			heads: []mergecheck.Head{seen(twin, -time.Hour, -time.Hour), seen(head, 0, 0)}, want: mergecheck.Unavailable,
			message: "a prefix that several commits of the pull request share",
		},
		{
			name: "no head named, one head all along", builds: []mergecheck.Build{build(10, reported(""))}, required: one,
			heads: []mergecheck.Head{seen(head, -time.Hour, 0)}, want: mergecheck.Passed,
		},
		{
			name: "no head named, pushed while it ran", builds: []mergecheck.Build{build(10, reported(""))}, required: one,
			heads: []mergecheck.Head{seen(other, -time.Hour, -time.Hour), seen(head, -2*time.Minute, 0)}, want: mergecheck.Unavailable,
			message: "the pull request's head changed while the build ran",
		},
		{
			name: "a project is missing", builds: []mergecheck.Build{build(10)}, required: []mergecheck.Project{widgets, docs},
			want: mergecheck.MissingProject, message: "No AppVeyor build of acme/docs for aaaaaaaaaaaa yet.",
		},
		{
			name: "failing comes before missing", builds: []mergecheck.Build{build(10, in(mergecheck.Failed))},
			required: []mergecheck.Project{widgets, docs}, want: mergecheck.FailedCode,
		},
		{
			name: "retargeted", builds: []mergecheck.Build{build(10, into("release"))}, required: one,
			want: mergecheck.StaleDestination, message: "AppVeyor build 1.0.26 was for release, but the pull request now targets main.",
		},
		{
			name: "a failed build of another destination proves nothing", builds: []mergecheck.Build{build(10, into("release"), in(mergecheck.Failed))},
			required: one, want: mergecheck.StaleDestination,
		},
		{
			name: "a forgotten project doesn't count", builds: []mergecheck.Build{build(10), build(11, of(docs), in(mergecheck.Failed))},
			required: one, want: mergecheck.Passed,
		},
		{
			name: "with every project forgotten nothing passes", builds: []mergecheck.Build{build(10)}, want: mergecheck.NoBuild,
		},
		{
			name: "AppVeyor refused", unconfirmed: []mergecheck.Unconfirmed{{BuildID: 123, Reason: "token refused"}, {BuildID: 122}},
			want: mergecheck.Unavailable, message: "mergegate can't confirm AppVeyor build 123: token refused.",
		},
		{
			name: "an unconfirmed delivery changes no result", builds: []mergecheck.Build{build(10)}, required: one,
			unconfirmed: []mergecheck.Unconfirmed{{BuildID: 123, Reason: "token refused"}}, want: mergecheck.Passed,
		},
		{
			name: "closed", pr: func(pr *mergecheck.PullRequest) { pr.State = "MERGED" }, builds: []mergecheck.Build{build(10)}, required: one,
			want: mergecheck.PullRequestClosed, message: "Pull request 7 is merged.",
		},
		{
			name: "head unknown", pr: func(pr *mergecheck.PullRequest) { pr.Head, pr.HeadProblem = "", "Bitbucket could not be reached" },
			builds: []mergecheck.Build{build(10)}, required: one, want: mergecheck.HeadUnknown, message: "Bitbucket could not be reached",
		},
		{
			name: "facts can't be read", problem: "The database is down.", want: mergecheck.Unavailable, message: "The database is down.",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pr := pullRequest()
			if tt.pr != nil {
				tt.pr(&pr)
			}
			got := mergecheck.Evaluate(mergecheck.Facts{
				PullRequest: pr, Heads: tt.heads, Builds: tt.builds, Seen: tt.required,
				Unconfirmed: tt.unconfirmed, Problem: tt.problem, Now: now,
			})
			if got.Code != tt.want || got.Success != (tt.want == mergecheck.Passed) {
				t.Errorf("code %s, success %v; want %s", got.Code, got.Success, tt.want)
			}
			if !strings.Contains(got.Message, tt.message) {
				t.Errorf("message %q does not contain %q", got.Message, tt.message)
			}
		})
	}
}

func genBuild() *rapid.Generator[mergecheck.Build] {
	return rapid.Custom(func(t *rapid.T) mergecheck.Build {
		return build(rapid.Int64Range(1, 6).Draw(t, "id"),
			in(rapid.SampledFrom(mergecheck.States).Draw(t, "state")),
			of(rapid.SampledFrom([]mergecheck.Project{widgets, docs}).Draw(t, "project")),
			reported(rapid.SampledFrom([]string{head, twin, other, head[:12], head[:10], other[:12], ""}).Draw(t, "reported")),
			into(rapid.SampledFrom([]string{"main", "release"}).Draw(t, "destination")),
			func(b *mergecheck.Build) {
				b.Version = rapid.StringN(0, 300, -1).Draw(t, "version")
				b.CommitID = rapid.SampledFrom([]string{"", head, other}).Draw(t, "commit")
			})
	})
}

func genFacts() *rapid.Generator[mergecheck.Facts] {
	return rapid.Custom(func(t *rapid.T) mergecheck.Facts {
		pr := pullRequest()
		pr.State = rapid.SampledFrom([]string{"OPEN", "OPEN", "OPEN", "MERGED", ""}).Draw(t, "state")
		pr.Head = rapid.SampledFrom([]string{head, head, ""}).Draw(t, "head")
		f := mergecheck.Facts{
			PullRequest: pr, Now: now,
			Builds: rapid.SliceOfN(genBuild(), 0, 6).Draw(t, "builds"),
			Seen:   rapid.SampledFrom([][]mergecheck.Project{nil, {widgets}, {widgets, docs}}).Draw(t, "required"),
		}
		for _, commit := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{head, twin, other}), rapid.ID).Draw(t, "heads") {
			from := time.Duration(rapid.IntRange(-20, 0).Draw(t, "from")) * time.Minute
			f.Heads = append(f.Heads, seen(commit, from, from/2))
		}
		return f
	})
}

func TestPassNeedsASuccessfulBuildOfThisHead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := genFacts().Draw(t, "facts")
		v := mergecheck.Evaluate(f)
		if !v.Success {
			return
		}
		if len(f.Seen) == 0 || f.PullRequest.State == "MERGED" {
			t.Fatalf("passed without a required project or on a closed pull request: %+v", v)
		}
		heads := append(slices.Clone(f.Heads), seen(f.PullRequest.Head, 0, 0))
		for _, p := range f.Seen {
			if !slices.ContainsFunc(f.Builds, func(b mergecheck.Build) bool {
				commit, _ := mergecheck.Attribute(b, mergecheck.History{Heads: heads})
				return b.Project == p && commit == f.PullRequest.Head && commit != "" && b.State == mergecheck.Success && b.DestinationBranch == "main"
			}) {
				t.Fatalf("passed without a successful build of %s in %s", f.PullRequest.Head, p.Name())
			}
		}
	})
}

func TestOrderOfFactsIsIrrelevant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := genFacts().Draw(t, "facts")
		// One row for each build, as the store keeps them.
		ids := map[int64]bool{}
		f.Builds = slices.DeleteFunc(f.Builds, func(b mergecheck.Build) bool {
			double := ids[b.BuildID]
			ids[b.BuildID] = true
			return double
		})
		shuffled := f
		shuffled.Builds = rapid.Permutation(f.Builds).Draw(t, "builds in another order")
		shuffled.Seen = rapid.Permutation(f.Seen).Draw(t, "projects in another order")
		if diff := cmp.Diff(mergecheck.Evaluate(f), mergecheck.Evaluate(shuffled)); diff != "" {
			t.Fatalf("verdicts differ (-want +got):\n%s", diff)
		}
	})
}

func TestFailingRequiredProjectNeverMakesAPass(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := genFacts().Draw(t, "facts")
		before := mergecheck.Evaluate(f)
		extra := mergecheck.Project{ID: 3, Account: "acme", Slug: "extra"}
		f.Seen = append(slices.Clone(f.Seen), extra)
		f.Builds = append(slices.Clone(f.Builds), build(99, of(extra), in(mergecheck.Failed)))
		if after := mergecheck.Evaluate(f); after.Success {
			t.Fatalf("passes with a failing project; was %s before", before.Code)
		}
	})
}

func TestMessagesAreOneShortLine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := mergecheck.Evaluate(genFacts().Draw(t, "facts"))
		for name, text := range map[string]string{"message": v.Message, "next step": v.NextStep} {
			if n := len([]rune(text)); n > mergecheck.MaxMessage {
				t.Fatalf("%s has %d characters", name, n)
			}
			if strings.ContainsAny(text, "\n\r\t\x00") {
				t.Fatalf("%s is not one line: %q", name, text)
			}
		}
		if v.Message == "" {
			t.Fatalf("no message for %s", v.Code)
		}
		if v.Code == mergecheck.FailedCode && !strings.Contains(v.Message, build(1).URL) {
			t.Fatalf("a failure without its link: %q", v.Message)
		}
	})
}
