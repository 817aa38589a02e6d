package bitbucket_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/bitbucket"
	"mergegate/internal/bitbucket/bitbuckettest"
)

const forkUUID = "ffe76500-0627-43f6-a9c5-4d6373a5e4eb"

// long are so many commits of a pull request, newest first. All share their first 12 characters.
func long(n int) []string {
	commits := make([]string, n)
	for i := range commits {
		commits[i] = fmt.Sprintf("%020x%020x", n-i, n-i)
	}
	return commits
}

// putLong puts pull request 7 from a fork, with so many commits.
func putLong(t *testing.T, server *bitbuckettest.Server, commits []string) {
	t.Helper()
	err := errors.Join(
		server.AddRepository(bitbuckettest.Repository{FullName: "fork/repo", UUID: forkUUID, WorkspaceUUID: forkUUID}),
		server.PutPullRequest("ws/repo", bitbuckettest.PullRequest{
			ID: 7, SourceRepo: "fork/repo", SourceBranch: "feature/x", SourceCommit: commits[0], Commits: commits,
			DestinationBranch: "main", DestinationCommit: sha(1),
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
}

func readPullRequest(t *testing.T, client *bitbucket.Client) bitbucket.PullRequest {
	t.Helper()
	pr, err := client.PullRequest(t.Context(), "ws", "repo", 7)
	if err != nil {
		t.Fatal(err)
	}
	return pr
}

// asked answers the paths that were asked for since the first n requests.
func asked(server *bitbuckettest.Server, n int) []string {
	var paths []string
	for _, request := range server.Requests()[n:] {
		paths = append(paths, request.Path)
	}
	return paths
}

func TestTheSourceBranchNamesTheHead(t *testing.T) {
	t.Parallel()
	server, client := standIn(t)
	commits := long(5000)
	putLong(t, server, commits)
	pr := readPullRequest(t, client)
	before := len(server.Requests())
	head, err := client.PullRequestHead(t.Context(), "ws", "repo", pr)
	if err != nil || head != commits[0] {
		t.Errorf("head %s, %v", head, err)
	}
	want := []string{"/2.0/repositories/fork/%7B" + forkUUID + "%7D/refs/branches/feature%2Fx"}
	if diff := cmp.Diff(want, asked(server, before)); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestHowTheSourceIsAskedFor(t *testing.T) {
	t.Parallel()
	const uuid, workspaceUUID = "15a31549-1cff-45dc-9d0d-310114c5038b", "b7ea02c9-0871-4858-a2a6-a190d7de977c"
	own := bitbucket.Repository{UUID: uuid, FullName: "ws/repo"}
	head := strings.Repeat("31c54529bd", 4)
	for name, test := range map[string]struct {
		source bitbucket.Repository
		branch string
		want   string // "": it isn't
	}{
		"the same repository":   {source: own, branch: "a", want: "/2.0/repositories/%7B" + workspaceUUID + "%7D/%7B" + uuid + "%7D/refs/branches/a"},
		"a fork":                {source: bitbucket.Repository{UUID: forkUUID, FullName: "fork/repo"}, branch: "a", want: "/2.0/repositories/fork/%7B" + forkUUID + "%7D/refs/branches/a"},
		"a fork and workspace":  {source: bitbucket.Repository{UUID: forkUUID, FullName: "fork/repo", WorkspaceUUID: workspaceUUID}, branch: "a", want: "/2.0/repositories/%7B" + workspaceUUID + "%7D/%7B" + forkUUID + "%7D/refs/branches/a"},
		"a fork without a UUID": {source: bitbucket.Repository{FullName: "fork/repo"}, branch: "a", want: "/2.0/repositories/fork/repo/refs/branches/a"},
		"slashes":               {source: own, branch: "feature/a/b", want: "/2.0/repositories/%7B" + workspaceUUID + "%7D/%7B" + uuid + "%7D/refs/branches/feature%2Fa%2Fb"},
		"everything else":       {source: own, branch: "#1 50%?é..~", want: "/2.0/repositories/%7B" + workspaceUUID + "%7D/%7B" + uuid + "%7D/refs/branches/%231%2050%25%3F%C3%A9..~"},
		"a deleted fork":        {branch: "a"},
		"no branch":             {source: own},
		"no name":               {source: own, branch: ".."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			client := serve(t, bitbucket.Config{}, func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/refs/") {
					got = r.URL.EscapedPath()
				}
				answer(page("", commit(head)))(w, r)
			})
			pr := bitbucket.PullRequest{
				ID: 7, Source: bitbucket.Endpoint{Repository: test.source, Branch: test.branch, Commit: head[:12]},
				Destination: bitbucket.Endpoint{Repository: own},
			}
			if _, err := client.PullRequestHead(t.Context(), workspaceUUID, uuid, pr); err != nil {
				t.Error(err)
			}
			if got != test.want {
				t.Errorf("asked %s, want %s", got, test.want)
			}
		})
	}
}

// TestWhereTheSourceBranchDoesNotTell: then the commits do, whatever the reason.
func TestWhereTheSourceBranchDoesNotTell(t *testing.T) {
	t.Parallel()
	isRef := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/refs/branches/") }
	faults := map[string]bitbuckettest.Fault{
		"not readable":     {Status: http.StatusForbidden},
		"not there":        {Status: http.StatusNotFound},
		"not accepted":     {Status: http.StatusUnauthorized},
		"an outage":        {Status: http.StatusBadGateway},
		"a page":           {HTML: true},
		"no answer":        {Reset: true},
		"too slow":         {Hang: true},
		"nothing":          {Body: `{}`},
		"another branch":   {Body: `{"name":"main","target":{"hash":"` + long(2)[1] + `"}}`},
		"an abbreviation":  {Body: `{"name":"feature/x","target":{"hash":"` + long(2)[0][:12] + `"}}`},
		"no hash":          {Body: `{"name":"feature/x","target":{"hash":"` + strings.Repeat("x", 40) + `"}}`},
		"redirects away":   {Redirect: "https://bitbucket.org/account/signin/"},
		"the branch moved": {Body: `{"name":"feature/x","target":{"hash":"` + strings.Repeat("9", 40) + `"}}`},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := standIn(t)
			commits := long(2)
			putLong(t, server, commits)
			pr := readPullRequest(t, client)
			server.OnRequest(func(r *http.Request) bitbuckettest.Fault {
				if isRef(r) {
					return fault
				}
				return bitbuckettest.Fault{}
			})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if fault.Hang {
				cancel()
				ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
			}
			defer cancel()
			if head, err := client.PullRequestHead(ctx, "ws", "repo", pr); head != commits[0] {
				t.Errorf("head %s, %v", head, err)
			}
		})
	}
	t.Run("the rate limit", func(t *testing.T) {
		t.Parallel()
		server, client := standIn(t)
		putLong(t, server, long(2))
		pr := readPullRequest(t, client)
		server.OnRequest(func(*http.Request) bitbuckettest.Fault { return bitbuckettest.Fault{Status: 429} })
		before := len(server.Requests())
		if _, err := client.PullRequestHead(t.Context(), "ws", "repo", pr); status(err) != 429 || len(asked(server, before)) != 1 {
			t.Errorf("asked %v, %v", asked(server, before), err)
		}
	})
}

// TestCommitsAreReadOn: a fork that can't be read, and a pull request with more commits than one call reads. Each call
// reads on, none guesses, and at last each costs no more than a look whether the list is still the same.
func TestCommitsAreReadOn(t *testing.T) {
	t.Parallel()
	server, client := standIn(t)
	commits := long(5000)
	putLong(t, server, commits)
	if err := server.SetBranch("fork/repo", "feature/x", ""); err != nil {
		t.Fatal(err)
	}
	pr := readPullRequest(t, client)
	for i, test := range []struct {
		requests int
		known    bool
	}{{requests: 21}, {requests: 21}, {requests: 13, known: true}, {requests: 2, known: true}, {requests: 2, known: true}} {
		before := len(server.Requests())
		head, err := client.PullRequestHead(t.Context(), "ws", "repo", pr)
		if test.known && head != commits[0] || !test.known && !errors.Is(err, bitbucket.ErrHeadUnknown) {
			t.Errorf("%d: head %q, %v", i, head, err)
		}
		if got := len(asked(server, before)); got != test.requests {
			t.Errorf("%d: %d requests, want %d", i, got, test.requests)
		}
		if unknown := (*bitbucket.HeadUnknown)(nil); i == 1 && errors.As(err, &unknown) {
			want := "mergegate can't tell which commit is the head of this pull request: " +
				"the pull request has many commits, and mergegate has read 3900 so far. Re-run this check: mergegate continues where it stopped."
			if got := unknown.Message(); got != want {
				t.Errorf("message %q", got)
			}
		}
	}
}

// TestCommitsReadInTimeAreKept: time ran out in between.
func TestCommitsReadInTimeAreKept(t *testing.T) {
	t.Parallel()
	server, client := standIn(t)
	commits := long(400)
	putLong(t, server, commits)
	if err := server.SetBranch("fork/repo", "feature/x", ""); err != nil {
		t.Fatal(err)
	}
	pr := readPullRequest(t, client)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		if r.URL.Query().Get("page") == "3" {
			cancel()
			return bitbuckettest.Fault{Hang: true}
		}
		return bitbuckettest.Fault{}
	})
	if head, err := client.PullRequestHead(ctx, "ws", "repo", pr); err == nil {
		t.Errorf("head %s of half a list", head)
	}
	server.OnRequest(nil)
	before := len(server.Requests())
	if head, err := client.PullRequestHead(t.Context(), "ws", "repo", pr); head != commits[0] {
		t.Errorf("head %s, %v", head, err)
	}
	if got := len(asked(server, before)); got != 4 {
		t.Errorf("asked %v", asked(server, before))
	}
}

// listServer answers lists of commits, a page at a time.
type listServer struct {
	pages []string
	asked int
}

func (s *listServer) client(t *testing.T) *bitbucket.Client {
	return serve(t, bitbucket.Config{}, func(w http.ResponseWriter, r *http.Request) {
		s.asked++
		number := 0
		_, _ = fmt.Sscanf(r.URL.Query().Get("page"), "%d", &number)
		if number+1 < len(s.pages) {
			answer(page(fmt.Sprintf("?page=%d", number+1), s.pages[number]))(w, r)
			return
		}
		answer(page("", s.pages[number]))(w, r)
	})
}

// TestWhatIsKeptIsOfTheSameList: pages that were read before a push, or before the destination moved, decide nothing
// after it, even where the first page is the same: whoever pushes chooses the dates, and so where a commit is listed.
func TestWhatIsKeptIsOfTheSameList(t *testing.T) {
	t.Parallel()
	short := "3d688362cb1f"
	one, twin := short+strings.Repeat("1", 28), short+strings.Repeat("2", 28)
	before := []string{commit(one, sha(2)), commit(sha(2), sha(1))}
	pr := bitbucket.PullRequest{ID: 7, Source: bitbucket.Endpoint{Commit: short}, UpdatedOn: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	pr.Destination.Commit = sha(1)[:12]
	for name, test := range map[string]struct {
		change func(*bitbucket.PullRequest)
		pages  []string
		want   string
		asked  int
	}{
		"the same":              {pages: before, want: one, asked: 1},
		"a twin on top":         {pages: []string{commit(twin, one) + "," + commit(one, sha(2)), commit(sha(2), sha(1))}, want: twin, asked: 2},
		"a twin, dated last":    {pages: []string{before[0], commit(sha(2), sha(1)) + "," + commit(twin, one)}, want: twin, asked: 2, change: func(pr *bitbucket.PullRequest) { pr.UpdatedOn = pr.UpdatedOn.Add(1000) }},
		"another destination":   {pages: []string{before[0], commit(sha(2), sha(1)) + "," + commit(twin, one)}, want: twin, asked: 2, change: func(pr *bitbucket.PullRequest) { pr.Destination.Commit = strings.Repeat("3", 12) }},
		"of another one":        {pages: before, want: one, asked: 2, change: func(pr *bitbucket.PullRequest) { pr.ID = 8 }},
		"when isn't told":       {pages: before, want: one, asked: 2, change: func(pr *bitbucket.PullRequest) { pr.UpdatedOn = time.Time{} }},
		"of another repository": {pages: before, want: one, asked: 2, change: func(pr *bitbucket.PullRequest) { pr.Destination.Repository.UUID = forkUUID }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := &listServer{pages: before}
			client, pr := list.client(t), pr
			if head, err := client.PullRequestHead(t.Context(), "ws", "repo", pr); head != one {
				t.Fatalf("head %s, %v", head, err)
			}
			if test.change != nil {
				test.change(&pr)
			}
			list.pages, list.asked = test.pages, 0
			head, err := client.PullRequestHead(t.Context(), "ws", "repo", pr)
			if head != test.want || list.asked != test.asked {
				t.Errorf("head %q, %v, %d requests", head, err, list.asked)
			}
		})
	}
}

func TestNothingIsKeptWithoutATime(t *testing.T) {
	t.Parallel()
	short := "3d688362cb1f"
	one := short + strings.Repeat("1", 28)
	list := &listServer{pages: []string{commit(one, sha(2)), commit(sha(2), sha(1))}}
	client := list.client(t)
	for range 2 {
		list.asked = 0
		head, err := client.PullRequestHead(t.Context(), "ws", "repo", bitbucket.PullRequest{ID: 7, Source: bitbucket.Endpoint{Commit: short}})
		if head != one || list.asked != 2 {
			t.Errorf("head %s, %v, %d requests", head, err, list.asked)
		}
	}
}

// TestTooManyCommits: reading on has an end.
func TestTooManyCommits(t *testing.T) {
	t.Parallel()
	list := &listServer{pages: slices.Repeat([]string{commit(sha(2), sha(1))}, 200)}
	client := list.client(t)
	pr := bitbucket.PullRequest{ID: 7, Source: bitbucket.Endpoint{Commit: sha(2)[:12]}, UpdatedOn: time.Now()}
	var err error
	for range 20 {
		_, err = client.PullRequestHead(t.Context(), "ws", "repo", pr)
	}
	if !errors.Is(err, bitbucket.ErrHeadUnknown) || !strings.Contains(err.Error(), "the pull request has more than 100 commits") {
		t.Errorf("got %v", err)
	}
	if list.asked > 120 {
		t.Errorf("%d requests", list.asked)
	}
}

func TestTwinsAreTold(t *testing.T) {
	t.Parallel()
	short := "3d688362cb1f"
	list := &listServer{pages: []string{commit(short+strings.Repeat("1", 28)) + "," + commit(short+strings.Repeat("2", 28))}}
	_, err := list.client(t).PullRequestHead(t.Context(), "ws", "repo", bitbucket.PullRequest{ID: 7, Source: bitbucket.Endpoint{Commit: short}})
	var unknown *bitbucket.HeadUnknown
	if !errors.As(err, &unknown) {
		t.Fatal(err)
	}
	want := "mergegate can't tell which commit is the head of this pull request: two commits share the prefix 3d688362cb1f. Push a new commit."
	if got := unknown.Message(); got != want {
		t.Errorf("message %q", got)
	}
}
