package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/server/servertest"
)

// TestOwnDatabase runs the program with nothing prepared: an empty home and no
// DATABASE_URL.
func TestOwnDatabase(t *testing.T) {
	t.Parallel()
	home := servertest.ShortTempDir(t)
	w := newWorld(t, "DATABASE_URL=", "HOME="+home, "XDG_DATA_HOME=")
	w.Built(commit('1'), "success")

	second := programCommand(t, w.Env, "serve")
	out, err := second.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "another mergegate serves from") {
		t.Errorf("a second serve: %v\n%s", err, out)
	}
	if list := w.command("projects", "list"); !strings.Contains(list, "acme/widgets") {
		t.Errorf("projects list: %s", list)
	}

	_ = w.stop(syscall.SIGKILL)
	w.start()
	w.Expect("passed", "AppVeyor build 1.0.1 passed")
	if err := w.stop(syscall.SIGTERM); err != nil {
		t.Errorf("ended with %v", err)
	}
	for _, args := range []string{"projects list", "token create --name x --scope read", "migrate status", "migrate up"} {
		code, out, errs := w.outcome("", strings.Fields(args)...)
		if code != 2 || out != "" || !strings.Contains(errs, "Set MERGEGATE_URL and MERGEGATE_TOKEN") {
			t.Errorf("%s without a service: exit code %d\n%s%s", args, code, out, errs)
		}
	}
	if _, err := os.Stat(filepath.Join(home, ".local", "share", "mergegate")); err != nil {
		t.Error(err)
	}
}

// TestDraining asks for readiness while the program shuts down.
func TestDraining(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Must(w.program.cmd.Process.Signal(syscall.SIGTERM))
	w.Eventually("/readyz says that it drains", func() bool {
		return w.Do(http.MethodGet, "/readyz", "", nil).Status == http.StatusServiceUnavailable
	})
	if err := w.stop(syscall.SIGTERM); err != nil {
		t.Errorf("ended with %v", err)
	}
}

// TestReplayAndBackfill recovers what a wrong configuration ignored, and what
// AppVeyor built before anybody listened.
func TestReplayAndBackfill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_APPVEYOR_ACCOUNTS=other=acme")
	b := w.Build(commit('1'), "success")
	w.Notify(b)
	if d := w.Settled()[0]; d.Outcome != "ignored" {
		t.Fatalf("delivery %+v", d)
	}
	_ = w.stop(syscall.SIGTERM)
	w.Env["MERGEGATE_APPVEYOR_ACCOUNTS"] = "acme=acme"
	w.start()
	w.Expect("no_build", "")
	if out := w.command("deliveries", "replay", "--since", "1d"); out != "1 deliveries queued" {
		t.Errorf("replay printed %q", out)
	}
	w.Shows(commit('1'), "SUCCESSFUL")
	if d := w.Settled()[0]; d.Outcome != "processed" {
		t.Errorf("delivery %+v", d)
	}
	if res := w.Post("/api/v1/deliveries/"+w.Settled()[0].ID+"/replay", w.Token, ""); res.Status != http.StatusAccepted {
		t.Errorf("replay answered %d %s", res.Status, res.Body)
	}

	for i := range 120 {
		w.Build(fmt.Sprintf("%040x", i+1), "success", func(b *appveyortest.Build) { b.PullRequestID = int64(100 + i) })
	}
	if out := w.command("projects", "backfill", "acme/widgets", "--since", "1d"); out != "121 builds looked at, 120 confirmed" {
		t.Errorf("backfill printed %q", out)
	}
	if out := w.command("projects", "backfill", "acme/widgets", "--since", "1d"); out != "121 builds looked at, 0 confirmed" {
		t.Errorf("a second backfill printed %q", out)
	}
}

// TestForgeAppsTokenSurvivesARestart gets the app's token with an event, and
// posts a status with it after a restart.
func TestForgeAppsTokenSurvivesARestart(t *testing.T) {
	t.Parallel()
	const systemToken = "app-system-token-55d0"
	w := newWorld(t, "MERGEGATE_BITBUCKET_TOKEN=", "MERGEGATE_SECRET_KEY="+base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32))))
	w.Bitbucket.RevokeToken(servertest.BitbucketToken)
	w.Bitbucket.AllowToken(systemToken, "acme")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/forge/events", strings.NewReader(`{"eventType":"avi:forge:installed:app"}`))
	w.Must(err)
	req.Header.Set("Authorization", "Bearer "+w.Forge.Token())
	req.Header.Set("x-forge-oauth-system", systemToken)
	if res := servertest.Send(t, req); res.Status != http.StatusAccepted {
		t.Fatalf("the event was answered %d %s", res.Status, res.Body)
	}
	_ = w.stop(syscall.SIGKILL)
	w.start()
	w.Check(servertest.Event("on-merge")) // links the repository
	w.Built(commit('1'), "success")
}
