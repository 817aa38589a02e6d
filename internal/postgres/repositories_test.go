package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"mergegate/internal/postgres"
)

func isNotFound(err error) bool { return errors.Is(err, postgres.ErrNotFound) }

func TestRepositoryByPath(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	r := postgres.Repository{
		WorkspaceUUID: "0b8d1b5c-0e1f-4a43-9d0a-6d8f3c6a0a01", RepositoryUUID: "0b8d1b5c-0e1f-4a43-9d0a-6d8f3c6a0a02", FullName: "Ws/a_repo",
	}
	link(t, store, r)
	hex := link(t, store, repository("ws/0123456789abcdef0123456789abcdef"))
	link(t, store, repository("ws/axrepo"))
	lost := link(t, store, repository("ws/lost"))
	link(t, store, repository("ws/lost"))
	lost.FullName = ""
	record(t, store, build(1, of("new/repo")))
	tests := []struct {
		name                  string
		workspace, repository string
		want                  postgres.Repository // the zero value: not found
	}{
		{name: "slugs", workspace: "ws", repository: "a_repo", want: r},
		{name: "slugs in upper case", workspace: "WS", repository: "A_REPO", want: r},
		{name: "UUIDs", workspace: r.WorkspaceUUID, repository: r.RepositoryUUID, want: r},
		{name: "UUIDs in braces", workspace: "{" + r.WorkspaceUUID + "}", repository: "{" + r.RepositoryUUID + "}", want: r},
		{name: "UUIDs in upper case", workspace: strings.ToUpper(r.WorkspaceUUID), repository: strings.ToUpper("{" + r.RepositoryUUID + "}"), want: r},
		{name: "workspace by UUID", workspace: r.WorkspaceUUID, repository: "A_Repo", want: r},
		{name: "repository by UUID", workspace: "ws", repository: "{" + r.RepositoryUUID + "}", want: r},
		{name: "a slug like a UUID", workspace: "ws", repository: "0123456789abcdef0123456789abcdef", want: hex},
		{name: "the name lost", workspace: lost.WorkspaceUUID, repository: lost.RepositoryUUID, want: lost},
		{name: "not linked yet", workspace: "new", repository: "repo"},
		{name: "another workspace's", workspace: hex.WorkspaceUUID, repository: r.RepositoryUUID},
		{name: "another workspace's by slug", workspace: "new", repository: r.RepositoryUUID},
		{name: "no such slug", workspace: "ws", repository: "none"},
		{name: "nil UUID", workspace: "00000000-0000-0000-0000-000000000000", repository: r.RepositoryUUID},
		{name: "half a brace", workspace: "{" + r.WorkspaceUUID, repository: r.RepositoryUUID},
		{name: "wrong braces", workspace: "(" + r.WorkspaceUUID + ")", repository: r.RepositoryUUID},
		{name: "URN", workspace: "urn:uuid:" + r.WorkspaceUUID, repository: r.RepositoryUUID},
		{name: "patterns", workspace: "w%", repository: "%"},
		{name: "pattern of one character", workspace: "ws", repository: "_repo"},
		{name: "quotes", workspace: "ws'", repository: `a"b\`},
		{name: "empty", workspace: "", repository: ""},
		{name: "slash", workspace: "ws/a_repo", repository: ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := store.RepositoryByPath(t.Context(), tt.workspace, tt.repository)
			if found := tt.want != (postgres.Repository{}); found != (err == nil) || !found && !isNotFound(err) {
				t.Fatalf("error %v; found: want %t", err, found)
			}
			equal(t, "repository", tt.want, got)
		})
	}
}

func TestWorkspaceUUID(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	r := link(t, store, repository("ws/a"))
	record(t, store, build(1, of("new/repo")))
	for _, tt := range []struct{ name, slug, want string }{
		{name: "known", slug: "ws", want: r.WorkspaceUUID},
		{name: "in upper case", slug: "WS", want: r.WorkspaceUUID},
		{name: "only named by AppVeyor", slug: "new"},
		{name: "never seen", slug: "none"},
		{name: "pattern", slug: "%"},
	} {
		got, err := store.WorkspaceUUID(t.Context(), tt.slug)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, tt.name, tt.want, got)
	}
}
