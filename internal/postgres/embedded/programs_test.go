package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMissingPrograms(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		installed []string // what each installed `postgres --version` says
		data      string   // PG_VERSION of existing data
		want      string
	}{
		{
			name: "nothing installed",
			want: "no PostgreSQL 14 or newer was found on this machine (found: none): install it with " +
				"`apt-get install postgresql` (Debian, Ubuntu), `dnf install postgresql-server` (Fedora) " +
				"or `brew install postgresql@17` (macOS), or set DATABASE_URL to use a server elsewhere",
		},
		{
			name:      "too old",
			installed: []string{"postgres (PostgreSQL) 9.6.24", "postgres (PostgreSQL) 13.14"},
			want: "no PostgreSQL 14 or newer was found on this machine (found: 13 9): install it with " +
				"`apt-get install postgresql` (Debian, Ubuntu), `dnf install postgresql-server` (Fedora) " +
				"or `brew install postgresql@17` (macOS), or set DATABASE_URL to use a server elsewhere",
		},
		{
			name:      "data of a version that is gone",
			installed: []string{"postgres (PostgreSQL) 17.2", "postgres (PostgreSQL) 18beta1 (Debian 18~beta1)"},
			data:      "15\n",
			want: "the data folder was made by PostgreSQL 15, whose programs were not found (found: 18 17): " +
				"install them with `apt-get install postgresql-15` (Debian, Ubuntu), `dnf install postgresql15-server` (Fedora) " +
				"or `brew install postgresql@15` (macOS), or set DATABASE_URL",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at, err := openFolder(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if tt.data != "" {
				writeFile(t, filepath.Join(at.data(), "PG_VERSION"), tt.data, 0o600)
			}
			_, err = Start(t.Context(), at.root, Options{folders: []string{install(t, tt.installed)}})
			var missing *NoBinariesError
			if !errors.As(err, &missing) {
				t.Fatalf("Start: %v, want a NoBinariesError", err)
			}
			if diff := cmp.Diff(tt.want, missing.Error()); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFindPrograms(t *testing.T) {
	t.Parallel()
	pattern := install(t, []string{"postgres (PostgreSQL) 14.1", "postgres (PostgreSQL) 17.2", "postgres (EnterpriseDB) 99", "postgres (PostgreSQL) 15.3"})
	for _, tt := range []struct {
		name        string
		major, want int
	}{
		{name: "newest", want: 17},
		{name: "the data's", major: 15, want: 15},
	} {
		found, err := findPrograms(t.Context(), []string{pattern}, tt.major)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, found.major); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// install makes programs that only know their version and returns the pattern that finds them.
func install(t *testing.T, versions []string) string {
	t.Helper()
	root := t.TempDir()
	for i, version := range versions {
		dir := filepath.Join(root, fmt.Sprint(i), "bin")
		writeFile(t, filepath.Join(dir, "initdb"), "#!/bin/sh\n", 0o700)
		writeFile(t, filepath.Join(dir, "postgres"), "#!/bin/sh\necho '"+version+"'\n", 0o700)
	}
	return filepath.Join(root, "*", "bin")
}

func writeFile(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
