package bitbucket_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"mergegate/internal/bitbucket"
	"mergegate/internal/bitbucket/bitbuckettest"
)

// TestWhenAPullRequestWasAsRead tells the moment that a reading is of, by Bitbucket's
// clock: never a later one than it surely is.
func TestWhenAPullRequestWasAsRead(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name       string
		pr         bitbucket.PullRequest
		on, latest time.Time
	}{
		{name: "nothing is told"},
		{name: "changed", pr: bitbucket.PullRequest{UpdatedOn: noon}, on: noon, latest: noon},
		{name: "read later", pr: bitbucket.PullRequest{UpdatedOn: noon.Add(-time.Hour), ReadOn: noon, Took: 20 * time.Millisecond}, on: noon.Add(-20 * time.Millisecond), latest: noon.Add(time.Second - time.Microsecond)},
		{name: "a slow answer", pr: bitbucket.PullRequest{UpdatedOn: noon.Add(-time.Hour), ReadOn: noon, Took: 3 * time.Second}, on: noon.Add(-3 * time.Second), latest: noon.Add(time.Second - time.Microsecond)},
		{name: "changed while it was read", pr: bitbucket.PullRequest{UpdatedOn: noon.Add(-time.Second), ReadOn: noon, Took: 3 * time.Second}, on: noon.Add(-time.Second), latest: noon.Add(time.Second - time.Microsecond)},
		{name: "changed within the second", pr: bitbucket.PullRequest{UpdatedOn: noon.Add(900 * time.Millisecond), ReadOn: noon}, on: noon.Add(900 * time.Millisecond), latest: noon.Add(time.Second - time.Microsecond)},
	}
	for _, tt := range tests {
		if on, latest := tt.pr.Told().On, tt.pr.Latest(); !on.Equal(tt.on) || !latest.Equal(tt.latest) {
			t.Errorf("%s: on %s, at the latest on %s; want %s and %s", tt.name, on, latest, tt.on, tt.latest)
		}
	}
}

// TestAHeadIsOfThePullRequestAsItWasRead has a twin pushed after the pull request was
// read, and before its head is.
func TestAHeadIsOfThePullRequestAsItWasRead(t *testing.T) {
	t.Parallel()
	first, twin := strings.Repeat("a", 40), strings.Repeat("a", 12)+strings.Repeat("c", 28)
	for _, tt := range []struct {
		name   string
		pushes int // one after each reading
		want   string
	}{
		{name: "nothing is pushed", want: first},
		{name: "a twin is pushed", pushes: 1, want: twin},
		{name: "twins are pushed all the time", pushes: 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server, client := standIn(t)
			put := func(head string) {
				err := server.PutPullRequest("ws/repo", bitbuckettest.PullRequest{
					ID: 7, SourceBranch: "feature", SourceCommit: head, DestinationBranch: "main", DestinationCommit: sha(1), UpdatedOn: time.Now(),
				})
				if err != nil {
					t.Error(err)
				}
			}
			put(first)
			pushes := 0
			server.OnRequest(func(r *http.Request) bitbuckettest.Fault {
				if strings.Contains(r.URL.Path, "/refs/branches/") && pushes < tt.pushes {
					put([]string{twin, first}[pushes%2])
					pushes++
				}
				return bitbuckettest.Fault{}
			})
			_, head, err := client.PullRequestAndHead(t.Context(), "ws", "repo", 7)
			if head != tt.want || (err == nil) != (tt.want != "") || err != nil && !errors.Is(err, bitbucket.ErrHeadUnknown) {
				t.Errorf("head %q, %v; want %q", head, err, tt.want)
			}
		})
	}
}
