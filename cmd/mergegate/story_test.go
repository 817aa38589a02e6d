package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
)

// TestStory follows one pull request from its first push to its merge.
func TestStory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := commit('1'), commit('2')

	w.expect("no_build", "AppVeyor has not built 111111111111 of pull request 7 yet.")

	running := w.built(first, "running")
	w.expect("running", "AppVeyor build 1.0.1 has been running for")

	// Nobody tells that it ended: it is looked at again.
	w.must(w.appveyor.SetStatus(running.ID, "failed"))
	w.shows(first, "FAILED")
	w.expect("failed", "AppVeyor build 1.0.1 failed")

	w.must(w.bb.Push(repository, 7, second))
	w.expect("no_build", "AppVeyor has not built 222222222222")

	w.built(second, "success")
	w.expect("passed", "AppVeyor build 1.0.2 passed (312 tests)")
	w.expectOf("passed", "", event("on-code-pushed", bringing(second)))

	w.must(w.bb.Merge(repository, 7))
	w.expect("pull_request_closed", "Pull request 7 is merged.")

	var builds struct{ Values []map[string]any }
	w.get("/api/v1/repositories/acme/widgets/builds", &builds)
	if len(builds.Values) != 2 || builds.Values[0]["state"] != "success" || builds.Values[1]["state"] != "failed" {
		t.Errorf("history %v", builds.Values)
	}
	if err := w.stop(syscall.SIGTERM); err != nil {
		t.Errorf("ended with %v", err)
	}
	for _, secret := range []string{webhookSecret, bitbucketToken, w.token, "Bearer"} {
		if strings.Contains(w.program.output(), secret) {
			t.Errorf("the log has the secret %q", secret)
		}
	}
}

func TestForkStatusIsNotPostableAndTheGateStillAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	head := commit('f')
	w.must(w.bb.AddRepository(bitbuckettest.Repository{
		WorkspaceUUID: "0c3a7799-53ae-4a5b-9e7e-03338980abb5", UUID: "ffe76500-0627-43f6-a9c5-4d6373a5e4eb",
		FullName: "someone/widgets", Private: true,
	}))
	pr := pullRequest(head)
	pr.SourceRepo = "someone/widgets"
	w.put(pr)
	b := w.build(head, "success", func(b *appveyortest.Build) { b.PullRequestHeadRepository = "someone/widgets" })
	w.notify(b)

	var statuses struct{ Values []map[string]any }
	w.eventually("the status is known not to be postable", func() bool {
		w.get("/api/v1/commit-statuses?outcome=not_postable", &statuses)
		return len(statuses.Values) == 1
	})
	if statuses.Values[0]["commit"] != head || statuses.Values[0]["reason"] == nil {
		t.Errorf("status %v", statuses.Values[0])
	}
	w.expect("passed", "AppVeyor build 1.0.1 passed")
}

func TestRetargetedPullRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.built(commit('1'), "success")
	w.expect("passed", "")
	pr := pullRequest(commit('1'))
	pr.DestinationBranch = "release"
	w.put(pr)
	w.expect("stale_destination", "merged into main, but the pull request now goes to release")
}

func TestTwinsAreToldApart(t *testing.T) {
	t.Parallel()
	green := strings.Repeat("a", 12) + strings.Repeat("1", 28)
	red := strings.Repeat("a", 12) + strings.Repeat("2", 28)
	for _, tt := range []struct {
		name     string
		reported string // what AppVeyor calls the green head
		after    string // the code once the twin is the head
	}{
		{name: "AppVeyor names 40 characters", reported: green, after: "no_build"},
		{name: "AppVeyor names 12 characters", reported: green[:12], after: "unavailable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.put(pullRequest(green))
			w.expect("no_build", "")
			b := w.build(green, "success", func(b *appveyortest.Build) { b.PullRequestHeadCommit = tt.reported })
			w.notify(b)
			w.shows(green, "SUCCESSFUL")
			w.expect("passed", "")

			pr := pullRequest(red)
			pr.Commits = []string{red, green}
			w.put(pr)
			w.expect(tt.after, "")
			w.expectOf(tt.after, "", event("on-merge", bringing(red)))
			if shown := w.bb.CommitStatuses(repository, red); len(shown) != 0 {
				t.Errorf("the twin shows %+v", shown)
			}
		})
	}
}

func TestUntrustedBuildsNeverCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.appveyor.AddProject(appveyortest.Project{ID: 666, Account: "mallory", Slug: "widgets", RepositoryName: repository}))
	w.must(w.appveyor.AddProject(appveyortest.Project{ID: 667, Account: "acme", Slug: "elsewhere", RepositoryName: "other/widgets"}))
	for _, place := range []string{"mallory/widgets", "acme/elsewhere"} {
		account, slug, _ := strings.Cut(place, "/")
		b, err := w.appveyor.PutBuild(account, slug, appveyortest.Build{
			Branch: "main", PullRequestID: 7, PullRequestHeadCommit: commit('1'), Status: "success",
		})
		w.must(err)
		w.notify(b)
	}
	for _, d := range w.settled() {
		if d.Outcome != "ignored" || d.Reason == nil || *d.Reason != "untrusted_account" {
			t.Errorf("delivery %+v", d)
		}
	}
	w.expect("no_build", "")
	if shown := w.bb.CommitStatuses(repository, commit('1')); len(shown) != 0 {
		t.Errorf("Bitbucket shows %+v", shown)
	}
}

func TestWhatAppVeyorDoesNotConfirm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.appveyor.RequireToken("acme", "the-right-token")
	b := w.build(commit('1'), "success")
	w.notify(b)
	w.eventually("AppVeyor was asked", func() bool {
		return strings.Contains(w.check(event("on-merge")).Message, "token refused")
	})
	w.expect("unavailable", "AppVeyor did not confirm build 1001: token refused.")
	if got := w.do(http.MethodGet, "/api/v1/repositories/acme/widgets/builds", w.token, nil); got.status != http.StatusNotFound && strings.Contains(string(got.body), "1001") {
		t.Errorf("a build was recorded: %s", got.body)
	}
}

func TestFallbackRoutes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		quirks appveyortest.Quirks
	}{
		{name: "no route by id", quirks: appveyortest.Quirks{NoBuildByID: true}},
		{name: "byte order mark", quirks: appveyortest.Quirks{BOM: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.appveyor.SetQuirks(tt.quirks)
			w.built(commit('1'), "success")
			w.expect("passed", "")
		})
	}
}
