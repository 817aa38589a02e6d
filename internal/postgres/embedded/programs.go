package embedded

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// oldest is the first major version of PostgreSQL that the schema works with.
const oldest = 14

// usualFolders is where packages put PostgreSQL's programs: Debian and Ubuntu, Red Hat's family
// and SUSE, Homebrew on Apple silicon and on Intel.
var usualFolders = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
}

// NoBinariesError says that the machine lacks the PostgreSQL programs that a data folder needs.
type NoBinariesError struct {
	// Major is the version that made the data; zero when any from 14 on would do.
	Major int
	// Found lists the major versions that are there, newest first.
	Found []int
}

// Error names what to install, with the command.
func (e *NoBinariesError) Error() string {
	if e.Major != 0 {
		return fmt.Sprintf("the data folder was made by PostgreSQL %d, whose programs were not found (found: %s): "+
			"install them with `apt-get install postgresql-%[1]d` (Debian, Ubuntu), `dnf install postgresql%[1]d-server` (Fedora) "+
			"or `brew install postgresql@%[1]d` (macOS), or set DATABASE_URL", e.Major, e.found())
	}
	return fmt.Sprintf("no PostgreSQL %d or newer was found on this machine (found: %s): install it with "+
		"`apt-get install postgresql` (Debian, Ubuntu), `dnf install postgresql-server` (Fedora) "+
		"or `brew install postgresql@17` (macOS), or set DATABASE_URL to use a server elsewhere", oldest, e.found())
}

func (e *NoBinariesError) found() string {
	if len(e.Found) == 0 {
		return "none"
	}
	return strings.Trim(fmt.Sprint(e.Found), "[]")
}

// programs is a folder with initdb and postgres.
type programs struct {
	dir   string
	major int
}

// findPrograms returns the newest programs, or those of one major version when it isn't zero.
func findPrograms(ctx context.Context, folders []string, major int) (programs, error) {
	if folders == nil {
		folders = append(slices.Clone(usualFolders), filepath.SplitList(os.Getenv("PATH"))...)
	}
	missing := &NoBinariesError{Major: major}
	for _, p := range allPrograms(ctx, folders) {
		if p.major == major || major == 0 && p.major >= oldest {
			return p, nil
		}
		missing.Found = append(missing.Found, p.major)
	}
	missing.Found = slices.Compact(missing.Found)
	return programs{}, missing
}

// allPrograms returns what the folders hold, newest first and among equals in the folders' order.
func allPrograms(ctx context.Context, folders []string) []programs {
	var all []programs
	for _, pattern := range folders {
		dirs, _ := filepath.Glob(pattern) // the only error is a malformed pattern, which matches nothing
		for _, dir := range dirs {
			if major := majorOf(ctx, dir); major != 0 {
				all = append(all, programs{dir: dir, major: major})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b programs) int { return cmp.Compare(b.major, a.major) })
	return all
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// majorOf asks the programs in dir for their version; zero when they are not there or don't work.
func majorOf(ctx context.Context, dir string) int {
	if _, err := exec.LookPath(filepath.Join(dir, "initdb")); err != nil {
		return 0
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0
	}
	match := versionLine.FindSubmatch(out)
	if match == nil {
		return 0
	}
	major, _ := strconv.Atoi(string(match[1])) // digits that overflow are no version: zero
	return major
}

// madeBy returns the major version that initialised the data, zero when there is none yet.
func (f folder) madeBy() (int, error) {
	text, err := os.ReadFile(filepath.Join(f.data(), "PG_VERSION"))
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the data's version: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s is not PostgreSQL's: %w", f.data(), err)
	}
	return major, nil
}
