package bitbucket_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/bitbucket"
	"mergegate/internal/mergecheck"
)

func signature(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func TestSigned(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		secrets []string
		header  string
		want    bool
	}{
		{name: "the secret", secrets: []string{"a"}, header: signature("a", "body"), want: true},
		{name: "the older of two", secrets: []string{"b", "a"}, header: signature("a", "body"), want: true},
		{name: "another secret", secrets: []string{"a"}, header: signature("b", "body")},
		{name: "another body", secrets: []string{"a"}, header: signature("a", "body ")},
		{name: "without its algorithm", secrets: []string{"a"}, header: strings.TrimPrefix(signature("a", "body"), "sha256=")},
		{name: "another algorithm", secrets: []string{"a"}, header: strings.Replace(signature("a", "body"), "sha256", "sha1", 1)},
		{name: "cut off", secrets: []string{"a"}, header: signature("a", "body")[:40]},
		{name: "none", secrets: []string{"a"}},
		{name: "no secret", header: signature("", "body")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := bitbucket.Signed(tt.secrets, []byte("body"), tt.header); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestParseWebhook(t *testing.T) {
	t.Parallel()
	const (
		workspace  = "87bb15eb-47c1-49b3-9f16-ca824a2979a4"
		repository = "bc771cbf-829e-4c4b-b71f-a0eb3ac2b860"
		of         = `"repository":{"uuid":"{` + repository + `}","full_name":"ws/foo","owner":{"uuid":"{` + workspace + `}"}}`
	)
	base := mergecheck.Event{WorkspaceUUID: workspace, RepositoryUUID: repository, FullName: "ws/foo"}
	push, pull := base, base
	push.Branches = []mergecheck.BranchHead{{Branch: "main", Commit: strings.Repeat("1", 40)}}
	pull.On = time.Date(2018, 7, 3, 1, 28, 5, 903251000, time.UTC)
	pull.PullRequest = &mergecheck.PullRequestEvent{
		ID: 1, State: "MERGED", SourceBranch: "develop", SourceCommit: "0704fc5beccc", SourceRepository: repository,
		DestinationBranch: "master", DestinationCommit: "7d1a175411ef",
	}
	tests := []struct {
		name, event, body string
		want              mergecheck.Event
	}{
		{name: "a push of a branch, a tag and a deletion", event: "repo:push", want: push, body: `{"push":{"changes":[
			{"new":{"type":"branch","name":"main","target":{"hash":"` + strings.Repeat("1", 40) + `"}}},
			{"new":{"type":"tag","name":"v1","target":{"hash":"` + strings.Repeat("2", 40) + `"}}},{"new":null}]},` + of + `}`},
		{name: "merged", event: "pullrequest:fulfilled", want: pull, body: `{"pullrequest":{"id":1,"state":"MERGED","updated_on":"2018-07-03T01:28:05.903251+00:00",
			"source":{"branch":{"name":"develop"},"commit":{"hash":"0704fc5beccc"},"repository":{"uuid":"{` + repository + `}","full_name":"ws/foo"}},
			"destination":{"branch":{"name":"master"},"commit":{"hash":"7d1a175411ef"}}},` + of + `}`},
		{name: "a comment", event: "pullrequest:comment_created", want: base, body: `{"pullrequest":{"id":1,"state":"OPEN"},` + of + `}`},
		{
			name: "the source is gone", event: "pullrequest:updated", body: `{"pullrequest":{"id":2,"state":"OPEN","source":{"branch":null,"commit":null,"repository":null},"destination":{}}}`,
			want: mergecheck.Event{PullRequest: &mergecheck.PullRequestEvent{ID: 2, State: "OPEN"}},
		},
		{name: "another shape", event: "repo:push", body: `{"push":[1,2]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := bitbucket.ParseWebhook(tt.event, []byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
	for _, body := range []string{"", "{", "[]", "null"} {
		if _, err := bitbucket.ParseWebhook("repo:push", []byte(body)); !errors.Is(err, bitbucket.ErrNotAWebhook) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func FuzzParseWebhook(f *testing.F) {
	f.Add("repo:push", []byte(`{"push":{"changes":[{"new":{"type":"branch","name":"\u0000","target":{"hash":"`+strings.Repeat("1", 40)+`"}}}]}}`))
	f.Add("pullrequest:updated", []byte(`{"pullrequest":{"id":2,"state":"\ud800","source":{"branch":{"name":"x"}}}}`))
	f.Fuzz(func(t *testing.T, key string, body []byte) {
		event, err := bitbucket.ParseWebhook(key, body)
		if err != nil {
			return
		}
		texts := []string{event.FullName}
		for _, head := range event.Branches {
			texts = append(texts, head.Branch)
			if !mergecheck.IsFullCommit(head.Commit) {
				t.Errorf("commit %q", head.Commit)
			}
		}
		if pr := event.PullRequest; pr != nil {
			texts = append(texts, pr.State, pr.SourceBranch, pr.DestinationBranch)
		}
		for _, text := range texts {
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				t.Errorf("PostgreSQL can't store %q", text)
			}
		}
	})
}

// TestBadPartsLeaveTheOthers has one part of a webhook be of another shape.
func TestBadPartsLeaveTheOthers(t *testing.T) {
	t.Parallel()
	const repository = `"repository":{"uuid":"{bc771cbf-829e-4c4b-b71f-a0eb3ac2b860}","full_name":"ws/repo","workspace":{"uuid":"{87bb15eb-47c1-49b3-9f16-ca824a2979a4}"}}`
	commit := strings.Repeat("a", 40)
	good := `{"new":{"type":"branch","name":"feature","target":{"hash":"` + commit + `"}}}`
	heads := []mergecheck.BranchHead{{Branch: "feature", Commit: commit}}
	tests := []struct {
		name, key, body string
		heads           []mergecheck.BranchHead
	}{
		{name: "a change is a number", key: "repo:push", body: `{` + repository + `,"push":{"changes":[7,` + good + `]}}`, heads: heads},
		{name: "a change's new is a text", key: "repo:push", body: `{` + repository + `,"push":{"changes":[{"new":"x"},` + good + `]}}`, heads: heads},
		{name: "a change's name is a number", key: "repo:push", body: `{` + repository + `,"push":{"changes":[` + good + `,{"new":{"type":"branch","name":1}}]}}`, heads: heads},
		{name: "a pull request that is none, in a push", key: "repo:push", body: `{` + repository + `,"pullrequest":[],"push":{"changes":[` + good + `]}}`, heads: heads},
		{name: "the changes are none", key: "repo:push", body: `{` + repository + `,"push":{"changes":{}}}`},
		{name: "a push that is none, with a pull request", key: "pullrequest:updated", body: `{` + repository + `,"push":7,"pullrequest":{"id":"seven"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			event, err := bitbucket.ParseWebhook(tt.key, []byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.heads, event.Branches); diff != "" || event.FullName != "ws/repo" || event.PullRequest != nil {
				t.Errorf("event %+v; heads (-want +got):\n%s", event, diff)
			}
		})
	}
}

func TestCreatedIsPostedWhateverTheBodySays(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		status     int
		fails      bool
	}{
		{name: "created, empty", status: 201},
		{name: "created, an object", status: 201, body: "{}"},
		{name: "created, another key", status: 201, body: `{"key":"x"}`, fails: true},
		{name: "200 without the key", status: 200, body: "{}", fails: true},
		{name: "200 with the key", status: 200, body: `{"key":"k"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			t.Cleanup(server.Close)
			client, err := bitbucket.NewClient(bitbucket.Config{BaseURL: server.URL, Token: "t"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.CloseIdleConnections)
			err = client.PostCommitStatus(t.Context(), "ws", "repo", strings.Repeat("1", 40), bitbucket.CommitStatus{Key: "k", State: "FAILED"})
			if (err != nil) != tt.fails {
				t.Errorf("error %v", err)
			}
		})
	}
}
