package postgres_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"mergegate/internal/postgres"
)

var unlessApplied = cmpopts.IgnoreFields(postgres.Policy{}, "AppliedOn")

func TestApplyPolicy(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	workspace, other := uuid.NewString(), uuid.NewString()
	inForce := func() postgres.Policy {
		t.Helper()
		p, err := store.Policy(t.Context(), workspace)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	equal(t, "none set", postgres.Policy{}, inForce())

	for _, tt := range []struct {
		name      string
		workspace string
		document  string
		by        string
		want      postgres.Policy
	}{
		{name: "first", workspace: workspace, document: "a", by: "ann", want: postgres.Policy{Version: 1, Document: "a", AppliedBy: "ann"}},
		{name: "the same again", workspace: workspace, document: "a", by: "bob", want: postgres.Policy{Version: 1, Document: "a", AppliedBy: "ann"}},
		{name: "another", workspace: workspace, document: "b", by: "bob", want: postgres.Policy{Version: 2, Document: "b", AppliedBy: "bob"}},
		{name: "back", workspace: workspace, document: "a", by: "bob", want: postgres.Policy{Version: 3, Document: "a", AppliedBy: "bob"}},
		{name: "another workspace", workspace: other, document: "a", by: "ann", want: postgres.Policy{Version: 1, Document: "a", AppliedBy: "ann"}},
	} {
		got, err := store.ApplyPolicy(t.Context(), tt.workspace, tt.document, tt.by)
		if err != nil || got.AppliedOn.IsZero() {
			t.Fatalf("%s: %+v, %v", tt.name, got, err)
		}
		equal(t, tt.name, tt.want, got, unlessApplied)
	}
	equal(t, "in force", int64(3), inForce().Version)

	old, err := store.PolicyVersion(t.Context(), workspace, 2)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "an old version", postgres.Policy{Version: 2, Document: "b", AppliedBy: "bob"}, old, unlessApplied)
	if _, err := store.PolicyVersion(t.Context(), other, 2); !isNotFound(err) {
		t.Errorf("a version there isn't: %v", err)
	}

	var pages [][]int64
	for before := int64(0); before != 1; {
		page, err := store.Policies(t.Context(), workspace, before, 2)
		if err != nil {
			t.Fatal(err)
		}
		var versions []int64
		for _, p := range page {
			versions = append(versions, p.Version)
			before = p.Version
		}
		pages = append(pages, versions)
	}
	equal(t, "newest first", [][]int64{{3, 2}, {1}}, pages)
}

func TestReplacePolicy(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	workspace := uuid.NewString()
	for _, tt := range []struct {
		name     string
		version  int64
		document string
		want     int64
		changed  bool
	}{
		{name: "none where none is", version: 0, document: "a", want: 1},
		{name: "none where one is", version: 0, document: "b", changed: true},
		{name: "the one in force", version: 1, document: "b", want: 2},
		{name: "an old one", version: 1, document: "c", changed: true},
		{name: "an old one, with what is in force", version: 1, document: "b", changed: true},
	} {
		got, err := store.ReplacePolicy(t.Context(), workspace, tt.version, tt.document, "ann")
		if got.Version != tt.want || errors.Is(err, postgres.ErrPolicyChanged) != tt.changed || (err != nil) != tt.changed {
			t.Errorf("%s: version %d, %v; want version %d", tt.name, got.Version, err, tt.want)
		}
	}
}

// TestPoliciesAppliedAtOnce has as many apply at once as connections allow: each
// has to get a version of its own.
func TestPoliciesAppliedAtOnce(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	workspace := uuid.NewString()
	const times = 30
	versions := make([]int64, times)
	var group sync.WaitGroup
	for i := range times {
		group.Go(func() {
			p, err := store.ApplyPolicy(t.Context(), workspace, fmt.Sprint(i), "ann")
			if err != nil {
				t.Error(err)
			}
			versions[i] = p.Version
		})
	}
	group.Wait()
	seen := map[int64]bool{}
	for _, v := range versions {
		seen[v] = true
	}
	if len(seen) != times || !seen[1] || !seen[times] {
		t.Errorf("versions %v", versions)
	}
	equal(t, "in the order they were applied", []bool{true}, query[bool](t, store,
		`SELECT bool_and(applied_on >= before) FROM (SELECT applied_on, lag(applied_on, 1, applied_on) OVER (ORDER BY version) AS before FROM policies) p`))
}

func TestWorkspaceByPath(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	named := link(t, store, repository("Team/widgets"))
	record(t, store, build(1, of("elsewhere/unlinked")))
	nameless := uuid.NewString()
	if _, err := store.ApplyPolicy(t.Context(), nameless, "a", "ann"); err != nil {
		t.Fatal(err)
	}
	team := postgres.Workspace{UUID: named.WorkspaceUUID, Slug: "Team"}
	for _, tt := range []struct {
		name string
		path string
		want postgres.Workspace // zero: not found
	}{
		{name: "slug", path: "team", want: team},
		{name: "UUID", path: named.WorkspaceUUID, want: team},
		{name: "UUID in braces", path: "{" + named.WorkspaceUUID + "}", want: team},
		{name: "no name known", path: nameless, want: postgres.Workspace{UUID: nameless}},
		{name: "of a repository that only AppVeyor named", path: "elsewhere"},
		{name: "the place of unlinked repositories", path: uuid.Nil.String()},
		{name: "no such UUID", path: uuid.NewString()},
		{name: "no such slug", path: "nobody"},
	} {
		got, err := store.WorkspaceByPath(t.Context(), tt.path)
		if isNotFound(err) != (tt.want == postgres.Workspace{}) {
			t.Errorf("%s: %v", tt.name, err)
		}
		equal(t, tt.name, tt.want, got)
	}
	list, err := store.Workspaces(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "all", []postgres.Workspace{{UUID: nameless}, team}, list)
}
