package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
)

func parse(t testing.TB, document string) *policy.Document {
	t.Helper()
	d, err := policy.Parse([]byte(document))
	if err != nil {
		t.Fatalf("%v\n%s", err, document)
	}
	return d
}

func equal[T any](t testing.TB, what string, want, got T, opts ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, append(opts, cmpopts.EquateEmpty())...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestDefaultIsWhatAppliesWithoutPolicy(t *testing.T) {
	t.Parallel()
	d := parse(t, policy.Default)
	equal(t, "the defaults", mergecheck.Policy{}, d.For("acme/widgets", "main"))
	equal(t, "no rules", mergecheck.Policy{}, parse(t, "rules: []").For("acme/widgets", "main"))
	none := new(policy.Document).Explain("acme/widgets", "main")
	for i, s := range d.Explain("acme/widgets", "main") {
		if s.Rule == nil {
			t.Errorf("the default document doesn't write %s out", s.Name)
		}
		if none[i].Rule != nil {
			t.Errorf("%s is of rule %d, without any", s.Name, none[i].Rule.Number)
		}
		equal(t, s.Name, s.Value, none[i].Value)
	}
}

const everything = `
rules:
  - repositories: [ACME/*]
    branches: [main, "release/**"]
    required: [acme/widgets, 12064]
    required-if-present: acme/docs
    allow_failure: ["Image: *nightly*"]
    freshness: {max_behind: 3, max_age: 24h}
    not_started_after: 30m
    running_longer_than: 1d12h
    pending: {on_code_pushed: pass, on-merge: fail}
    skip:
      - {name: docs, paths: ["docs/**", "*.md"], branches: main, authors: ["{0C3A7799-53ae-4a5b-9e7e-03338980abb5}"]}
    waivers: {allowed: false, two_person: true, max: 24h, freezes: true}
    freezes:
      - {name: year end, reason: "Nobody is there.", from: 2026-12-20 18:00, until: 2027-01-04 06:00, time_zone: Europe/Berlin}
      - {name: weekend, weekly: {from: Fri 16:00, until: monday 06:00}, time_zone: Europe/Berlin}
      - {name: release, from: 2026-05-01, until: 2026-05-02T10:00:00Z}
    accept_branch_builds: when_up_to_date
    accept_reports: [acme/widgets]
    rebuild: [stale, missing]
    public_badges: true
    effects: {approve: true, request_changes: true, comment: true, task: "Wait for AppVeyor", report: true}
`

func TestEverySetting(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	want := mergecheck.Policy{
		Required: []string{"acme/widgets", "12064"}, RequiredIfPresent: []string{"acme/docs"},
		Freshness:       mergecheck.Freshness{Mode: mergecheck.FreshnessLimit, MaxBehind: new(3), MaxAge: 24 * time.Hour},
		NotStartedAfter: 30 * time.Minute, RunningLongerThan: 36 * time.Hour, PassPendingOnPush: true,
		Skip:    []mergecheck.SkipRule{{Name: "docs", Authors: []string{"0c3a7799-53ae-4a5b-9e7e-03338980abb5"}}},
		Waivers: mergecheck.WaiverRules{Refused: true, TwoPerson: true, MaxLife: 24 * time.Hour, Freezes: true},
		Freezes: []mergecheck.Freeze{
			{
				Name: "year end", Reason: "Nobody is there.",
				From: time.Date(2026, 12, 20, 17, 0, 0, 0, time.UTC), Until: time.Date(2027, 1, 4, 5, 0, 0, 0, time.UTC),
			},
			{Name: "weekend", Weekly: &mergecheck.WeeklyWindow{
				From: mergecheck.WeekTime{Day: time.Friday, Minute: 16 * 60}, Until: mergecheck.WeekTime{Day: time.Monday, Minute: 6 * 60},
				Location: berlin,
			}},
			{Name: "release", From: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(2026, 5, 2, 10, 0, 0, 0, time.UTC)},
		},
		AcceptReports: []string{"acme/widgets"}, AcceptBranchBuilds: true, RebuildStale: true, RebuildMissing: true, PublicBadges: true,
		Effects: mergecheck.Effects{Approve: true, RequestChanges: true, Comment: true, Task: "Wait for AppVeyor", Report: true},
	}
	got := parse(t, everything).For("acme/Widgets", "release/1/2")
	equal(t, "policy", want, got,
		cmpopts.IgnoreFields(mergecheck.Policy{}, "AllowFailure"),
		cmpopts.IgnoreFields(mergecheck.SkipRule{}, "Path", "DestinationBranch"),
		cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() }))

	for _, tt := range []struct {
		what string
		tell func(string) bool
		name string
		want bool
	}{
		{what: "job", tell: got.AllowFailure, name: "Image: VS nightly x/64", want: true},
		{what: "job", tell: got.AllowFailure, name: "Image: a/b nightly", want: true},
		{what: "job", tell: got.AllowFailure, name: "Image: VS 2022"},
		{what: "path", tell: got.Skip[0].Path, name: "docs/a/b.txt", want: true},
		{what: "path", tell: got.Skip[0].Path, name: "README.md", want: true},
		{what: "path", tell: got.Skip[0].Path, name: "src/README.md"},
		{what: "branch", tell: got.Skip[0].DestinationBranch, name: "main", want: true},
		{what: "branch", tell: got.Skip[0].DestinationBranch, name: "Main"},
	} {
		equal(t, tt.what+" "+tt.name, tt.want, tt.tell(tt.name))
	}
	equal(t, "another branch", mergecheck.Policy{}, parse(t, everything).For("acme/widgets", "develop"))
	equal(t, "another workspace", mergecheck.Policy{}, parse(t, everything).For("other/widgets", "main"))
}

// TestRulesMatch has rules that each set not_started_after, to the minutes that
// are their number.
func TestRulesMatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		rules      []string
		repository string
		branch     string
		want       int // the rule; 0: none
	}{
		{name: "no conditions", rules: []string{""}, want: 1},
		{name: "a slug alone", rules: []string{"repositories: widgets"}, want: 1},
		{name: "a glob over slugs", rules: []string{"repositories: \"wid*\""}, want: 1},
		{name: "any case of the repository", rules: []string{"repositories: Acme/WIDGETS"}, want: 1},
		{name: "the branch's case matters", rules: []string{"branches: MAIN"}},
		{name: "a star ends at a slash", rules: []string{"branches: \"*\""}, branch: "release/1"},
		{name: "two stars don't", rules: []string{"branches: \"**\""}, branch: "release/1", want: 1},
		{name: "a slug's pattern is not of a workspace", rules: []string{"repositories: acme"}},
		{name: "plain before wildcards", rules: []string{"repositories: \"acme/widget?\"", "repositories: widgets"}, want: 2},
		{name: "more characters", rules: []string{"repositories: \"acme/*\"", "repositories: \"acme/wid*\""}, want: 2},
		{name: "escaped wildcards are characters", rules: []string{`branches: "a\\*"`, `branches: "a*"`}, branch: "a*", want: 1},
		{name: "classes are wildcards", rules: []string{`branches: "mai[n]"`, `branches: "main"`}, want: 2},
		{name: "braces are several patterns", rules: []string{`branches: "mai?"`, `branches: "{main,develop}"`}, want: 2},
		{name: "the repository before the branch", rules: []string{"branches: main", "repositories: \"acme/*\""}, want: 2},
		{name: "then the branch", rules: []string{"repositories: widgets", "repositories: widgets, branches: main"}, want: 2},
		{name: "the pattern that matches counts", rules: []string{"branches: [develop, \"*\"]", "branches: \"m*\""}, want: 2},
		{name: "the earlier of two equals", rules: []string{"branches: main", "branches: main"}, want: 1},
		{name: "a name that isn't known", rules: []string{"repositories: \"acme/*\"", ""}, repository: "-", want: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			document := "rules:\n"
			for i, condition := range tt.rules {
				document += fmt.Sprintf("  - {not_started_after: %dm, %s}\n", i+1, condition)
			}
			repository, branch := "acme/widgets", "main"
			if tt.repository != "" {
				repository = strings.Trim(tt.repository, "-")
			}
			if tt.branch != "" {
				branch = tt.branch
			}
			got := parse(t, document).For(repository, branch)
			equal(t, document, time.Duration(tt.want)*time.Minute, got.NotStartedAfter)
		})
	}
}

func TestSettingsAreInheritedWhole(t *testing.T) {
	t.Parallel()
	d := parse(t, `rules:
  - waivers: {two_person: true, max: 24h}
    required: [acme/all]
    rebuild: stale
  - branches: main
    waivers: {freezes: true}
    allow_failure: ["*"]
  - repositories: widgets
    branches: main
    required: all-seen
    allow_failure: []
`)
	got := d.For("acme/widgets", "main")
	equal(t, "policy", mergecheck.Policy{Waivers: mergecheck.WaiverRules{Freezes: true}, RebuildStale: true}, got)

	var explained []string
	for _, s := range d.Explain("acme/widgets", "main") {
		if s.Rule != nil {
			explained = append(explained, fmt.Sprintf("%s %v: rule %d, line %d", s.Name, s.Value, s.Rule.Number, s.Rule.Line))
		}
	}
	equal(t, "explained", []string{
		"required all-seen: rule 3, line 8",
		"allow_failure []: rule 3, line 8",
		"waivers map[freezes:true]: rule 2, line 5",
		"rebuild stale: rule 1, line 2",
	}, explained)
}

func TestAliases(t *testing.T) {
	t.Parallel()
	d := parse(t, `rules:
  - branches: main
    required: &ours [acme/a, &b acme/b]
  - branches: develop
    required: *ours
  - branches: release
    required: [*b, 7]
`)
	equal(t, "a list", []string{"acme/a", "acme/b"}, d.For("acme/widgets", "develop").Required)
	equal(t, "a text", []string{"acme/b", "7"}, d.For("acme/widgets", "release").Required)
}

// TestEveryFaultIsToldAtOnce is a document with a mistake in every other line.
func TestEveryFaultIsToldAtOnce(t *testing.T) {
	t.Parallel()
	_, err := policy.Parse([]byte(`rules:
  - repositories: ["acme/["]
    requierd: all-seen
    freshness: stric
    not_started_after: -5m
    pending: {on-merge: pass}
    skip:
      - {name: everything}
    waivers: {max: 400d, two_person: yes}
    freezes:
      - {name: year end, from: 2027-01-04, until: 2026-12-20}
      - {name: weekend, weekly: {from: Fri 16:00, until: Mon 25:00}, time_zone: Europe/Berln}
    allow_failure: [*nightly]
    public_badges: true
    public-badges: true
    accept_reports: widgets
    rebuild: [never, stale]
`))
	var faults policy.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("error %v", err)
	}
	equal(t, "faults", []string{
		"line 2, column 20: a repository: `acme/[` is not a glob: close its bracket or brace, or complete its backslash",
		"line 3, column 5: `requierd`: did you mean `required`?",
		"line 4, column 16: `stric`: did you mean `strict`?",
		"line 5, column 24: a duration must be over 0",
		"line 6, column 25: only on-code-pushed can pass while a build is pending: after a merge, nothing stops a build that fails",
		"line 8, column 9: a rule of `skip` needs paths, branches or authors; without them it would skip everything",
		"line 9, column 20: `max` is over the limit of 90d",
		"line 9, column 38: `two_person`: write true or false",
		"line 11, column 51: `until` is before `from`",
		"line 12, column 58: `Mon 25:00` is not a time of the week like Fri 16:00",
		"line 12, column 81: `Europe/Berln` is not a time zone like Europe/Berlin",
		"line 13, column 21: `*nightly` is an alias without an anchor; put a pattern that starts with * in quotes",
		"line 15, column 5: `public_badges` is given twice",
		"line 16, column 21: `widgets` is not a project: write account/slug or an id",
		"line 17, column 14: never can't be combined with other values",
	}, strings.Split(faults.Error(), "\n"))
}

func TestFaults(t *testing.T) {
	t.Parallel()
	rule := func(setting string) string { return "rules:\n  - " + setting + "\n" }
	for _, tt := range []struct {
		name     string
		document string
		want     string // the beginning of the first fault
	}{
		{name: "empty", document: "", want: "line 1, column 1: the document is empty"},
		{name: "only comments", document: "# nothing\n", want: "line 1, column 1: the document is empty"},
		{name: "too large", document: strings.Repeat("#", policy.MaxSize+1), want: "line 1, column 1: the document is over the limit of 262144 bytes"},
		{name: "not UTF-8", document: "rules:\n  - required: \xff\n", want: "line 2, column 1: the line isn't UTF-8"},
		{name: "not YAML", document: "rules: [\n", want: "line 1, column 8: this can't be read as YAML: "},
		{name: "a list", document: "- required: all-seen\n", want: "line 1, column 1: the document is a mapping with rules, not a list"},
		{name: "two documents", document: "rules: []\n---\nrules: []\n", want: "line 3, column 1: only one YAML document is allowed"},
		{name: "no rules", document: "{}\n", want: "line 1, column 1: the document needs `rules`"},
		{name: "rules of nothing", document: "rules:\n", want: "line 1, column 1: `rules` has no value"},
		{name: "rules no list", document: "rules: {required: all-seen}\n", want: "line 1, column 8: `rules` is a list, not a mapping"},
		{name: "setting outside of rules", document: "required: all-seen\n", want: "line 1, column 1: `required` is unknown here; known are rules"},
		{name: "misspelt rules", document: "rule: []\n", want: "line 1, column 1: `rule`: did you mean `rules`?"},
		{name: "too many rules", document: "rules: [" + strings.Repeat("{},", 501) + "]\n", want: "line 1, column 1509: over the limit of 500 rules"},
		{name: "rule no mapping", document: "rules: [x]\n", want: "line 1, column 9: a rule is a mapping with repositories,"},
		{name: "merge key", document: rule("<<: {required: all-seen}"), want: "line 2, column 5: merge keys (`<<`) are not supported"},
		{name: "key of a number", document: rule("7: x"), want: "line 2, column 5: `7` is not a key"},
		{name: "tag", document: rule("required: !!str x"), want: "line 2, column 15: tags"},
		{name: "explicit key", document: "? rules\n: []\n", want: "line 1, column 1: write keys as"},
		{name: "nested lists", document: "rules: " + strings.Repeat("[", 1000), want: "line 1, column 24: too many levels of nesting"},
		{name: "nested dashes", document: strings.Repeat("- ", 1000), want: "line 1, column 33: too many levels of nesting"},
		{name: "many anchors", document: "rules: " + strings.Repeat("&a ", 1000), want: "line 1, column 308: over the limit of 100 anchors"},
		{name: "many keys", document: strings.Repeat("a: 1\n", 10_001), want: "line 10001, column 2: over the limit of 10000 keys"},
		{name: "alias of itself", document: "rules: &a [*a]\n", want: "line 1, column 11: a rule is a mapping"},
		{name: "alias of its own place", document: "rules: &a *a\n", want: "line 1, column "},
		{name: "boolean for text", document: rule("branches: [true]"), want: "line 2, column 16: a branch is text: put true in quotes"},
		{name: "list for text", document: rule("branches: [[main]]"), want: "line 2, column 16: a branch is text, not a list"},
		{name: "empty list of patterns", document: rule("branches: []"), want: "line 2, column 15: the list is empty"},
		{name: "empty pattern", document: rule(`branches: ""`), want: "line 2, column 15: a branch is empty"},
		{name: "empty repository", document: rule(`repositories: ""`), want: "line 2, column 19: a repository is empty"},
		{name: "empty repository in a list", document: rule(`repositories: [acme/widgets, ""]`), want: "line 2, column 34: a repository is empty"},
		{name: "nothing for a repository", document: rule(`repositories: [~]`), want: "line 2, column 20: a repository is text, not nothing"},
		{name: "singular of repositories", document: rule(`repository: ""`), want: "line 2, column 5: `repository`: did you mean `repositories`?"},
		{name: "branch of spaces", document: rule(`branches: ["  "]`), want: "line 2, column 16: a branch is empty"},
		{name: "branch of invisible characters", document: rule(`branches: ["\u200b"]`), want: "line 2, column 16: a branch is empty"},
		{name: "empty alternative", document: rule(`branches: "{main,}"`), want: "line 2, column 15: a branch: `{main,}` has an empty alternative in its braces"},
		{name: "only empty alternatives", document: rule(`repositories: "{,}"`), want: "line 2, column 19: a repository: `{,}` has an empty alternative in its braces"},
		{name: "empty required", document: rule(`required: ""`), want: "line 2, column 15: a project is empty"},
		{name: "empty required in a list", document: rule(`required: [acme/widgets, ""]`), want: "line 2, column 30: a project is empty"},
		{name: "empty required_if_present", document: rule(`required_if_present: [""]`), want: "line 2, column 27: a project is empty"},
		{name: "empty accept_reports", document: rule(`accept_reports: [" "]`), want: "line 2, column 22: a project is empty"},
		{name: "empty slug", document: rule(`accept_reports: acme/`), want: "line 2, column 21: `acme/` is not a project"},
		{name: "empty job", document: rule(`allow_failure: [""]`), want: "line 2, column 21: a job is empty"},
		{name: "empty duration", document: rule(`not_started_after: ""`), want: "line 2, column 24: `` is not a duration"},
		{name: "empty word", document: rule(`freshness: ""`), want: "line 2, column 16: `` is unknown here"},
		{name: "empty rebuild", document: rule(`rebuild: [""]`), want: "line 2, column 15: `` is unknown here"},
		{name: "empty path", document: rule(`skip: [{name: x, paths: ["", "docs/**"]}]`), want: "line 2, column 30: a path is empty"},
		{name: "no paths", document: rule(`skip: [{name: x, paths: []}]`), want: "line 2, column 29: the list is empty: name a path"},
		{name: "empty author", document: rule(`skip: [{name: x, authors: [""]}]`), want: "line 2, column 32: `` is not the UUID"},
		{name: "empty name", document: rule(`skip: [{name: "", branches: main}]`), want: "line 2, column 19: `name` is empty"},
		{name: "empty weekday", document: rule(`freezes: [{name: x, weekly: {from: "", until: Mon 06:00}}]`), want: "line 2, column 40: `` is not a time of the week"},
		{name: "no weekday", document: rule(`freezes: [{name: x, weekly: {from: " 16:00", until: Mon 06:00}}]`), want: "line 2, column 40: ` 16:00` is not a time of the week"},
		{name: "empty time", document: rule(`freezes: [{name: x, from: "", until: 2026-01-02}]`), want: "line 2, column 31: `` is not a time like"},
		{name: "empty time zone", document: rule(`freezes: [{name: x, from: 2026-01-01, until: 2026-01-02, time_zone: ""}]`), want: "line 2, column 73: `time_zone` is empty"},
		{name: "empty reason", document: rule(`freezes: [{name: x, reason: "", from: 2026-01-01, until: 2026-01-02}]`), want: "line 2, column 33: `reason` is empty"},
		{name: "empty longest waiver", document: rule(`waivers: {max: ""}`), want: "line 2, column 20: `` is not a duration"},
		{name: "empty flag", document: rule(`public_badges: ""`), want: "line 2, column 20: `public_badges`: write true or false"},
		{name: "long pattern", document: rule("branches: " + strings.Repeat("x", 1025)), want: "line 2, column 15: a branch is over the limit of 1024 bytes"},
		{name: "many alternatives", document: rule(`branches: "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}"`), want: "line 2, column 15: a branch: the braces of a pattern make more than 64 patterns"},
		{name: "many patterns", document: rule("branches: [" + strings.Repeat("'{a,b,c,d}{a,b,c,d}{a,b,c,d}',", 313) + "]"), want: "line 2, column 9376: the document has more than 20000 patterns"},
		{name: "line break", document: rule(`required: "a/\nb"`), want: "line 2, column 15: a project has a line break"},
		{name: "required of none", document: rule("required: []"), want: "line 2, column 15: the list is empty: write all-seen"},
		{name: "misspelt all-seen", document: rule("required: all-sen"), want: "line 2, column 15: `all-sen`: did you mean `all-seen`?"},
		{name: "pattern of projects", document: rule(`required: "acme/*"`), want: "line 2, column 15: `acme/*`: name each project; patterns are not supported here"},
		{name: "freshness without a limit", document: rule("freshness: {}"), want: "line 2, column 16: `freshness` needs max_behind, max_age or both"},
		{name: "freshness negative", document: rule("freshness: {max_behind: -1}"), want: "line 2, column 29: `-1` is not a number from 0"},
		{name: "duration without unit", document: rule("running_longer_than: 30"), want: "line 2, column 26: `30` is not a duration"},
		{name: "duration too long", document: rule("running_longer_than: 99999d2562047h"), want: "line 2, column 26: `99999d2562047h` is not a duration"},
		{name: "skip no mapping", document: rule("skip: docs"), want: "line 2, column 11: a rule of `skip` is a mapping with name"},
		{name: "skip without name", document: rule("skip: [{branches: main}]"), want: "line 2, column 12: a rule of `skip` needs a `name`"},
		{name: "skip of no author", document: rule("skip: [{name: x, authors: []}]"), want: "line 2, column 31: the list is empty: name an author"},
		{name: "author by name", document: rule("skip: [{name: x, authors: bot}]"), want: "line 2, column 31: `bot` is not the UUID"},
		{name: "freeze without times", document: rule("freezes: [{name: x}]"), want: "line 2, column 15: a freeze needs `from` and `until`, or `weekly`"},
		{name: "freeze of both kinds", document: rule("freezes: [{name: x, from: 2026-01-01, weekly: {}}]"), want: "line 2, column 15: a freeze takes `weekly`, or `from` and `until`, not both"},
		{name: "freeze without a week's end", document: rule("freezes: [{name: x, weekly: {from: Fri 16:00}}]"), want: "line 2, column 33: `weekly` needs `from` and `until`"},
		{name: "freeze for ever", document: rule("freezes: [{name: x, weekly: {from: Fri 16:00, until: fri 16:00}}]"), want: "line 2, column 58: the freeze would never end"},
		{name: "time of the machine", document: rule("freezes: [{name: x, from: 2026-01-01, until: 2026-01-02, time_zone: Local}]"), want: "line 2, column 73: `Local` is not a time zone"},
		{name: "no time", document: rule("freezes: [{name: x, from: yesterday, until: 2026-01-02}]"), want: "line 2, column 31: `yesterday` is not a time like"},
		{name: "rebuild nothing", document: rule("rebuild: []"), want: "line 2, column 14: the list is empty: write never"},
		{name: "unknown word", document: rule("accept_branch_builds: sometimes"), want: "line 2, column 27: `sometimes` is unknown here; known are never, when_up_to_date"},
		{name: "mapping for a word", document: rule("accept_branch_builds: {}"), want: "line 2, column 27: write one of never, when_up_to_date, not a mapping"},
		{name: "no value", document: rule("required:"), want: "line 2, column 5: `required` has no value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := policy.Parse([]byte(tt.document))
			var faults policy.Faults
			if !errors.As(err, &faults) {
				t.Fatalf("error %v, want faults", err)
			}
			if first, _, _ := strings.Cut(faults.Error(), "\n"); !strings.HasPrefix(first, tt.want) {
				t.Errorf("got %q, want %q", faults, tt.want)
			}
		})
	}
}

// TestAliasesDoNotMultiply reads the document of a billion laughs, and others
// that say little and mean much.
func TestAliasesDoNotMultiply(t *testing.T) {
	t.Parallel()
	laughs := "rules:\n  - required: &a0 [acme/a, acme/b]\n"
	for i := range 40 {
		laughs += fmt.Sprintf("  - required: &a%d [*a%d, *a%d, *a%d]\n", i+1, i, i, i)
	}
	many := "rules:\n  - required: &all [" + strings.Repeat("acme/a, ", 20_000) + "]\n" +
		strings.Repeat("  - required: *all\n", 400) + "  - required: a fault that is not read any more\n"
	for _, tt := range []struct{ name, document, want string }{
		{name: "nested", document: laughs, want: "a project is text, not a list"},
		{name: "repeated", document: many, want: "the document has more than 100000 values"},
	} {
		_, err := policy.Parse([]byte(tt.document))
		var faults policy.Faults
		if !errors.As(err, &faults) || !strings.Contains(faults[len(faults)-1].Message, tt.want) {
			t.Errorf("%s: %.300v, want %q at last", tt.name, err, tt.want)
		}
	}
}

func TestFaultsAreBounded(t *testing.T) {
	t.Parallel()
	_, err := policy.Parse([]byte("rules: [" + strings.Repeat("x, ", 400) + "]"))
	var faults policy.Faults
	if !errors.As(err, &faults) || len(faults) != 101 || faults[100].Message != "300 more faults follow" {
		t.Errorf("%d faults: %v", len(faults), err)
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text  string
		want  time.Duration
		fault bool
	}{
		{text: "90d", want: 90 * 24 * time.Hour},
		{text: "1d12h", want: 36 * time.Hour},
		{text: "30m", want: 30 * time.Minute},
		{text: "99999d2562047h", fault: true},
		{text: "d", fault: true},
		{text: "", fault: true},
		{text: "100000d", fault: true},
		{text: "5", fault: true},
	} {
		got, err := policy.ParseDuration(tt.text)
		if got != tt.want || (err != nil) != tt.fault {
			t.Errorf("%q is %s, %v; want %s", tt.text, got, err, tt.want)
		}
	}
}

func ExampleParse() {
	document, err := policy.Parse([]byte(`
rules:
  - freshness: warn
  - branches: [main]
    freshness: strikt
`))
	fmt.Println(document == nil, err)
	// Output:
	// true line 5, column 16: `strikt`: did you mean `strict`?
}
