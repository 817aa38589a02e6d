package policy

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"mergegate/internal/mergecheck"
)

// setting is one thing a rule can say. read returns how a policy gets it.
type setting struct {
	name string
	read func(r *reader, n ast.Node) func(*mergecheck.Policy)
}

// settings are all there are, in the order they are shown in.
var settings = []setting{
	{name: "required", read: readRequired},
	{name: "required_if_present", read: readRequiredIfPresent},
	{name: "allow_failure", read: readAllowFailure},
	{name: "freshness", read: readFreshness},
	{name: "not_started_after", read: func(r *reader, n ast.Node) func(*mergecheck.Policy) {
		limit := r.limit(n)
		return func(p *mergecheck.Policy) { p.NotStartedAfter = limit }
	}},
	{name: "running_longer_than", read: func(r *reader, n ast.Node) func(*mergecheck.Policy) {
		limit := r.limit(n)
		return func(p *mergecheck.Policy) { p.RunningLongerThan = limit }
	}},
	{name: "pending", read: readPending},
	{name: "skip", read: readSkip},
	{name: "waivers", read: readWaivers},
	{name: "freezes", read: func(r *reader, n ast.Node) func(*mergecheck.Policy) {
		freezes := r.freezes(n)
		return func(p *mergecheck.Policy) { p.Freezes = freezes }
	}},
	{name: "accept_branch_builds", read: func(r *reader, n ast.Node) func(*mergecheck.Policy) {
		accept := r.word(n, "never", "when_up_to_date") == "when_up_to_date"
		return func(p *mergecheck.Policy) { p.AcceptBranchBuilds = accept }
	}},
	{name: "accept_reports", read: func(r *reader, n ast.Node) func(*mergecheck.Policy) {
		accept := r.projects(n)
		return func(p *mergecheck.Policy) { p.AcceptReports = accept }
	}},
	{name: "rebuild", read: readRebuild},
	{name: "public_badges", read: readPublicBadges},
	{name: "effects", read: readEffects},
}

// ruleKeys are all the keys of a rule.
var ruleKeys = func() []string {
	keys := []string{"repositories", "branches"}
	for _, s := range settings {
		keys = append(keys, s.name)
	}
	return keys
}()

var projectPattern = regexp.MustCompile(`^([1-9][0-9]{0,17}|[^/\s]+/[^/\s]+)$`)

// projects reads AppVeyor projects by id or by account/slug; an empty list is of
// none.
func (r *reader) projects(n ast.Node) []string {
	if none(n) {
		return nil
	}
	names := []string{}
	for _, node := range r.list(n) {
		s, ok := r.text(node, "a project")
		switch {
		case !ok:
		case !projectPattern.MatchString(s):
			r.fault(place(node), "`%s` is not a project: write account/slug or an id", shown(s))
		case strings.ContainsAny(s, "*?[{"):
			r.fault(place(node), "`%s`: name each project; patterns are not supported here", shown(s))
		default:
			names = append(names, s)
		}
	}
	return names
}

func readRequired(r *reader, n ast.Node) func(*mergecheck.Policy) {
	const all = "all-seen"
	var names []string
	s, ok := scalar(n)
	switch {
	case none(n):
		r.fault(place(n), "the list is empty: write %s or name projects; for pull requests that need no build, use `skip`", all)
	case ok && spelling(s) == spelling(all):
	case ok && !strings.Contains(s, "/") && nearest(s, []string{all}) != "":
		r.fault(place(n), "%s", unknown(shown(s), []string{all}))
	default:
		names = r.projects(n)
	}
	return func(p *mergecheck.Policy) { p.Required = names }
}

func readRequiredIfPresent(r *reader, n ast.Node) func(*mergecheck.Policy) {
	names := r.projects(n)
	return func(p *mergecheck.Policy) { p.RequiredIfPresent = names }
}

// flat hides the slashes of a job's name or pattern: a name is no path, so * goes
// across them.
func flat(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

func readAllowFailure(r *reader, n ast.Node) func(*mergecheck.Policy) {
	if none(n) {
		return func(p *mergecheck.Policy) { p.AllowFailure = nil }
	}
	jobs := r.globs(n, "a job", flat)
	allowed := func(job string) bool { return jobs.match(flat(job)) }
	return func(p *mergecheck.Policy) { p.AllowFailure = allowed }
}

func readFreshness(r *reader, n ast.Node) func(*mergecheck.Policy) {
	var f mergecheck.Freshness
	if _, ok := scalar(n); ok {
		switch r.word(n, "off", "warn", "strict") {
		case "warn":
			f.Mode = mergecheck.FreshnessWarn
		case "strict":
			f.Mode = mergecheck.FreshnessStrict
		}
	} else if e, ok := r.mapping(n, "`freshness` is off, warn, strict or", "max_behind", "max_age"); ok {
		f = r.freshnessLimit(e)
	}
	return func(p *mergecheck.Policy) { p.Freshness = f }
}

func (r *reader) freshnessLimit(e entries) mergecheck.Freshness {
	f := mergecheck.Freshness{Mode: mergecheck.FreshnessLimit}
	if !e.has("max_behind") && !e.has("max_age") {
		r.fault(e.at, "`freshness` needs max_behind, max_age or both, or one of off, warn, strict")
	}
	if n, ok := e.get("max_behind"); ok {
		f.MaxBehind = new(r.count(n))
	}
	if n, ok := e.get("max_age"); ok {
		f.MaxAge = r.duration(n)
	}
	return f
}

var triggers = []string{mergecheck.TriggerOnCodePushed, mergecheck.TriggerOnMerge}

func readPending(r *reader, n ast.Node) func(*mergecheck.Policy) {
	e, ok := r.mapping(n, "`pending`", triggers...)
	if !ok {
		return func(*mergecheck.Policy) {}
	}
	pass := map[string]bool{}
	for _, trigger := range triggers {
		if value, ok := e.get(trigger); ok {
			pass[trigger] = r.word(value, "fail", "pass") == "pass"
		}
	}
	if pass[mergecheck.TriggerOnMerge] {
		r.fault(e.values[mergecheck.TriggerOnMerge].GetToken(),
			"only "+mergecheck.TriggerOnCodePushed+" can pass while a build is pending: after a merge, nothing stops a build that fails")
	}
	return func(p *mergecheck.Policy) { p.PassPendingOnPush = pass[mergecheck.TriggerOnCodePushed] }
}

func readSkip(r *reader, n ast.Node) func(*mergecheck.Policy) {
	var rules []mergecheck.SkipRule
	for _, node := range r.list(n) {
		if e, ok := r.mapping(node, "a rule of `skip`", "name", "paths", "branches", "authors"); ok {
			rules = append(rules, r.skip(e))
		}
	}
	return func(p *mergecheck.Policy) { p.Skip = rules }
}

func (r *reader) skip(e entries) mergecheck.SkipRule {
	rule := mergecheck.SkipRule{Name: r.name(e, "a rule of `skip`")}
	if !e.has("paths") && !e.has("branches") && !e.has("authors") {
		r.fault(e.at, "a rule of `skip` needs paths, branches or authors; without them it would skip everything")
	}
	if n, ok := e.get("paths"); ok {
		rule.Path = r.globs(n, "a path", asWritten).match
	}
	if n, ok := e.get("branches"); ok {
		rule.DestinationBranch = r.globs(n, "a branch", asWritten).match
	}
	if n, ok := e.get("authors"); ok {
		rule.Authors = r.authors(n)
	}
	return rule
}

func (r *reader) authors(n ast.Node) []string {
	if none(n) {
		r.fault(place(n), "the list is empty: name an author, or leave it out")
	}
	var list []string
	for _, node := range r.list(n) {
		s, _ := scalar(node)
		id := mergecheck.BareUUID(s)
		if id == "" {
			r.fault(place(node), "`%s` is not the UUID of a Bitbucket user; put a UUID in braces in quotes", shown(s))
		}
		list = append(list, id)
	}
	return list
}

func readWaivers(r *reader, n ast.Node) func(*mergecheck.Policy) {
	var rules mergecheck.WaiverRules
	if e, ok := r.mapping(n, "`waivers`", "allowed", "two_person", "max", "freezes"); ok {
		rules = mergecheck.WaiverRules{
			Refused: !r.flag(e, "allowed", true), TwoPerson: r.flag(e, "two_person", false),
			Freezes: r.flag(e, "freezes", false), MaxLife: r.waiverLife(e),
		}
	}
	return func(p *mergecheck.Policy) { p.Waivers = rules }
}

// waiverLife is 0 for the longest there is, like one that isn't given.
func (r *reader) waiverLife(e entries) time.Duration {
	n, ok := e.get("max")
	if !ok {
		return 0
	}
	life := r.duration(n)
	switch {
	case life > mergecheck.MaxWaiverLife:
		r.fault(place(n), "`max` is over the limit of %dd", mergecheck.MaxWaiverLife/day)
	case life == mergecheck.MaxWaiverLife:
		return 0
	}
	return life
}

func readRebuild(r *reader, n ast.Node) func(*mergecheck.Policy) {
	var words []string
	for _, node := range r.list(n) {
		words = append(words, r.word(node, "never", "stale", "missing"))
	}
	if none(n) {
		r.fault(place(n), "the list is empty: write never, or name stale, missing or both")
	}
	if len(words) > 1 && slices.Contains(words, "never") {
		r.fault(place(n), "never can't be combined with other values")
	}
	stale, missing := slices.Contains(words, "stale"), slices.Contains(words, "missing")
	return func(p *mergecheck.Policy) { p.RebuildStale, p.RebuildMissing = stale, missing }
}

func readPublicBadges(r *reader, n ast.Node) func(*mergecheck.Policy) {
	public := r.flag(entries{values: map[string]ast.Node{"public_badges": n}}, "public_badges", false)
	return func(p *mergecheck.Policy) { p.PublicBadges = public }
}

func readEffects(r *reader, n ast.Node) func(*mergecheck.Policy) {
	var effects mergecheck.Effects
	if e, ok := r.mapping(n, "`effects`", "approve", "request_changes", "comment", "task", "report"); ok {
		effects = mergecheck.Effects{
			Approve: r.flag(e, "approve", false), RequestChanges: r.flag(e, "request_changes", false),
			Comment: r.flag(e, "comment", false), Task: r.task(e), Report: r.flag(e, "report", false),
		}
	}
	return func(p *mergecheck.Policy) { p.Effects = effects }
}

// task is the text of a task; an empty one asks for none.
func (r *reader) task(e entries) string {
	n, ok := e.get("task")
	if !ok {
		return ""
	}
	if s, ok := scalar(n); ok && s == "" {
		return ""
	}
	s, _ := r.text(n, "`task`")
	return s
}
