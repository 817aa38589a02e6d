package postgres_test

import (
	"testing"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/pullrequests"
)

// TestDestinationCommit tells what a build merged into by when the destination was
// pushed to: never by a commit that may have come too late for it.
func TestDestinationCommit(t *testing.T) {
	t.Parallel()
	type push struct {
		commit string
		before time.Duration // the build's start
		branch string        // "": main
	}
	tests := []struct {
		name   string
		pushes []push
		want   string
	}{
		{name: "nobody told"},
		{name: "pushed long before", pushes: []push{{commit: head, before: time.Hour}}, want: head},
		{name: "the newest before", pushes: []push{{commit: head, before: time.Hour}, {commit: other, before: 2 * time.Minute}}, want: other},
		{name: "a minute before", pushes: []push{{commit: head, before: time.Hour}, {commit: other, before: time.Minute}}, want: other},
		{name: "within a minute before", pushes: []push{{commit: head, before: time.Hour}, {commit: other, before: 59 * time.Second}}, want: head},
		{name: "after", pushes: []push{{commit: head, before: time.Hour}, {commit: other, before: -time.Minute}}, want: head},
		{name: "only after", pushes: []push{{commit: other, before: -time.Minute}}},
		{name: "to another branch", pushes: []push{{commit: head, before: time.Hour}, {commit: other, before: 2 * time.Minute, branch: "release"}}, want: head},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			r := link(t, store, repository(name))
			started := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
			record(t, store, build(1, func(b *mergecheck.Build) { b.StartedOn, b.DestinationBranch = started, "main" }))
			for _, p := range tt.pushes {
				if p.branch == "" {
					p.branch = "main"
				}
				exec(t, store, `INSERT INTO branch_heads (workspace_uuid, repository_uuid, branch, pushed_on, commit) VALUES ($1, $2, $3, $4, $5)`,
					r.WorkspaceUUID, r.RepositoryUUID, p.branch, started.Add(-p.before), p.commit)
			}
			equal(t, "in facts", tt.want, facts(t, store, pullRequest(r, 7), head).Builds[0].DestinationCommit)
			list, err := store.Builds(t.Context(), r, postgres.BuildFilter{Limit: 1})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "in lists", tt.want, list[0].DestinationCommit)
		})
	}
}

// TestSeenDestination notes where the destination is when somebody asks, once for
// each time that it is elsewhere.
func TestSeenDestination(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	for _, commit := range []string{head, head, head[:12], "", other, other, head} {
		told := mergecheck.Told{Head: twin, DestinationBranch: "main", DestinationCommit: commit, On: time.Now().Add(-time.Hour)}
		if err := pullrequests.See(t.Context(), store, pullRequest(r, 7), postgres.Sighting{Told: told}); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "heads of main", []string{head, other, head}, query[string](t, store, `SELECT commit FROM branch_heads ORDER BY pushed_on`))
	// When the pull request changed says nothing of when its target did.
	equal(t, "with the pull request's time", []string{}, query[string](t, store, `SELECT commit FROM branch_heads WHERE NOT untimed OR pushed_on < now() - interval '1 minute'`))
}

// TestFactsOfAPolicy reads what was kept for one pull request, and nothing of others.
func TestFactsOfAPolicy(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	elsewhere := r
	elsewhere.RepositoryUUID = "0c3a7799-53ae-4a5b-9e7e-03338980abb5"
	pr := pullRequest(r, 7)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, document := range []string{"rules: []", "rules: [{freshness: warn}]"} {
		p, err := store.ApplyPolicy(t.Context(), r.WorkspaceUUID, document, "somebody")
		must(err)
		equal(t, "version", int64(i+1), p.Version)
	}
	apply(t, store, told(r, 7, "OPEN", "", 0))
	must(store.KeepAuthor(t.Context(), pr, "0f1e2d3c-0000-4000-8000-000000000003"))
	must(store.KeepChanged(t.Context(), r, head, other, []string{"a", "b"}))
	must(store.KeepChanged(t.Context(), elsewhere, head, other, []string{"c"}))
	distance := mergecheck.Distance{Destination: other, Tested: twin, Behind: 3, Complete: true}
	must(store.KeepDistance(t.Context(), r, distance))
	must(store.KeepDistance(t.Context(), elsewhere, mergecheck.Distance{Destination: other, Tested: head}))
	w := waive(t, store, pr, mergecheck.Waiver{})
	waive(t, store, pullRequest(r, 8), mergecheck.Waiver{})

	f, err := store.Facts(t.Context(), postgres.Asked{PullRequest: pr, Told: mergecheck.Told{Head: head, DestinationBranch: "main", DestinationCommit: other}})
	must(err)
	equal(t, "policy", "rules: [{freshness: warn}]", f.Policy.Document)
	equal(t, "author", "0f1e2d3c-0000-4000-8000-000000000003", f.Author)
	equal(t, "changed", []string{"a", "b"}, f.Changed)
	equal(t, "distances", []mergecheck.Distance{distance}, f.Distances)
	equal(t, "waivers", 1, len(f.Waivers))
	equal(t, "waiver", w.ID, f.Waivers[0].ID)
	f, err = store.Facts(t.Context(), postgres.Asked{PullRequest: pr, Told: mergecheck.Told{Head: other, DestinationBranch: "main", DestinationCommit: head}})
	must(err)
	equal(t, "changed between others", nil, f.Changed)
	equal(t, "distances from another", nil, f.Distances)
}
