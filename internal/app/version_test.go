package app

import (
	"runtime/debug"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBuildOf(t *testing.T) {
	t.Parallel()
	const hash, on = "0949777b1c0d7e6f1f53c6b0a6c1de2f3a4b5c6d", "2026-11-22T10:00:00Z"
	settings := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs.revision", Value: hash}, {Key: "vcs.time", Value: on}, {Key: "vcs.modified", Value: modified}}
	}
	tests := []struct {
		name   string
		info   *debug.BuildInfo
		linked Build
		want   Build
	}{
		{name: "nothing is noted", want: Build{Version: "unknown", Commit: "unknown", Date: "unknown"}},
		{name: "without a repository", info: &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, want: Build{Version: "unknown", Commit: "unknown", Date: "unknown"}},
		{name: "in a repository", info: &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: settings("false")}, want: Build{Version: "v1.2.3", Commit: hash, Date: on}},
		{name: "with changes", info: &debug.BuildInfo{Settings: settings("true")}, want: Build{Version: "unknown", Commit: hash + " (modified)", Date: on}},
		{name: "in an image", info: &debug.BuildInfo{}, linked: Build{Version: "1.2.3", Commit: hash, Date: on}, want: Build{Version: "1.2.3", Commit: hash, Date: on}},
		{name: "a release in a repository", info: &debug.BuildInfo{Settings: settings("false")}, linked: Build{Version: "1.2.3"}, want: Build{Version: "1.2.3", Commit: hash, Date: on}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, buildOf(tt.info, tt.linked)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
