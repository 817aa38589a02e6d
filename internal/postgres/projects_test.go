package postgres_test

import (
	"testing"
	"time"

	"mergegate/internal/commitstatus"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

func projects(t *testing.T, store *postgres.Store) []postgres.SeenProject {
	t.Helper()
	list, err := store.Projects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestNewestBuildNamesTheProject(t *testing.T) {
	t.Parallel()
	slug := func(s string) func(*mergecheck.Build) { return func(b *mergecheck.Build) { b.Project.Slug = s } }
	for _, tt := range []struct {
		name   string
		builds []mergecheck.Build
		want   string
		newest int64
	}{
		{name: "in order", builds: []mergecheck.Build{build(1, slug("old")), build(2, slug("new"))}, want: "new", newest: 2},
		{name: "reversed", builds: []mergecheck.Build{build(2, slug("new")), build(1, slug("old"))}, want: "new", newest: 2},
		{name: "renamed during a build", builds: []mergecheck.Build{build(1, slug("old")), build(1, slug("new"), updated(time.Second))}, want: "new", newest: 1},
		{name: "old news of the same build", builds: []mergecheck.Build{build(1, slug("new"), updated(time.Second)), build(1, slug("old"))}, want: "new", newest: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			record(t, store, tt.builds...)
			list := projects(t, store)
			if len(list) != 1 {
				t.Fatalf("%d projects, want one", len(list))
			}
			equal(t, "project", []any{tt.want, tt.newest}, []any{list[0].Slug, list[0].NewestBuildID})
		})
	}
}

func TestProjectWithoutIDIsNone(t *testing.T) {
	t.Parallel()
	store := open(t)
	record(t, store, build(1, func(b *mergecheck.Build) { b.Project.ID = 0 }))
	equal(t, "projects", nil, projects(t, store))
	equal(t, "statuses", nil, statuses(t, store))
	record(t, store, build(1))
	equal(t, "projects when it is told", 1, len(projects(t, store)))
	equal(t, "statuses when it is told", []string{"aaaaaaaaaaaab SUCCESSFUL"}, shown(statuses(t, store)))
}

func TestForgetProject(t *testing.T) {
	t.Parallel()
	store := open(t)
	link(t, store, repository("ws/elsewhere"))
	record(t, store, build(1), build(2, of("ws/elsewhere")), build(3, func(b *mergecheck.Build) { b.Project.ID = 2 }))
	for range 2 {
		if err := commitstatus.Forget(t.Context(), store, 1); err != nil {
			t.Fatal(err)
		}
	}
	forgotten := map[int64][]bool{}
	for _, p := range projects(t, store) {
		forgotten[p.ProjectID] = append(forgotten[p.ProjectID], p.Forgotten)
	}
	equal(t, "forgotten", map[int64][]bool{1: {true, true}, 2: {false}}, forgotten)
	if err := commitstatus.Forget(t.Context(), store, 99); !isNotFound(err) {
		t.Errorf("a project never seen: %v, want ErrNotFound", err)
	}
}

func TestForgettingAProjectEndsItsStatuses(t *testing.T) {
	t.Parallel()
	store := open(t)
	link(t, store, repository(name))
	record(t, store, build(1, in(mergecheck.Running)), build(2, in(mergecheck.Running), reported(other), func(b *mergecheck.Build) { b.Project.ID = 2 }))
	if err := commitstatus.Forget(t.Context(), store, 1); err != nil {
		t.Fatal(err)
	}
	want := []string{"aaaaaaaaaaaab STOPPED", "ddddddddddddd INPROGRESS"}
	equal(t, "statuses", want, shown(statuses(t, store)))
	record(t, store, build(1, in(mergecheck.Running), updated(time.Minute)))
	equal(t, "statuses after another look", want, shown(statuses(t, store)))
}
