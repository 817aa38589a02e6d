package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/postgres"
)

const (
	effectsPath = "/api/v1/repositories/acme/widgets/pullrequests/7/effects"
	allEffects  = `rules: [{effects: {approve: true, request_changes: true, comment: true, task: "AppVeyor has built it", report: true}}]`
	noEffects   = `rules: []`
)

type effect struct {
	Effect, Outcome string
	Wanted, Made    string
	Reason          string
	HTTPStatus      int `json:"http_status"`
}

// effects lists those of pull request 7 by name.
func (w *world) effects() map[string]effect {
	w.t.Helper()
	var list struct{ Values []effect }
	w.get(effectsPath, &list)
	byName := map[string]effect{}
	for _, e := range list.Values {
		byName[e.Effect] = e
	}
	return byName
}

// look is what Bitbucket shows of pull request 7.
type look struct {
	Approved, Requested bool
	Comments            int
	Says                string // what the first comment has in it, of what is looked for
	Tasks               string
	Reports             string // on all commits
}

// looks sums up what Bitbucket shows; says is looked for in the comment.
func (w *world) looks(says string) look {
	participant := w.bb.Participant(repository, 7, bitbucketToken)
	l := look{Approved: participant == "approved", Requested: participant == "changes_requested"}
	for _, c := range w.bb.Comments(repository, 7) {
		l.Comments++
		if strings.Contains(c.Raw, says) {
			l.Says = says
		}
	}
	for _, t := range w.bb.Tasks(repository, 7) {
		l.Tasks += fmt.Sprintf("%s:%v ", t.Raw, t.Resolved)
	}
	for _, sha := range []string{commit('1'), commit('2')} {
		for _, r := range w.bb.Reports(repository, sha) {
			l.Reports += fmt.Sprintf("%s:%s:%s ", sha[:1], r.ID, r.Result)
		}
	}
	return l
}

func (w *world) awaits(what string, want look) {
	w.t.Helper()
	var got look
	defer func() {
		if w.t.Failed() {
			w.t.Logf("%s: Bitbucket shows %+v, want %+v; effects %+v", what, got, want, w.effects())
			for _, c := range w.bb.Comments(repository, 7) {
				w.t.Logf("comment:\n%s", c.Raw)
			}
		}
	}()
	w.eventually(what, func() bool { got = w.looks(want.Says); return got == want })
}

// TestEffectsFollowTheVerdict goes from no build over a failed, a passed one and a
// new head to a policy without effects.
func TestEffectsFollowTheVerdict(t *testing.T) {
	t.Parallel()
	w := linked(t, allEffects)
	w.expect("no_build", "")
	const task = "AppVeyor has built it"
	w.awaits("nothing is built", look{
		Comments: 1, Says: "AppVeyor has not built 111111111111 of pull request 7 yet.", Tasks: task + ":false ", Reports: "1:mergegate-pr-7:PENDING ",
	})
	w.built(commit('1'), "failed")
	w.awaits("it failed", look{
		Requested: true, Comments: 1, Says: "AppVeyor build 1.0.1 failed (312 tests)", Tasks: task + ":false ", Reports: "1:mergegate-pr-7:FAILED ",
	})
	w.built(commit('1'), "success")
	w.awaits("it passed", look{
		Approved: true, Comments: 1, Says: "312 of 312 tests passed", Tasks: task + ":true ", Reports: "1:mergegate-pr-7:PASSED ",
	})
	report := w.bb.Reports(repository, commit('1'))[0]
	if report.Link == "" || len(report.Data) != 5 || report.Data[2].Value != 312.0 || report.Type != "TEST" {
		t.Errorf("report %+v", report)
	}
	w.eventually("it is noted that all is made", func() bool {
		for _, e := range w.effects() {
			if e.Outcome != "posted" || e.Made != e.Wanted || e.Reason != "" {
				return false
			}
		}
		return true
	})
	comment := w.bb.Comments(repository, 7)[0]
	w.must(w.bb.Push(repository, 7, commit('2')))
	w.expect("no_build", "")
	w.awaits("there is a new head", look{
		Comments: 1, Says: "Head `222222222222`", Tasks: task + ":false ", Reports: "2:mergegate-pr-7:PENDING ",
	})
	if now := w.bb.Comments(repository, 7)[0]; now.ID != comment.ID {
		t.Errorf("comment %d became %d", comment.ID, now.ID)
	}
	w.built(commit('2'), "success")
	w.awaits("the new head passed", look{
		Approved: true, Comments: 1, Says: "1.0.3", Tasks: task + ":true ", Reports: "2:mergegate-pr-7:PASSED ",
	})
	w.policy(noEffects)
	w.awaits("the policy asks for nothing", look{})
	w.eventually("nothing is left to do", func() bool { return len(w.effects()) == 0 })
}

// TestEachEffectAlone switches one on and off, and sees nothing of the others.
func TestEachEffectAlone(t *testing.T) {
	t.Parallel()
	w := linked(t, noEffects)
	w.built(commit('1'), "success")
	for _, tt := range []struct {
		policy string
		want   look
	}{
		{policy: "approve: true", want: look{Approved: true}},
		{policy: "comment: true", want: look{Comments: 1, Says: "ready to merge"}},
		{policy: "task: one", want: look{Tasks: "one:true "}},
		{policy: "task: another", want: look{Tasks: "another:true "}},
		{policy: "report: true", want: look{Reports: "1:mergegate-pr-7:PASSED "}},
	} {
		w.policy("rules: [{effects: {" + tt.policy + "}}]")
		w.check(event("on-merge")) // no event has told of the pull request
		w.awaits(tt.policy, tt.want)
	}
	w.policy(noEffects)
	w.awaits("no effects", look{})
	w.policy("rules: [{effects: {request_changes: true}}]")
	w.built(commit('1'), "failed")
	w.awaits("request_changes", look{Requested: true})
	w.built(commit('1'), "running") // nothing failed as far as is known
	w.awaits("running", look{})
}

// TestOnlyOursIsTouched has people do by hand what effects do, some of them with
// the same credential.
func TestOnlyOursIsTouched(t *testing.T) {
	t.Parallel()
	w := linked(t, noEffects)
	w.built(commit('1'), "success")
	const somebody = "somebody-else"
	w.bb.Think(repository, 7, bitbucketToken, "approved")
	w.bb.Think(repository, 7, somebody, "approved")
	w.bb.Comment(repository, 7, somebody, "mergegate is nice")
	w.bb.AddTask(repository, 7, somebody, "AppVeyor has built it")
	w.policy(allEffects)
	w.check(event("on-merge"))
	w.awaits("ours beside theirs", look{
		Approved: true, Comments: 2, Says: "ready to merge", Tasks: "AppVeyor has built it:false AppVeyor has built it:true ", Reports: "1:mergegate-pr-7:PASSED ",
	})
	w.eventually("an approval by hand stays theirs", func() bool {
		e := w.effects()["approve"]
		return e.Made == "" && e.Outcome == "posted"
	})
	w.policy(noEffects)
	w.awaits("theirs alone", look{Approved: true, Comments: 1, Says: "mergegate is nice", Tasks: "AppVeyor has built it:false "})
	if w.bb.Participant(repository, 7, somebody) != "approved" {
		t.Error("somebody's approval is gone")
	}
}

// TestWhatSomebodyRemovedIsMadeAnew removes comment, task and approval by hand.
func TestWhatSomebodyRemovedIsMadeAnew(t *testing.T) {
	t.Parallel()
	w := linked(t, allEffects)
	w.built(commit('1'), "success")
	before := look{Approved: true, Comments: 1, Says: "1.0.1", Tasks: "AppVeyor has built it:true ", Reports: "1:mergegate-pr-7:PASSED "}
	w.awaits("all are made", before)
	w.bb.RemoveWritten(repository, 7)
	w.bb.Think(repository, 7, bitbucketToken, "")
	w.built(commit('1'), "failed")
	w.awaits("they are made anew", look{
		Requested: true, Comments: 1, Says: "1.0.2", Tasks: "AppVeyor has built it:false ", Reports: "1:mergegate-pr-7:FAILED ",
	})
	w.bb.RemoveWritten(repository, 7)
	w.bb.Think(repository, 7, bitbucketToken, "")
	w.policy(noEffects)
	w.awaits("nothing is there to be undone", look{})
	w.eventually("nothing is left to do", func() bool { return len(w.effects()) == 0 })
}

// TestAMissingScopeShowsAndIsCured has a credential that may only read: comments,
// tasks and reports need no more.
func TestAMissingScopeShowsAndIsCured(t *testing.T) {
	t.Parallel()
	w := linked(t, noEffects)
	w.built(commit('1'), "success")
	w.bb.LimitToken(bitbucketToken, "pullrequest")
	w.policy(allEffects)
	w.check(event("on-merge"))
	rest := look{Comments: 1, Says: "1.0.1", Tasks: "AppVeyor has built it:true ", Reports: "1:mergegate-pr-7:PASSED "}
	w.awaits("all but the approval", rest)
	w.eventually("the fault is listed", func() bool {
		e := w.effects()["approve"]
		return e.Outcome == "failed" && e.HTTPStatus == http.StatusForbidden && strings.Contains(e.Reason, "privilege scopes") && e.Made == ""
	})
	w.check(event("on-merge")) // nothing has changed: it is not asked again
	w.bb.LimitToken(bitbucketToken, "pullrequest:write")
	if res := w.post(effectsPath+"/retry", w.tokenOf("reader", "read"), ""); res.status != http.StatusForbidden {
		t.Errorf("a reader retried: %d %s", res.status, res.body)
	}
	res := w.post(effectsPath+"/retry", w.token, "")
	var list struct{ Values []effect }
	w.must(json.Unmarshal(res.body, &list))
	if res.status != http.StatusAccepted || len(list.Values) != 4 {
		t.Errorf("retrying answered %d %s", res.status, res.body)
	}
	rest.Approved = true
	w.awaits("the approval too", rest)
}

// TestEffectsWithoutACredential say so, and are made once the app brings its token.
func TestEffectsWithoutACredential(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_BITBUCKET_TOKEN=")
	w.check(event("on-merge"))
	w.policy(`rules: [{effects: {approve: true, comment: true}}]`)
	w.notify(w.build(commit('1'), "success"))
	w.eventually("the fault is listed", func() bool {
		return strings.Contains(w.effects()["comment"].Reason, "no Bitbucket credential")
	})
	w.bb.AllowToken("app-token", "acme")
	w.forgeBrings("app-token")
	w.eventually("the comment is made as the app", func() bool { return len(w.bb.Comments(repository, 7)) == 1 })
	w.eventually("and approved", func() bool { return w.bb.Participant(repository, 7, "app-token") == "approved" })
}

// TestEffectsInSpiteOfFaults has every request to Bitbucket fail once in each way:
// in the end everything is there once.
func TestEffectsInSpiteOfFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		faults []bitbuckettest.Fault
	}{
		{name: "lost answers", faults: []bitbuckettest.Fault{{Reset: true, Applied: true}}},
		{name: "5xx that did what was asked for", faults: []bitbuckettest.Fault{{Status: 502, HTML: true, Applied: true}}},
		{name: "5xx", faults: []bitbuckettest.Fault{{Status: 503, RetryAfter: "1"}}},
		{name: "pages", faults: []bitbuckettest.Fault{{HTML: true, Applied: true}}},
		{name: "other JSON", faults: []bitbuckettest.Fault{{Body: `{"type":"error"}`, Applied: true}}},
		{name: "429", faults: []bitbuckettest.Fault{{Status: 429, RetryAfter: "1"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := linked(t, noEffects)
			w.built(commit('1'), "success")
			w.expect("passed", "")
			faults := failing(tt.faults...)
			w.bb.OnRequest(func(r *http.Request) bitbuckettest.Fault {
				if r.Method == http.MethodGet && !strings.Contains(r.URL.Path, "comments") && !strings.Contains(r.URL.Path, "tasks") {
					return bitbuckettest.Fault{} // what a merge check reads
				}
				return faults(r)
			})
			w.policy(allEffects)
			w.check(event("on-merge"))
			w.awaits("all once", look{
				Approved: true, Comments: 1, Says: "1.0.1", Tasks: "AppVeyor has built it:true ", Reports: "1:mergegate-pr-7:PASSED ",
			})
			w.settledEffects(4)
			w.bb.OnRequest(failing(tt.faults...))
			w.policy(noEffects)
			w.awaits("nothing", look{})
			w.eventually("nothing is left to do", func() bool { return len(w.effects()) == 0 })
		})
	}
}

// TestACrashLeavesOneOfEach kills the program after Bitbucket has taken a comment
// or a task, and before it was told so.
func TestACrashLeavesOneOfEach(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"comments", "tasks", "approve"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := linked(t, noEffects)
			w.built(commit('1'), "success")
			taken := make(chan struct{})
			var once sync.Once
			w.bb.OnRequest(func(r *http.Request) bitbuckettest.Fault {
				fault := bitbuckettest.Fault{}
				if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, what) {
					once.Do(func() {
						fault = bitbuckettest.Fault{Hang: true, Applied: true}
						close(taken)
					})
				}
				return fault
			})
			w.policy(allEffects)
			w.check(event("on-merge"))
			select {
			case <-taken:
			case <-time.After(patience):
				t.Fatal("nothing was posted")
			}
			w.eventually("Bitbucket has it", func() bool {
				l := w.looks("")
				return map[string]bool{"comments": l.Comments == 1, "tasks": l.Tasks != "", "approve": l.Approved}[what]
			})
			w.kill()
			w.start()
			w.awaits("one of each", look{
				Approved: true, Comments: 1, Says: "1.0.1", Tasks: "AppVeyor has built it:true ", Reports: "1:mergegate-pr-7:PASSED ",
			})
			w.policy(noEffects)
			w.awaits("nothing", look{})
		})
	}
}

// TestReplicasMakeOneOfEach has two replicas told of the same at once, again and
// again.
func TestReplicasMakeOneOfEach(t *testing.T) {
	t.Parallel()
	w := linked(t, allEffects)
	replicas := []*world{w, w.replica()}
	var posts atomic.Int64
	w.bb.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		if r.Method == http.MethodPost && (strings.HasSuffix(r.URL.Path, "/comments") || strings.HasSuffix(r.URL.Path, "/tasks")) {
			posts.Add(1)
		}
		return bitbuckettest.Fault{}
	})
	for i := range 6 {
		status := []string{"failed", "success"}[i%2]
		b := w.build(commit('1'), status)
		var group sync.WaitGroup
		for _, r := range replicas {
			group.Go(func() {
				if s, _, err := w.appveyor.Notify(t.Context(), r.url+"/webhooks/appveyor", webhookSecret, b.ID); err != nil || s != http.StatusAccepted {
					t.Errorf("webhook answered %d, %v", s, err)
				}
			})
		}
		group.Wait()
	}
	w.awaits("one of each", look{
		Approved: true, Comments: 1, Says: "1.0.6", Tasks: "AppVeyor has built it:true ", Reports: "1:mergegate-pr-7:PASSED ",
	})
	if n := posts.Load(); n > 2 {
		t.Errorf("%d comments and tasks were made", n)
	}
}

// TestClosedPullRequestsStayAsTheyAre merges one while a build runs.
func TestClosedPullRequestsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	w := linked(t, allEffects)
	w.built(commit('1'), "running")
	open := look{Comments: 1, Says: "A build is running.", Tasks: "AppVeyor has built it:false ", Reports: "1:mergegate-pr-7:PENDING "}
	w.awaits("it runs", open)
	w.must(w.bb.Merge(repository, 7))
	if res := w.post("/forge/events", w.forge.Token(), strings.ReplaceAll(pullRequestEvent(7, commit('1'), "MERGED"), branchOf(7), "feature")); res.status != http.StatusAccepted {
		t.Fatalf("event answered %d %s", res.status, res.body)
	}
	open.Reports = ""
	w.awaits("it is merged", open)
	w.policy(noEffects)
	w.built(commit('1'), "success")
	w.awaits("it stays", open)
}

// TestWhatAuthorsTypedIsPlainInComments has a build script rewrite its version.
func TestWhatAuthorsTypedIsPlainInComments(t *testing.T) {
	t.Parallel()
	w := linked(t, `rules: [{effects: {comment: true}}]`)
	b := w.build(commit('1'), "success", func(b *appveyortest.Build) {
		b.Version = "1.0 **bold** @everyone [x](https://evil.example) <b>| `"
	})
	w.notify(b)
	w.eventually("the comment is there", func() bool {
		comments := w.bb.Comments(repository, 7)
		return len(comments) == 1 && strings.Contains(comments[0].Raw, "bold")
	})
	text := w.bb.Comments(repository, 7)[0].Raw
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
	w.check(event("on-merge"))
	w.awaits("nothing is built", look{Reports: "1:mergegate-pr-7:PENDING "})
	w.awaits("it took too long", look{Reports: "1:mergegate-pr-7:FAILED "})
}

// TestWhatWasRefusedIsNotOurs has somebody approve with the same credential what it
// was not allowed to before.
func TestWhatWasRefusedIsNotOurs(t *testing.T) {
	t.Parallel()
	w := linked(t, noEffects)
	w.built(commit('1'), "success")
	w.bb.LimitToken(bitbucketToken, "pullrequest")
	w.policy(`rules: [{effects: {approve: true}}]`)
	w.check(event("on-merge"))
	w.eventually("it is refused", func() bool { return w.effects()["approve"].Outcome == "failed" })
	w.bb.LimitToken(bitbucketToken, "pullrequest:write")
	w.bb.Think(repository, 7, bitbucketToken, "approved")
	w.post(effectsPath+"/retry", w.token, "")
	w.settledEffects(1)
	w.built(commit('1'), "failed")
	w.eventually("there is nothing to take back", func() bool { return len(w.effects()) == 0 })
	if w.bb.Participant(repository, 7, bitbucketToken) != "approved" {
		t.Error("somebody's approval is gone")
	}
}

// TestEffectsStayWhileNothingIsKnown has neither the pull request nor the policy be
// readable: nothing is taken back for that.
func TestEffectsStayWhileNothingIsKnown(t *testing.T) {
	t.Parallel()
	w := linked(t, allEffects)
	w.built(commit('1'), "success")
	passed := look{Approved: true, Comments: 1, Says: "1.0.1", Tasks: "AppVeyor has built it:true ", Reports: "1:mergegate-pr-7:PASSED "}
	w.awaits("it passed", passed)
	var changes atomic.Int64
	var down atomic.Bool
	down.Store(true)
	w.bb.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/statuses/") {
			changes.Add(1)
		}
		if down.Load() && r.Method == http.MethodGet {
			return bitbuckettest.Fault{Status: http.StatusServiceUnavailable}
		}
		return bitbuckettest.Fault{}
	})
	w.built(commit('1'), "failed")
	w.eventually("the fault is listed", func() bool {
		return strings.Contains(w.effects()["comment"].Reason, "the pull request could not be read")
	})
	if n := changes.Load(); n > 0 || w.looks("1.0.1") != passed {
		t.Errorf("%d changes; Bitbucket shows %+v", n, w.looks("1.0.1"))
	}
	down.Store(false)
	w.awaits("it is known to have failed", look{
		Requested: true, Comments: 1, Says: "1.0.2", Tasks: "AppVeyor has built it:false ", Reports: "1:mergegate-pr-7:FAILED ",
	})
	before := changes.Load()
	store, err := postgres.Open(t.Context(), w.database, postgres.Options{})
	w.must(err)
	defer store.Close()
	_, err = store.ApplyPolicy(t.Context(), workspaceUUID, "rules: [{from_the_future: true}]", "somebody")
	w.must(err)
	w.built(commit('1'), "success")
	w.eventually("the policy was not read", func() bool { return strings.Contains(w.program.output(), "effects left as they are") })
	if n := changes.Load(); n != before {
		t.Errorf("%d changes by a policy that nobody can read", n-before)
	}
}

// TestLooksWithoutChangesCostNothing has the same verdict looked at again and
// again: what is written then is what a later change needs.
func TestLooksWithoutChangesCostNothing(t *testing.T) {
	t.Parallel()
	w := linked(t, allEffects)
	w.built(commit('1'), "running")
	running := look{Comments: 1, Says: "A build is running.", Tasks: "AppVeyor has built it:false ", Reports: "1:mergegate-pr-7:PENDING "}
	w.awaits("it runs", running)
	w.settledEffects(3)
	var writes, reads atomic.Int64
	w.bb.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/statuses/") {
			writes.Add(1)
		} else {
			reads.Add(1)
		}
		return bitbuckettest.Fault{}
	})
	for i := range int64(3) {
		w.check(event("on-merge"))
		// Two requests are the merge check's own.
		w.eventually("it was looked at", func() bool { return reads.Load() >= 4*(i+1) })
	}
	w.built(commit('1'), "success")
	w.awaits("it passed", look{
		Approved: true, Comments: 1, Says: "1.0.2", Tasks: "AppVeyor has built it:true ", Reports: "1:mergegate-pr-7:PASSED ",
	})
	w.settledEffects(4)
	if n := writes.Load(); n != 4 {
		t.Errorf("%d writes, want one of each effect", n)
	}
}

// settledEffects waits until there are so many, each of them posted.
func (w *world) settledEffects(n int) {
	w.t.Helper()
	w.eventually("every effect is posted", func() bool {
		effects := w.effects()
		for _, e := range effects {
			if e.Outcome != "posted" {
				return false
			}
		}
		return len(effects) == n
	})
}
