package servertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Outcome is what it all came to, as seen from outside.
type Outcome struct {
	Builds   []BuildOutcome
	Statuses map[string]StatusOutcome // by commit
	Verdicts map[int64]Answer         // by pull request
}

// BuildOutcome is what the API shows of a build.
type BuildOutcome struct {
	BuildID int64 `json:"build_id"`
	State   string
	Commit  string
	Request int64
}

// StatusOutcome is what Bitbucket shows of a commit.
type StatusOutcome struct{ State, Description, URL, Refname string }

// Wanted is what has to come of the builds, whatever happened to the messages.
func (tr *Traffic) Wanted() Outcome {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	want := Outcome{Statuses: map[string]StatusOutcome{}, Verdicts: map[int64]Answer{}}
	newest := map[string]int64{}
	for id, b := range tr.Builds {
		want.Builds = append(want.Builds, BuildOutcome{BuildID: id, State: b.Status, Commit: b.PullRequestHeadCommit, Request: b.PullRequestID})
		newest[b.PullRequestHeadCommit] = max(newest[b.PullRequestHeadCommit], id)
	}
	slices.SortFunc(want.Builds, func(a, b BuildOutcome) int { return int(b.BuildID - a.BuildID) })
	for head, id := range newest {
		b := tr.Builds[id]
		want.Statuses[head] = StatusOutcome{
			State:   map[string]string{"success": "SUCCESSFUL", "failed": "FAILED", "cancelled": "STOPPED"}[b.Status],
			Refname: b.PullRequestHeadBranch,
		}
	}
	for _, pr := range tr.PullRequests {
		if steps := tr.steps[pr]; steps > 0 {
			last := tr.Builds[tr.buildID(pr, steps-1)]
			want.Verdicts[pr] = Answer{Success: last.Status == "success"}
		}
	}
	return want
}

// Seen is what has come of the builds so far.
func (tr *Traffic) Seen() Outcome {
	tr.T.Helper()
	got := Outcome{Statuses: map[string]StatusOutcome{}, Verdicts: map[int64]Answer{}}
	tr.pages("/api/v1/repositories/acme/widgets/builds?pagelen=100", func(page json.RawMessage) {
		var b struct {
			BuildOutcome
			Source      struct{ Commit string }
			PullRequest struct{ ID int64 }
		}
		tr.Must(json.Unmarshal(page, &b))
		b.Commit, b.Request = b.Source.Commit, b.PullRequest.ID
		got.Builds = append(got.Builds, b.BuildOutcome)
	})
	tr.mu.Lock()
	heads := map[string]int64{}
	for _, b := range tr.Builds {
		heads[b.PullRequestHeadCommit] = b.PullRequestID
	}
	tr.mu.Unlock()
	for head, pr := range heads {
		for _, s := range tr.Bitbucket.CommitStatuses(Repository, head) {
			if s.Key == fmt.Sprintf("appveyor-12064-pr-%d", pr) {
				got.Statuses[head] = StatusOutcome{State: s.State, Description: s.Description, URL: s.URL, Refname: s.Refname}
			}
		}
	}
	for _, pr := range tr.PullRequests {
		got.Verdicts[pr] = tr.ask(pr)
	}
	return got
}

// ask asks the merge check of a pull request.
func (tr *Traffic) ask(pr int64) Answer {
	tr.T.Helper()
	return tr.Check(strings.Replace(Event("on-merge"), `"id":7`, fmt.Sprintf(`"id":%d`, pr), 1))
}

// pages reads a list of the API from its first page to its last.
func (tr *Traffic) pages(path string, each func(json.RawMessage)) {
	tr.T.Helper()
	for path != "" {
		var page struct {
			Values []json.RawMessage
			Next   string
		}
		tr.Get(path, &page)
		for _, value := range page.Values {
			each(value)
		}
		at := strings.Index(page.Next, "/api/")
		path = page.Next[max(at, 0):]
	}
}

// Ends waits until everything is as it has to be: every build there once, with
// its state; Bitbucket showing the newest of each head; merge checks agreeing;
// and every delivery that was acknowledged processed.
func (tr *Traffic) Ends() Outcome {
	tr.T.Helper()
	var got Outcome
	want := tr.Wanted()
	blurred := func(o Outcome) Outcome { // what wanted doesn't know
		clear := Outcome{Builds: o.Builds, Statuses: map[string]StatusOutcome{}, Verdicts: map[int64]Answer{}}
		for head, s := range o.Statuses {
			clear.Statuses[head] = StatusOutcome{State: s.State, Refname: s.Refname}
		}
		for pr, a := range o.Verdicts {
			clear.Verdicts[pr] = Answer{Success: a.Success}
		}
		return clear
	}
	diff := "nothing was looked at"
	deadline := time.After(endsWithin)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for diff != "" {
		select {
		case <-deadline:
			tr.T.Fatalf("not as it has to be within %s (-want +got):\n%s", endsWithin, diff)
		case <-tick.C:
		}
		got = tr.Seen()
		if diff = cmp.Diff(want, blurred(got)); diff == "" {
			diff = tr.Unprocessed()
		}
	}
	tr.asksForNoBuild()
	return got
}

// endsWithin is how long everything may take to settle after the last fault: a
// lease that runs out, and waiting longer after each fault of a remote.
const endsWithin = 2 * time.Minute

// Unprocessed tells which deliveries were acknowledged and are not processed.
func (tr *Traffic) Unprocessed() string {
	tr.T.Helper()
	var rest bytes.Buffer
	tr.mu.Lock()
	missing := make(map[string]bool, len(tr.acknowledged))
	for id := range tr.acknowledged {
		missing[id] = true
	}
	tr.mu.Unlock()
	tr.pages("/api/v1/deliveries?pagelen=100", func(value json.RawMessage) {
		var d Delivery
		tr.Must(json.Unmarshal(value, &d))
		delete(missing, d.ID)
		if d.Outcome != "processed" {
			fmt.Fprintf(&rest, "delivery %s", value)
		}
	})
	for id := range missing {
		fmt.Fprintf(&rest, "delivery %s was acknowledged and is not there\n", id)
	}
	return rest.String()
}

// asksForNoBuild holds that nothing was asked of AppVeyor but to tell.
func (tr *Traffic) asksForNoBuild() {
	tr.T.Helper()
	for _, r := range tr.AppVeyor.Requests() {
		if r.Method != http.MethodGet {
			tr.T.Errorf("AppVeyor was asked to %s %s", r.Method, r.Path)
		}
	}
}
