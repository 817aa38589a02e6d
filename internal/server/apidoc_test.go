package server_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"mergegate/internal/server/servertest"
)

var (
	shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```(?:\n\n```json\n(.*?)```)?")
	jsonStart  = regexp.MustCompile(`^\s*\{`)
)

// TestWalkThroughTheAPI runs every command of docs/api.md in one shell, and holds
// each answer to the keys that are shown for it.
func TestWalkThroughTheAPI(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := shellBlock.FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 8 {
		t.Fatalf("docs/api.md has %d commands", len(blocks))
	}
	w := newWorld(t, servertest.SecretKey)
	w.Expect("no_build", "")
	w.Must(w.Bitbucket.AddCommit(repository, commit('2')))
	w.Built(commit('2'), "success")
	w.Built(commit('1'), "failed")
	w.Expect("failed", "")
	env := append(os.Environ(),
		"MERGEGATE_URL="+w.URL, "MERGEGATE_TOKEN="+w.TokenOf("walk", "read,waive", servertest.Covering("acme/*"), servertest.ValidFor(24*time.Hour)),
		"ADMIN_TOKEN="+w.Token, "REPORT_TOKEN="+w.TokenOf("report", "report", servertest.ReportingFor(12064)),
		"APPVEYOR_PULL_REQUEST_NUMBER=7", "APPVEYOR_PULL_REQUEST_HEAD_COMMIT="+commit('1'),
	)
	for _, block := range blocks {
		command, shown := block[1], block[2]
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", command)
		cmd.Env = env
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s%v\n%s%s", command, err, out, stderr.String())
		}
		if shown == "" {
			continue
		}
		var want, got map[string]any
		w.Must(json.Unmarshal([]byte(shown), &want))
		if !jsonStart.Match(out) || json.Unmarshal(out, &got) != nil {
			t.Errorf("%sanswers %s", command, out)
		}
		for key, value := range want {
			if _, there := got[key]; !there {
				t.Errorf("%sanswers without %q: %s", command, key, out)
			}
			if text, ok := value.(string); ok && key != "next_step" && text != "" && !strings.HasPrefix(text, "whsec_") && key != "id" && key != "message" && got[key] != value {
				t.Errorf("%sanswers %q: %v, not %v", command, key, got[key], value)
			}
		}
	}
}

type operation struct {
	method, path string
	*openapi3.Operation
	parameters openapi3.Parameters
}

// operations are those of the API, in a fixed order, but what needs another's
// signature and what does nothing but send.
func operations(doc *openapi3.T) (list []operation) {
	for path, item := range doc.Paths.Map() {
		if !strings.HasPrefix(path, "/api/v1/") || strings.HasSuffix(path, "/simulate") {
			continue
		}
		for method, op := range item.Operations() {
			list = append(list, operation{method, path, op, append(slices.Clone(item.Parameters), op.Parameters...)})
		}
	}
	slices.SortFunc(list, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return list
}
