//go:build slow

package server_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"mergegate/api"
	"mergegate/internal/server/servertest"
)

// TestFuzzedRequests sends requests derived from the API description, most of
// them wrong somewhere: none may be answered 5xx, and every answer is held to the
// description. API_REQUESTS says how many, API_SEED which: the same ones make a run
// that can be repeated, others find more.
func TestFuzzedRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, servertest.SecretKey)
	w.Must(w.Bitbucket.AddCommit(repository, commit('2')))
	w.Expect("no_build", "")
	w.Built(commit('1'), "failed")
	w.Built(commit('2'), "success")
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	w.Must(err)
	seed := numberOf(t, "API_SEED", 1)
	t.Logf("API_SEED=%d", seed)
	for range 7 { // the ids that requests name, so that what they revoke is not what they are sent with
		w.TokenOf("spare", "read")
	}
	f := &requestFuzzer{
		Rand: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // chance, no secret
		tokens: []string{
			w.TokenOf("admin", "admin"), w.TokenOf("all", "admin,waive,report", servertest.ReportingFor(12064)), w.TokenOf("waive", "waive"), w.TokenOf("report", "report", servertest.ReportingFor(12064)), w.TokenOf("some", "read,waive", servertest.Covering("acme/w*")),
		},
		operations: operations(doc),
	}
	answers := map[int]int{}
	for range numberOf(t, "API_REQUESTS", 10_000) {
		status := f.send(w)
		answers[status]++
		if status >= 500 || t.Failed() {
			t.Fatalf("answered %d: %s", status, f.last)
		}
	}
	t.Logf("answers %v", answers)
	if answers[http.StatusOK] < 100 {
		t.Errorf("too few requests were good to say much: %v", answers)
	}
}

func numberOf(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

type requestFuzzer struct {
	*rand.Rand
	tokens     []string
	operations []operation
	last       string
}

func (f *requestFuzzer) send(w *world) int {
	op := f.operations[f.IntN(len(f.operations))]
	path, query := op.path, url.Values{}
	for _, p := range op.parameters {
		value := f.parameter(p.Value)
		switch p.Value.In {
		case "path":
			path = strings.ReplaceAll(path, "{"+p.Value.Name+"}", url.PathEscape(value))
		case "query":
			if f.IntN(3) == 0 {
				query.Add(p.Value.Name, value)
			}
		}
	}
	if f.IntN(20) == 0 {
		query.Add(f.text(), f.text())
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	var body *strings.Reader
	if op.RequestBody != nil {
		body = strings.NewReader(f.body(op.RequestBody.Value))
	}
	token := f.tokens[1] // which may do everything
	if f.IntN(3) == 0 {
		token = f.tokens[f.IntN(len(f.tokens))]
	}
	f.last = op.method + " " + path
	if body == nil {
		return w.Do(op.method, path, token, nil).Status
	}
	text, size := make([]byte, body.Len()), 0
	size, _ = body.Read(text)
	f.last += " " + string(text[:size])
	return w.Do(op.method, path, token, strings.NewReader(string(text[:size]))).Status
}

// known are values that mean something in this world.
var known = map[string][]string{
	"workspace": {"acme", "{" + workspaceUUID + "}", workspaceUUID}, "repo_slug": {"widgets", "{" + repositoryUUID + "}"},
	"id": {"1", "2", "7"}, "pullrequest_id": {"7"}, "pullrequest": {"7"}, "commit": {commit('1')[:8], commit('2')},
	"project": {"12064", "acme/widgets"}, "state": {"failed", "success", "posted"}, "since": {"2020-01-01", "2026-11-01T00:00:00Z"},
	"until": {"2030-01-01"}, "pagelen": {"1", "100"}, "waiver_id": {"1"}, "message_id": {"1"}, "repository": {"acme/widgets"}, "branch": {"main"},
}

func (f *requestFuzzer) parameter(p *openapi3.Parameter) string {
	if values := known[p.Name]; len(values) > 0 && f.IntN(8) != 0 {
		return values[f.IntN(len(values))]
	}
	return f.text()
}

// texts are what others got wrong before.
var texts = []string{
	"", "0", "-1", "1e9", "9223372036854775807", "9223372036854775808", "null", "true", "%00", "\x00", "a\x00b", "..", "../..", "\xff\xfe", "ΑΩ",
	"'; DROP TABLE builds; --", "*", "**", "{", "{}", "{" + repositoryUUID, strings.Repeat("a", 2000), "2026-13-45", "0001-01-01", "9999-12-31T23:59:60Z",
	"eyJ2IjoxLCJiIjotMX0", "\u202e", "1 OR 1=1", " 7 ", "+7", "0x7", "７",
}

func (f *requestFuzzer) text() string { return texts[f.IntN(len(texts))] }

func (f *requestFuzzer) body(b *openapi3.RequestBody) string {
	media := b.Content.Get("application/json")
	switch {
	case f.IntN(10) == 0 || media == nil:
		return f.text()
	case f.IntN(10) == 0:
		return []string{"[]", "null", "1", `"x"`, "{", `{"a":`, strings.Repeat("[", 5000), `{"reason":{}}`}[f.IntN(8)]
	}
	text, err := json.Marshal(f.value(media.Schema, 0))
	if err != nil {
		return "{}"
	}
	return string(text)
}

// value is one that the schema describes, or nearly.
func (f *requestFuzzer) value(ref *openapi3.SchemaRef, depth int) any {
	if ref == nil || ref.Value == nil || depth > 6 {
		return f.text()
	}
	s := ref.Value
	if len(s.OneOf) > 0 {
		return f.value(s.OneOf[f.IntN(len(s.OneOf))], depth+1)
	}
	if len(s.Enum) > 0 && f.IntN(10) != 0 {
		return s.Enum[f.IntN(len(s.Enum))]
	}
	if f.IntN(15) == 0 {
		return []any{nil, f.text(), -1, 1.5, []any{}, map[string]any{}, true}[f.IntN(7)]
	}
	switch {
	case s.Type.Includes("object"):
		object := map[string]any{}
		for name, property := range s.Properties {
			if slices.Contains(s.Required, name) && f.IntN(15) != 0 || f.IntN(2) == 0 {
				object[name] = f.named(name, property, depth)
			}
		}
		if f.IntN(20) == 0 {
			object[f.text()] = f.text()
		}
		return object
	case s.Type.Includes("array"):
		list := []any{}
		for range f.IntN(4) {
			list = append(list, f.value(s.Items, depth+1))
		}
		return list
	case s.Type.Includes("integer"), s.Type.Includes("number"):
		return []any{1, 7, 12064, 0, -1, 1 << 62}[f.IntN(6)]
	case s.Type.Includes("boolean"):
		return f.IntN(2) == 0
	case s.Type.Includes("null") && f.IntN(2) == 0:
		return nil
	case s.Format == "date-time":
		return []string{"2026-11-22T00:00:00Z", "2099-01-01T00:00:00+02:00", f.text()}[f.IntN(3)]
	default:
		return f.text()
	}
}

func (f *requestFuzzer) named(name string, property *openapi3.SchemaRef, depth int) any {
	good := map[string]any{
		"commit": commit('1'), "slug": "acme/widgets", "reason": "because", "expires": "1h", "document": "rules: []", "version": "1.0",
		"url": "https://example.com/hook", "branch": "main", "state": "success",
	}
	if value, ok := good[name]; ok && f.IntN(4) != 0 {
		return value
	}
	return f.value(property, depth+1)
}
