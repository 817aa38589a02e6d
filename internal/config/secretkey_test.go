package config

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mergegate/internal/sealed"
)

func TestOwnSecretKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var group sync.WaitGroup
	made := make([][][]byte, 8)
	for i := range made {
		group.Go(func() {
			var err error
			if made[i], err = OwnSecretKey(dir); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, keys := range made {
		if len(keys) != 1 || len(keys[0]) != sealed.KeySize || !bytes.Equal(keys[0], made[0][0]) {
			t.Fatalf("keys %x", made)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "secret.key" {
		t.Errorf("in the folder: %v, %v", left, err)
	}
	info, err := os.Stat(filepath.Join(dir, "secret.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestDamagedSecretKeysAreFaults(t *testing.T) {
	t.Parallel()
	whole := base64.StdEncoding.EncodeToString(make([]byte, sealed.KeySize))
	for name, content := range map[string]string{
		"empty": "", "a line break": "\n", "commas": " , ,", "cut off": whole[:20], "a byte short": base64.StdEncoding.EncodeToString(make([]byte, sealed.KeySize-1)),
		"zeroes of a crash": strings.Repeat("\x00", 44), "something else": "secret",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "secret.key")
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			keys, err := OwnSecretKey(dir)
			if !errors.As(err, new(Error)) || !strings.Contains(err.Error(), file) || len(keys) != 0 {
				t.Errorf("%d keys, %v", len(keys), err)
			}
			if after, _ := os.ReadFile(file); string(after) != content {
				t.Errorf("the file was changed to %q", after)
			}
		})
	}
}

func TestVariablesWithoutAValueInThemAreFaults(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"MERGEGATE_SECRET_KEY": ",", "MERGEGATE_APPVEYOR_WEBHOOK_SECRET": " , ", "MERGEGATE_BITBUCKET_WEBHOOK_SECRET": ",", "MERGEGATE_FORGE_APP_ID": ",",
		"MERGEGATE_FORGE_ENVIRONMENTS": ",", "MERGEGATE_APPVEYOR_ACCOUNTS": ",", "MERGEGATE_APPVEYOR_TOKEN": ",,", "MERGEGATE_WEBHOOK_NETWORKS": ",",
		"MERGEGATE_SECRET_KEY_FILE": empty, "MERGEGATE_APPVEYOR_WEBHOOK_SECRET_FILE": empty, "DATABASE_URL_FILE": empty,
	} {
		_, err := Load(EnvironOf(map[string]string{name: value}))
		if !errors.As(err, new(Error)) || !strings.Contains(err.Error(), name+": ") {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}
