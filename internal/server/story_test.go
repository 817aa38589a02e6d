package server_test

import (
	"net/http"
	"strings"
	"testing"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/server/servertest"
)

// TestStory follows one pull request from its first push to its merge.
func TestStory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := commit('1'), commit('2')

	w.Expect("no_build", "No AppVeyor build for 111111111111 yet.")

	running := w.Built(first, "running")
	w.Expect("running", "AppVeyor build 1.0.1 is running (")

	// Nobody tells that it ended: it is looked at again.
	w.Must(w.AppVeyor.SetStatus(running.ID, "failed"))
	w.Shows(first, "FAILED")
	w.Expect("failed", "AppVeyor build 1.0.1 failed")

	w.Must(w.Bitbucket.Push(repository, 7, second))
	w.Expect("no_build", "No AppVeyor build for 222222222222 yet.")

	w.Built(second, "success")
	w.Expect("passed", "AppVeyor build 1.0.2 passed (312 tests)")
	w.ExpectOf("passed", "", event("on-code-pushed", bringing(second)))

	w.Must(w.Bitbucket.Merge(repository, 7))
	w.Expect("pull_request_closed", "Pull request 7 is merged.")

	var builds struct{ Values []map[string]any }
	w.Get("/api/v1/repositories/acme/widgets/builds", &builds)
	if len(builds.Values) != 2 || builds.Values[0]["state"] != "success" || builds.Values[1]["state"] != "failed" {
		t.Errorf("history %v", builds.Values)
	}
	w.Stop()
	for _, secret := range []string{servertest.WebhookSecret, servertest.BitbucketToken, w.Token, "Bearer"} {
		if strings.Contains(w.Log(), secret) {
			t.Errorf("the log has the secret %q", secret)
		}
	}
}

func TestForkStatusIsNotPostableAndTheGateStillAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	head := commit('f')
	w.Must(w.Bitbucket.AddRepository(bitbuckettest.Repository{
		WorkspaceUUID: "0c3a7799-53ae-4a5b-9e7e-03338980abb5", UUID: "ffe76500-0627-43f6-a9c5-4d6373a5e4eb",
		FullName: "someone/widgets", Private: true,
	}))
	pr := servertest.PullRequest(head)
	pr.SourceRepo = "someone/widgets"
	w.Put(pr)
	b := w.Build(head, "success", func(b *appveyortest.Build) { b.PullRequestHeadRepository = "someone/widgets" })
	w.Notify(b)

	var statuses struct{ Values []map[string]any }
	w.Eventually("the status is known not to be postable", func() bool {
		w.Get("/api/v1/commit-statuses?outcome=not_postable", &statuses)
		return len(statuses.Values) == 1
	})
	if statuses.Values[0]["commit"] != head || statuses.Values[0]["reason"] == nil {
		t.Errorf("status %v", statuses.Values[0])
	}
	w.Expect("passed", "AppVeyor build 1.0.1 passed")
}

func TestRetargetedPullRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Built(commit('1'), "success")
	w.Expect("passed", "")
	pr := servertest.PullRequest(commit('1'))
	pr.DestinationBranch = "release"
	w.Put(pr)
	w.Expect("stale_destination", "AppVeyor build 1.0.1 was for main, but the pull request now targets release.")
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
			w.Put(servertest.PullRequest(green))
			w.Expect("no_build", "")
			b := w.Build(green, "success", func(b *appveyortest.Build) { b.PullRequestHeadCommit = tt.reported })
			w.Notify(b)
			w.Shows(green, "SUCCESSFUL")
			w.Expect("passed", "")

			pr := servertest.PullRequest(red)
			pr.Commits = []string{red, green}
			w.Put(pr)
			w.Expect(tt.after, "")
			w.ExpectOf(tt.after, "", event("on-merge", bringing(red)))
			if shown := w.Bitbucket.CommitStatuses(repository, red); len(shown) != 0 {
				t.Errorf("the twin shows %+v", shown)
			}
		})
	}
}

func TestUntrustedBuildsNeverCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Must(w.AppVeyor.AddProject(appveyortest.Project{ID: 666, Account: "mallory", Slug: "widgets", RepositoryName: repository}))
	w.Must(w.AppVeyor.AddProject(appveyortest.Project{ID: 667, Account: "acme", Slug: "elsewhere", RepositoryName: "other/widgets"}))
	for _, place := range []string{"mallory/widgets", "acme/elsewhere"} {
		account, slug, _ := strings.Cut(place, "/")
		b, err := w.AppVeyor.PutBuild(account, slug, appveyortest.Build{
			Branch: "main", PullRequestID: 7, PullRequestHeadCommit: commit('1'), Status: "success",
		})
		w.Must(err)
		w.Notify(b)
	}
	for _, d := range w.Settled() {
		if d.Outcome != "ignored" || d.Reason == nil || *d.Reason != "untrusted_account" {
			t.Errorf("delivery %+v", d)
		}
	}
	w.Expect("no_build", "")
	if shown := w.Bitbucket.CommitStatuses(repository, commit('1')); len(shown) != 0 {
		t.Errorf("Bitbucket shows %+v", shown)
	}
}

func TestWhatAppVeyorDoesNotConfirm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.AppVeyor.RequireToken("acme", "the-right-token")
	b := w.Build(commit('1'), "success")
	w.Notify(b)
	w.Eventually("AppVeyor was asked", func() bool {
		return strings.Contains(w.Check(event("on-merge")).Message, "AppVeyor rejected mergegate's token")
	})
	w.Expect("unavailable", "mergegate can't confirm AppVeyor build 1001: AppVeyor rejected mergegate's token (401).")
	if got := w.Do(http.MethodGet, "/api/v1/repositories/acme/widgets/builds", w.Token, nil); got.Status != http.StatusNotFound && strings.Contains(string(got.Body), "1001") {
		t.Errorf("a build was recorded: %s", got.Body)
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
			w.AppVeyor.SetQuirks(tt.quirks)
			w.Built(commit('1'), "success")
			w.Expect("passed", "")
		})
	}
}
