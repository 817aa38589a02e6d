package mergecheck_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"mergegate/internal/mergecheck"
)

var (
	tested  = strings.Repeat("d", 40) // where the destination was when it was built
	current = strings.Repeat("e", 40) // where it is now
)

const (
	ann  = "0f1e2d3c-0000-4000-8000-000000000001"
	bob  = "0f1e2d3c-0000-4000-8000-000000000002"
	carl = "0f1e2d3c-0000-4000-8000-000000000003" // the author
)

// waiver is given by ann for every project, for an hour; each change makes it another.
func waiver(changes ...func(*mergecheck.Waiver)) mergecheck.Waiver {
	w := mergecheck.Waiver{
		ID: 1, Head: head, Destination: "main", Reason: "the agents are down.", By: "release", Owner: ann, Author: carl,
		CreatedOn: now.Add(-time.Minute), ExpiresOn: now.Add(time.Hour),
	}
	for _, change := range changes {
		change(&w)
	}
	return w
}

func by(id int64, owner string) func(*mergecheck.Waiver) {
	return func(w *mergecheck.Waiver) { w.ID, w.Owner = id, owner }
}

func job(name string, state mergecheck.State) mergecheck.Job {
	return mergecheck.Job{Name: name, State: state}
}

// failing is a failed build with these jobs.
func failing(jobs ...mergecheck.Job) func(*mergecheck.Build) {
	return func(b *mergecheck.Build) {
		b.State, b.Jobs, b.JobsState, b.JobsUpdatedOn = mergecheck.Failed, jobs, mergecheck.Failed, b.UpdatedOn
	}
}

func on(commit string) func(*mergecheck.Build) {
	return func(b *mergecheck.Build) { b.DestinationCommit = commit }
}

func nightly(job string) bool { return strings.Contains(job, "nightly") }

func inDocs(path string) bool { return strings.HasPrefix(path, "docs/") }

func isRelease(branch string) bool { return strings.HasPrefix(branch, "release") }

type policyTest struct {
	name    string
	policy  mergecheck.Policy
	facts   func(*mergecheck.Facts) // from: head is 20 minutes old, nothing is built, widgets is seen
	want    mergecheck.Code
	message string // a part of it
	rule    string // a rule that is not met
}

// evaluate holds the verdict on each test's facts to what it wants.
func evaluate(t *testing.T, tests []policyTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := mergecheck.Facts{
				PullRequest: pullRequest(), Policy: tt.policy, Seen: []mergecheck.Project{widgets}, Now: now,
				Heads: []mergecheck.Head{seen(other, -time.Hour, -time.Hour), seen(head, -20*time.Minute, -time.Minute)},
			}
			f.PullRequest.DestinationCommit = current[:12]
			if tt.facts != nil {
				tt.facts(&f)
			}
			got := mergecheck.Evaluate(f)
			if got.Code != tt.want || got.Success != tt.want.Success() {
				t.Errorf("code %s, success %v; want %s (%s)", got.Code, got.Success, tt.want, got.Message)
			}
			if !strings.Contains(got.Message, tt.message) {
				t.Errorf("message %q does not contain %q", got.Message, tt.message)
			}
			if tt.rule != "" && !slices.ContainsFunc(got.Rules, func(r mergecheck.Rule) bool { return r.Rule == tt.rule && !r.Met }) {
				t.Errorf("rule %s is not among those that are not met: %+v", tt.rule, got.Rules)
			}
			if !got.Success && got.Code != mergecheck.PullRequestClosed && got.Code != mergecheck.HeadUnknown && len(got.WouldChange) == 0 {
				t.Errorf("nothing would change %s", got.Code)
			}
		})
	}
}

// TestRequiredProjects has the policy name the projects whose builds count.
func TestRequiredProjects(t *testing.T) {
	t.Parallel()
	evaluate(t, []policyTest{
		{
			name: "a required project that nobody has seen", policy: mergecheck.Policy{Required: []string{"acme/widgets", "acme/lint"}},
			facts: builds(build(10)), want: mergecheck.MissingProject, message: "No AppVeyor build of acme/lint for aaaaaaaaaaaa yet.", rule: "build_passed",
		},
		{
			name: "required by id", policy: mergecheck.Policy{Required: []string{"1"}}, facts: builds(build(10)), want: mergecheck.Passed,
		},
		{
			name: "required by name in another case", policy: mergecheck.Policy{Required: []string{"Acme/Widgets"}}, facts: builds(build(10)), want: mergecheck.Passed,
		},
		{
			name: "a project that is not listed doesn't count", policy: mergecheck.Policy{Required: []string{"acme/widgets"}},
			facts: builds(build(10), build(11, of(docs), in(mergecheck.Failed))), want: mergecheck.Passed,
		},
		{
			name: "a forgotten project that is listed counts", policy: mergecheck.Policy{Required: []string{"acme/docs"}},
			facts: builds(build(11, of(docs), in(mergecheck.Failed))), want: mergecheck.FailedCode,
		},
		{
			name: "required if present, absent", policy: mergecheck.Policy{RequiredIfPresent: []string{"acme/docs"}},
			facts: seenToo(docs, build(10)), want: mergecheck.Passed,
		},
		{
			name: "required if present, present", policy: mergecheck.Policy{RequiredIfPresent: []string{"acme/docs"}},
			facts: seenToo(docs, build(10), build(11, of(docs), in(mergecheck.Failed))), want: mergecheck.FailedCode,
		},
		{
			name: "nothing but projects that needn't be there", policy: mergecheck.Policy{RequiredIfPresent: []string{"acme/widgets"}}, want: mergecheck.NoBuild,
		},
	})
}

// TestJobsThatMayFail has builds fail in jobs that the policy lets fail.
func TestJobsThatMayFail(t *testing.T) {
	t.Parallel()
	evaluate(t, []policyTest{
		{
			name: "only a job that may fail failed", policy: mergecheck.Policy{AllowFailure: nightly},
			facts: builds(build(10, failing(job("release", mergecheck.Success), job("nightly", mergecheck.Failed)))),
			want:  mergecheck.Passed, message: "except nightly (allowed to fail)",
		},
		{
			name: "another job failed too", policy: mergecheck.Policy{AllowFailure: nightly},
			facts: builds(build(10, failing(job("release", mergecheck.Failed), job("nightly", mergecheck.Failed)))), want: mergecheck.FailedCode,
		},
		{
			name: "another job was cancelled", policy: mergecheck.Policy{AllowFailure: nightly},
			facts: builds(build(10, failing(job("release", mergecheck.Cancelled), job("nightly", mergecheck.Failed)))), want: mergecheck.FailedCode,
		},
		{
			name: "it failed before any job", policy: mergecheck.Policy{AllowFailure: nightly}, facts: builds(build(10, failing())), want: mergecheck.FailedCode,
		},
		{
			name: "its jobs are of an earlier look", policy: mergecheck.Policy{AllowFailure: nightly},
			facts: builds(build(10, failing(job("nightly", mergecheck.Failed)), func(b *mergecheck.Build) { b.JobsUpdatedOn = b.UpdatedOn.Add(-time.Second) })),
			want:  mergecheck.FailedCode,
		},
	})
}

// TestFreshness has the destination move after a build.
func TestFreshness(t *testing.T) {
	t.Parallel()
	evaluate(t, []policyTest{
		{
			name: "fresh", policy: fresh(mergecheck.Freshness{Mode: mergecheck.FreshnessStrict}), facts: builds(build(10, on(current))), want: mergecheck.Passed,
		},
		{
			name: "strict, and it moved", policy: fresh(mergecheck.Freshness{Mode: mergecheck.FreshnessStrict}), facts: builds(build(10, on(tested))),
			want: mergecheck.StaleDestination, message: "AppVeyor build 1.0.26 is out of date: main has moved (limit 0 commits).", rule: "freshness",
		},
		{
			name: "strict, and not known", policy: fresh(mergecheck.Freshness{Mode: mergecheck.FreshnessStrict}), facts: builds(build(10)),
			want: mergecheck.StaleDestination, message: "mergegate doesn't know which commit of main build 1.0.26 merged into.",
		},
		{
			name: "warned of", policy: fresh(mergecheck.Freshness{Mode: mergecheck.FreshnessWarn}), facts: behind(3, build(10, on(tested))),
			want: mergecheck.Passed, message: "main has moved 3 commits since.",
		},
		{
			name: "warned that it isn't known", policy: fresh(mergecheck.Freshness{Mode: mergecheck.FreshnessWarn}), facts: builds(build(10)),
			want: mergecheck.Passed, message: "; mergegate doesn't know which commit of main build 1.0.26 merged into.",
		},
		{
			name: "within max_behind", policy: fresh(mergecheck.Freshness{Mode: mergecheck.FreshnessLimit, MaxBehind: new(3)}), facts: behind(3, build(10, on(tested))),
			want: mergecheck.Passed,
		},
		{
			name: "over max_behind", policy: fresh(mergecheck.Freshness{Mode: mergecheck.FreshnessLimit, MaxBehind: new(2)}), facts: behind(3, build(10, on(tested))),
			want: mergecheck.StaleDestination, message: "main has moved 3 commits (limit 2 commits).",
		},
		{
			name: "max_behind can't be told", policy: fresh(mergecheck.Freshness{Mode: mergecheck.FreshnessLimit, MaxBehind: new(2)}),
			facts: func(f *mergecheck.Facts) {
				f.Builds, f.Unread = []mergecheck.Build{build(10, on(tested))}, "Bitbucket could not be reached"
			},
			want: mergecheck.StaleDestination, message: "AppVeyor build 1.0.26 may be out of date: main has moved since build 1.0.26, and mergegate can't count the commits: Bitbucket could not be reached.",
		},
		{
			name: "within max_age", policy: fresh(mergecheck.Freshness{Mode: mergecheck.FreshnessLimit, MaxAge: time.Hour}), facts: builds(build(10, on(tested))),
			want: mergecheck.Passed,
		},
		{
			name: "over max_age", policy: fresh(mergecheck.Freshness{Mode: mergecheck.FreshnessLimit, MaxAge: time.Minute}), facts: builds(build(10, on(tested))),
			want: mergecheck.StaleDestination, message: "main has moved since the build started 3 min ago (limit 1 min).",
		},
		{
			name: "over max_age, but the destination hasn't moved", policy: fresh(mergecheck.Freshness{Mode: mergecheck.FreshnessLimit, MaxAge: time.Minute}),
			facts: builds(build(10, on(current))), want: mergecheck.Passed,
		},
	})
}

// TestTimeOuts has builds not start and not end.
func TestTimeOuts(t *testing.T) {
	t.Parallel()
	evaluate(t, []policyTest{
		{
			name: "not started in time", policy: mergecheck.Policy{NotStartedAfter: 15 * time.Minute}, want: mergecheck.TimedOut,
			message: "AppVeyor hasn't started acme/widgets for aaaaaaaaaaaa in 20 min (limit 15 min).", rule: "not_started_after",
		},
		{
			name: "nobody has seen a project that could start", policy: mergecheck.Policy{NotStartedAfter: 15 * time.Minute},
			facts: func(f *mergecheck.Facts) { f.Seen = nil }, want: mergecheck.TimedOut, message: "AppVeyor hasn't started a build for aaaaaaaaaaaa in 20 min",
		},
		{name: "time is left to start", policy: mergecheck.Policy{NotStartedAfter: 30 * time.Minute}, want: mergecheck.NoBuild},
		{
			name: "running for too long", policy: mergecheck.Policy{RunningLongerThan: time.Minute}, facts: builds(build(10, in(mergecheck.Running))),
			want: mergecheck.TimedOut, message: "has been running for 3 min (limit 1 min).", rule: "running_longer_than",
		},
		{
			name: "time is left to run", policy: mergecheck.Policy{RunningLongerThan: time.Hour}, facts: builds(build(10, in(mergecheck.Running))),
			want: mergecheck.RunningCode,
		},
	})
}

// TestSkipRules has rules that ask for no build.
func TestSkipRules(t *testing.T) {
	t.Parallel()
	evaluate(t, []policyTest{
		{
			name: "skipped by path", policy: skip(mergecheck.SkipRule{Name: "docs", Path: inDocs}), facts: changed("docs/a", "docs/b/c"),
			want: mergecheck.NotRequired, message: `No AppVeyor build is required (policy rule "docs").`,
		},
		{name: "another path", policy: skip(mergecheck.SkipRule{Name: "docs", Path: inDocs}), facts: changed("docs/a", "main.go"), want: mergecheck.NoBuild, rule: "skip"},
		{name: "paths are not known", policy: skip(mergecheck.SkipRule{Name: "docs", Path: inDocs}), want: mergecheck.NoBuild},
		{name: "no path is changed", policy: skip(mergecheck.SkipRule{Name: "docs", Path: inDocs}), facts: changed(), want: mergecheck.NoBuild},
		{name: "skipped by author", policy: skip(mergecheck.SkipRule{Name: "bot", Authors: []string{carl}}), facts: written(carl), want: mergecheck.NotRequired},
		{name: "another author", policy: skip(mergecheck.SkipRule{Name: "bot", Authors: []string{carl}}), facts: written(bob), want: mergecheck.NoBuild},
		{name: "author is not known", policy: skip(mergecheck.SkipRule{Name: "bot", Authors: []string{carl}}), facts: written(""), want: mergecheck.NoBuild},
		{
			name: "skipped by destination", policy: skip(mergecheck.SkipRule{Name: "release", DestinationBranch: isRelease}),
			facts: func(f *mergecheck.Facts) { f.PullRequest.DestinationBranch = "release/1" }, want: mergecheck.NotRequired,
		},
		{name: "a rule that says nothing skips nothing", policy: skip(mergecheck.SkipRule{Name: "empty"}), want: mergecheck.NoBuild},
		{
			name: "not every part of the rule applies", policy: skip(mergecheck.SkipRule{Name: "bot's docs", Authors: []string{carl}, Path: inDocs}),
			facts: changed("docs/a"), want: mergecheck.NoBuild,
		},
		{
			name: "failing doesn't matter to what is skipped", policy: skip(mergecheck.SkipRule{Name: "docs", Path: inDocs}),
			facts: func(f *mergecheck.Facts) {
				f.Changed, f.Builds = []string{"docs/a"}, []mergecheck.Build{build(10, in(mergecheck.Failed))}
			}, want: mergecheck.NotRequired,
		},
	})
}

// TestFrozenDestinations has destinations that nothing is merged into for a while.
func TestFrozenDestinations(t *testing.T) {
	t.Parallel()
	weekend := mergecheck.Freeze{Name: "weekend", Reason: "Nobody is here.", Weekly: &mergecheck.WeeklyWindow{
		From: mergecheck.WeekTime{Day: time.Friday, Minute: 16 * 60}, Until: mergecheck.WeekTime{Day: time.Monday, Minute: 6 * 60},
	}}
	ended := mergecheck.Freeze{Name: "past", From: now.Add(-2 * time.Hour), Until: now.Add(-time.Hour)}
	evaluate(t, []policyTest{
		{
			name: "frozen", policy: mergecheck.Policy{Freezes: []mergecheck.Freeze{weekend}}, facts: builds(build(10)), want: mergecheck.Frozen,
			message: "main is frozen until 2026-11-23 06:00 UTC: Nobody is here. Merge after that.", rule: "freeze",
		},
		{name: "thawed", policy: mergecheck.Policy{Freezes: []mergecheck.Freeze{ended}}, facts: builds(build(10)), want: mergecheck.Passed},
		{
			name: "frozen comes before failed", policy: mergecheck.Policy{Freezes: []mergecheck.Freeze{weekend}}, facts: builds(build(10, in(mergecheck.Failed))),
			want: mergecheck.Frozen,
		},
		{
			name: "a freeze is not waived by itself", policy: mergecheck.Policy{Freezes: []mergecheck.Freeze{weekend}},
			facts: waived(build(10), waiver()), want: mergecheck.Frozen,
		},
		{
			name:   "a waived freeze",
			policy: mergecheck.Policy{Freezes: []mergecheck.Freeze{weekend}, Waivers: mergecheck.WaiverRules{Freezes: true}},
			facts:  waived(build(10), waiver()), want: mergecheck.WaivedCode, message: "Waived by release: the agents are down. main is frozen until ",
		},
		{
			name:   "a waiver of one project waives no freeze",
			policy: mergecheck.Policy{Freezes: []mergecheck.Freeze{weekend}, Waivers: mergecheck.WaiverRules{Freezes: true}},
			facts:  waived(build(10), waiver(func(w *mergecheck.Waiver) { w.ProjectID = 1 })), want: mergecheck.Frozen,
		},
	})
}

// TestWaivers has a person take the responsibility for a head.
func TestWaivers(t *testing.T) {
	t.Parallel()
	evaluate(t, []policyTest{
		{
			name: "waived", facts: waived(build(10, in(mergecheck.Failed)), waiver()), want: mergecheck.WaivedCode,
			message: "Waived by release: the agents are down. AppVeyor build 1.0.26 failed.",
		},
		{
			name: "waived without any build", facts: func(f *mergecheck.Facts) { f.Waivers, f.Seen = []mergecheck.Waiver{waiver()}, nil }, want: mergecheck.WaivedCode,
			message: "Waived by release: the agents are down. No AppVeyor build for aaaaaaaaaaaa.",
		},
		{name: "a waiver of what passes anyway", facts: waived(build(10), waiver()), want: mergecheck.Passed},
		{
			name: "a waiver of another project", facts: waived(build(10, in(mergecheck.Failed)), waiver(func(w *mergecheck.Waiver) { w.ProjectID = 2 })),
			want: mergecheck.FailedCode,
		},
		{
			name: "a waiver of another head", facts: waived(build(10, in(mergecheck.Failed)), waiver(func(w *mergecheck.Waiver) { w.Head = twin })),
			want: mergecheck.FailedCode,
		},
		{
			name:  "a waiver of another destination",
			facts: waived(build(10, in(mergecheck.Failed)), waiver(func(w *mergecheck.Waiver) { w.Destination = "release" })), want: mergecheck.FailedCode,
		},
		{
			name: "an expired waiver", facts: waived(build(10, in(mergecheck.Failed)), waiver(func(w *mergecheck.Waiver) { w.ExpiresOn = now })),
			want: mergecheck.FailedCode,
		},
		{
			name: "a revoked waiver", facts: waived(build(10, in(mergecheck.Failed)), waiver(func(w *mergecheck.Waiver) { w.RevokedOn = now.Add(-time.Second) })),
			want: mergecheck.FailedCode,
		},
		{
			name: "nobody may waive", policy: mergecheck.Policy{Waivers: mergecheck.WaiverRules{Refused: true}},
			facts: waived(build(10, in(mergecheck.Failed)), waiver()), want: mergecheck.FailedCode,
		},
	})
}

// TestTwoPersons has a policy by which one waiver is none.
func TestTwoPersons(t *testing.T) {
	t.Parallel()
	evaluate(t, []policyTest{
		{
			name: "one of two persons", policy: twoPersons, facts: waived(build(10, in(mergecheck.Failed)), waiver()), want: mergecheck.FailedCode,
		},
		{
			name: "the same person twice", policy: twoPersons, facts: waived(build(10, in(mergecheck.Failed)), waiver(), waiver(by(2, ann))), want: mergecheck.FailedCode,
		},
		{
			name: "the author as second", policy: twoPersons, facts: waived(build(10, in(mergecheck.Failed)), waiver(), waiver(by(2, carl))), want: mergecheck.FailedCode,
		},
		{
			name: "nobody knows who the second is", policy: twoPersons, facts: waived(build(10, in(mergecheck.Failed)), waiver(), waiver(by(2, ""))), want: mergecheck.FailedCode,
		},
		{
			name: "two persons", policy: twoPersons, facts: waived(build(10, in(mergecheck.Failed)), waiver(), waiver(by(2, bob))), want: mergecheck.WaivedCode,
		},
		{
			name: "two persons for different projects", policy: twoPersons,
			facts: waived(build(10, in(mergecheck.Failed)), waiver(func(w *mergecheck.Waiver) { w.ProjectID = 1 }), waiver(by(2, bob), func(w *mergecheck.Waiver) { w.ProjectID = 2 })),
			want:  mergecheck.FailedCode,
		},
	})
}

// TestWhatIsNeverWaived has what no waiver can do anything about.
func TestWhatIsNeverWaived(t *testing.T) {
	t.Parallel()
	evaluate(t, []policyTest{
		{name: "a waiver doesn't open a closed pull request", facts: func(f *mergecheck.Facts) {
			waived(build(10), waiver())(f)
			f.PullRequest.State = "DECLINED"
		}, want: mergecheck.PullRequestClosed},
		{name: "nor tell an unknown head", facts: func(f *mergecheck.Facts) {
			waived(build(10), waiver())(f)
			f.PullRequest.Head = ""
		}, want: mergecheck.HeadUnknown},
		{name: "nor a database that can't be read", facts: func(f *mergecheck.Facts) {
			waived(build(10), waiver())(f)
			f.Problem = "The database is down."
		}, want: mergecheck.Unavailable},
	})
}

// TestAcceptedReports has builds that only their own script told of.
func TestAcceptedReports(t *testing.T) {
	t.Parallel()
	evaluate(t, []policyTest{
		{
			name: "a report counts for nothing", facts: builds(build(10, func(b *mergecheck.Build) { b.ConfirmedBy = mergecheck.ConfirmedByReport })),
			want: mergecheck.NoBuild,
		},
		{
			name: "an accepted report", policy: mergecheck.Policy{AcceptReports: []string{"1"}},
			facts: builds(build(10, func(b *mergecheck.Build) { b.ConfirmedBy = mergecheck.ConfirmedByReport })),
			want:  mergecheck.Passed, message: "reported by its build script",
		},
	})
}

// TestBranchBuilds has builds of the head itself, not of a merge.
func TestBranchBuilds(t *testing.T) {
	t.Parallel()
	evaluate(t, []policyTest{
		{name: "a build of the head itself", policy: branchBuilds, facts: ownBuild(0, true), want: mergecheck.Passed},
		{name: "by default it doesn't count", facts: ownBuild(0, true), want: mergecheck.NoBuild},
		{name: "the destination has more", policy: branchBuilds, facts: ownBuild(1, true), want: mergecheck.NoBuild},
		{name: "how much more isn't known", policy: branchBuilds, facts: ownBuild(0, false), want: mergecheck.NoBuild},
		{
			name: "a build of another commit", policy: branchBuilds, facts: func(f *mergecheck.Facts) {
				ownBuild(0, true)(f)
				f.BranchBuilds[0].CommitID = twin
			}, want: mergecheck.NoBuild,
		},
		{
			name: "a newer build of the merge failed", policy: branchBuilds, facts: func(f *mergecheck.Facts) {
				ownBuild(0, true)(f)
				f.Builds = []mergecheck.Build{build(99, in(mergecheck.Failed))}
			}, want: mergecheck.FailedCode,
		},
	})
}

var (
	twoPersons   = mergecheck.Policy{Waivers: mergecheck.WaiverRules{TwoPerson: true}}
	branchBuilds = mergecheck.Policy{AcceptBranchBuilds: true}
)

func fresh(f mergecheck.Freshness) mergecheck.Policy { return mergecheck.Policy{Freshness: f} }

func skip(rules ...mergecheck.SkipRule) mergecheck.Policy { return mergecheck.Policy{Skip: rules} }

func builds(list ...mergecheck.Build) func(*mergecheck.Facts) {
	return func(f *mergecheck.Facts) { f.Builds = list }
}

func seenToo(p mergecheck.Project, list ...mergecheck.Build) func(*mergecheck.Facts) {
	return func(f *mergecheck.Facts) { f.Seen, f.Builds = append(f.Seen, p), list }
}

func behind(n int, list ...mergecheck.Build) func(*mergecheck.Facts) {
	return func(f *mergecheck.Facts) {
		f.Builds = list
		f.Distances = []mergecheck.Distance{{Destination: current[:12], Tested: tested, Behind: n, Complete: true}}
	}
}

func changed(paths ...string) func(*mergecheck.Facts) {
	return func(f *mergecheck.Facts) { f.Changed = append([]string{}, paths...) }
}

func written(author string) func(*mergecheck.Facts) {
	return func(f *mergecheck.Facts) { f.PullRequest.Author = author }
}

func waived(b mergecheck.Build, waivers ...mergecheck.Waiver) func(*mergecheck.Facts) {
	return func(f *mergecheck.Facts) { f.Builds, f.Waivers = []mergecheck.Build{b}, waivers }
}

// ownBuild is AppVeyor's build of the head without a pull request.
func ownBuild(behind int, complete bool) func(*mergecheck.Facts) {
	return func(f *mergecheck.Facts) {
		f.BranchBuilds = []mergecheck.Build{build(50, reported(""), func(b *mergecheck.Build) {
			b.PullRequestID, b.CommitID, b.DestinationBranch = 0, head, "feature"
		})}
		f.Distances = []mergecheck.Distance{{Destination: current[:12], Tested: head, Behind: behind, Complete: complete}}
	}
}

func TestPendingMayPassUntilMerging(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		builds  []mergecheck.Build
		policy  mergecheck.Policy
		onMerge bool
		want    bool
	}{
		{name: "running, on push", policy: mergecheck.Policy{PassPendingOnPush: true}, builds: []mergecheck.Build{build(10, in(mergecheck.Running))}, want: true},
		{name: "no build, on push", policy: mergecheck.Policy{PassPendingOnPush: true}, want: true},
		{name: "running, on merge", policy: mergecheck.Policy{PassPendingOnPush: true}, builds: []mergecheck.Build{build(10, in(mergecheck.Running))}, onMerge: true},
		{name: "failed, on push", policy: mergecheck.Policy{PassPendingOnPush: true}, builds: []mergecheck.Build{build(10, in(mergecheck.Failed))}},
		{name: "running, on push, by default", builds: []mergecheck.Build{build(10, in(mergecheck.Running))}},
		{name: "passed, on merge", builds: []mergecheck.Build{build(10)}, onMerge: true, want: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := mergecheck.Evaluate(mergecheck.Facts{
				PullRequest: pullRequest(), Policy: tt.policy, Builds: tt.builds, Seen: []mergecheck.Project{widgets}, Now: now,
			})
			success, message := v.Answer(tt.onMerge)
			if success != tt.want {
				t.Errorf("success %v: %s", success, message)
			}
			if success && !v.Success && !strings.HasPrefix(message, "Passes for now; mergegate checks again on merge. ") {
				t.Errorf("message %q doesn't say that it passes only until merging", message)
			}
		})
	}
}

func genPolicy() *rapid.Generator[mergecheck.Policy] {
	return rapid.Custom(func(t *rapid.T) mergecheck.Policy {
		p := mergecheck.Policy{
			Required:          rapid.SampledFrom([][]string{nil, {"acme/widgets"}, {"1", "acme/docs"}}).Draw(t, "required"),
			RequiredIfPresent: rapid.SampledFrom([][]string{nil, {"acme/docs"}}).Draw(t, "if present"),
			Freshness: rapid.SampledFrom([]mergecheck.Freshness{
				{}, {Mode: mergecheck.FreshnessWarn}, {Mode: mergecheck.FreshnessStrict}, {Mode: mergecheck.FreshnessLimit, MaxBehind: new(2)},
			}).Draw(t, "freshness"),
			Waivers: mergecheck.WaiverRules{
				Refused: rapid.Bool().Draw(t, "refused"), TwoPerson: rapid.Bool().Draw(t, "two persons"), Freezes: rapid.Bool().Draw(t, "freezes"),
			},
			AcceptReports:      rapid.SampledFrom([][]string{nil, {"acme/widgets"}}).Draw(t, "reports"),
			AcceptBranchBuilds: rapid.Bool().Draw(t, "branch builds"),
		}
		if rapid.Bool().Draw(t, "allow failure") {
			p.AllowFailure = nightly
		}
		if rapid.Bool().Draw(t, "skip") {
			p.Skip = []mergecheck.SkipRule{{Name: "docs", Path: inDocs}, {Name: "bot", Authors: []string{carl}, Path: inDocs}}
		}
		return p
	})
}

// genPolicyFacts are facts with everything that a policy looks at.
func genPolicyFacts() *rapid.Generator[mergecheck.Facts] {
	return rapid.Custom(func(t *rapid.T) mergecheck.Facts {
		f := genFacts().Draw(t, "facts")
		f.Policy = genPolicy().Draw(t, "policy")
		f.PullRequest.DestinationCommit = rapid.SampledFrom([]string{"", current, current[:12], tested[:12]}).Draw(t, "destination")
		f.PullRequest.Author = rapid.SampledFrom([]string{"", carl, bob}).Draw(t, "author")
		f.Changed = rapid.SampledFrom([][]string{nil, {}, {"docs/a"}, {"docs/a", "main.go"}}).Draw(t, "changed")
		f.Distances = rapid.SampledFrom([][]mergecheck.Distance{
			nil, {{Destination: current[:12], Tested: tested, Behind: 2, Complete: true}, {Destination: current[:12], Tested: head, Complete: true}},
		}).Draw(t, "distances")
		ids := map[int64]bool{}
		f.Builds = slices.DeleteFunc(f.Builds, func(b mergecheck.Build) bool {
			double := ids[b.BuildID]
			ids[b.BuildID] = true
			return double
		})
		for i := range f.Builds {
			b := &f.Builds[i]
			b.DestinationCommit = rapid.SampledFrom([]string{"", tested, current}).Draw(t, "merged into")
			b.ConfirmedBy = rapid.SampledFrom([]string{mergecheck.ConfirmedByAppVeyor, mergecheck.ConfirmedByReport}).Draw(t, "by")
			if b.State == mergecheck.Failed {
				failing(job("x", rapid.SampledFrom([]mergecheck.State{mergecheck.Success, mergecheck.Failed}).Draw(t, "job")), job("nightly", mergecheck.Failed))(b)
			}
		}
		if rapid.Bool().Draw(t, "own build") {
			f.BranchBuilds = []mergecheck.Build{build(7, reported(""), func(b *mergecheck.Build) { b.CommitID = head })}
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "waivers") {
			f.Waivers = append(f.Waivers, waiver(by(int64(i+1), rapid.SampledFrom([]string{"", ann, bob, carl}).Draw(t, "owner")), func(w *mergecheck.Waiver) {
				w.ProjectID = rapid.SampledFrom([]int64{0, 1, 2}).Draw(t, "project")
				w.Head = rapid.SampledFrom([]string{head, twin}).Draw(t, "waived head")
				w.ExpiresOn = now.Add(rapid.SampledFrom([]time.Duration{-time.Hour, time.Hour}).Draw(t, "expires"))
			}))
		}
		return f
	})
}

// TestNothingPassesByItself holds every pass to its reason: a build of this head
// for each required project, or somebody's waiver, or a rule that skips.
func TestNothingPassesByItself(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := genPolicyFacts().Draw(t, "facts")
		v := mergecheck.Evaluate(f)
		live := slices.ContainsFunc(v.Waivers, func(w mergecheck.WaiverWithState) bool {
			return w.State == mergecheck.WaiverLive && w.Head == f.PullRequest.Head && now.Before(w.ExpiresOn)
		})
		switch v.Code {
		case mergecheck.Passed:
			for _, p := range v.Projects {
				if p.Required && !mayPass(f, p) {
					t.Fatalf("%s passed with %+v", p.Project.Name(), p.Build)
				}
			}
			if !slices.ContainsFunc(v.Projects, func(p mergecheck.ProjectVerdict) bool { return p.Required }) {
				t.Fatal("passed without a required project")
			}
		case mergecheck.WaivedCode:
			if !live {
				t.Fatalf("waived by %+v", v.Waivers)
			}
		case mergecheck.NotRequired:
			if v.SkippedBy == "" || slices.Contains(f.Changed, "main.go") || f.Changed == nil {
				t.Fatalf("skipped by %q with changes %v", v.SkippedBy, f.Changed)
			}
		default:
			if v.Success {
				t.Fatalf("%s is a success", v.Code)
			}
		}
	})
}

func mayPass(f mergecheck.Facts, p mergecheck.ProjectVerdict) bool {
	b := p.Build
	if b == nil || b.DestinationBranch != f.PullRequest.DestinationBranch {
		return false
	}
	if b.ConfirmedBy == mergecheck.ConfirmedByReport && !slices.Contains(f.Policy.AcceptReports, b.Project.Name()) {
		return false
	}
	if b.CommitID == head && b.ReportedCommit == "" && b.BuildID == 7 {
		return f.Policy.AcceptBranchBuilds && len(f.Distances) > 0
	}
	commit, _ := mergecheck.Attribute(*b, mergecheck.History{Heads: append(slices.Clone(f.Heads), seen(f.PullRequest.Head, 0, 0))})
	allowed := b.State == mergecheck.Failed && f.Policy.AllowFailure != nil && b.Jobs[0].State == mergecheck.Success
	return commit == f.PullRequest.Head && (b.State == mergecheck.Success || allowed)
}

func TestFailingRequiredProjectNeverMakesAPassByPolicy(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := genPolicyFacts().Draw(t, "facts")
		before := mergecheck.Evaluate(f)
		extra := mergecheck.Project{ID: 3, Account: "acme", Slug: "extra"}
		f.Seen = append(slices.Clone(f.Seen), extra)
		if len(f.Policy.Required) > 0 {
			f.Policy.Required = append(slices.Clone(f.Policy.Required), extra.Name())
		}
		f.Builds = append(slices.Clone(f.Builds), build(99, of(extra), in(mergecheck.Failed)))
		after := mergecheck.Evaluate(f)
		if after.Success && !before.Success {
			t.Fatalf("%s became %s with a failing project", before.Code, after.Code)
		}
	})
}

func TestOrderOfPolicyFactsIsIrrelevant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := genPolicyFacts().Draw(t, "facts")
		shuffled := f
		shuffled.Builds = rapid.Permutation(f.Builds).Draw(t, "builds")
		shuffled.Seen = rapid.Permutation(f.Seen).Draw(t, "projects")
		shuffled.Waivers = rapid.Permutation(f.Waivers).Draw(t, "waivers")
		shuffled.Distances = rapid.Permutation(f.Distances).Draw(t, "distances")
		shuffled.Changed = rapid.Permutation(f.Changed).Draw(t, "changed")
		if f.Changed == nil {
			shuffled.Changed = nil
		}
		if diff := cmp.Diff(mergecheck.Evaluate(f), mergecheck.Evaluate(shuffled), cmpopts.IgnoreFields(mergecheck.Verdict{}, "Policy")); diff != "" {
			t.Fatalf("verdicts differ (-want +got):\n%s", diff)
		}
	})
}

// TestOnlyTimersMoveAVerdict lets time pass: without a timer, a waiver that
// expires, a freeze or a largest age, nothing changes.
func TestOnlyTimersMoveAVerdict(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := genPolicyFacts().Draw(t, "facts")
		f.Heads = append(f.Heads, seen(f.PullRequest.Head, 0, 0))
		f.Waivers = slices.DeleteFunc(f.Waivers, func(w mergecheck.Waiver) bool { return w.ExpiresOn.After(now) })
		f.Policy.NotStartedAfter = time.Duration(rapid.IntRange(0, 2).Draw(t, "not started after")) * time.Hour
		f.Policy.RunningLongerThan = time.Duration(rapid.IntRange(0, 2).Draw(t, "running longer than")) * time.Hour
		before := mergecheck.Evaluate(f)
		f.Now = now.Add(time.Duration(rapid.IntRange(1, 300).Draw(t, "minutes")) * time.Minute)
		after := mergecheck.Evaluate(f)
		if before.Code == after.Code {
			return
		}
		expired := slices.ContainsFunc(after.Timers, func(timer mergecheck.Timer) bool {
			return timer.Expired && timer.DeadlineOn.After(now) && timer.DeadlineOn.Before(f.Now)
		})
		if after.Code != mergecheck.TimedOut || !expired {
			t.Fatalf("%s became %s after %v by %+v", before.Code, after.Code, f.Now.Sub(now), after.Timers)
		}
	})
}

// TestInputsDecideTheSame writes down what a verdict depends on, and reads it.
func TestInputsDecideTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := genPolicyFacts().Draw(t, "facts")
		f.Policy.NotStartedAfter = time.Duration(rapid.IntRange(0, 2).Draw(t, "not started after")) * 10 * time.Minute
		text, err := f.Inputs()
		if err != nil {
			t.Fatal(err)
		}
		read, err := mergecheck.ReadInputs(text)
		if err != nil {
			t.Fatal(err)
		}
		read.Policy = f.Policy
		want, got := mergecheck.Evaluate(f), mergecheck.Evaluate(read)
		if want.Code != got.Code || want.Success != got.Success {
			t.Fatalf("%s became %s\n%s", want.Code, got.Code, text)
		}
	})
}

func TestFreezes(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	weekend := mergecheck.Freeze{Weekly: &mergecheck.WeeklyWindow{
		From: mergecheck.WeekTime{Day: time.Friday, Minute: 16 * 60}, Until: mergecheck.WeekTime{Day: time.Monday, Minute: 6 * 60}, Location: berlin,
	}}
	daily := mergecheck.Freeze{Weekly: &mergecheck.WeeklyWindow{
		From: mergecheck.WeekTime{Day: time.Wednesday, Minute: 9 * 60}, Until: mergecheck.WeekTime{Day: time.Wednesday, Minute: 17 * 60}, Location: berlin,
	}}
	always := mergecheck.Freeze{Weekly: &mergecheck.WeeklyWindow{
		From: mergecheck.WeekTime{Day: time.Sunday, Minute: 0}, Until: mergecheck.WeekTime{Day: time.Sunday, Minute: 0}, Location: berlin,
	}}
	at := func(text string) time.Time {
		moment, err := time.ParseInLocation("2006-01-02 15:04", text, berlin)
		if err != nil {
			t.Fatal(err)
		}
		return moment
	}
	tests := []struct {
		name   string
		freeze mergecheck.Freeze
		now    string
		until  string // "": it isn't on
	}{
		{name: "before the weekend", freeze: weekend, now: "2026-11-20 15:59"},
		{name: "from Friday", freeze: weekend, now: "2026-11-20 16:00", until: "2026-11-23 06:00"},
		{name: "on Sunday", freeze: weekend, now: "2026-11-22 12:00", until: "2026-11-23 06:00"},
		{name: "until Monday", freeze: weekend, now: "2026-11-23 06:00"},
		{name: "over the hour that comes twice", freeze: weekend, now: "2026-10-25 12:00", until: "2026-10-26 06:00"},
		{name: "over the hour that doesn't come", freeze: weekend, now: "2026-03-29 12:00", until: "2026-03-30 06:00"},
		{name: "within a day", freeze: daily, now: "2026-11-25 12:00", until: "2026-11-25 17:00"},
		{name: "after it", freeze: daily, now: "2026-11-25 17:00"},
		{name: "the day after", freeze: daily, now: "2026-11-26 12:00"},
		{name: "a whole week", freeze: always, now: "2026-11-25 12:00", until: "2026-11-29 00:00"},
		{name: "a single window", freeze: mergecheck.Freeze{From: at("2026-12-20 18:00"), Until: at("2027-01-04 06:00")}, now: "2026-12-31 12:00", until: "2027-01-04 06:00"},
		{name: "before a single window", freeze: mergecheck.Freeze{From: at("2026-12-20 18:00"), Until: at("2027-01-04 06:00")}, now: "2026-12-20 17:59"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			until, active := tt.freeze.Active(at(tt.now))
			if active != (tt.until != "") {
				t.Fatalf("active %v until %v", active, until)
			}
			if active && !until.Equal(at(tt.until)) {
				t.Errorf("until %v, want %s", until, tt.until)
			}
		})
	}
}

func TestWants(t *testing.T) {
	t.Parallel()
	unread := func(f *mergecheck.Facts) { f.DeliveriesRead = false }
	tests := []struct {
		name   string
		policy mergecheck.Policy
		facts  func(*mergecheck.Facts)
		want   mergecheck.Wants
	}{
		{name: "no policy", facts: builds(build(10, on(tested)))},
		{name: "off the path with freshness off", policy: fresh(mergecheck.Freshness{}), facts: builds(build(10, on(tested)))},
		{name: "strict needs no count", policy: fresh(mergecheck.Freshness{Mode: mergecheck.FreshnessStrict}), facts: builds(build(10, on(tested)))},
		{
			name: "max_behind", policy: fresh(mergecheck.Freshness{Mode: mergecheck.FreshnessLimit, MaxBehind: new(2)}), facts: builds(build(10, on(tested))),
			want: mergecheck.Wants{Tested: []string{tested}},
		},
		{name: "max_behind, known", policy: fresh(mergecheck.Freshness{Mode: mergecheck.FreshnessLimit, MaxBehind: new(2)}), facts: behind(1, build(10, on(tested)))},
		{name: "max_behind, not moved", policy: fresh(mergecheck.Freshness{Mode: mergecheck.FreshnessLimit, MaxBehind: new(2)}), facts: builds(build(10, on(current)))},
		{
			name: "max_behind, but it failed", policy: fresh(mergecheck.Freshness{Mode: mergecheck.FreshnessLimit, MaxBehind: new(2)}),
			facts: builds(build(10, on(tested), in(mergecheck.Failed))),
		},
		{name: "paths", policy: skip(mergecheck.SkipRule{Name: "docs", Path: inDocs}), want: mergecheck.Wants{Changed: true}},
		{name: "paths, known", policy: skip(mergecheck.SkipRule{Name: "docs", Path: inDocs}), facts: changed("main.go")},
		{
			name: "paths of another destination", policy: skip(mergecheck.SkipRule{Name: "docs", Path: inDocs, DestinationBranch: isRelease}),
		},
		{name: "author and paths", policy: skip(mergecheck.SkipRule{Name: "docs", Path: inDocs, Authors: []string{carl}}), want: mergecheck.Wants{Changed: true, Author: true}},
		{name: "another author", policy: skip(mergecheck.SkipRule{Name: "docs", Path: inDocs, Authors: []string{carl}}), facts: written(bob)},
		{name: "distance first", policy: branchBuilds, want: mergecheck.Wants{Tested: []string{head}}},
		{
			name: "then branch builds", policy: branchBuilds, facts: func(f *mergecheck.Facts) {
				ownBuild(0, true)(f)
				f.BranchBuilds = nil
			}, want: mergecheck.Wants{BranchBuilds: true},
		},
		{
			name: "no branch builds where the destination has more", policy: branchBuilds, facts: func(f *mergecheck.Facts) {
				ownBuild(1, true)(f)
				f.BranchBuilds = nil
			},
		},
		{name: "deliveries where there is no build", facts: unread, want: mergecheck.Wants{Unconfirmed: true}},
		{name: "no deliveries where a build failed", facts: func(f *mergecheck.Facts) { unread(f); builds(build(10, in(mergecheck.Failed)))(f) }},
		{name: "nothing of a closed pull request", policy: branchBuilds, facts: func(f *mergecheck.Facts) { f.PullRequest.State = "MERGED" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := mergecheck.Facts{PullRequest: pullRequest(), Policy: tt.policy, Seen: []mergecheck.Project{widgets}, DeliveriesRead: true, Now: now}
			f.PullRequest.DestinationCommit = current[:12]
			if tt.facts != nil {
				tt.facts(&f)
			}
			if diff := cmp.Diff(tt.want, mergecheck.Evaluate(f).Wants(f), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("wants (-want +got):\n%s", diff)
			}
		})
	}
}
