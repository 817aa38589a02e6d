package server_test

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
	"mergegate/internal/server/servertest"
)

// pushed tells of a push to the destination, as Bitbucket's event does, and has
// the pull request be behind it.
func (w *world) pushed(commits ...string) {
	w.T.Helper()
	for i, sha := range commits {
		parent := commit('d')
		if i > 0 {
			parent = commits[i-1]
		}
		w.Must(w.Bitbucket.AddCommit(repository, sha, parent))
	}
	newest := commits[len(commits)-1]
	pr := servertest.PullRequest(commit('1'))
	pr.AuthorUUID, pr.DestinationCommit = servertest.AuthorUUID, newest
	w.Put(pr)
}

// mainAt tells, by Bitbucket's event, where the destination was at a time.
func (w *world) mainAt(sha string, ago time.Duration) {
	w.T.Helper()
	body := fmt.Sprintf(`{"eventType":"avi:bitbucket:push:repository","timestamp":%q,"workspace":{"uuid":"{%s}"},"repository":{"uuid":"{%s}"},"push":{"ref":"refs/heads/main","after":%q}}`,
		time.Now().Add(-ago).UTC().Format(time.RFC3339), workspaceUUID, repositoryUUID, sha)
	if res := w.Post("/forge/events", w.Forge.Token(), body); res.Status != http.StatusAccepted {
		w.T.Fatalf("event answered %d %s", res.Status, res.Body)
	}
}

// TestPolicyFreshness moves the destination on after it was merged into.
func TestPolicyFreshness(t *testing.T) {
	t.Parallel()
	w := linked(t, "rules: [{freshness: strict}]")
	w.Built(commit('1'), "success")
	w.Expect("stale_destination", "mergegate doesn't know which commit of main build 1.0.1 merged into")

	w.mainAt(commit('d'), time.Hour)
	w.Eventually("the event is processed", func() bool {
		return strings.Contains(w.Check(event("on-merge")).Message, "passed (312 tests)")
	})
	w.Expect("passed", "")

	w.pushed(commit('e'), commit('c'))
	w.Expect("stale_destination", "AppVeyor build 1.0.1 is out of date: main has moved (limit 0 commits).")
	w.Policy("rules: [{freshness: {max_behind: 1}}]")
	w.Expect("stale_destination", "AppVeyor build 1.0.1 is out of date: main has moved 2 commits (limit 1 commit).")
	w.Policy("rules: [{freshness: {max_behind: 2}}]")
	w.Expect("passed", "main has moved 2 commits since.")
	w.Policy("rules: [{freshness: warn}]")
	w.Expect("passed", "main has moved 2 commits since.")
	w.Policy("rules: [{freshness: {max_age: 24h}}]")
	w.Expect("passed", "")
	w.Policy("rules: [{freshness: {max_age: 1s}}]")
	w.Eventually("the build is older", func() bool { return !w.Check(event("on-merge")).Success })
	w.Expect("stale_destination", "main has moved 2 commits since the build started ")

	counted := 0
	for _, r := range w.Bitbucket.Requests() {
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
	w.Get("/api/v1/repositories/acme/widgets/builds", &build)
	if got := build.Values[0].Destination.Commit; got == nil || *got != commit('d') {
		t.Errorf("the build merged into %v", got)
	}
}

// TestPolicyRebuilds has AppVeyor asked, once, for what is stale.
func TestPolicyRebuilds(t *testing.T) {
	t.Parallel()
	w := linked(t, "rules: [{freshness: strict, rebuild: stale}]", "MERGEGATE_APPVEYOR_TOKEN=appveyor-token")
	started := 0
	w.AppVeyor.OnStartBuild(func(_, _ string, id int64) (appveyortest.Build, error) {
		if started++; id != 7 {
			return appveyortest.Build{}, errors.New("another pull request")
		}
		return appveyortest.Build{Branch: "main", PullRequestHeadCommit: commit('1'), PullRequestHeadRepository: repository, Status: "queued", Created: time.Now()}, nil
	})
	w.mainAt(commit('d'), time.Hour)
	w.Built(commit('1'), "success")
	w.Eventually("the event is processed", func() bool { return w.Check(event("on-merge")).Success })
	w.pushed(commit('e'))
	w.Expect("stale_destination", "")
	w.Eventually("AppVeyor builds again", func() bool { return len(w.AppVeyor.Builds("acme", "widgets")) == 2 })
	w.Eventually("the new build decides", func() bool { return strings.Contains(w.Check(event("on-merge")).Message, "queued") })
	w.Expect("queued", "")
	w.Expect("queued", "")
	if started != 1 {
		t.Errorf("AppVeyor was asked %d times", started)
	}
}

// TestPolicyRebuildsWhatIsMissing gives AppVeyor its time to begin by itself.
func TestPolicyRebuildsWhatIsMissing(t *testing.T) {
	t.Parallel()
	w := linked(t, "rules: [{not_started_after: 1h, rebuild: missing}]", "MERGEGATE_APPVEYOR_TOKEN=appveyor-token")
	w.AppVeyor.OnStartBuild(func(string, string, int64) (appveyortest.Build, error) {
		return appveyortest.Build{Branch: "main", PullRequestHeadCommit: commit('1'), PullRequestHeadRepository: repository, Status: "queued", Created: time.Now()}, nil
	})
	w.Must(w.Bitbucket.AddCommit(repository, commit('2')))
	w.Built(commit('2'), "success") // the project is known by a build of another head
	w.Expect("no_build", "")
	w.Policy("rules: [{not_started_after: 1s, rebuild: missing}]")
	w.Eventually("the time is over", func() bool { return strings.Contains(w.Check(event("on-merge")).Message, "AppVeyor hasn't started") })
	w.Eventually("AppVeyor builds it", func() bool { return len(w.AppVeyor.Builds("acme", "widgets")) == 2 })
	w.Eventually("the new build decides", func() bool { return strings.Contains(w.Check(event("on-merge")).Message, "queued") })
	asked := 0
	for _, r := range w.AppVeyor.Requests() {
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
		pr := servertest.PullRequest(commit('1'))
		pr.AuthorUUID, pr.Changes = servertest.AuthorUUID, changes
		w.Put(pr)
	}
	change(bitbuckettest.Change{Old: "main.go", New: "main.go"}, bitbuckettest.Change{New: "docs/a.md"})
	w.Expect("no_build", "")
	// What changed between two commits is known now: another head has other changes.
	pr := servertest.PullRequest(commit('2'))
	pr.Changes = []bitbuckettest.Change{{New: "docs/a/b.txt"}, {Old: "README.md", New: "docs/README.md"}}
	pr.AuthorUUID = servertest.AuthorUUID
	w.Put(pr)
	w.Expect("not_required", `No AppVeyor build is required (policy rule "documentation").`)
	w.Policy(`rules: [{skip: [{name: bot, authors: ["{` + servertest.AuthorUUID + `}"]}]}]`)
	w.Expect("not_required", `"bot"`)
	w.Policy(`rules: [{skip: [{name: another bot, authors: ["{` + servertest.AnnUUID + `}"]}]}]`)
	w.Expect("no_build", "")
}

func TestPolicyFreezes(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	freeze := fmt.Sprintf("freezes: [{name: release, reason: We are releasing, from: %s, until: %s}]",
		now.Add(-time.Hour).Format("2006-01-02 15:04"), now.Add(time.Hour).Format("2006-01-02 15:04"))
	w := linked(t, "rules: [{"+freeze+"}]")
	w.Built(commit('1'), "success")
	w.Expect("frozen", "main is frozen until "+now.Add(time.Hour).Format("2006-01-02 15:04")+" UTC: We are releasing.")
	w.Shows(commit('1'), "SUCCESSFUL") // freezes act in the merge check alone
	w.Policy("rules: [{branches: release/**, " + freeze + "}]")
	w.Expect("passed", "")
	w.Policy("rules: [{waivers: {freezes: true}, " + freeze + "}]")
	w.waive(w.TokenOf("release", "waive"), `{"reason":"a hot fix"}`)
	w.Expect("waived", "Waived by release: a hot fix. main is frozen until ")
}

func TestPolicyTimers(t *testing.T) {
	t.Parallel()
	w := linked(t, "rules: [{not_started_after: 1s}]")
	w.Eventually("the head is older than a second", func() bool {
		return strings.Contains(w.Check(event("on-merge")).Message, "AppVeyor hasn't started")
	})
	w.Expect("timed_out", "AppVeyor hasn't started a build for 111111111111 in")
	w.Must(w.Bitbucket.AddCommit(repository, commit('2')))
	w.Built(commit('2'), "success")
	w.Eventually("the time is over", func() bool {
		return strings.Contains(w.Check(event("on-merge")).Message, "AppVeyor hasn't started")
	})
	w.Expect("timed_out", "AppVeyor hasn't started acme/widgets")
	w.Policy("rules: [{running_longer_than: 1s}]")
	w.Built(commit('1'), "running")
	w.Eventually("the time is over", func() bool {
		return strings.Contains(w.Check(event("on-merge")).Message, "(limit 1 s)")
	})
	w.Expect("timed_out", "AppVeyor build 1.0.2 has been running for")
}

func TestPolicyPendingPassesOnPush(t *testing.T) {
	t.Parallel()
	w := linked(t, "rules: [{pending: {on-code-pushed: pass}}]")
	w.Built(commit('1'), "running")
	if a := w.Check(event("on-code-pushed")); !a.Success || !strings.HasPrefix(a.Message, "Passes for now; mergegate checks again on merge. AppVeyor build 1.0.1 is running (") {
		t.Errorf("on push: %+v", a)
	}
	var decisions struct{ Values []map[string]any }
	w.Get("/api/v1/repositories/acme/widgets/decisions?pagelen=1", &decisions)
	if d := decisions.Values[0]; d["success"] != true || d["code"] != "running" || d["policy_version"] != 1.0 || d["inputs"] == nil {
		t.Errorf("decision %v", d)
	}
	w.Expect("running", "")
}

// TestPolicyBranchBuilds counts AppVeyor's build of the head itself where merging
// changes nothing.
func TestPolicyBranchBuilds(t *testing.T) {
	t.Parallel()
	w := linked(t, "rules: [{accept_branch_builds: when_up_to_date}]")
	w.Must(w.Bitbucket.AddCommit(repository, commit('2')))
	w.Built(commit('2'), "success") // the project is known by a build of another head
	own := func(b *appveyortest.Build) {
		b.Branch, b.PullRequestID, b.PullRequestName = "feature", 0, ""
		b.PullRequestHeadCommit, b.PullRequestHeadRepository, b.PullRequestHeadBranch = "", "", ""
	}
	w.Build(commit('1'), "success", own)
	w.Expect("passed", "AppVeyor build 1.0.2 passed (312 tests)")
	w.pushed(commit('e'))
	w.Expect("no_build", "")
	w.Policy("rules: [{accept_branch_builds: never}]")
	w.Put(servertest.PullRequest(commit('1')))
	w.Expect("no_build", "")
}

// TestEveryLevelGetsTheSameAnswer asks as Bitbucket does where a check is set up
// for a workspace, a project and a repository.
func TestEveryLevelGetsTheSameAnswer(t *testing.T) {
	t.Parallel()
	w := linked(t, "rules: [{freshness: warn, required: [acme/widgets]}]")
	w.Built(commit('1'), "failed")
	var answers []servertest.Answer
	for _, level := range []string{"workspace", "project", "repository"} {
		answers = append(answers, w.Check(event("on-merge", `,"level":"`+level+`"`)))
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
	w.Built(commit('1'), "success")
	w.Expect("passed", "")
	store, err := postgres.Open(t.Context(), w.Database, postgres.Options{})
	w.Must(err)
	defer store.Close()
	_, err = store.ApplyPolicy(t.Context(), workspaceUUID, "rules: [{from_the_future: true}]", "somebody")
	w.Must(err)
	w.Expect("unavailable", "mergegate can't read version 2 of this workspace's policy.")
}
