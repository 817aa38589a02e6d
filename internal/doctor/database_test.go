package doctor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/postgres"
)

// TestDatabaseServersAreJudged is about servers that a test can't have.
func TestDatabaseServersAreJudged(t *testing.T) {
	t.Parallel()
	sound := postgres.Server{Version: "17.2", MayMigrate: true, Fsync: true, FullPages: true, Synchronous: true}
	tests := []struct {
		name   string
		change func(*postgres.Server)
		want   string // the checks that aren't ok, with their state
	}{
		{name: "sound", change: func(*postgres.Server) {}},
		{name: "old", change: func(s *postgres.Server) { s.Old = true }, want: "database fault"},
		{name: "a standby", change: func(s *postgres.Server) { s.Standby, s.ReadOnly = true, true }, want: "database writable fault"},
		{name: "read-only", change: func(s *postgres.Server) { s.ReadOnly = true }, want: "database writable fault"},
		{name: "not ours", change: func(s *postgres.Server) { s.MayMigrate = false }, want: "database writable fault"},
		{name: "without fsync", change: func(s *postgres.Server) { s.Fsync = false }, want: "database durability fault"},
		{name: "without full pages", change: func(s *postgres.Server) { s.FullPages = false }, want: "database durability fault"},
		{name: "asynchronous", change: func(s *postgres.Server) { s.Synchronous = false }, want: "database durability warning"},
		{name: "pooled", change: func(s *postgres.Server) { s.Pooled = true }, want: "database sessions fault"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := sound
			tt.change(&server)
			var got []string
			for _, f := range judgeServer(server) {
				if f.State != OK {
					got = append(got, fmt.Sprintf("%s %s", f.Check, f.State))
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
				t.Errorf("judged (-want +got):\n%s", diff)
			}
		})
	}
}
