package policy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"mergegate/internal/mergecheck"
)

// Bounds of a document.
const (
	MaxSize  = 256 << 10 // bytes
	maxRules = 500
)

// Document is a policy document that was read. It is never changed, and safe for
// concurrent use. The zero value has no rules.
type Document struct {
	rules []rule
}

// rule is what a document says for some repositories and branches.
type rule struct {
	line         int
	repositories patterns // in lower case; none: all
	branches     patterns // none: all
	given        []given  // by setting, in the order of settings
}

// given is a setting of a rule; apply is nil where the rule doesn't have it.
type given struct {
	apply func(*mergecheck.Policy)
	value any
}

// Parse reads a document. What it can't read is told as [Faults]: every fault of
// the document, each with its line and column.
func Parse(document []byte) (*Document, error) {
	if len(document) > MaxSize {
		return nil, Faults{{Line: 1, Column: 1, Message: fmt.Sprintf("the document is over the limit of %d bytes", MaxSize)}}
	}
	root, faults := parse(document)
	if len(faults) > 0 {
		return nil, faults
	}
	r := &reader{anchors: map[string]ast.Node{}, zones: map[string]*time.Location{}, left: maxValues}
	ast.Walk(anchors(r.anchors), root)
	d := r.document(root)
	if len(r.faults) > 0 {
		return nil, r.faults.sorted()
	}
	return d, nil
}

// parse reads a document as YAML. Faults of the YAML itself end the reading, so
// there is one at most.
func parse(document []byte) (root ast.Node, faults Faults) {
	defer func() {
		// A library that falls over what somebody wrote must not take the program with it.
		if recover() != nil {
			root, faults = nil, Faults{{Line: 1, Column: 1, Message: "this can't be read as YAML"}}
		}
	}()
	if at := bytes.IndexFunc(document, func(r rune) bool { return r == utf8.RuneError || r == 0 }); at >= 0 {
		line := 1 + bytes.Count(document[:at], []byte("\n"))
		return nil, Faults{{Line: line, Column: 1, Message: "the line isn't UTF-8"}}
	}
	tokens := lexer.Tokenize(strings.TrimPrefix(string(document), "\ufeff"))
	r := &reader{}
	r.bound(tokens)
	if len(r.faults) > 0 {
		return nil, r.faults
	}
	// Keys that are given twice are found, and located, with the other faults.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil, r.faults
	}
	return r.body(file), r.faults
}

func (r *reader) syntax(err error) {
	var located yaml.Error
	if !errors.As(err, &located) {
		r.fault(nil, "this can't be read as YAML")
		return
	}
	r.fault(located.GetToken(), "this can't be read as YAML: %s; put text that starts with one of :#*&!|>%%@{[ or contains \": \" in quotes",
		shown(located.GetMessage()))
}

// body is the one YAML document of a file.
func (r *reader) body(file *ast.File) ast.Node {
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0: // a slip more often than the wish to have the defaults
		r.fault(nil, "the document is empty; for the defaults write `rules: []`")
		return nil
	case 1:
		return bodies[0]
	default:
		r.fault(place(bodies[1]), "only one YAML document is allowed; a second one starts here")
		return nil
	}
}

// Bounds of what the YAML library is given: it takes time with the square of
// these, or a call's worth of stack for each.
const (
	maxNesting = 16
	maxKeys    = 10_000
	maxAnchors = 100
)

// bound refuses what would cost the YAML library more than a document is worth.
func (r *reader) bound(tokens token.Tokens) {
	nesting, dashes, line, keys, names := 0, 0, 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			nesting++
		case token.SequenceEndType, token.MappingEndType:
			nesting--
		case token.SequenceEntryType:
			dashes++
		case token.MappingValueType:
			keys++
		case token.AnchorType:
			names++
		case token.MappingKeyType:
			r.fault(t, "write keys as `key: value`, without ?")
		case token.TagType, token.DirectiveType:
			r.fault(t, "tags and directives are not supported")
		}
		switch {
		case nesting > maxNesting || dashes > maxNesting:
			r.fault(t, "too many levels of nesting")
		case keys > maxKeys:
			r.fault(t, "over the limit of %d keys in a document", maxKeys)
		case names > maxAnchors:
			r.fault(t, "over the limit of %d anchors in a document", maxAnchors)
		}
		if len(r.faults) > 0 {
			return
		}
	}
}

// anchors collects the nodes that aliases can name.
type anchors map[string]ast.Node

// Visit implements [ast.Visitor].
func (a anchors) Visit(n ast.Node) ast.Visitor {
	if anchor, ok := n.(*ast.AnchorNode); ok && anchor.Name != nil {
		a[anchor.Name.GetToken().Value] = anchor.Value
	}
	return a
}

func (r *reader) document(root ast.Node) *Document {
	d := &Document{}
	e, ok := r.mapping(r.resolve(root), "the document", "rules")
	if !ok {
		return d
	}
	n, ok := e.get("rules")
	if !ok {
		if !e.has("rules") {
			r.fault(e.at, "the document needs `rules`")
		}
		return d
	}
	sequence, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fault(place(n), "`rules` is a list, not %s", kind(n))
		return d
	}
	if len(sequence.Values) > maxRules {
		r.fault(sequence.Values[maxRules].GetToken(), "over the limit of %d rules in a document", maxRules)
		return d
	}
	for _, node := range r.list(n) {
		d.rules = append(d.rules, r.rule(node))
	}
	return d
}

func (r *reader) rule(n ast.Node) rule {
	e, ok := r.mapping(n, "a rule", ruleKeys...)
	if !ok {
		return rule{}
	}
	read := rule{given: make([]given, len(settings))}
	if e.at != nil && e.at.Position != nil {
		read.line = e.at.Position.Line
	}
	if n, ok := e.get("repositories"); ok {
		read.repositories = r.globs(n, "a repository", strings.ToLower)
	}
	if n, ok := e.get("branches"); ok {
		read.branches = r.globs(n, "a branch", asWritten)
	}
	for i, s := range settings {
		n, ok := e.get(s.name)
		if !ok {
			continue
		}
		faults := len(r.faults)
		read.given[i].apply = s.read(r, n)
		if len(r.faults) == faults {
			read.given[i].value = r.plain(n)
		}
	}
	return read
}

// For is the policy of a repository ("workspace/slug") for pull requests into
// branch. Its lists are the document's own and not to be changed. Where the
// repository's name isn't known, only rules for every repository apply.
func (d *Document) For(repository, branch string) mergecheck.Policy {
	var p mergecheck.Policy
	for i, r := range d.choose(repository, branch) {
		if r >= 0 {
			d.rules[r].given[i].apply(&p)
		}
	}
	return p
}

// Setting is the value of a setting and where it comes from.
type Setting struct {
	Name  string     `json:"name"`
	Value any        `json:"value"` // as the document writes it
	Rule  *RulePlace `json:"rule"`  // nil: no rule gives it, so that it is the default
}

// RulePlace is where a rule is in its document, both counted from 1.
type RulePlace struct {
	Number int `json:"number"`
	Line   int `json:"line"`
}

// Explain tells every setting of a repository for pull requests into branch, and
// which rule it is of.
func (d *Document) Explain(repository, branch string) []Setting {
	list := make([]Setting, len(settings))
	for i, r := range d.choose(repository, branch) {
		list[i] = Setting{Name: settings[i].name, Value: defaults().rules[0].given[i].value}
		if r >= 0 {
			list[i].Value, list[i].Rule = d.rules[r].given[i].value, &RulePlace{Number: r + 1, Line: d.rules[r].line}
		}
	}
	return list
}

// defaults is [Default], which gives every setting in one rule.
var defaults = sync.OnceValue(func() *Document {
	d, err := Parse([]byte(Default))
	if err != nil {
		panic(err) // it is part of the program
	}
	return d
})

// choose is, for each setting, the rule that gives it, -1 for none.
func (d *Document) choose(repository, branch string) []int {
	chosen := make([]int, len(settings))
	for i := range chosen {
		chosen[i] = -1
	}
	for _, m := range d.matching(repository, branch) {
		for i, g := range d.rules[m.rule].given {
			if g.apply != nil && chosen[i] < 0 {
				chosen[i] = m.rule
			}
		}
	}
	return chosen
}

// match is a rule that applies, and how closely it says so.
type match struct {
	rule               int
	repository, branch precision
}

// matching are the rules that apply, the most specific first.
func (d *Document) matching(repository, branch string) []match {
	name := strings.ToLower(repository)
	_, slug, _ := strings.Cut(name, "/")
	var list []match
	for i, r := range d.rules {
		m := match{rule: i}
		var ok bool
		m.repository, ok = r.repositories.best(func(p pattern) bool { return p.match(name) || p.match(slug) && !strings.Contains(p.glob, "/") })
		if !ok {
			continue
		}
		if m.branch, ok = r.branches.best(func(p pattern) bool { return p.match(branch) }); ok {
			list = append(list, m)
		}
	}
	slices.SortStableFunc(list, func(a, b match) int {
		return cmp.Or(b.repository.compare(a.repository), b.branch.compare(a.branch))
	})
	return list
}
