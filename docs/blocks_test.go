package docs_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mergegate/internal/policy"
)

// runElsewhere are the pages whose commands a test runs as they are written.
var runElsewhere = map[string]string{
	"docs/api.md":     "TestWalkThroughTheAPI in internal/server",
	"docs/install.md": "TestInstallation in cmd/mergegate",
}

// block is a block of code in a page.
type block struct{ before, language, code string }

func blocksOf(t *testing.T, page string) (blocks []block) {
	t.Helper()
	var before string
	var open *block
	for line := range strings.Lines(read(t, page)) {
		language, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case open == nil && isFence:
			open = &block{before: before, language: language}
		case isFence:
			blocks, open = append(blocks, *open), nil
		case open != nil:
			open.code += line
		}
		before = strings.TrimSpace(line)
	}
	return blocks
}

// theirs marks a block that belongs to a page of AppVeyor or Bitbucket.
var theirs = regexp.MustCompile(`^<!-- (AppVeyor|Bitbucket)'s page -->$`)

// TestCodeBlocks holds every block of code in the documentation to what there is: policies
// are read, targets of make and routes of the API are there, and commands of mergegate are
// read by TestDocumentedCommands in internal/cli.
func TestCodeBlocks(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for i := range pages {
		pages[i] = "docs/" + pages[i]
	}
	for _, page := range append(pages, "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md") {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			for _, b := range blocksOf(t, page) {
				if theirs.MatchString(b.before) {
					continue
				}
				switch b.language {
				case "sh":
					if runElsewhere[page] == "" {
						checkCommands(t, b.code)
					}
				case "": // commands that a page has for its reader, and that its test replaces
					checkCommands(t, b.code)
				case "yaml":
					if _, err := policy.Parse([]byte(b.code)); err != nil {
						t.Errorf("it is no policy, and not marked as theirs: %v\n%s", err, b.code)
					}
				case "mermaid", "text", "json": // a picture; what the demo prints; what api.md's commands print
				default:
					t.Errorf("nobody holds a block of %q to anything:\n%s", b.language, b.code)
				}
			}
		})
	}
}

var (
	commentPattern = regexp.MustCompile(`\s+#.*|^#.*`)
	routePattern   = regexp.MustCompile(`https://gate\.example\.com(/[^ ?'"]*)`)
)

// checkCommands wants targets that the Makefile has, and routes that the API has.
func checkCommands(t *testing.T, commands string) {
	t.Helper()
	for line := range strings.Lines(strings.ReplaceAll(commands, "\\\n", " ")) {
		line = strings.TrimSpace(commentPattern.ReplaceAllString(line, ""))
		words := strings.Fields(line)
		switch {
		case len(words) == 0, strings.Contains(line, "mergegate "), words[0] == "export":
		case words[0] == "make":
			for _, word := range words[1:] {
				if !strings.Contains(word, "=") && !strings.Contains(read(t, "Makefile"), "\n"+word+":") {
					t.Errorf("the Makefile has no target %s: %s", word, line)
				}
			}
		case words[0] == "curl":
			path := routePattern.FindStringSubmatch(line)
			if len(path) != 2 || !isRoute(t, path[1]) {
				t.Errorf("it asks no route of the API: %s", line)
			}
		default:
			t.Errorf("nobody holds this command to anything: %s", line)
		}
	}
}

// isRoute reports whether api/openapi.yaml has a route of this form.
func isRoute(t *testing.T, path string) bool {
	t.Helper()
	for _, match := range regexp.MustCompile(`(?m)^  (/[^:\n]*):$`).FindAllStringSubmatch(read(t, "api/openapi.yaml"), -1) {
		form := regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta(match[1]), `[^/]+`)
		if regexp.MustCompile("^" + form + "$").MatchString(path) {
			return true
		}
	}
	return false
}
