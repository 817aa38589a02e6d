package server

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"mergegate/api"
	"mergegate/internal/config"
	"mergegate/internal/forge"
)

// TestRoutesAreThoseOfTheSpecification fails for a route that is not in
// api/openapi.yaml and for one that is only there.
func TestRoutesAreThoseOfTheSpecification(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			want = append(want, method+" "+path)
		}
	}
	// Everything configured, nothing called.
	s := New(Config{Forge: &forge.Verifier{}, AppVeyorSecrets: []string{"x"}, BitbucketSecrets: []config.WebhookSecret{{Secret: "x"}}, Log: slog.New(slog.DiscardHandler)})
	parameter := regexp.MustCompile(`:(\w+)`)
	var got []string
	for _, route := range s.engine.Routes() {
		if strings.HasPrefix(route.Path, docsPath) || route.Path == "/" || strings.HasPrefix(route.Path, "/repositories/") {
			continue // pages, not the API
		}
		got = append(got, route.Method+" "+parameter.ReplaceAllString(route.Path, "{$1}"))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-api/openapi.yaml +server):\n%s", diff)
	}
}

func TestPartsThatAreNotConfiguredHaveNoRoute(t *testing.T) {
	t.Parallel()
	s := New(Config{Log: slog.New(slog.DiscardHandler)})
	for _, route := range s.engine.Routes() {
		if strings.HasPrefix(route.Path, "/webhooks/") || strings.HasPrefix(route.Path, "/forge/") {
			t.Errorf("%s is there without its configuration", route.Path)
		}
	}
}

// TestIncomingPathsMayHaveSlashesTooMany asks without a secret: 401 is the route, 404 is
// none.
func TestIncomingPathsMayHaveSlashesTooMany(t *testing.T) {
	t.Parallel()
	s := New(Config{
		Forge: &forge.Verifier{}, AppVeyorSecrets: []string{"x"}, BitbucketSecrets: []config.WebhookSecret{{Secret: "x"}}, Log: slog.New(slog.DiscardHandler),
	})
	tests := []struct {
		method, path string
		want         int
	}{
		{http.MethodPost, "/webhooks/appveyor", 401},
		{http.MethodPost, "/webhooks/appveyor/", 401},
		{http.MethodPost, "/webhooks//appveyor", 401},
		{http.MethodPost, "//webhooks/appveyor//", 401},
		{http.MethodPost, "/webhooks/bitbucket/", 401},
		{http.MethodPost, "//forge/merge-check", 401},
		{http.MethodPost, "/forge/merge-check/", 401},
		{http.MethodPost, "//forge/events/", 401},
		{http.MethodPost, "/x/../webhooks/appveyor", 404},
		{http.MethodPost, "/webhooks/appveyor/x", 404},
		{http.MethodPost, "/webhooks/", 404},
		{http.MethodGet, "/webhooks/appveyor/", 404},
		{http.MethodGet, "//healthz", 404},
		{http.MethodPost, "//api/v1/repositories/a/b/builds", 404},
		{http.MethodPost, "/api/v1/repositories/a/b/builds/", 404},
		{http.MethodGet, "/api/v1/deliveries/", 404},
		{http.MethodPost, "//docs", 404},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			t.Parallel()
			req := httptest.NewRequest(tt.method, "http://x/", http.NoBody)
			req.URL.Path = tt.path
			res := httptest.NewRecorder()
			s.ServeHTTP(res, req)
			if res.Code != tt.want {
				t.Errorf("answered %d, want %d", res.Code, tt.want)
			}
			if req.URL.Path != tt.path {
				t.Errorf("the request was changed to %s", req.URL.Path)
			}
		})
	}
}
