package appveyor_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/appveyor"
)

func sample(t testing.TB) []byte {
	t.Helper()
	body, err := os.ReadFile("testdata/webhook_pr_docs_sample.json")
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestParseWebhook(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		body string
		want appveyor.Webhook
		err  error
	}{
		{name: "AppVeyor's documented sample", body: string(sample(t)), want: appveyor.Webhook{
			EventName: "build_success", BuildID: 14636, ProjectID: 12064, Provider: "gitHub", Repository: "JohnSmith/test-web",
			Version: "1.0.26", BuildURL: "https://ci.appveyor.com/project/JohnSmith/test-web/build/1.0.26", PullRequestID: 1,
		}},
		{
			name: "numbers as strings", body: `{"eventName":"build_failure","eventData":{"buildId":"5","pullRequestId":"7"}}`,
			want: appveyor.Webhook{EventName: "build_failure", BuildID: 5, PullRequestID: 7},
		},
		{name: "no pull request", body: `{"eventData":{"buildId":5,"isPullRequest": false }}`, want: appveyor.Webhook{BuildID: 5, NotPullRequest: true}},
		{name: "NUL is dropped", body: `{"eventData":{"buildId":5,"repositoryName":"a\u0000/b"}}`, want: appveyor.Webhook{BuildID: 5, Repository: "a/b"}},
		{
			name: "NUL and broken UTF-8 in every text", body: `{"eventName":"build\u0000_success","eventData":{"buildId":5,"repositoryProvider":"git\u0000Hub","buildVersion":"\u00001` + "\xff" + `","buildUrl":"a\u0000b"}}`,
			want: appveyor.Webhook{EventName: "build_success", BuildID: 5, Provider: "gitHub", Version: "1�", BuildURL: "ab"},
		},
		{
			name: "texts beyond their bounds", body: `{"eventName":"` + strings.Repeat("e", 65) + `","eventData":{"buildId":5,"repositoryName":"` + strings.Repeat("r", 256) +
				`","buildVersion":"` + strings.Repeat("1", 513) + `","buildUrl":"` + strings.Repeat("u", 4097) + `"}}`,
			want: appveyor.Webhook{BuildID: 5},
		},
		{name: "the last of two", body: `{"eventData":{"buildId":4,"buildVersion":"x"},"eventData":{"buildId":5,"buildId":6}}`, want: appveyor.Webhook{BuildID: 6}},
		{name: "another case", body: `{"EventData":{"buildId":5}}`, err: appveyor.ErrNotBuild},
		{name: "empty", err: appveyor.ErrNotJSON},
		{name: "no object", body: "7", err: appveyor.ErrNotBuild},
		{name: "no build", body: `{"eventData":{}}`, err: appveyor.ErrNotBuild},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := appveyor.ParseWebhook([]byte(tt.body))
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("webhook (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParseWebhook(f *testing.F) {
	f.Add(sample(f))
	f.Add([]byte(`{"eventData":{"buildId":"1","buildUrl":"\u0000\ud800"}}`))
	f.Add([]byte("\xef\xbb\xbf{}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		hook, err := appveyor.ParseWebhook(body)
		if err != nil {
			if !errors.Is(err, appveyor.ErrNotJSON) && !errors.Is(err, appveyor.ErrNotBuild) {
				t.Errorf("unexpected kind of error: %v", err)
			}
			return
		}
		if hook.BuildID <= 0 || hook.PullRequestID < 0 || hook.ProjectID < 0 {
			t.Errorf("ids %d, %d, %d", hook.BuildID, hook.PullRequestID, hook.ProjectID)
		}
		for _, text := range []string{hook.EventName, hook.Provider, hook.Repository, hook.Version, hook.BuildURL} {
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) || len(text) > 4096 {
				t.Errorf("PostgreSQL can't store %q", text)
			}
		}
	})
}
