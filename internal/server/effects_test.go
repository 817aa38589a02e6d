package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/postgres"
	"mergegate/internal/server/servertest"
)

// TestEffectsFollowTheVerdict goes from no build over a failed, a passed one and a
// new head to a policy without effects.
func TestEffectsFollowTheVerdict(t *testing.T) {
	t.Parallel()
	w := linked(t, servertest.AllEffects)
	w.Expect("no_build", "")
	const task = "AppVeyor has built it"
	w.Awaits("nothing is built", servertest.Look{
		Comments: 1, Says: "No AppVeyor build for 111111111111 yet.", Tasks: task + ":false ", Reports: "1:mergegate-pr-7:PENDING ",
	})
	w.Built(commit('1'), "failed")
	w.Awaits("it failed", servertest.Look{
		Requested: true, Comments: 1, Says: "AppVeyor build 1.0.1 failed (312 tests).", Tasks: task + ":false ", Reports: "1:mergegate-pr-7:FAILED ",
	})
	w.Built(commit('1'), "success")
	w.Awaits("it passed", servertest.Look{
		Approved: true, Comments: 1, Says: "312 of 312 tests passed", Tasks: task + ":true ", Reports: "1:mergegate-pr-7:PASSED ",
	})
	report := w.Bitbucket.Reports(repository, commit('1'))[0]
	if report.Link == "" || len(report.Data) != 5 || report.Data[2].Value != 312.0 || report.Type != "TEST" {
		t.Errorf("report %+v", report)
	}
	w.Eventually("it is noted that all is made", func() bool {
		for _, e := range w.Effects() {
			if e.Outcome != "posted" || e.Made != e.Wanted || e.Reason != "" {
				return false
			}
		}
		return true
	})
	comment := w.Bitbucket.Comments(repository, 7)[0]
	w.Must(w.Bitbucket.Push(repository, 7, commit('2')))
	w.Expect("no_build", "")
	w.Awaits("there is a new head", servertest.Look{
		Comments: 1, Says: "Head `222222222222`", Tasks: task + ":false ", Reports: "2:mergegate-pr-7:PENDING ",
	})
	if now := w.Bitbucket.Comments(repository, 7)[0]; now.ID != comment.ID {
		t.Errorf("comment %d became %d", comment.ID, now.ID)
	}
	w.Built(commit('2'), "success")
	w.Awaits("the new head passed", servertest.Look{
		Approved: true, Comments: 1, Says: "1.0.3", Tasks: task + ":true ", Reports: "2:mergegate-pr-7:PASSED ",
	})
	w.Policy(servertest.NoEffects)
	w.Awaits("the policy asks for nothing", servertest.Look{})
	w.Eventually("nothing is left to do", func() bool { return len(w.Effects()) == 0 })
}

// TestEachEffectAlone switches one on and off, and sees nothing of the others.
func TestEachEffectAlone(t *testing.T) {
	t.Parallel()
	w := linked(t, servertest.NoEffects)
	w.Built(commit('1'), "success")
	for _, tt := range []struct {
		policy string
		want   servertest.Look
	}{
		{policy: "approve: true", want: servertest.Look{Approved: true}},
		{policy: "comment: true", want: servertest.Look{Comments: 1, Says: "ready to merge"}},
		{policy: "task: one", want: servertest.Look{Tasks: "one:true "}},
		{policy: "task: another", want: servertest.Look{Tasks: "another:true "}},
		{policy: "report: true", want: servertest.Look{Reports: "1:mergegate-pr-7:PASSED "}},
	} {
		w.Policy("rules: [{effects: {" + tt.policy + "}}]")
		w.Check(event("on-merge")) // no event has told of the pull request
		w.Awaits(tt.policy, tt.want)
	}
	w.Policy(servertest.NoEffects)
	w.Awaits("no effects", servertest.Look{})
	w.Policy("rules: [{effects: {request_changes: true}}]")
	w.Built(commit('1'), "failed")
	w.Awaits("request_changes", servertest.Look{Requested: true})
	w.Built(commit('1'), "running") // nothing failed as far as is known
	w.Awaits("running", servertest.Look{})
}

// TestOnlyOursIsTouched has people do by hand what effects do, some of them with
// the same credential.
func TestOnlyOursIsTouched(t *testing.T) {
	t.Parallel()
	w := linked(t, servertest.NoEffects)
	w.Built(commit('1'), "success")
	const somebody = "somebody-else"
	w.Bitbucket.Think(repository, 7, servertest.BitbucketToken, "approved")
	w.Bitbucket.Think(repository, 7, somebody, "approved")
	w.Bitbucket.Comment(repository, 7, somebody, "mergegate is nice")
	w.Bitbucket.AddTask(repository, 7, somebody, "AppVeyor has built it")
	w.Policy(servertest.AllEffects)
	w.Check(event("on-merge"))
	w.Awaits("ours beside theirs", servertest.Look{
		Approved: true, Comments: 2, Says: "ready to merge", Tasks: "AppVeyor has built it:false AppVeyor has built it:true ", Reports: "1:mergegate-pr-7:PASSED ",
	})
	w.Eventually("an approval by hand stays theirs", func() bool {
		e := w.Effects()["approve"]
		return e.Made == "" && e.Outcome == "posted"
	})
	w.Policy(servertest.NoEffects)
	w.Awaits("theirs alone", servertest.Look{Approved: true, Comments: 1, Says: "mergegate is nice", Tasks: "AppVeyor has built it:false "})
	if w.Bitbucket.Participant(repository, 7, somebody) != "approved" {
		t.Error("somebody's approval is gone")
	}
}

// TestWhatSomebodyRemovedIsMadeAnew removes comment, task and approval by hand.
func TestWhatSomebodyRemovedIsMadeAnew(t *testing.T) {
	t.Parallel()
	w := linked(t, servertest.AllEffects)
	w.Built(commit('1'), "success")
	before := servertest.Look{Approved: true, Comments: 1, Says: "1.0.1", Tasks: "AppVeyor has built it:true ", Reports: "1:mergegate-pr-7:PASSED "}
	w.Awaits("all are made", before)
	w.Bitbucket.RemoveWritten(repository, 7)
	w.Bitbucket.Think(repository, 7, servertest.BitbucketToken, "")
	w.Built(commit('1'), "failed")
	w.Awaits("they are made anew", servertest.Look{
		Requested: true, Comments: 1, Says: "1.0.2", Tasks: "AppVeyor has built it:false ", Reports: "1:mergegate-pr-7:FAILED ",
	})
	w.Bitbucket.RemoveWritten(repository, 7)
	w.Bitbucket.Think(repository, 7, servertest.BitbucketToken, "")
	w.Policy(servertest.NoEffects)
	w.Awaits("nothing is there to be undone", servertest.Look{})
	w.Eventually("nothing is left to do", func() bool { return len(w.Effects()) == 0 })
}

// TestAMissingScopeShowsAndIsCured has a credential that may only read: comments,
// tasks and reports need no more.
func TestAMissingScopeShowsAndIsCured(t *testing.T) {
	t.Parallel()
	w := linked(t, servertest.NoEffects)
	w.Built(commit('1'), "success")
	w.Bitbucket.LimitToken(servertest.BitbucketToken, "pullrequest")
	w.Policy(servertest.AllEffects)
	w.Check(event("on-merge"))
	rest := servertest.Look{Comments: 1, Says: "1.0.1", Tasks: "AppVeyor has built it:true ", Reports: "1:mergegate-pr-7:PASSED "}
	w.Awaits("all but the approval", rest)
	w.Eventually("the fault is listed", func() bool {
		e := w.Effects()["approve"]
		return e.Outcome == "failed" && e.HTTPStatus == http.StatusForbidden && strings.Contains(e.Reason, "privilege scopes") && e.Made == ""
	})
	w.Check(event("on-merge")) // nothing has changed: it is not asked again
	w.Bitbucket.LimitToken(servertest.BitbucketToken, "pullrequest:write")
	if res := w.Post(servertest.EffectsPath+"/retry", w.TokenOf("reader", "read"), ""); res.Status != http.StatusForbidden {
		t.Errorf("a reader retried: %d %s", res.Status, res.Body)
	}
	res := w.Post(servertest.EffectsPath+"/retry", w.Token, "")
	var list struct{ Values []servertest.Effect }
	w.Must(json.Unmarshal(res.Body, &list))
	if res.Status != http.StatusAccepted || len(list.Values) != 4 {
		t.Errorf("retrying answered %d %s", res.Status, res.Body)
	}
	rest.Approved = true
	w.Awaits("the approval too", rest)
}

// TestEffectsWithoutACredential say so, and are made once the app brings its token.
func TestEffectsWithoutACredential(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_BITBUCKET_TOKEN=")
	w.Check(event("on-merge"))
	w.Policy(`rules: [{effects: {approve: true, comment: true}}]`)
	w.Notify(w.Build(commit('1'), "success"))
	w.Eventually("the fault is listed", func() bool {
		return strings.Contains(w.Effects()["comment"].Reason, "no Bitbucket credential")
	})
	w.Bitbucket.AllowToken("app-token", "acme")
	w.ForgeBrings("app-token")
	w.Eventually("the comment is made as the app", func() bool { return len(w.Bitbucket.Comments(repository, 7)) == 1 })
	w.Eventually("and approved", func() bool { return w.Bitbucket.Participant(repository, 7, "app-token") == "approved" })
}

// TestReplicasMakeOneOfEach has two replicas told of the same at once, again and
// again.
func TestReplicasMakeOneOfEach(t *testing.T) {
	t.Parallel()
	w := linked(t, servertest.AllEffects)
	replicas := []*servertest.World{w.World, w.Replica()}
	var posts atomic.Int64
	w.Bitbucket.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		if r.Method == http.MethodPost && (strings.HasSuffix(r.URL.Path, "/comments") || strings.HasSuffix(r.URL.Path, "/tasks")) {
			posts.Add(1)
		}
		return bitbuckettest.Fault{}
	})
	for i := range 6 {
		status := []string{"failed", "success"}[i%2]
		b := w.Build(commit('1'), status)
		var group sync.WaitGroup
		for _, r := range replicas {
			group.Go(func() {
				if s, _, err := w.AppVeyor.Notify(t.Context(), r.URL+"/webhooks/appveyor", servertest.WebhookSecret, b.ID); err != nil || s != http.StatusAccepted {
					t.Errorf("webhook answered %d, %v", s, err)
				}
			})
		}
		group.Wait()
	}
	w.Awaits("one of each", servertest.Look{
		Approved: true, Comments: 1, Says: "1.0.6", Tasks: "AppVeyor has built it:true ", Reports: "1:mergegate-pr-7:PASSED ",
	})
	if n := posts.Load(); n > 2 {
		t.Errorf("%d comments and tasks were made", n)
	}
}

// TestClosedPullRequestsStayAsTheyAre merges one while a build runs.
func TestClosedPullRequestsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	w := linked(t, servertest.AllEffects)
	w.Built(commit('1'), "running")
	open := servertest.Look{Comments: 1, Says: "A build is running.", Tasks: "AppVeyor has built it:false ", Reports: "1:mergegate-pr-7:PENDING "}
	w.Awaits("it runs", open)
	w.Must(w.Bitbucket.Merge(repository, 7))
	if res := w.Post("/forge/events", w.Forge.Token(), strings.ReplaceAll(servertest.PullRequestEvent(7, commit('1'), "MERGED"), servertest.BranchOf(7), "feature")); res.Status != http.StatusAccepted {
		t.Fatalf("event answered %d %s", res.Status, res.Body)
	}
	open.Reports = ""
	w.Awaits("it is merged", open)
	w.Policy(servertest.NoEffects)
	w.Built(commit('1'), "success")
	w.Awaits("it stays", open)
}

// TestWhatAuthorsTypedIsPlainInComments has a build script rewrite its version.
func TestWhatAuthorsTypedIsPlainInComments(t *testing.T) {
	t.Parallel()
	w := linked(t, `rules: [{effects: {comment: true}}]`)
	b := w.Build(commit('1'), "success", func(b *appveyortest.Build) {
		b.Version = "1.0 **bold** @everyone [x](https://evil.example) <b>| `"
	})
	w.Notify(b)
	w.Eventually("the comment is there", func() bool {
		comments := w.Bitbucket.Comments(repository, 7)
		return len(comments) == 1 && strings.Contains(comments[0].Raw, "bold")
	})
	text := w.Bitbucket.Comments(repository, 7)[0].Raw
	for _, live := range []string{"**bold**", "@everyone", "](https://evil", "<b>"} {
		if strings.Contains(text, live) {
			t.Errorf("%q is live in\n%s", live, text)
		}
	}
}

// TestEffectsWakeWithTimers has nobody tell of anything when a time is over.
func TestEffectsWakeWithTimers(t *testing.T) {
	t.Parallel()
	w := linked(t, `rules: [{not_started_after: 8s, effects: {report: true}}]`)
	w.Check(event("on-merge"))
	w.Awaits("nothing is built", servertest.Look{Reports: "1:mergegate-pr-7:PENDING "})
	w.Awaits("it took too long", servertest.Look{Reports: "1:mergegate-pr-7:FAILED "})
}

// TestWhatWasRefusedIsNotOurs has somebody approve with the same credential what it
// was not allowed to before.
func TestWhatWasRefusedIsNotOurs(t *testing.T) {
	t.Parallel()
	w := linked(t, servertest.NoEffects)
	w.Built(commit('1'), "success")
	w.Bitbucket.LimitToken(servertest.BitbucketToken, "pullrequest")
	w.Policy(`rules: [{effects: {approve: true}}]`)
	w.Check(event("on-merge"))
	w.Eventually("it is refused", func() bool { return w.Effects()["approve"].Outcome == "failed" })
	w.Bitbucket.LimitToken(servertest.BitbucketToken, "pullrequest:write")
	w.Bitbucket.Think(repository, 7, servertest.BitbucketToken, "approved")
	w.Post(servertest.EffectsPath+"/retry", w.Token, "")
	w.settledEffects(1)
	w.Built(commit('1'), "failed")
	w.Eventually("there is nothing to take back", func() bool { return len(w.Effects()) == 0 })
	if w.Bitbucket.Participant(repository, 7, servertest.BitbucketToken) != "approved" {
		t.Error("somebody's approval is gone")
	}
}

// TestEffectsStayWhileNothingIsKnown has neither the pull request nor the policy be
// readable: nothing is taken back for that.
func TestEffectsStayWhileNothingIsKnown(t *testing.T) {
	t.Parallel()
	w := linked(t, servertest.AllEffects)
	w.Built(commit('1'), "success")
	passed := servertest.Look{Approved: true, Comments: 1, Says: "1.0.1", Tasks: "AppVeyor has built it:true ", Reports: "1:mergegate-pr-7:PASSED "}
	w.Awaits("it passed", passed)
	var changes atomic.Int64
	var down atomic.Bool
	down.Store(true)
	w.Bitbucket.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/statuses/") {
			changes.Add(1)
		}
		if down.Load() && r.Method == http.MethodGet {
			return bitbuckettest.Fault{Status: http.StatusServiceUnavailable}
		}
		return bitbuckettest.Fault{}
	})
	w.Built(commit('1'), "failed")
	w.Eventually("the fault is listed", func() bool {
		return strings.Contains(w.Effects()["comment"].Reason, "mergegate can't read the pull request")
	})
	if n := changes.Load(); n > 0 || w.Looks("1.0.1") != passed {
		t.Errorf("%d changes; Bitbucket shows %+v", n, w.Looks("1.0.1"))
	}
	down.Store(false)
	w.Awaits("it is known to have failed", servertest.Look{
		Requested: true, Comments: 1, Says: "1.0.2", Tasks: "AppVeyor has built it:false ", Reports: "1:mergegate-pr-7:FAILED ",
	})
	before := changes.Load()
	store, err := postgres.Open(t.Context(), w.Database, postgres.Options{})
	w.Must(err)
	defer store.Close()
	_, err = store.ApplyPolicy(t.Context(), workspaceUUID, "rules: [{from_the_future: true}]", "somebody")
	w.Must(err)
	w.Built(commit('1'), "success")
	w.Eventually("the policy was not read", func() bool { return strings.Contains(w.Log(), "reading the policy failed, effects not changed") })
	if n := changes.Load(); n != before {
		t.Errorf("%d changes by a policy that nobody can read", n-before)
	}
}

// TestLooksWithoutChangesCostNothing has the same verdict looked at again and
// again: what is written then is what a later change needs.
func TestLooksWithoutChangesCostNothing(t *testing.T) {
	t.Parallel()
	w := linked(t, servertest.AllEffects)
	w.Built(commit('1'), "running")
	running := servertest.Look{Comments: 1, Says: "A build is running.", Tasks: "AppVeyor has built it:false ", Reports: "1:mergegate-pr-7:PENDING "}
	w.Awaits("it runs", running)
	w.settledEffects(3)
	var writes, reads atomic.Int64
	w.Bitbucket.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/statuses/") {
			writes.Add(1)
		} else {
			reads.Add(1)
		}
		return bitbuckettest.Fault{}
	})
	for i := range int64(3) {
		w.Check(event("on-merge"))
		// Two requests are the merge check's own.
		w.Eventually("it was looked at", func() bool { return reads.Load() >= 4*(i+1) })
	}
	w.Built(commit('1'), "success")
	w.Awaits("it passed", servertest.Look{
		Approved: true, Comments: 1, Says: "1.0.2", Tasks: "AppVeyor has built it:true ", Reports: "1:mergegate-pr-7:PASSED ",
	})
	w.settledEffects(4)
	if n := writes.Load(); n != 4 {
		t.Errorf("%d writes, want one of each effect", n)
	}
}

// settledEffects waits until there are so many, each of them posted.
func (w *world) settledEffects(n int) {
	w.T.Helper()
	w.Eventually("every effect is posted", func() bool {
		effects := w.Effects()
		for _, e := range effects {
			if e.Outcome != "posted" {
				return false
			}
		}
		return len(effects) == n
	})
}
