package postgres

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// TestJobQueueSchemaIsNewest fails when River brings a schema that no migration of ours asks for.
func TestJobQueueSchemaIsNewest(t *testing.T) {
	t.Parallel()
	migrator, err := rivermigrate.New(riverpgxv5.New(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	var newest int
	for _, version := range migrator.AllVersions() {
		newest = max(newest, version.Version)
	}
	if diff := cmp.Diff(newest, jobQueueVersion); diff != "" {
		t.Errorf("add a migration to River's newest schema (-River's +ours):\n%s", diff)
	}
}

func TestCheckVersion(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		number int
		want   string
	}{
		{name: "13.14", number: 130014, want: "PostgreSQL 14 or newer is needed, the server is 13.14"},
		{name: "14.0", number: 140000, want: "<nil>"},
		{name: "17.2", number: 170002, want: "<nil>"},
	} {
		if diff := cmp.Diff(tt.want, fmt.Sprint(checkVersion(tt.number, tt.name))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
