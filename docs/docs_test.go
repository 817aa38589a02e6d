// Package docs_test holds what docs says of the code to the code.
package docs_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = ".."

// TestPathsThatAreNamed fails for a file that was moved or renamed, and for a test. So
// few would say that the pages aren't read as they are written.
func TestPathsThatAreNamed(t *testing.T) {
	t.Parallel()
	path := regexp.MustCompile("`((?:internal|cmd|api|migrations|docs|manifest)/[^`\\s*]+)`")
	test := regexp.MustCompile("`((?:Test|Benchmark|Fuzz)[A-Z]\\w*)`")
	tests := declaredTests(t)
	for _, tt := range []struct {
		page         string
		paths, tests int // at least
	}{
		{page: "docs/architecture.md", paths: 40},
		{page: "CONTRIBUTING.md", paths: 40, tests: 20},
	} {
		t.Run(tt.page, func(t *testing.T) {
			t.Parallel()
			text := read(t, tt.page)
			paths := named(path, text)
			for _, p := range paths {
				if _, err := os.Stat(filepath.Join(root, p)); err != nil {
					t.Errorf("it names %s, which isn't there", p)
				}
			}
			names := named(test, text)
			for _, name := range names {
				if !tests[name] {
					t.Errorf("it names %s, which is no test", name)
				}
			}
			if len(paths) < tt.paths || len(names) < tt.tests {
				t.Errorf("it names %d paths and %d tests, want %d and %d or more", len(paths), len(names), tt.paths, tt.tests)
			}
		})
	}
}

// TestStopsOfTheWalks fails where a walk names a function that its file doesn't declare.
func TestStopsOfTheWalks(t *testing.T) {
	t.Parallel()
	stop := regexp.MustCompile("(?m)^\\d+\\. .*?`([^`]+\\.go)` — `(\\w+)`")
	stops := stop.FindAllStringSubmatch(read(t, "docs/architecture.md"), -1)
	if len(stops) < 18 {
		t.Errorf("the walks have %d stops", len(stops))
	}
	for _, match := range stops {
		declared := regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + match[2] + `\(`)
		if !declared.MatchString(read(t, match[1])) {
			t.Errorf("%s declares no function %s", match[1], match[2])
		}
	}
}

var (
	nodePattern  = regexp.MustCompile(`(?m)^  (\w+)\["([^"]+)"\]$`)
	arrowPattern = regexp.MustCompile(`(?m)^  (\w+) --> (\w+)$`)
)

// TestFloors holds the picture of the floors to the imports: it has every package, all
// imports lead down or stay on a floor, and every arrow is there for an import.
func TestFloors(t *testing.T) {
	t.Parallel()
	_, picture, _ := strings.Cut(read(t, "docs/architecture.md"), "```mermaid\nflowchart TD\n")
	picture, _, _ = strings.Cut(picture, "```")
	floors, node := map[string]int{}, map[string]string{} // by package
	for i, match := range nodePattern.FindAllStringSubmatch(picture, -1) {
		for name := range strings.SplitSeq(match[2], ", ") {
			floors[name], node[name] = i, match[1]
		}
	}
	arrows := map[string]bool{} // whether an import is found for it
	for _, match := range arrowPattern.FindAllStringSubmatch(picture, -1) {
		arrows[match[1]+" --> "+match[2]] = false
	}
	if len(floors) == 0 || len(arrows) == 0 {
		t.Fatal("there is no picture of the floors")
	}
	var drawn []string
	for name, imports := range packages(t) {
		if standsIn(name) {
			continue
		}
		drawn = append(drawn, name)
		for _, to := range imports {
			if name == "demo" && standsIn(to) {
				continue
			}
			if floors[to] < floors[name] {
				t.Errorf("%s imports %s, which is on a higher floor", name, to)
			}
			if arrow := node[name] + " --> " + node[to]; node[name] != node[to] {
				if _, is := arrows[arrow]; is {
					arrows[arrow] = true
				}
			}
		}
	}
	known := make([]string, 0, len(floors))
	for name := range floors {
		known = append(known, name)
	}
	slices.Sort(known)
	slices.Sort(drawn)
	if diff := cmp.Diff(drawn, known); diff != "" {
		t.Errorf("packages (-there +drawn):\n%s", diff)
	}
	for arrow, found := range arrows {
		if !found {
			t.Errorf("no import is as drawn: %s", arrow)
		}
	}
}

// standsIn reports whether a package is no part of the service: a stand-in, or bench.
func standsIn(name string) bool {
	return name == "standin" || name == "bench" || strings.HasSuffix(name, "test") || strings.Contains(name, "test/")
}

// packages are mergegate's packages with what they import of each other, without tests.
// Those under internal are called as there.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	imports := map[string][]string{}
	for _, path := range goFiles(t) {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := strings.CutPrefix(filepath.ToSlash(filepath.Dir(path)), root+"/")
		name = strings.TrimPrefix(name, "internal/")
		if imports[name] == nil {
			imports[name] = []string{} // one that imports nothing is there too
		}
		for _, spec := range file.Imports {
			if to, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), "mergegate/"); ours {
				imports[name] = append(imports[name], strings.TrimPrefix(to, "internal/"))
			}
		}
	}
	return imports
}

// declaredTests are the names of all Go tests, benchmarks and fuzz targets.
func declaredTests(t *testing.T) map[string]bool {
	t.Helper()
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
	names := map[string]bool{}
	for _, path := range goFiles(t) {
		if !strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range declaration.FindAllStringSubmatch(string(text), -1) {
			names[match[1]] = true
		}
	}
	return names
}

// goFiles are those of the module.
func goFiles(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (entry.Name() == "node_modules" || strings.HasPrefix(entry.Name(), ".")):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go"):
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// named is what a pattern's first group finds, each once.
func named(pattern *regexp.Regexp, text string) []string {
	var list []string
	for _, match := range pattern.FindAllStringSubmatch(text, -1) {
		list = append(list, match[1])
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
