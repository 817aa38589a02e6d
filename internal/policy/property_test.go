package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"pgregory.net/rapid"

	"mergegate/internal/policy"
)

// conditions are from the least specific to the most, each more than the last.
var conditions = []string{
	"",
	`branches: "m*"`,
	"branches: main",
	`repositories: "acme/*"`,
	`repositories: "acme/*", branches: main`,
	`repositories: "acme/wid*"`,
	"repositories: widgets",
	"repositories: widgets, branches: main",
	"repositories: acme/widgets",
	`repositories: ["*", acme/widgets], branches: ["**", main]`,
}

// document has a rule for each of the conditions chosen, which sets
// not_started_after to as many minutes as its place in the document.
func document(chosen []int) string {
	var text strings.Builder
	text.WriteString("rules:\n")
	for i, c := range chosen {
		fmt.Fprintf(&text, "  - {not_started_after: %dm, %s}\n", i+1, conditions[c])
	}
	return text.String()
}

func TestTheMostSpecificRuleWins(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		chosen := rapid.SliceOfN(rapid.IntRange(0, len(conditions)-1), 1, 12).Draw(rt, "rules")
		most := slices.Max(chosen)
		want := time.Duration(slices.Index(chosen, most)+1) * time.Minute // the earlier of equal ones
		text := document(chosen)
		if got := parse(t, text).For("acme/widgets", "main").NotStartedAfter; got != want {
			rt.Fatalf("%s, want %s, of\n%s", got, want, text)
		}
	})
}

func TestRulesThatDoNotApplyChangeNothing(t *testing.T) {
	t.Parallel()
	others := []string{"repositories: other/widgets", `branches: "release/**"`, "repositories: gadgets"}
	rapid.Check(t, func(rt *rapid.T) {
		chosen := rapid.SliceOfN(rapid.IntRange(0, len(conditions)-1), 1, 6).Draw(rt, "rules")
		rules := strings.SplitAfter(document(chosen), "\n")[1:]
		want := parse(t, document(chosen)).For("acme/widgets", "main")
		for range rapid.IntRange(1, 4).Draw(rt, "others") {
			other := fmt.Sprintf("  - {not_started_after: 99h, %s}\n", rapid.SampledFrom(others).Draw(rt, "other"))
			rules = slices.Insert(rules, rapid.IntRange(0, len(rules)-1).Draw(rt, "place"), other)
		}
		if got := parse(t, "rules:\n"+strings.Join(rules, "")).For("acme/widgets", "main"); got.NotStartedAfter != want.NotStartedAfter {
			rt.Fatalf("%s, want %s", got.NotStartedAfter, want.NotStartedAfter)
		}
	})
}

// TestBracesMeanWhatTheyDoElsewhere holds the patterns that braces are written
// out to to the library's own braces.
func TestBracesMeanWhatTheyDoElsewhere(t *testing.T) {
	t.Parallel()
	pieces := []string{"a", "b", "/", "*", "**", "?", "{", "}", ",", "[ab]", "[!a]", `\{`, `\\`, `\*`, "é"}
	rapid.Check(t, func(rt *rapid.T) {
		glob := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 10).Draw(rt, "glob"), "")
		name := rapid.StringMatching(`[ab/{},*\\é]{1,6}`).Draw(rt, "name")
		if !doublestar.ValidatePattern(glob) {
			rt.Skip()
		}
		d, err := policy.Parse([]byte("rules:\n  - branches: '" + glob + "'\n    public_badges: true\n"))
		if err != nil && strings.Contains(err.Error(), "has an empty alternative in its braces") {
			if !strings.Contains(glob, "{,") && !strings.Contains(glob, ",,") && !strings.Contains(glob, ",}") && !strings.Contains(glob, "{}") {
				rt.Fatalf("%q: %v", glob, err)
			}
			return
		}
		if err != nil {
			rt.Fatalf("%q: %v", glob, err)
		}
		if want, got := doublestar.MatchUnvalidated(glob, name), d.For("a/b", name).PublicBadges; want != got {
			rt.Fatalf("%q matches %q: %t, want %t", glob, name, got, want)
		}
	})
}

func FuzzParse(f *testing.F) {
	// Short ones: the fuzzer takes a minute to shorten each that it likes.
	for _, seed := range []string{
		"rules: []", "rules: [{}]", "rules: &a [*a]", "- - - x", "? x", "{", "a: |\n  x", "<<: *a", "%YAML 1.2\n---\n", "!!x", "&a", "rules: !a",
		"rules: [{required: [*a]}]", "rules: [{required: [a/b, 7]}]", "rules:\n  - branches: '{a,{b,c}}/**/[!a-z]\\*'\n",
		"rules: [{allow_failure: '*/?'}]", "rules: [{freshness: {max_behind: 3, max_age: 24h}}]", "rules: [{pending: {on-code-pushed: pass}}]",
		"rules: [{skip: [{name: a, paths: '**/*.md', authors: x}]}]", "rules: [{waivers: {max: 1d, freezes: true}}]",
		"rules: [{freezes: {name: a, from: 2026-12-20 18:00, until: 2027-01-04}}]",
		"rules: [{freezes: {name: a, weekly: {from: Fri 16:00, until: Mon 06:00}, time_zone: UTC}}]",
		"rules: [{rebuild: [stale, missing]}]", "rules: [{effects: {task: x, report: true}}]",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := policy.Parse([]byte(text))
		if (d == nil) == (err == nil) {
			t.Fatalf("document %v, error %v", d, err)
		}
		if err != nil {
			_ = err.Error()
			return
		}
		for _, name := range []string{"", "acme/widgets", "acme/", strings.Repeat("a", 300), "é/\x00"} {
			p := d.For(name, name)
			if p.AllowFailure != nil {
				p.AllowFailure(name)
			}
			for _, s := range p.Skip {
				if s.Path != nil {
					s.Path(name)
				}
			}
			for _, freeze := range p.Freezes {
				freeze.Active(time.Unix(1_700_000_000, 0))
			}
			d.Explain(name, name)
		}
	})
}

// large is a document of 500 rules, as a workspace with many repositories has it.
func large() string {
	var text strings.Builder
	text.WriteString("rules:\n")
	for i := range 500 {
		fmt.Fprintf(&text, "  - repositories: [\"acme/team%d-*\", service-%d]\n    branches: [main, \"release/**\"]\n", i, i)
		fmt.Fprintf(&text, "    required: [acme/service-%d, acme/lint]\n    freshness: {max_behind: %d}\n    waivers: {two_person: true}\n", i, i)
	}
	return text.String()
}

func BenchmarkParse(b *testing.B) {
	for _, bb := range []struct{ name, document string }{{name: "default", document: policy.Default}, {name: "500 rules", document: large()}} {
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(int64(len(bb.document)))
			for b.Loop() {
				parse(b, bb.document)
			}
		})
	}
}

func BenchmarkFor(b *testing.B) {
	for _, bb := range []struct{ name, document string }{{name: "default", document: policy.Default}, {name: "500 rules", document: large()}} {
		d := parse(b, bb.document)
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d.For("acme/service-499", "main").Version != 0 {
					b.Fatal("a document knows no version")
				}
			}
		})
	}
}
