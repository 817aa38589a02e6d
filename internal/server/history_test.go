package server_test

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

func TestUnchangedListsAreNotSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Built(commit('1'), "failed")
	const path = "/api/v1/repositories/acme/widgets/builds"
	first := w.Fetch(path)
	tag := first.Header.Get("ETag")
	if first.Status != http.StatusOK || tag == "" {
		t.Fatalf("answered %d with ETag %q", first.Status, tag)
	}
	for _, given := range []string{tag, `"other", ` + tag, strings.TrimPrefix(tag, "W/"), "*"} {
		if again := w.Fetch(path, "If-None-Match", given); again.Status != http.StatusNotModified || len(again.Body) != 0 {
			t.Errorf("If-None-Match %s: answered %d %s", given, again.Status, again.Body)
		}
	}
	w.Must(w.Bitbucket.AddCommit(repository, commit('2')))
	w.Built(commit('2'), "success")
	if again := w.Fetch(path, "If-None-Match", tag); again.Status != http.StatusOK || again.Header.Get("ETag") == tag {
		t.Errorf("after another build: answered %d with ETag %q", again.Status, again.Header.Get("ETag"))
	}
}

func TestAnswersAreCompressed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plain := w.Fetch("/openapi.yaml")
	packed := w.Fetch("/openapi.yaml", "Accept-Encoding", "gzip")
	if plain.Header.Get("Content-Encoding") != "" || packed.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("encodings %q and %q", plain.Header.Get("Content-Encoding"), packed.Header.Get("Content-Encoding"))
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed.Body))
	w.Must(err)
	unpacked, err := io.ReadAll(reader)
	w.Must(err)
	if !bytes.Equal(plain.Body, unpacked) || len(packed.Body)*3 > len(plain.Body) {
		t.Errorf("%d bytes became %d, and %d again", len(plain.Body), len(packed.Body), len(unpacked))
	}
}

func TestExportIsEveryBuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const path = "/api/v1/repositories/acme/widgets/builds"
	w.Must(w.Bitbucket.AddCommit(repository, commit('2')))
	w.Built(commit('1'), "failed")
	w.Built(commit('2'), "success")
	w.Built(commit('1'), "success")
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
		res := w.Fetch(path+tt.query, "Accept", "application/x-ndjson")
		if res.Status != http.StatusOK || res.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Fatalf("%s: answered %d %s", tt.name, res.Status, res.Header.Get("Content-Type"))
		}
		var got []string
		lines := bufio.NewScanner(bytes.NewReader(res.Body))
		for lines.Scan() {
			var build struct{ State string }
			w.Must(json.Unmarshal(lines.Bytes(), &build))
			got = append(got, build.State)
		}
		if strings.Join(got, " ") != strings.Join(tt.want, " ") {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	// More than are read at a time.
	store, err := postgres.Open(t.Context(), w.Database, postgres.Options{})
	w.Must(err)
	defer store.Close()
	const most = 1100
	for id := range most {
		w.Must(recordNumbered(t.Context(), store, int64(10_000+id)))
	}
	res := w.Fetch(path, "Accept", "application/x-ndjson")
	if lines := bytes.Count(res.Body, []byte("\n")); lines != most+3 || !strings.Contains(string(res.Body), `"build_id":10000,`) {
		t.Errorf("%d builds are exported, want %d", lines, most+3)
	}
	if res := w.Fetch(path+"?state=green", "Accept", "application/x-ndjson"); res.Status != http.StatusBadRequest {
		t.Errorf("a bad filter was answered %d", res.Status)
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Expect("no_build", "") // whereby the head is known
	w.Built(commit('1'), "running")
	w.Check(event("on-code-pushed")) // which is no attempt to merge
	w.Built(commit('1'), "failed")
	w.Expect("failed", "")
	w.Expect("failed", "")
	w.Built(commit('1'), "success")
	w.Expect("passed", "")
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
	w.Get(path, &stats)
	if stats.Builds.Total != 3 || stats.Builds.ByState["failed"] != 1 || stats.Builds.ByState["running"] != 1 || stats.PassRate != 0.5 || stats.Duration == nil || stats.Push == nil {
		t.Errorf("builds %+v", stats)
	}
	if m := stats.Merges; m.Passed != 1 || m.Blocked != 2 || m.By["failed"] != 1 || m.By["no_build"] != 1 {
		t.Errorf("merge checks %+v", m)
	}
	w.Get(path+"?until=2020-01-01", &stats)
	if stats.Builds.Total != 0 || stats.Merges.Passed != 0 {
		t.Errorf("long ago %+v", stats)
	}
	for _, query := range []string{"?since=2026-01-02&until=2026-01-01", "?since=2020-01-01", "?since=yesterday", "?from=2026-01-01"} {
		if res := w.Do(http.MethodGet, path+query, w.Token, nil); res.Status != http.StatusBadRequest {
			t.Errorf("%s was answered %d %s", query, res.Status, res.Body)
		}
	}
}

// TestDocsAreReadable asks for the page and for what it loads, all of it here.
func TestDocsAreReadable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	page := w.Fetch("/docs")
	if page.Status != http.StatusOK || !strings.Contains(string(page.Body), "/openapi.yaml") {
		t.Fatalf("answered %d %s", page.Status, page.Body)
	}
	for _, file := range []string{"swagger-ui.css", "swagger-ui-bundle.js"} {
		if !strings.Contains(string(page.Body), file) {
			t.Errorf("the page doesn't load %s:\n%s", file, page.Body)
		}
		if res := w.Fetch("/docs/" + file); res.Status != http.StatusOK || len(res.Body) < 10_000 {
			t.Errorf("%s was answered %d with %d bytes", file, res.Status, len(res.Body))
		}
	}
	if strings.Contains(string(page.Body), "https://") && !strings.Contains(page.Header.Get("Content-Security-Policy"), "default-src 'self'") {
		t.Error("the page may load from elsewhere")
	}
}
