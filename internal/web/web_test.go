package web_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/web"
)

func TestPullRequestEscapesWhatAuthorsTyped(t *testing.T) {
	t.Parallel()
	const evil = `<script>alert(1)</script>`
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	v := mergecheck.Evaluate(mergecheck.Facts{
		PullRequest: mergecheck.PullRequest{ID: 7, State: "OPEN", Head: strings.Repeat("a", 40), SourceBranch: evil, DestinationBranch: "main"},
		Seen:        []mergecheck.Project{{ID: 1, Account: "acme", Slug: "widgets"}},
		Builds: []mergecheck.Build{{
			BuildID: 1, Project: mergecheck.Project{ID: 1, Account: "acme", Slug: "widgets"}, Version: evil, State: mergecheck.Failed,
			ReportedCommit: strings.Repeat("a", 40), DestinationBranch: "main", URL: "javascript:alert(1)",
		}},
		Waivers: []mergecheck.Waiver{{ID: 1, Reason: evil, By: evil, ExpiresOn: now}},
		Now:     now,
	})
	var page bytes.Buffer
	if err := web.PullRequest(&page, "acme/widgets", v); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", `href="javascript:`} {
		if strings.Contains(page.String(), bad) {
			t.Errorf("the page has %s:\n%s", bad, page.String())
		}
	}
	if said := strings.Count(page.String(), v.NextStep); v.NextStep == "" || said != 1 {
		t.Errorf("the page says %q %d times, want once:\n%s", v.NextStep, said, page.String())
	}
	for _, want := range []string{"Blocked: failed", "acme/widgets, pull request 7", "build_passed", "What would change it", "expired"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page doesn't say %q:\n%s", want, page.String())
		}
	}
}
