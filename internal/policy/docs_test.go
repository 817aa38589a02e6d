package policy_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"mergegate/internal/policy"
)

// TestDocumentation reads the examples of docs/policy.md, which have to name every
// setting.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]bool{}
	for _, example := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		d, err := policy.Parse([]byte(example[1]))
		if err != nil {
			t.Errorf("%v in\n%s", err, example[1])
			continue
		}
		for _, s := range d.Explain("acme/widgets", "main") {
			given[s.Name] = given[s.Name] || s.Rule != nil
		}
	}
	for _, s := range new(policy.Document).Explain("acme/widgets", "main") {
		if !given[s.Name] {
			t.Errorf("no example has %s", s.Name)
		}
		if !strings.Contains(policy.Default, "\n    "+s.Name+": ") {
			t.Errorf("the defaults written out don't have %s", s.Name)
		}
	}
}
