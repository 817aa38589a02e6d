package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSecretsFromFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from-file, older\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(EnvironOf(map[string]string{
		"MERGEGATE_APPVEYOR_WEBHOOK_SECRET_FILE": file, "MERGEGATE_APPVEYOR_ACCOUNTS": "Acme={B7EA02C9-0871-4858-A2A6-A190D7DE977C},other=ws",
		"MERGEGATE_APPVEYOR_TOKEN": "Acme=one,other=v2.two",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"from-file", "older"}, cfg.AppVeyorSecrets); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"acme": "one", "other": "v2.two"}, cfg.AppVeyorTokens); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string][]string{"acme": {"b7ea02c9-0871-4858-a2a6-a190d7de977c"}, "other": {"ws"}}, map[string][]string(cfg.Accounts)); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
}

// TestEveryVariableIsDocumented keeps the table and the program from parting.
func TestEveryVariableIsDocumented(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Environment]()) {
		if name := field.Tag.Get("env"); !bytes.Contains(readme, []byte("`"+name+"`")) {
			t.Errorf("docs/configuration.md does not list %s", name)
		}
	}
}
