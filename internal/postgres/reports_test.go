package postgres_test

import (
	"fmt"
	"testing"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// report records one as by a token made for its project, which AppVeyor calls what the
// report does.
func report(t testing.TB, store *postgres.Store, r postgres.Repository, b mergecheck.Build) {
	t.Helper()
	b.ConfirmedBy, b.SourceCommit = mergecheck.ConfirmedByReport, b.ReportedCommit
	token := postgres.Token{Name: "t", Scopes: []string{"report"}, Repository: "**", ReportProject: &b.Project.ID}
	id, err := store.AddToken(t.Context(), token, fmt.Appendf(nil, "%d of %d", b.BuildID, b.Project.ID))
	if err != nil {
		t.Fatal(err)
	}
	_, isNew, err := store.RecordResultReport(t.Context(), r, postgres.ResultReport{Build: b, Attempt: 1, TokenID: id, Named: true})
	if err != nil || !isNew {
		t.Fatalf("new %t, %v", isNew, err)
	}
}

func of2(b *mergecheck.Build) { b.Project = mergecheck.Project{ID: 2, Account: "acme", Slug: "lint"} }

func of3(b *mergecheck.Build) { b.Project = mergecheck.Project{ID: 3, Account: "acme", Slug: "test"} }

// TestReportedNumbersAreOfTheirProject has scripts of two projects, and AppVeyor, give
// one number to three builds.
func TestReportedNumbersAreOfTheirProject(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	report(t, store, r, build(50, of2))
	report(t, store, r, build(50, of3, in(mergecheck.Failed)))
	states := func() map[int64]mergecheck.State {
		got := map[int64]mergecheck.State{}
		for _, b := range facts(t, store, pullRequest(r, 7), head).Builds {
			got[b.Project.ID] = b.State
		}
		return got
	}
	equal(t, "states by project", map[int64]mergecheck.State{2: mergecheck.Success, 3: mergecheck.Failed}, states())
	record(t, store, build(50))
	equal(t, "states with AppVeyor's", map[int64]mergecheck.State{1: mergecheck.Success, 2: mergecheck.Success, 3: mergecheck.Failed}, states())
	list, err := store.Builds(t.Context(), r, postgres.BuildFilter{Limit: 10})
	if err != nil || len(list) != 3 {
		t.Errorf("listed %v, %v", buildIDs(list), err)
	}
}

// TestNameOfReportsIsLostToABuild has AppVeyor build another project under the name that
// a project had which only reported.
func TestNameOfReportsIsLostToABuild(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	report(t, store, r, build(50, of2))
	names := func() map[int64]string {
		got := map[int64]string{}
		for _, p := range facts(t, store, pullRequest(r, 7), head).Seen {
			got[p.ID] = p.Name()
		}
		return got
	}
	record(t, store, build(51, of3))
	equal(t, "names", map[int64]string{2: "acme/lint", 3: "acme/test"}, names())
	record(t, store, build(52, func(b *mergecheck.Build) { b.Project = mergecheck.Project{ID: 4, Account: "Acme", Slug: "Lint"} }))
	equal(t, "names with one taken", map[int64]string{2: "project 2", 3: "acme/test", 4: "Acme/Lint"}, names())
}
