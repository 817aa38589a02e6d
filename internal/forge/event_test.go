package forge_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/forge"
	"mergegate/internal/mergecheck"
)

func TestParseEvent(t *testing.T) {
	t.Parallel()
	const (
		workspace  = "4c16a397-8e48-479c-8ca2-442e46c90570"
		repository = "15a31549-1cff-45dc-9d0d-310114c5038b"
	)
	on := time.Date(2026, 3, 23, 6, 3, 12, 361017000, time.UTC)
	tests := []struct {
		name string
		body string
		want forge.Event
	}{
		{
			name: "a push",
			body: `{"eventType":"avi:bitbucket:push:repository","timestamp":"2026-03-23T06:03:12.361017Z","workspace":{"uuid":"{` + workspace + `}"},
				"repository":{"uuid":"{` + repository + `}"},"push":{"ref":"main","after":"A37E0AD81173C7F6707D6B9F74DAB4CE9938064D"}}`,
			want: forge.Event{Type: "avi:bitbucket:push:repository", Event: mergecheck.Event{
				WorkspaceUUID: workspace, RepositoryUUID: repository, On: on,
				Branches: []mergecheck.BranchHead{{Branch: "main", Commit: "a37e0ad81173c7f6707d6b9f74dab4ce9938064d"}},
			}},
		},
		{
			name: "a branch that is gone, under payload",
			body: `{"payload":{"eventType":"avi:bitbucket:push:repository","workspace":{"uuid":"` + workspace + `"},"push":{"ref":"main","closed":true}}}`,
			want: forge.Event{Type: "avi:bitbucket:push:repository", Event: mergecheck.Event{WorkspaceUUID: workspace}},
		},
		{
			name: "a pull request",
			body: `{"eventType":"avi:bitbucket:fulfilled:pullrequest","pullrequest":{"id":3,"state":"MERGED",
				"source":{"branch":"feature","commit":{"hash":"cc2758d231fc"}},"destination":{"branch":"main","commit":{"hash":"a37e0ad81173"}}}}`,
			want: forge.Event{Type: "avi:bitbucket:fulfilled:pullrequest", Event: mergecheck.Event{PullRequest: &mergecheck.PullRequestEvent{
				ID: 3, State: "MERGED", SourceBranch: "feature", SourceCommit: "cc2758d231fc", DestinationBranch: "main", DestinationCommit: "a37e0ad81173",
			}}},
		},
		{
			name: "a comment tells nothing of the pull request",
			body: `{"eventType":"avi:bitbucket:created:pullrequest-comment","pullrequest":{"id":3,"state":"OPEN"}}`,
			want: forge.Event{Type: "avi:bitbucket:created:pullrequest-comment"},
		},
		{name: "a scheduled trigger", body: `{"context":{}}`},
		{name: "other types", body: `{"eventType":7,"workspace":[],"repository":"x","push":1,"pullrequest":{"id":"x"},"timestamp":"yesterday"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := forge.ParseEvent([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
	for _, body := range []string{"", "{", "[]", "7", "null"} {
		if _, err := forge.ParseEvent([]byte(body)); err == nil {
			t.Errorf("%q was taken for an event", body)
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	samples, err := filepath.Glob("testdata/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, sample := range samples {
		body, err := os.ReadFile(sample)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`{"eventType":"avi:bitbucket:push:repository","push":{"ref":"\u0000","after":"a37e0ad81173c7f6707d6b9f74dab4ce9938064d"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		event, err := forge.ParseEvent(body)
		if err != nil {
			return
		}
		texts := []string{event.Type}
		for _, head := range event.Branches {
			texts = append(texts, head.Branch)
			if !mergecheck.IsFullCommit(head.Commit) {
				t.Errorf("commit %q", head.Commit)
			}
		}
		if pr := event.PullRequest; pr != nil {
			texts = append(texts, pr.State, pr.SourceBranch, pr.DestinationBranch)
			if pr.ID <= 0 {
				t.Errorf("pull request %d", pr.ID)
			}
		}
		for _, text := range texts {
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				t.Errorf("PostgreSQL can't store %q", text)
			}
		}
	})
}
