package bitbucket_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/bitbucket"
)

func TestPullRequest(t *testing.T) {
	t.Parallel()
	answeredOn := time.Date(2026, 11, 22, 9, 0, 1, 0, time.UTC)
	fork := bitbucket.PullRequest{
		ID: 4982, State: "OPEN", Title: "IOS date picker component duplicate March issue", Author: "ef9d9075-f870-417f-b424-83adbc8efa54",
		Source: bitbucket.Endpoint{
			Repository: bitbucket.Repository{UUID: "ffe76500-0627-43f6-a9c5-4d6373a5e4eb", FullName: "lachlanv/atlaskit"},
			Branch:     "Lachlan-Vass/ios-date-picker-component-duplicate-marc-1579222909688",
			Commit:     "31c54529bd80",
		},
		Destination: bitbucket.Endpoint{
			Repository: bitbucket.Repository{UUID: "1082744e-871d-4463-b373-df00db2986e7", FullName: "atlassian/atlaskit"},
			Branch:     "master",
			Commit:     "710db794f15b",
		},
		UpdatedOn: time.Date(2020, 1, 17, 1, 2, 49, 933253000, time.UTC),
	}
	for name, test := range map[string]struct {
		body string
		want bitbucket.PullRequest
	}{
		"from a fork":          {body: fixture(t, "pullrequest-fork.json"), want: fork},
		"only the id":          {body: `{"id":4982}`, want: bitbucket.PullRequest{ID: 4982}},
		"a deleted fork":       {body: `{"id":4982,"source":{"repository":null,"branch":null,"commit":null},"destination":null}`, want: bitbucket.PullRequest{ID: 4982}},
		"a hash in upper case": {body: `{"id":4982,"source":{"commit":{"hash":"31C54529BD80"}}}`, want: bitbucket.PullRequest{ID: 4982, Source: bitbucket.Endpoint{Commit: "31c54529bd80"}}},
		"a draft":              {body: `{"id":4982,"draft":true}`, want: bitbucket.PullRequest{ID: 4982, Draft: true}},
		"no time":              {body: `{"id":4982,"draft":"no","updated_on":7}`, want: bitbucket.PullRequest{ID: 4982}},
		"a time without zone":  {body: `{"id":4982,"updated_on":"2020-01-17T01:02:49"}`, want: bitbucket.PullRequest{ID: 4982}},
		"no hash":              {body: `{"id":4982,"source":{"commit":{"hash":"../../x"},"repository":{"uuid":"x"}}}`, want: bitbucket.PullRequest{ID: 4982}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.want.ReadOn = answeredOn
			client := serve(t, bitbucket.Config{}, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", answeredOn.Format(http.TimeFormat))
				answer(test.body)(w, r)
			})
			got, err := client.PullRequest(t.Context(), "atlassian", "atlaskit", 4982)
			if err != nil {
				t.Fatal(err)
			}
			got.Took = 0
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestPullRequestWithoutAClock(t *testing.T) {
	t.Parallel()
	for name, value := range map[string][]string{"no date": nil, "no time": {"yesterday"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := serve(t, bitbucket.Config{}, func(w http.ResponseWriter, r *http.Request) {
				w.Header()["Date"] = value
				answer(`{"id":7}`)(w, r)
			})
			pr, err := client.PullRequest(t.Context(), "ws", "repo", 7)
			if err != nil || !pr.ReadOn.IsZero() {
				t.Errorf("read on %s, %v", pr.ReadOn, err)
			}
		})
	}
}

func FuzzPullRequest(f *testing.F) {
	for _, seed := range []string{`{"id":1}`, `{"id":1,"source":{"commit":{"hash":"ABCDEF012345"}}}`, `[]`, `null`, `{"source":null}`} {
		f.Add([]byte(seed))
	}
	f.Add([]byte(`{"id":4982,"source":{"repository":{"uuid":"{ffe76500-0627-43f6-a9c5-4d6373a5e4eb}"},"branch":{"name":"b"}}}`))
	hash := regexp.MustCompile(`^([0-9a-f]{7,40})?$`)
	f.Fuzz(func(t *testing.T, body []byte) {
		var pr bitbucket.PullRequest
		if json.Unmarshal(body, &pr) != nil {
			return
		}
		for _, end := range []bitbucket.Endpoint{pr.Source, pr.Destination} {
			if !hash.MatchString(end.Commit) {
				t.Errorf("commit %q", end.Commit)
			}
			if u := end.Repository.UUID; u != "" && (len(u) != 36 || u != strings.ToLower(u)) {
				t.Errorf("UUID %q", u)
			}
		}
	})
}

// commit and page write Bitbucket's list of commits.
func commit(hash string, parents ...string) string {
	list := make([]string, len(parents))
	for i, parent := range parents {
		list[i] = fmt.Sprintf(`{"hash":%q}`, parent)
	}
	return fmt.Sprintf(`{"hash":%q,"parents":[%s]}`, hash, strings.Join(list, ","))
}

func page(next string, commits ...string) string {
	return fmt.Sprintf(`{"values":[%s],"next":%q}`, strings.Join(commits, ","), next)
}

func TestPullRequestHead(t *testing.T) {
	t.Parallel()
	const short = "31c54529bd80"
	pad := func(start, with string) string { return start + strings.Repeat(with, 40-len(start)) }
	one, two, other := pad(short, "1"), pad(short, "2"), pad("99", "9")
	for name, test := range map[string]struct {
		commit  string // "": short
		pages   []string
		next    string // after the last page
		want    string
		unknown string // what the reason contains
	}{
		"full already":           {commit: strings.ToUpper(one), want: one},
		"the first":              {pages: []string{page("", commit(one, other), commit(other))}, want: one},
		"the last":               {pages: []string{page("", commit(other), commit(one, other))}, want: one},
		"on the second page":     {pages: []string{page("", commit(other)), page("", commit(one))}, want: one},
		"listed twice":           {pages: []string{page("", commit(one)), page("", commit(one))}, want: one},
		"a child of its twin":    {pages: []string{page("", commit(one), commit(two, one))}, want: two},
		"its twin a page later":  {pages: []string{page("", commit(two, one)), page("", commit(one))}, want: two},
		"two without relation":   {pages: []string{page("", commit(one, other), commit(two, other))}, unknown: "two commits share the prefix " + short},
		"two, both with a child": {pages: []string{page("", commit(pad("88", "8"), two), commit(two, one), commit(one))}, unknown: "two commits share the prefix"},
		"a short parent hides":   {pages: []string{page("", commit(two, short), commit(one))}, unknown: "two commits share the prefix"},
		"three":                  {pages: []string{page("", commit(one, other), commit(two, other), commit(pad(short, "3")))}, unknown: "3 commits share the prefix " + short},
		"it has a child":         {pages: []string{page("", commit(other, one), commit(one))}, unknown: "the pull request changed while mergegate read it"},
		"one more, abbreviated":  {pages: []string{page("", commit(short, one), commit(one))}, unknown: "Bitbucket abbreviates the commits"},
		"none fits":              {pages: []string{page("", commit(other))}, unknown: "no commit of the pull request starts with 31c54529bd80"},
		"a short one only":       {pages: []string{page("", commit(short))}, unknown: "Bitbucket abbreviates the commits"},
		"no commits":             {pages: []string{`{"values":null}`}, unknown: "no commit of the pull request starts with 31c54529bd80"},
		"next is elsewhere":      {pages: []string{page("https://elsewhere.invalid/", commit(one))}, unknown: "Bitbucket's list of commits is incomplete"},
		"next has no end":        {pages: []string{page("", commit(one))}, next: "again", unknown: "mergegate has read 20 so far"},
		"no source commit":       {commit: "none", unknown: "the source branch or fork was deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			client := serve(t, bitbucket.Config{}, func(w http.ResponseWriter, r *http.Request) {
				body := test.pages[min(asked, len(test.pages)-1)]
				asked++
				if asked < len(test.pages) || test.next != "" {
					body = strings.Replace(body, `"next":""`, fmt.Sprintf(`"next":"http://%s%s?page=%d"`, r.Host, r.URL.Path, asked+1), 1)
				}
				answer(body)(w, r)
			})
			pr := bitbucket.PullRequest{ID: 7, Source: bitbucket.Endpoint{Commit: short}}
			if test.commit != "" {
				pr.Source.Commit = test.commit
			}
			got, err := client.PullRequestHead(t.Context(), "ws", "repo", pr)
			if got != test.want {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
			if unknown := errors.Is(err, bitbucket.ErrHeadUnknown); unknown != (test.unknown != "") || unknown && !strings.Contains(err.Error(), test.unknown) {
				t.Errorf("got %v, want %q", err, test.unknown)
			}
			if asked > 20 {
				t.Errorf("%d pages were read", asked)
			}
		})
	}
}

func TestPullRequestHeadWhenRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status  int
		unknown bool
	}{
		"fork deleted": {status: http.StatusNotFound, unknown: true},
		"outage":       {status: http.StatusServiceUnavailable},
		"no access":    {status: http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := serve(t, bitbucket.Config{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(test.status) })
			_, err := client.PullRequestHead(t.Context(), "ws", "repo", bitbucket.PullRequest{ID: 7, Source: bitbucket.Endpoint{Commit: "31c54529bd80"}})
			var refused *bitbucket.Error
			if !errors.As(err, &refused) || refused.StatusCode != test.status || errors.Is(err, bitbucket.ErrHeadUnknown) != test.unknown {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestPostCommitStatus(t *testing.T) {
	t.Parallel()
	const sha = "a6e5e7d797edf751cbd839d6bd4aef86c941eec9"
	status := bitbucket.CommitStatus{Key: "drone", State: "SUCCESSFUL", URL: "https://ci.example.com/1000/output", Refname: "feature"}
	client := serve(t, bitbucket.Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/2.0/repositories/ws/repo/commit/"+sha+"/statuses/build" {
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
		var got map[string]string
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		want := map[string]string{"key": "drone", "state": "SUCCESSFUL", "url": "https://ci.example.com/1000/output", "refname": "feature"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		w.WriteHeader(http.StatusCreated)
		answer(fixture(t, "commitstatus.json"))(w, r)
	})
	if err := client.PostCommitStatus(t.Context(), "ws", "repo", strings.ToUpper(sha), status); err != nil {
		t.Error(err)
	}
	if err := client.PostCommitStatus(t.Context(), "ws", "repo", "main", status); err == nil {
		t.Error("a branch name was taken for a commit")
	}
}

func TestPostCommitStatusNeedsTheStatusBack(t *testing.T) {
	t.Parallel()
	client := serve(t, bitbucket.Config{}, answer(`{"status":"ok"}`))
	err := client.PostCommitStatus(t.Context(), "ws", "repo", strings.Repeat("a", 40), bitbucket.CommitStatus{Key: "k"})
	var failed *bitbucket.Error
	if !errors.As(err, &failed) || !failed.Temporary() {
		t.Errorf("got %v, want a temporary error", err)
	}
}
