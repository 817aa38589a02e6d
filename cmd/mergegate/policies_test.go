package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/postgres"
)

// linked is a world whose repository is known, with a policy in force.
func linked(t *testing.T, policy string, env ...string) *world {
	t.Helper()
	w := newWorld(t, env...)
	w.authored(commit('1'))
	w.expect("no_build", "")
	w.policy(policy)
	return w
}

// pushed tells of a push to the destination, as Bitbucket's event does, and has
// the pull request be behind it.
func (w *world) pushed(commits ...string) {
	w.t.Helper()
	for i, sha := range commits {
		parent := commit('d')
		if i > 0 {
			parent = commits[i-1]
		}
		w.must(w.bb.AddCommit(repository, sha, parent))
	}
	newest := commits[len(commits)-1]
	pr := pullRequest(commit('1'))
	pr.AuthorUUID, pr.DestinationCommit = authorUUID, newest
	w.put(pr)
}

// mainAt tells, by Bitbucket's event, where the destination was at a time.
func (w *world) mainAt(sha string, ago time.Duration) {
	w.t.Helper()
	body := fmt.Sprintf(`{"eventType":"avi:bitbucket:push:repository","timestamp":%q,"workspace":{"uuid":"{%s}"},"repository":{"uuid":"{%s}"},"push":{"ref":"refs/heads/main","after":%q}}`,
		time.Now().Add(-ago).UTC().Format(time.RFC3339), workspaceUUID, repositoryUUID, sha)
	if res := w.post("/forge/events", w.forge.Token(), body); res.status != http.StatusAccepted {
		w.t.Fatalf("event answered %d %s", res.status, res.body)
	}
}

// TestPolicyFreshness moves the destination on after it was merged into.
func TestPolicyFreshness(t *testing.T) {
	t.Parallel()
	w := linked(t, "rules: [{freshness: strict}]")
	w.built(commit('1'), "success")
	w.expect("stale_destination", "which commit of main build 1.0.1 merged into is not known")

	w.mainAt(commit('d'), time.Hour)
	w.eventually("the event is processed", func() bool {
		return strings.Contains(w.check(event("on-merge")).Message, "passed (312 tests)")
	})
	w.expect("passed", "")

	w.pushed(commit('e'), commit('c'))
	w.expect("stale_destination", "AppVeyor build 1.0.1 passed, but main has moved since build 1.0.1; the policy asks for strict.")
	w.policy("rules: [{freshness: {max_behind: 1}}]")
	w.expect("stale_destination", "main has 2 new commits since build 1.0.1; the policy asks for max_behind 1.")
	w.policy("rules: [{freshness: {max_behind: 2}}]")
	w.expect("passed", "main has 2 new commits since build 1.0.1")
	w.policy("rules: [{freshness: warn}]")
	w.expect("passed", "main has 2 new commits since build 1.0.1")
	w.policy("rules: [{freshness: {max_age: 24h}}]")
	w.expect("passed", "")
	w.policy("rules: [{freshness: {max_age: 1s}}]")
	w.eventually("the build is older", func() bool { return !w.check(event("on-merge")).Success })
	w.expect("stale_destination", "max_age 1s")

	counted := 0
	for _, r := range w.bb.Requests() {
		if strings.Contains(r.Path, "/commits?exclude=") {
			counted++
		}
	}
	if counted != 1 {
		t.Errorf("the same two commits were counted %d times", counted)
	}
	var build struct {
		Values []struct{ Destination struct{ Commit *string } }
	}
	w.get("/api/v1/repositories/acme/widgets/builds", &build)
	if got := build.Values[0].Destination.Commit; got == nil || *got != commit('d') {
		t.Errorf("the build merged into %v", got)
	}
}

// TestPolicyRebuilds has AppVeyor asked, once, for what is stale.
func TestPolicyRebuilds(t *testing.T) {
	t.Parallel()
	w := linked(t, "rules: [{freshness: strict, rebuild: stale}]", "MERGEGATE_APPVEYOR_TOKEN=appveyor-token")
	started := 0
	w.appveyor.OnStartBuild(func(_, _ string, id int64) (appveyortest.Build, error) {
		if started++; id != 7 {
			return appveyortest.Build{}, errors.New("another pull request")
		}
		return appveyortest.Build{Branch: "main", PullRequestHeadCommit: commit('1'), PullRequestHeadRepository: repository, Status: "queued", Created: time.Now()}, nil
	})
	w.mainAt(commit('d'), time.Hour)
	w.built(commit('1'), "success")
	w.eventually("the event is processed", func() bool { return w.check(event("on-merge")).Success })
	w.pushed(commit('e'))
	w.expect("stale_destination", "")
	w.eventually("AppVeyor builds again", func() bool { return len(w.appveyor.Builds("acme", "widgets")) == 2 })
	w.eventually("the new build decides", func() bool { return strings.Contains(w.check(event("on-merge")).Message, "queued") })
	w.expect("queued", "")
	w.expect("queued", "")
	if started != 1 {
		t.Errorf("AppVeyor was asked %d times", started)
	}
}

// TestPolicyRebuildsWhatIsMissing gives AppVeyor its time to begin by itself.
func TestPolicyRebuildsWhatIsMissing(t *testing.T) {
	t.Parallel()
	w := linked(t, "rules: [{not_started_after: 1h, rebuild: missing}]", "MERGEGATE_APPVEYOR_TOKEN=appveyor-token")
	w.appveyor.OnStartBuild(func(string, string, int64) (appveyortest.Build, error) {
		return appveyortest.Build{Branch: "main", PullRequestHeadCommit: commit('1'), PullRequestHeadRepository: repository, Status: "queued", Created: time.Now()}, nil
	})
	w.must(w.bb.AddCommit(repository, commit('2')))
	w.built(commit('2'), "success") // the project is known by a build of another head
	w.expect("no_build", "")
	w.policy("rules: [{not_started_after: 1s, rebuild: missing}]")
	w.eventually("the time is over", func() bool { return strings.Contains(w.check(event("on-merge")).Message, "has not begun to build") })
	w.eventually("AppVeyor builds it", func() bool { return len(w.appveyor.Builds("acme", "widgets")) == 2 })
	w.eventually("the new build decides", func() bool { return strings.Contains(w.check(event("on-merge")).Message, "queued") })
	asked := 0
	for _, r := range w.appveyor.Requests() {
		if r.Method == http.MethodPost {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("AppVeyor was asked %d times, want once and not before the time was over", asked)
	}
}

func TestPolicySkips(t *testing.T) {
	t.Parallel()
	w := linked(t, `rules: [{skip: [{name: documentation, paths: ["docs/**", "*.md"]}]}]`)
	change := func(changes ...bitbuckettest.Change) {
		pr := pullRequest(commit('1'))
		pr.AuthorUUID, pr.Changes = authorUUID, changes
		w.put(pr)
	}
	change(bitbuckettest.Change{Old: "main.go", New: "main.go"}, bitbuckettest.Change{New: "docs/a.md"})
	w.expect("no_build", "")
	// What changed between two commits is known now: another head has other changes.
	pr := pullRequest(commit('2'))
	pr.Changes = []bitbuckettest.Change{{New: "docs/a/b.txt"}, {Old: "README.md", New: "docs/README.md"}}
	pr.AuthorUUID = authorUUID
	w.put(pr)
	w.expect("not_required", `No AppVeyor build is required, by the policy's rule "documentation".`)
	w.policy(`rules: [{skip: [{name: bot, authors: ["{` + authorUUID + `}"]}]}]`)
	w.expect("not_required", `"bot"`)
	w.policy(`rules: [{skip: [{name: another bot, authors: ["{` + annUUID + `}"]}]}]`)
	w.expect("no_build", "")
}

func TestPolicyFreezes(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	freeze := fmt.Sprintf("freezes: [{name: release, reason: We are releasing, from: %s, until: %s}]",
		now.Add(-time.Hour).Format("2006-01-02 15:04"), now.Add(time.Hour).Format("2006-01-02 15:04"))
	w := linked(t, "rules: [{"+freeze+"}]")
	w.built(commit('1'), "success")
	w.expect("frozen", "main is frozen until "+now.Add(time.Hour).Format("2006-01-02 15:04")+" UTC: We are releasing.")
	w.shows(commit('1'), "SUCCESSFUL") // freezes act in the merge check alone
	w.policy("rules: [{branches: release/**, " + freeze + "}]")
	w.expect("passed", "")
	w.policy("rules: [{waivers: {freezes: true}, " + freeze + "}]")
	w.waive(w.tokenOf("release", "waive"), `{"reason":"a hot fix"}`)
	w.expect("waived", "The freeze of main is waived by release: a hot fix")
}

func TestPolicyTimers(t *testing.T) {
	t.Parallel()
	w := linked(t, "rules: [{not_started_after: 1s}]")
	w.eventually("the head is older than a second", func() bool {
		return strings.Contains(w.check(event("on-merge")).Message, "has not begun to build")
	})
	w.expect("timed_out", "AppVeyor has not begun to build 111111111111 for")
	w.must(w.bb.AddCommit(repository, commit('2')))
	w.built(commit('2'), "success")
	w.eventually("the time is over", func() bool {
		return strings.Contains(w.check(event("on-merge")).Message, "has not begun to build")
	})
	w.expect("timed_out", "in acme/widgets")
	w.policy("rules: [{running_longer_than: 1s}]")
	w.built(commit('1'), "running")
	w.eventually("the time is over", func() bool {
		return strings.Contains(w.check(event("on-merge")).Message, "the policy allows 1 s")
	})
	w.expect("timed_out", "AppVeyor build 1.0.2 has been running for")
}

func TestPolicyPendingPassesOnPush(t *testing.T) {
	t.Parallel()
	w := linked(t, "rules: [{pending: {on-code-pushed: pass}}]")
	w.built(commit('1'), "running")
	if a := w.check(event("on-code-pushed")); !a.Success || !strings.HasPrefix(a.Message, "Passes until merging: AppVeyor build 1.0.1 has been running") {
		t.Errorf("on push: %+v", a)
	}
	var decisions struct{ Values []map[string]any }
	w.get("/api/v1/repositories/acme/widgets/decisions?pagelen=1", &decisions)
	if d := decisions.Values[0]; d["success"] != true || d["code"] != "running" || d["policy_version"] != 1.0 || d["inputs"] == nil {
		t.Errorf("decision %v", d)
	}
	w.expect("running", "")
}

// TestPolicyBranchBuilds counts AppVeyor's build of the head itself where merging
// changes nothing.
func TestPolicyBranchBuilds(t *testing.T) {
	t.Parallel()
	w := linked(t, "rules: [{accept_branch_builds: when_up_to_date}]")
	w.must(w.bb.AddCommit(repository, commit('2')))
	w.built(commit('2'), "success") // the project is known by a build of another head
	own := func(b *appveyortest.Build) {
		b.Branch, b.PullRequestID, b.PullRequestName = "feature", 0, ""
		b.PullRequestHeadCommit, b.PullRequestHeadRepository, b.PullRequestHeadBranch = "", "", ""
	}
	w.build(commit('1'), "success", own)
	w.expect("passed", "AppVeyor build 1.0.2 passed (312 tests)")
	w.pushed(commit('e'))
	w.expect("no_build", "")
	w.policy("rules: [{accept_branch_builds: never}]")
	w.put(pullRequest(commit('1')))
	w.expect("no_build", "")
}

// TestEveryLevelGetsTheSameAnswer asks as Bitbucket does where a check is set up
// for a workspace, a project and a repository.
func TestEveryLevelGetsTheSameAnswer(t *testing.T) {
	t.Parallel()
	w := linked(t, "rules: [{freshness: warn, required: [acme/widgets]}]")
	w.built(commit('1'), "failed")
	var answers []answer
	for _, level := range []string{"workspace", "project", "repository"} {
		answers = append(answers, w.check(event("on-merge", `,"level":"`+level+`"`)))
	}
	if answers[0] != answers[1] || answers[1] != answers[2] || answers[0].Success {
		t.Errorf("answers %+v", answers)
	}
}

// TestPolicyThatCannotBeRead fails closed: a database may have a document of a
// version that read more.
func TestPolicyThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := linked(t, "rules: []")
	w.built(commit('1'), "success")
	w.expect("passed", "")
	store, err := postgres.Open(t.Context(), w.database, postgres.Options{})
	w.must(err)
	defer store.Close()
	_, err = store.ApplyPolicy(t.Context(), workspaceUUID, "rules: [{from_the_future: true}]", "somebody")
	w.must(err)
	w.expect("unavailable", "Version 2 of the workspace's policy can't be read.")
}
