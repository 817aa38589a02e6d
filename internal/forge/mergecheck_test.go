package forge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/forge"
	"mergegate/internal/mergecheck"
)

const (
	workspace  = "cc8e193d-7603-4dfd-8771-fcc8960aa0fb"
	repository = "15a31549-1cff-45dc-9d0d-310114c5038b"
)

func TestParseAtlassiansSamples(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/mergecheck-payload-samples.json")
	if err != nil {
		t.Fatal(err)
	}
	var samples map[string]json.RawMessage
	if err := json.Unmarshal(data, &samples); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"on-code-pushed": "on-code-pushed", "on-merge": "on-merge"}
	parsed := 0
	for name, body := range samples {
		for trigger, want := range want {
			if !strings.HasPrefix(name, "invocation "+trigger+" ") {
				continue
			}
			parsed++
			for _, body := range []string{string(body), `{"payload":` + string(body) + `}`} {
				got, err := forge.ParseMergeCheck([]byte(body))
				want := forge.MergeCheck{WorkspaceUUID: workspace, RepositoryUUID: repository, PullRequestID: 123, Trigger: want}
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Errorf("%s: %v (-want +got)\n%s", name, err, diff)
				}
			}
		}
	}
	if parsed != 2 {
		t.Errorf("%d samples were parsed", parsed)
	}
}

// event writes a body with more members after the ones that every event has.
func event(more string) string {
	return fmt.Sprintf(`{"workspace":{"uuid":"{%s}"},"repository":{"uuid":"{%s}"},"pullrequest":{"id":7}%s}`, strings.ToUpper(workspace), repository, more)
}

func TestParseMergeCheck(t *testing.T) {
	t.Parallel()
	sha := strings.Repeat("aB", 20)
	brought := fmt.Sprintf(`"pullRequest":{"state":"OPEN","source":{"commit":%q,"branch":"feature","repository":{"uuid":"{%s}","full_name":"ws/fork"}},
		"destination":{"commit":"710db794f15b","branch":"main"}}`, sha, repository)
	full := &forge.PullRequest{
		State: "OPEN", SourceCommit: strings.ToLower(sha), SourceBranch: "feature", SourceRepositoryUUID: repository,
		SourceRepositoryFullName: "ws/fork", DestinationCommit: "710db794f15b", DestinationBranch: "main",
	}
	for name, test := range map[string]struct {
		body    string
		trigger string
		pr      *forge.PullRequest
	}{
		"plain":                  {body: event("")},
		"brought":                {body: event("," + brought), pr: full},
		"brought inside payload": {body: `{"payload":` + event(","+brought) + `}`, pr: full},
		"brought beside payload": {body: `{"payload":` + event("") + `,` + brought + `}`, pr: full},
		"outer one unusable":     {body: `{"payload":` + event(","+brought) + `,"pullRequest":null}`, pr: full},
		"unknown fields":         {body: event(`,"payload":{"workspace":{}},"retryContext":{"retryCount":1}`)},
		"id of digits":           {body: strings.Replace(event(""), `"id":7`, `"id":"7"`, 1)},
		"twice":                  {body: strings.Replace(event(""), `"id":7`, `"id":8,"id":7`, 1)},
		"on merge":               {body: event(`,"trigger":{"type":"on-merge"}`), trigger: "on-merge"},
		"merge properties":       {body: event(`,"trigger":{"type":"on-code-pushed"},"mergeProperties":{}`), trigger: "on-merge"},
		"merge properties null":  {body: event(`,"trigger":{"type":"on-code-pushed"},"mergeProperties":null`), trigger: "on-code-pushed"},
		"unknown trigger":        {body: event(`,"trigger":{"type":"on-\u0000full\u202emoon\n` + strings.Repeat("x", 100) + `"}`), trigger: "on-fullmoon" + strings.Repeat("x", 53)},
		"trigger of other type":  {body: event(`,"trigger":"on-merge"`)},
		"pull request a string":  {body: event(`,"pullRequest":"x"`)},
		"pull request empty":     {body: event(`,"pullRequest":{"source":[],"destination":1,"state":{}}`)},
		"parts of other types": {
			body: event(`,"pullRequest":{"state":"OPEN","source":{"commit":{"hash":"aaaaaaaaaaaa"},"branch":7,"repository":"x"},"destination":{"branch":"main"}}`),
			pr:   &forge.PullRequest{State: "OPEN", DestinationBranch: "main"},
		},
		"texts that can't be stored": {
			body: event(`,"pullRequest":{"state":"OPEN\n","source":{"commit":"../x","branch":"a\u0000b` + "\xff" + `c","repository":{"uuid":"x","full_name":"` + strings.Repeat("n", 300) + `"}},"destination":{"branch":"` + strings.Repeat("b", 1025) + `"}}`),
			pr:   &forge.PullRequest{State: "OPEN", SourceBranch: "ab\ufffdc", DestinationBranch: mergecheck.BranchName(strings.Repeat("b", 1025))},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := forge.ParseMergeCheck([]byte(test.body))
			want := forge.MergeCheck{WorkspaceUUID: workspace, RepositoryUUID: repository, PullRequestID: 7, Trigger: test.trigger, PullRequest: test.pr}
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		})
	}
}

func TestNotAnEvent(t *testing.T) {
	t.Parallel()
	good := event("")
	for name, test := range map[string]struct{ body, reason string }{
		"empty":                   {body: "", reason: "the body isn't a JSON object"},
		"null":                    {body: "null", reason: "the body isn't a JSON object"},
		"array":                   {body: "[]", reason: "the body isn't a JSON object"},
		"cut":                     {body: good[:20], reason: "the body isn't a JSON object"},
		"trailing garbage":        {body: good + "x", reason: "the body isn't a JSON object"},
		"a second one":            {body: good + good, reason: "the body isn't a JSON object"},
		"nothing in it":           {body: "{}", reason: "workspace.uuid"},
		"payload of another type": {body: `{"payload":[` + good + `]}`, reason: "workspace.uuid"},
		"workspace a slug":        {body: strings.Replace(good, "{"+strings.ToUpper(workspace)+"}", "ws", 1), reason: "workspace.uuid"},
		"repository missing":      {body: strings.Replace(good, "repository", "repo", 1), reason: "repository.uuid"},
		"other case":              {body: strings.Replace(good, "pullrequest", "pullRequest", 1), reason: "pullrequest.id"},
		"id zero":                 {body: strings.Replace(good, `"id":7`, `"id":0`, 1), reason: "pullrequest.id"},
		"id negative":             {body: strings.Replace(good, `"id":7`, `"id":-7`, 1), reason: "pullrequest.id"},
		"id with a sign":          {body: strings.Replace(good, `"id":7`, `"id":"+7"`, 1), reason: "pullrequest.id"},
		"id too large":            {body: strings.Replace(good, `"id":7`, `"id":9223372036854775808`, 1), reason: "pullrequest.id"},
		"id a fraction":           {body: strings.Replace(good, `"id":7`, `"id":7.5`, 1), reason: "pullrequest.id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := forge.ParseMergeCheck([]byte(test.body))
			if !errors.Is(err, forge.ErrNotAnEvent) || !strings.Contains(err.Error(), test.reason) {
				t.Errorf("got %v, want %q", err, test.reason)
			}
		})
	}
}

func FuzzParseMergeCheck(f *testing.F) {
	for _, seed := range []string{"", "null", event(""), event(`,"trigger":{"type":"on-merge"}`), `{"payload":` + event("") + `}`} {
		f.Add([]byte(seed))
	}
	f.Add([]byte(event(`,"pullRequest":{"state":"OPEN","source":{"commit":"ABCDEF0","branch":"\u0000"}}`)))
	uuid := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	hash := regexp.MustCompile(`^([0-9a-f]{7,40})?$`)
	f.Fuzz(func(t *testing.T, body []byte) {
		check, err := forge.ParseMergeCheck(body)
		if err != nil {
			if !errors.Is(err, forge.ErrNotAnEvent) {
				t.Errorf("error %v", err)
			}
			return
		}
		if !uuid.MatchString(check.WorkspaceUUID) || !uuid.MatchString(check.RepositoryUUID) || check.PullRequestID <= 0 {
			t.Errorf("got %+v", check)
		}
		texts := []string{check.Trigger}
		if pr := check.PullRequest; pr != nil {
			texts = append(texts, pr.State, pr.SourceBranch, pr.SourceRepositoryFullName, pr.DestinationBranch)
			if !hash.MatchString(pr.SourceCommit) || !hash.MatchString(pr.DestinationCommit) {
				t.Errorf("commits %q and %q", pr.SourceCommit, pr.DestinationCommit)
			}
		}
		for _, text := range texts {
			if !utf8.ValidString(text) || strings.Contains(text, "\x00") || utf8.RuneCountInString(text) > 1024 {
				t.Errorf("text %q", text)
			}
		}
	})
}
