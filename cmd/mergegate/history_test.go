package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"mergegate/internal/postgres"
)

// fetch gets a path with headers, without following what Go's client does by
// itself with compression.
func (w *world) fetch(path string, headers ...string) response {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url+path, nil)
	w.must(err)
	req.Header.Set("Authorization", "Bearer "+w.token)
	req.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return send(w.t, req)
}

func TestUnchangedListsAreNotSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.built(commit('1'), "failed")
	const path = "/api/v1/repositories/acme/widgets/builds"
	first := w.fetch(path)
	tag := first.header.Get("ETag")
	if first.status != http.StatusOK || tag == "" {
		t.Fatalf("answered %d with ETag %q", first.status, tag)
	}
	for _, given := range []string{tag, `"other", ` + tag, strings.TrimPrefix(tag, "W/"), "*"} {
		if again := w.fetch(path, "If-None-Match", given); again.status != http.StatusNotModified || len(again.body) != 0 {
			t.Errorf("If-None-Match %s: answered %d %s", given, again.status, again.body)
		}
	}
	w.must(w.bb.AddCommit(repository, commit('2')))
	w.built(commit('2'), "success")
	if again := w.fetch(path, "If-None-Match", tag); again.status != http.StatusOK || again.header.Get("ETag") == tag {
		t.Errorf("after another build: answered %d with ETag %q", again.status, again.header.Get("ETag"))
	}
}

func TestAnswersAreCompressed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plain := w.fetch("/openapi.yaml")
	packed := w.fetch("/openapi.yaml", "Accept-Encoding", "gzip")
	if plain.header.Get("Content-Encoding") != "" || packed.header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("encodings %q and %q", plain.header.Get("Content-Encoding"), packed.header.Get("Content-Encoding"))
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed.body))
	w.must(err)
	unpacked, err := io.ReadAll(reader)
	w.must(err)
	if !bytes.Equal(plain.body, unpacked) || len(packed.body)*3 > len(plain.body) {
		t.Errorf("%d bytes became %d, and %d again", len(plain.body), len(packed.body), len(unpacked))
	}
}

func TestExportIsEveryBuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const path = "/api/v1/repositories/acme/widgets/builds"
	w.must(w.bb.AddCommit(repository, commit('2')))
	w.built(commit('1'), "failed")
	w.built(commit('2'), "success")
	w.built(commit('1'), "success")
	tests := []struct {
		name, query string
		want        []string // states
	}{
		{name: "all", want: []string{"success", "success", "failed"}},
		{name: "filtered", query: "?state=failed", want: []string{"failed"}},
		{name: "without pages", query: "?pagelen=1", want: []string{"success", "success", "failed"}},
		{name: "none", query: "?state=queued"},
	}
	for _, tt := range tests {
		res := w.fetch(path+tt.query, "Accept", "application/x-ndjson")
		if res.status != http.StatusOK || res.header.Get("Content-Type") != "application/x-ndjson" {
			t.Fatalf("%s: answered %d %s", tt.name, res.status, res.header.Get("Content-Type"))
		}
		var got []string
		lines := bufio.NewScanner(bytes.NewReader(res.body))
		for lines.Scan() {
			var build struct{ State string }
			w.must(json.Unmarshal(lines.Bytes(), &build))
			got = append(got, build.State)
		}
		if strings.Join(got, " ") != strings.Join(tt.want, " ") {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	// More than are read at a time.
	store, err := postgres.Open(t.Context(), w.database, postgres.Options{})
	w.must(err)
	defer store.Close()
	const most = 1100
	for id := range most {
		w.must(recordNumbered(t.Context(), store, int64(10_000+id)))
	}
	res := w.fetch(path, "Accept", "application/x-ndjson")
	if lines := bytes.Count(res.body, []byte("\n")); lines != most+3 || !strings.Contains(string(res.body), `"build_id":10000,`) {
		t.Errorf("%d builds are exported, want %d", lines, most+3)
	}
	if res := w.fetch(path+"?state=green", "Accept", "application/x-ndjson"); res.status != http.StatusBadRequest {
		t.Errorf("a bad filter was answered %d", res.status)
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.expect("no_build", "") // whereby the head is known
	w.built(commit('1'), "running")
	w.check(event("on-code-pushed")) // which is no attempt to merge
	w.built(commit('1'), "failed")
	w.expect("failed", "")
	w.expect("failed", "")
	w.built(commit('1'), "success")
	w.expect("passed", "")
	var stats struct {
		Builds struct {
			Total   int
			ByState map[string]int `json:"by_state"`
		}
		PassRate float64                     `json:"pass_rate"`
		Duration *struct{ P50, Max float64 } `json:"duration_seconds"`
		Push     *struct{ P50, Max float64 } `json:"push_to_verdict_seconds"`
		Merges   struct {
			Passed, Blocked int
			By              map[string]int `json:"blocked_by_code"`
		} `json:"merge_checks"`
	}
	const path = "/api/v1/repositories/acme/widgets/stats"
	w.get(path, &stats)
	if stats.Builds.Total != 3 || stats.Builds.ByState["failed"] != 1 || stats.Builds.ByState["running"] != 1 || stats.PassRate != 0.5 || stats.Duration == nil || stats.Push == nil {
		t.Errorf("builds %+v", stats)
	}
	if m := stats.Merges; m.Passed != 1 || m.Blocked != 2 || m.By["failed"] != 1 || m.By["no_build"] != 1 {
		t.Errorf("merge checks %+v", m)
	}
	w.get(path+"?until=2020-01-01", &stats)
	if stats.Builds.Total != 0 || stats.Merges.Passed != 0 {
		t.Errorf("long ago %+v", stats)
	}
	for _, query := range []string{"?since=2026-01-02&until=2026-01-01", "?since=2020-01-01", "?since=yesterday", "?from=2026-01-01"} {
		if res := w.do(http.MethodGet, path+query, w.token, nil); res.status != http.StatusBadRequest {
			t.Errorf("%s was answered %d %s", query, res.status, res.body)
		}
	}
}

// TestDocsAreReadable asks for the page and for what it loads, all of it here.
func TestDocsAreReadable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	page := w.fetch("/docs")
	if page.status != http.StatusOK || !strings.Contains(string(page.body), "/openapi.yaml") {
		t.Fatalf("answered %d %s", page.status, page.body)
	}
	for _, file := range []string{"swagger-ui.css", "swagger-ui-bundle.js"} {
		if !strings.Contains(string(page.body), file) {
			t.Errorf("the page doesn't load %s:\n%s", file, page.body)
		}
		if res := w.fetch("/docs/" + file); res.status != http.StatusOK || len(res.body) < 10_000 {
			t.Errorf("%s was answered %d with %d bytes", file, res.status, len(res.body))
		}
	}
	if strings.Contains(string(page.body), "https://") && !strings.Contains(page.header.Get("Content-Security-Policy"), "default-src 'self'") {
		t.Error("the page may load from elsewhere")
	}
}
