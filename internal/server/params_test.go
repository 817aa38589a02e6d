package server

import (
	"encoding/base64"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"mergegate/api"
	"mergegate/internal/postgres"
)

func TestPageTokens(t *testing.T) {
	t.Parallel()
	for _, before := range []int64{1, 42, math.MaxInt64} {
		if got, ok := decodePage(encodePage(before)); !ok || got != before {
			t.Errorf("%d became %d, %v", before, got, ok)
		}
	}
}

func TestForeignPageTokensAreRefused(t *testing.T) {
	t.Parallel()
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	tests := []struct{ name, given string }{
		{name: "empty"},
		{name: "a number", given: "2"},
		{name: "not base64", given: "%%%"},
		{name: "padded", given: base64.URLEncoding.EncodeToString([]byte(`{"v":1,"b":10}`))},
		{name: "not JSON", given: encode("{")},
		{name: "another version", given: encode(`{"v":2,"b":1}`)},
		{name: "zero", given: encode(`{"v":1,"b":0}`)},
		{name: "negative", given: encode(`{"v":1,"b":-1}`)},
		{name: "too large", given: encode(`{"v":1,"b":99999999999999999999}`)},
		{name: "not as it was written", given: encode(`{"b":1,"v":1}`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if before, ok := decodePage(tt.given); ok {
				t.Errorf("accepted as %d", before)
			}
		})
	}
}

func FuzzDecodePage(f *testing.F) {
	f.Add(encodePage(1))
	f.Add("eyJ2IjoxLCJiIjoxfQ")
	f.Add("")
	f.Fuzz(func(t *testing.T, given string) {
		before, ok := decodePage(given)
		if ok && (before <= 0 || encodePage(before) != given) {
			t.Errorf("%q accepted as %d", given, before)
		}
	})
}

// FuzzQuery reads any query string: what comes of it is within bounds, and what
// PostgreSQL can compare with.
func FuzzQuery(f *testing.F) {
	f.Add("pagelen=100&since=2026-01-31&pullrequest=7&state=failed")
	f.Add("since=0001-01-01T00:00:00Z&pagelen=0&state=%00")
	f.Add("pagelen=1&pagelen=2&%zz")
	f.Add("since=9999-12-31T23:59:59%2B23:59&pullrequest=99999999999999999999")
	f.Fuzz(func(t *testing.T, raw string) {
		q := newQuery(&http.Request{URL: &url.URL{RawQuery: raw}}, "pagelen", "since", "pullrequest", "state")
		length, since, id, state := q.pageLength(), q.instant("since"), q.positive("pullrequest"), q.text("state")
		if q.err != nil {
			return
		}
		if length < 1 || length > maxPageLength || id < 0 || !storable(state) {
			t.Errorf("%q is %d, %d, %q", raw, length, id, state)
		}
		if year := since.Year(); !since.IsZero() && (year < 0 || year > 10000) {
			t.Errorf("%q is since %s", raw, since)
		}
	})
}

func TestHasScope(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		scopes []string
		asked  string
		want   bool
	}{
		{name: "read", scopes: []string{"read"}, asked: api.ScopeRead, want: true},
		{name: "admin includes read", scopes: []string{"admin"}, asked: api.ScopeRead, want: true},
		{name: "admin does not include waive", scopes: []string{"admin"}, asked: api.ScopeWaive},
		{name: "admin does not include report", scopes: []string{"admin"}, asked: api.ScopeReport},
		{name: "waive does not include read", scopes: []string{"waive", "report"}, asked: api.ScopeRead},
		{name: "read is not admin", scopes: []string{"read"}, asked: api.ScopeAdmin},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := hasScope(postgres.Token{Scopes: tt.scopes}, tt.asked); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestCoversRepositoriesAndWorkspaces(t *testing.T) {
	t.Parallel()
	tests := []struct {
		glob, repository string
		want, workspace  bool
	}{
		{glob: "**", repository: "acme/widgets", want: true, workspace: true},
		{glob: "**", want: true, workspace: true},
		{glob: "", repository: "acme/widgets"},
		{glob: ""},
		{glob: " ", repository: "acme/widgets"},
		{glob: "*"},
		{glob: "*/*", repository: "acme/widgets", want: true, workspace: true},
		{glob: "ACME/*", repository: "acme/Widgets", want: true, workspace: true},
		{glob: "acme/**", repository: "acme/widgets", want: true, workspace: true},
		{glob: "acme/widgets", repository: "acme/widgets", want: true},
		{glob: "acme/wid*", repository: "acme/widgets", want: true},
		{glob: "*/widgets", repository: "acme/widgets", want: true},
		{glob: "acme/{*,x}", repository: "acme/widgets", want: true},
		{glob: "acm/*", repository: "acme/widgets"},
		{glob: "acme/*"},
		{glob: "other/*", repository: "acme/widgets"},
		{glob: "acme/", repository: "acme/widgets"},
		{glob: "/widgets", repository: "acme/widgets"},
	}
	for _, tt := range tests {
		t.Run(tt.glob+" "+tt.repository, func(t *testing.T) {
			t.Parallel()
			token := postgres.Token{Repository: tt.glob}
			if got := covers(token, tt.repository); got != tt.want {
				t.Errorf("covers: got %v", got)
			}
			workspace, _, _ := strings.Cut(tt.repository, "/")
			if got := coversWorkspace(token, workspace); got != tt.workspace {
				t.Errorf("covers the workspace: got %v", got)
			}
		})
	}
}

func TestIsOneOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		secrets []string
		given   string
		want    bool
	}{
		{name: "the only", secrets: []string{"a"}, given: "a", want: true},
		{name: "the second", secrets: []string{"a", "b"}, given: "b", want: true},
		{name: "none given", secrets: []string{"a"}},
		{name: "empty secret", secrets: []string{""}},
		{name: "none configured", given: "a"},
		{name: "longer", secrets: []string{"a"}, given: "aa"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := isOneOf(tt.secrets, tt.given); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
