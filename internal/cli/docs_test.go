package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var (
	shellBlock = regexp.MustCompile("(?s)\n```sh\n(.*?)\n```\n")
	documented = regexp.MustCompile(`(?m)(?:^|[|(] ?|\./)mergegate ((?:[a-z-]+)(?: .*?)?)(?:\)? +#.*|\)| [|>] .*)?$`)
	shellWords = regexp.MustCompile(`"([^"]*)"|'([^']*)'|(\S+)`)
)

// TestDocumentedCommands reads every command of mergegate that a block of the documentation
// has, as the program would: no flag or argument that isn't there.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range shellBlock.FindAllSubmatch(text, -1) {
			for _, match := range documented.FindAllStringSubmatch(strings.ReplaceAll(string(block[1]), "\\\n", " "), -1) {
				found++
				var args []string
				for _, word := range shellWords.FindAllStringSubmatch(match[1], -1) {
					args = append(args, word[1]+word[2]+word[3])
				}
				parser, err := kong.New(&commands{}, kong.Name("mergegate"))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := parser.Parse(args); err != nil {
					t.Errorf("%s: mergegate %s: %v", filepath.Base(page), strings.Join(args, " "), err)
				}
			}
		}
	}
	if found < 8 {
		t.Errorf("%d commands found", found)
	}
}
