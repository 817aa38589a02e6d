package app

import (
	"cmp"
	"runtime/debug"
)

// unknown is what isn't told of a build.
const unknown = "unknown"

// Version is the release's, as -ldflags "-X mergegate/internal/app.Version=1.2.3" sets it; else
// what Go notes of the module that was built, else "unknown".
var Version string

// Build is what is known of how the program was built.
type Build struct {
	Version string
	Commit  string // its hash, with " (modified)" where the files weren't as committed
	Date    string // of the commit, RFC 3339
}

func init() {
	info, _ := debug.ReadBuildInfo()
	Version = cmp.Or(Version, moduleVersion(info), unknown)
}

// ReadBuild is the build of this program: what isn't known of it is "unknown".
func ReadBuild() Build {
	info, _ := debug.ReadBuildInfo()
	b := buildOf(info)
	b.Version = Version
	return b
}

// moduleVersion is what Go made of the repository's tags, "" where it couldn't.
func moduleVersion(info *debug.BuildInfo) string {
	if info == nil || info.Main.Version == "(devel)" {
		return ""
	}
	return info.Main.Version
}

func buildOf(info *debug.BuildInfo) Build {
	b := Build{Version: cmp.Or(moduleVersion(info), unknown), Commit: unknown, Date: unknown}
	if info == nil {
		return b
	}
	settings := map[string]string{}
	for _, setting := range info.Settings {
		settings[setting.Key] = setting.Value
	}
	b.Commit, b.Date = cmp.Or(settings["vcs.revision"], unknown), cmp.Or(settings["vcs.time"], unknown)
	if settings["vcs.modified"] == "true" {
		b.Commit += " (modified)"
	}
	return b
}
