package server_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGeneratedClient has a third party's tool generate a client from the API
// description, which lists builds of the running program.
func TestGeneratedClient(t *testing.T) {
	t.Parallel()
	folder := "../../api/client"
	if _, err := os.Stat(filepath.Join(folder, "node_modules")); err != nil {
		t.Fatal("the packages in api/client are missing: run make test, or npm ci --ignore-scripts there")
	}
	w := newWorld(t)
	w.Must(w.Bitbucket.AddCommit(repository, commit('2')))
	w.Built(commit('1'), "failed")
	w.Built(commit('2'), "success")
	node := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = folder
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	node("npm", "run", "--silent", "generate")
	got := node("node", "list.mjs", w.URL, w.Token, "acme", "widgets")
	want := "1002 success " + commit('2') + "\n1001 failed " + commit('1') + "\n"
	if got != want {
		t.Errorf("the client lists\n%s, want\n%s", got, want)
	}
}
