package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mergegate/internal/policy"
	"mergegate/internal/server/servertest"
)

func TestPolicyCommands(t *testing.T) {
	t.Parallel()
	w := idleWorld(t)
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(text string) {
		t.Helper()
		w.Must(os.WriteFile(file, []byte(text), 0o600))
	}

	code, out, _ := w.outcome("", "policy", "show")
	w.Equal("the defaults", []any{0, policy.Default}, []any{code, out})
	code, out, _ = w.outcome(policy.Default, "policy", "validate", "-")
	w.Equal("valid", []any{0, "- is a valid policy\n"}, []any{code, out})

	write("rules:\n  - requierd: x\n    rebuild: nevr\n")
	for _, command := range []string{"validate", "apply"} {
		code, _, errs := w.outcome("", "policy", command, file)
		want := fmt.Sprintf("%[1]s:2:5: `requierd`: did you mean `required`?\n%[1]s:3:14: `nevr`: did you mean `never`?\nmergegate: %[1]s is not a valid policy\n", file)
		w.Equal(command, []any{1, want}, []any{code, errs})
	}
	code, _, errs := w.outcome("", "policy", "apply", filepath.Join(t.TempDir(), "none.yaml"))
	if code != 1 || !strings.Contains(errs, "no such file") {
		t.Errorf("no file: %d %s", code, errs)
	}

	write("rules:\n  - {branches: main, freshness: strict}\n")
	code, _, errs = w.outcome("", "policy", "apply", file)
	if code != 1 || !strings.Contains(errs, "no workspace is known yet") {
		t.Errorf("no workspace: %d %s", code, errs)
	}
	w.Equal("first", "version 1 is in force", w.command("policy", "apply", file, "--workspace", "{"+workspaceUUID+"}"))
	w.Equal("again", "version 1 is in force already", w.command("policy", "apply", file))
	w.Equal("shown", "rules:\n  - {branches: main, freshness: strict}", w.command("policy", "show"))

	var shown struct {
		Version   *int64
		AppliedBy *string `json:"applied_by"`
	}
	w.Must(json.Unmarshal([]byte(w.command("policy", "show", "--json")), &shown))
	if *shown.Version != 1 || *shown.AppliedBy != "command line" {
		t.Errorf("shown as %+v", shown)
	}
	table := w.command("policy", "show", "--effective", "acme/widgets", "main")
	for _, want := range []string{"freshness             strict", "rule 1, line 2", "accept_branch_builds  never", `{"allowed":true`} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in\n%s", want, table)
		}
	}
	for _, args := range [][]string{{"--effective", "acme/widgets"}, {"acme/widgets", "main"}} {
		if code, _, _ := w.outcome("", append([]string{"policy", "show"}, args...)...); code != 2 {
			t.Errorf("show %v: exit code %d", args, code)
		}
	}

	w.command("policy", "apply", file, "--workspace", repositoryUUID) // another workspace's, for all this knows
	code, _, errs = w.outcome("", "policy", "show")
	if code != 2 || !strings.Contains(errs, "several workspaces are known") || !strings.Contains(errs, workspaceUUID) {
		t.Errorf("several: %d %s", code, errs)
	}
	if code, _, errs = w.outcome("", "policy", "show", "--workspace", "nobody"); code != 1 {
		t.Errorf("unknown: %d %s", code, errs)
	}
}

// TestPolicyCommandsOfARunningService have no database, only its address and a
// token.
func TestPolicyCommandsOfARunningService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Built(commit('1'), "success")
	w.Expect("passed", "")
	far := w.withEnv(map[string]string{"MERGEGATE_URL": w.URL, "MERGEGATE_TOKEN": w.Token, "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"})
	file := filepath.Join(t.TempDir(), "policy.yaml")
	w.Must(os.WriteFile(file, []byte("rules:\n  - {branches: main, freshness: strict}\n"), 0o600))

	w.Equal("the defaults", strings.TrimSpace(policy.Default), far.command("policy", "show", "--workspace", "acme"))
	simulation := far.command("policy", "simulate", file, "--workspace", "acme")
	if !strings.Contains(simulation, "1 decision on merging") || !strings.Contains(simulation, "acme/widgets") {
		t.Errorf("simulated:\n%s", simulation)
	}
	w.Equal("first", "version 1 is in force", far.command("policy", "apply", file, "--workspace", "acme"))
	w.Equal("again", "version 1 is in force already", far.command("policy", "apply", file, "--workspace", "acme"))
	if table := far.command("policy", "show", "--effective", "widgets", "main", "--workspace", "acme"); !strings.Contains(table, "freshness             strict") {
		t.Errorf("effective:\n%s", table)
	}
	w.Expect("stale_destination", "")
	w.Equal("the only workspace", far.command("policy", "show", "--workspace", "acme"), far.command("policy", "show"))
	if code, _, errs := far.outcome("", "policy", "show", "--workspace", "nobody"); code != 1 {
		t.Errorf("an unknown workspace: %d %s", code, errs)
	}
}

// TestPolicySimulateCommand tells people and programs what a policy would have changed.
func TestPolicySimulateCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Built(commit('1'), "failed")
	w.Expect("failed", "")
	w.Put(servertest.PullRequest(commit('2')))
	w.Built(commit('2'), "success")
	w.Expect("passed", "")

	const frozen = "rules: [{branches: main, freezes: {name: for ever, from: 2020-01-01, until: 2100-01-01}}]\n"
	const allowed = "rules: [{skip: {name: everything, branches: main}}]\n"
	code, out, errs := w.outcome(frozen, "policy", "simulate", "-", "--since", "1h")
	for _, want := range []string{"2 decisions on merging since ", "2 judged.", "Newly blocked:", "acme/widgets  frozen  1          #7", "Newly allowed: none."} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s%s", want, out, errs)
		}
	}
	w.Equal("exit code", 0, code)
	_, out, _ = w.outcome(allowed, "policy", "simulate", "-", "--json")
	var got struct {
		Since string
		policy.Simulation
	}
	w.Must(json.Unmarshal([]byte(out), &got))
	if len(got.Allowed) != 1 || got.Since == "" {
		t.Errorf("in JSON: %s", out)
	}
	if code, _, _ := w.outcome(frozen, "policy", "simulate", "-", "--since", "yesterday"); code != 2 {
		t.Errorf("no time: exit code %d", code)
	}
}
