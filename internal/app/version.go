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

// commit and date are set in the same way for a build without its repository, as an image's is. "": Go's.
var commit, date string

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
	return buildOf(info, Build{Version: Version, Commit: commit, Date: date})
}

// moduleVersion is what Go made of the repository's tags, "" where it couldn't.
func moduleVersion(info *debug.BuildInfo) string {
	if info == nil || info.Main.Version == "(devel)" {
		return ""
	}
	return info.Main.Version
}

// buildOf is what the linker was told, else what Go notes of the build.
func buildOf(info *debug.BuildInfo, linked Build) Build {
	noted := map[string]string{}
	if info != nil {
		for _, setting := range info.Settings {
			noted[setting.Key] = setting.Value
		}
	}
	revision := noted["vcs.revision"]
	if revision != "" && noted["vcs.modified"] == "true" {
		revision += " (modified)"
	}
	return Build{
		Version: cmp.Or(linked.Version, moduleVersion(info), unknown),
		Commit:  cmp.Or(linked.Commit, revision, unknown),
		Date:    cmp.Or(linked.Date, noted["vcs.time"], unknown),
	}
}
