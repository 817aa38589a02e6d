package appveyor

import (
	"strings"
	"testing"
	"unicode/utf8"

	"mergegate/internal/jsonobject"
	"mergegate/internal/mergecheck"
)

// FuzzAnswer decodes what AppVeyor's REST API could answer: a build is either
// not read, or one that the store can keep.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"project":{"projectId":12064,"accountName":"acme","slug":"widgets","repositoryType":"bitBucket","repositoryName":"ws/repo"},` +
		`"build":{"buildId":14636,"version":"1.0.26","branch":"main","pullRequestId":"7","pullRequestHeadCommitId":"DFC541E7EDA18A9EB620A0A352E1D6FE0141B34D",` +
		`"status":"success","created":"2026-11-21T12:00:00.1234567+00:00","jobs":[{"jobId":"j","status":"failed","testsCount":3,"allowFailure":true}]}}`))
	f.Add([]byte("\xef\xbb\xbf{}"))
	f.Add([]byte(`{"build":{"buildId":-1,"pullRequestId":1e9,"status":null,"created":"0001-01-01T00:00:00","version":"\u0000\ud800"}}`))
	f.Add([]byte(`{"build":{"jobs":null},"project":[]}`))
	client, err := NewClient(Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		whole, err := jsonobject.Read(body, "build")
		if err != nil {
			return
		}
		answer, err := client.readAnswer(body, intOf(whole.Member("build", "buildId")["buildId"]))
		if err != nil {
			return
		}
		b := answer.Build
		if !b.State.Valid() || b.BuildID < 0 || b.PullRequestID < 0 || b.Project.ID < 0 {
			t.Errorf("build %+v", b)
		}
		if mergecheck.CommitPrefix(b.ReportedCommit) != b.ReportedCommit || mergecheck.CommitPrefix(b.CommitID) != b.CommitID {
			t.Errorf("commits %q and %q", b.ReportedCommit, b.CommitID)
		}
		texts := []string{answer.RepositoryType, b.Repository, b.Version, b.PullRequestTitle, b.SourceBranch, b.DestinationBranch, b.URL}
		for _, job := range b.Jobs {
			texts = append(texts, job.ID, job.Name)
			if !job.State.Valid() || job.Tests.Total < 0 {
				t.Errorf("job %+v", job)
			}
		}
		for _, text := range texts {
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				t.Errorf("PostgreSQL can't store %q", text)
			}
		}
		if year := b.UpdatedOn.Year(); year < 1 || year > 9999 {
			t.Errorf("updated on %s", b.UpdatedOn)
		}
	})
}
