package appveyor_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"mergegate/internal/appveyor"
	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/mergecheck"
)

// TestTooLongNamesAreRefusedNotCut has every text of a build at its bound, and a
// byte beyond.
func TestTooLongNamesAreRefusedNotCut(t *testing.T) {
	t.Parallel()
	tests := []struct {
		field   string
		limit   int
		of      func(mergecheck.Build) string
		refused bool
		cut     bool
	}{
		{field: "accountName", limit: 255, of: func(b mergecheck.Build) string { return b.Project.Account }, refused: true},
		{field: "slug", limit: 255, of: func(b mergecheck.Build) string { return b.Project.Slug }, refused: true},
		{field: "branch", limit: 1024, of: func(b mergecheck.Build) string { return b.DestinationBranch }, refused: true},
		{field: "repositoryName", limit: 255, of: func(b mergecheck.Build) string { return b.Repository }},
		{field: "version", limit: 512, of: func(b mergecheck.Build) string { return b.Version }},
		{field: "pullRequestHeadBranch", limit: 1024, of: func(b mergecheck.Build) string { return b.SourceBranch }},
		{field: "pullRequestHeadRepository", limit: 255, of: func(b mergecheck.Build) string { return b.SourceRepository }},
		{field: "pullRequestName", limit: 1024, of: func(b mergecheck.Build) string { return b.PullRequestTitle }, cut: true},
	}
	for _, tt := range tests {
		t.Run(tt.field, func(t *testing.T) {
			t.Parallel()
			server, c, _ := started(t, nil)
			ask := func(value string) (mergecheck.Build, error) {
				server.OnRequest(func(*http.Request) appveyortest.Fault {
					member := fmt.Sprintf("%q:%q,", tt.field, value)
					return appveyortest.Fault{Body: `{"project":{` + member + `"projectId":9},"build":{` + member + `"buildId":5}}`}
				})
				answer, err := c.Build(t.Context(), appveyor.Ref{Account: "acme", Slug: "widgets", BuildID: 5})
				return answer.Build, err
			}
			// Two bytes a letter: bounds are of bytes, and a cut is between letters.
			longest := strings.Repeat("é", tt.limit/2) + strings.Repeat("x", tt.limit%2)
			if b, err := ask(longest); err != nil || tt.of(b) != longest {
				t.Errorf("at the bound: %q, %v", tt.of(b), err)
			}
			b, err := ask(longest + "y")
			var e *appveyor.Error
			switch {
			case tt.refused && (!errors.As(err, &e) || e.Kind != appveyor.Unusable):
				t.Errorf("beyond the bound: %q, %v; want it refused", tt.of(b), err)
			case tt.cut && tt.of(b) != longest:
				t.Errorf("beyond the bound: %q, want it cut", tt.of(b))
			case !tt.refused && !tt.cut && (err != nil || tt.of(b) != ""):
				t.Errorf("beyond the bound: %q, %v; want it missing", tt.of(b), err)
			}
		})
	}
}

// TestBadEntryLeavesItsNeighbours has one build of a history and one project of a
// list that can't be kept.
func TestBadEntryLeavesItsNeighbours(t *testing.T) {
	t.Parallel()
	server, c, _ := started(t, map[string]string{"acme": "token"})
	long := strings.Repeat("x", 3000)
	server.OnRequest(func(r *http.Request) appveyortest.Fault {
		if strings.HasSuffix(r.URL.Path, "/history") {
			return appveyortest.Fault{Body: `{"project":{"projectId":9,"accountName":"acme","slug":"widgets","repositoryName":"ws/repo"},"builds":[` +
				`{"buildId":7,"branch":"main"},{"buildId":6,"branch":"` + long + `"},null,[],{"buildId":5,"branch":"main"}]}`}
		}
		return appveyortest.Fault{Body: `[{"projectId":1,"accountName":"acme","slug":"a"},{"projectId":2,"accountName":"acme","slug":"` + long + `"},` +
			`{"projectId":3,"accountName":"acme","slug":"c"}]`}
	})
	history, err := c.History(t.Context(), mergecheck.Project{Account: "acme", Slug: "widgets"}, 0, 50)
	if err != nil || len(history) != 5 {
		t.Fatalf("history %+v, %v", history, err)
	}
	if history[0].Build.DestinationBranch != "main" || history[4].Build.DestinationBranch != "main" {
		t.Errorf("neighbours %+v and %+v", history[0], history[4])
	}
	if b := history[1].Build; b.BuildID != 6 || b.Repository != "" || b.DestinationBranch != "" {
		t.Errorf("a build that can't be kept is %+v; want its id alone", b)
	}
	list, complete, err := c.ProjectList(t.Context(), "acme")
	if err != nil || complete || len(list) != 2 || list[0].Project.ID != 1 || list[1].Project.ID != 3 {
		t.Errorf("projects %+v, complete %t, %v", list, complete, err)
	}
}

// TestJobsAreAllKnownOrNone keeps a job that is left out from looking as if it had
// not failed.
func TestJobsAreAllKnownOrNone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		jobs string
		want int
	}{
		{name: "some", jobs: `[{"jobId":"a"},{"jobId":"b"}]`, want: 2},
		{name: "as many as are kept", jobs: "[" + strings.Repeat(`{"jobId":"a"},`, 1999) + `{"jobId":"a"}]`, want: 2000},
		{name: "too many", jobs: "[" + strings.Repeat(`{"jobId":"a"},`, 2000) + `{"jobId":"a"}]`},
		{name: "one says nothing", jobs: `[{"jobId":"a"},{}]`},
		{name: "one is no job", jobs: `[{"jobId":"a"},7]`},
		{name: "no list", jobs: `{"jobId":"a"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server, c, _ := started(t, nil)
			server.OnRequest(func(*http.Request) appveyortest.Fault {
				return appveyortest.Fault{Body: `{"project":{"projectId":9},"build":{"buildId":5,"status":"failed","jobs":` + tt.jobs + `}}`}
			})
			answer, err := c.Build(t.Context(), appveyor.Ref{Account: "acme", Slug: "widgets", BuildID: 5})
			if err != nil || len(answer.Build.Jobs) != tt.want {
				t.Errorf("%d jobs, %v; want %d", len(answer.Build.Jobs), err, tt.want)
			}
			if tt.want == 0 && answer.Build.JobsState != "" {
				t.Errorf("jobs that aren't known have ended %s", answer.Build.JobsState)
			}
		})
	}
}
