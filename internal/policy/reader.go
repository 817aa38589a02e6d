package policy

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxValues bounds what aliases multiply to.
	maxValues = 100_000
	// maxAliases bounds a chain of aliases of aliases.
	maxAliases = 16
	maxText    = 1 << 10 // bytes
	// maxPatterns bounds what braces multiply to, and so what a document takes of
	// memory and a question of time.
	maxPatterns = 20_000
)

// reader reads the nodes of a document and remembers what is wrong with them.
type reader struct {
	faults  Faults
	anchors map[string]ast.Node
	zones   map[string]*time.Location
	left    int // values that may still be read
	globbed int // patterns, with braces written out
}

func (r *reader) fault(at *token.Token, format string, args ...any) {
	f := Fault{Line: 1, Column: 1, Message: fmt.Sprintf(format, args...)}
	if at != nil && at.Position != nil {
		f.Line, f.Column = max(1, at.Position.Line), max(1, at.Position.Column)
	}
	r.faults = append(r.faults, f)
}

// exhausted reports whether the document is larger than it may be once its
// aliases are written out; nothing more of it is read then.
func (r *reader) exhausted(at *token.Token) bool {
	if r.left == 0 {
		r.fault(at, "the document has more than %d values with its aliases expanded", maxValues)
	}
	r.left--
	return r.left < 0
}

// resolve is the node itself behind anchors and aliases, nil where there is none.
func (r *reader) resolve(n ast.Node) ast.Node {
	if n == nil || r.exhausted(n.GetToken()) {
		return nil
	}
	at := n.GetToken()
	for range maxAliases {
		switch node := n.(type) {
		case *ast.AnchorNode:
			n = node.Value
		case *ast.AliasNode:
			name := node.Value.GetToken().Value
			target, ok := r.anchors[name]
			if !ok {
				r.fault(at, "`*%s` is an alias without an anchor; put a pattern that starts with * in quotes", name)
				return nil
			}
			n = target
		case nil:
			r.fault(at, "a value is missing")
			return nil
		default:
			return n
		}
	}
	r.fault(at, "the alias refers to itself")
	return nil
}

// place is the token by which a person finds a node: that of its first key where
// it is a mapping.
func place(n ast.Node) *token.Token {
	if mapping, ok := n.(*ast.MappingNode); ok && !mapping.IsFlowStyle && len(mapping.Values) > 0 {
		return mapping.Values[0].Key.GetToken()
	}
	return n.GetToken()
}

// kind says what a node is, to who wrote something else.
func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.BoolNode:
		return "true or false"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	default:
		return "text"
	}
}

// entries are the values of a mapping by their keys. Where what it lacks matters,
// at says where.
type entries struct {
	values map[string]ast.Node
	at     *token.Token
}

// mapping reads a mapping that may have the known keys. What it can't read it
// leaves out, and says so.
func (r *reader) mapping(n ast.Node, what string, known ...string) (entries, bool) {
	var list []*ast.MappingValueNode
	switch node := n.(type) {
	case nil:
		return entries{}, false // its fault is told
	case *ast.MappingNode:
		list = node.Values
	case *ast.MappingValueNode:
		list = []*ast.MappingValueNode{node}
	default:
		r.fault(place(n), "%s is a mapping with %s, not %s", what, strings.Join(known, ", "), kind(n))
		return entries{}, false
	}
	found := entries{values: map[string]ast.Node{}, at: place(n)}
	for _, entry := range list {
		r.entry(found, entry, known)
	}
	return found, true
}

func (r *reader) entry(found entries, entry *ast.MappingValueNode, known []string) {
	at := entry.Key.GetToken()
	key, ok := entry.Key.(*ast.StringNode)
	if !ok {
		if _, merge := entry.Key.(*ast.MergeKeyNode); merge {
			r.fault(at, "merge keys (`<<`) are not supported: a rule already inherits from less specific rules")
			return
		}
		r.fault(at, "`%s` is not a key", at.Value)
		return
	}
	i := slices.IndexFunc(known, func(k string) bool { return spelling(k) == spelling(key.Value) })
	if i < 0 {
		r.fault(at, "%s", unknown(shown(key.Value), known))
		return
	}
	if _, twice := found.values[known[i]]; twice {
		r.fault(at, "`%s` is given twice", known[i])
		return
	}
	value := r.resolve(entry.Value)
	if _, nothing := value.(*ast.NullNode); nothing {
		r.fault(at, "`%s` has no value", known[i])
		value = nil
	}
	found.values[known[i]] = value // nil: it was given, and its fault is told
}

// get is the value of a key, nil where it isn't given or has a fault.
func (e entries) get(key string) (ast.Node, bool) {
	n := e.values[key]
	return n, n != nil
}

func (e entries) has(key string) bool {
	_, given := e.values[key]
	return given
}

// list is what a list holds; anything else is a list of itself.
func (r *reader) list(n ast.Node) []ast.Node {
	sequence, ok := n.(*ast.SequenceNode)
	if !ok {
		return []ast.Node{n}
	}
	nodes := make([]ast.Node, 0, len(sequence.Values))
	for _, value := range sequence.Values {
		if node := r.resolve(value); node != nil {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// scalar is a text or number as it is written.
func scalar(n ast.Node) (string, bool) {
	switch node := n.(type) {
	case *ast.StringNode:
		return node.Value, true
	case *ast.LiteralNode:
		return node.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode:
		return node.GetToken().Value, true
	default:
		return "", false
	}
}

// text reads one line of text.
func (r *reader) text(n ast.Node, what string) (string, bool) {
	s, ok := scalar(n)
	switch {
	case !ok && kind(n) == "true or false":
		r.fault(place(n), "%s is text: put %s in quotes", what, n.GetToken().Value)
	case !ok:
		r.fault(place(n), "%s is text, not %s", what, kind(n))
	case blank(s):
		r.fault(place(n), "%s is empty", what)
	case len(s) > maxText:
		r.fault(place(n), "%s is over the limit of %d bytes", what, maxText)
	case strings.ContainsFunc(s, unicode.IsControl):
		r.fault(place(n), "%s has a line break or another control character", what)
	default:
		return s, true
	}
	return "", false
}

// blank reports whether a text shows nothing: it is empty, or of spaces and
// characters without a width.
func blank(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return unicode.IsGraphic(c) && !unicode.IsSpace(c) })
}

// none reports whether n is an empty list, written where a rule takes back what a
// less specific one gives.
func none(n ast.Node) bool {
	sequence, ok := n.(*ast.SequenceNode)
	return ok && len(sequence.Values) == 0
}

// globs reads a pattern or a list of them, each as change makes it.
func (r *reader) globs(n ast.Node, what string, change func(string) string) patterns {
	var all patterns
	for _, node := range r.list(n) {
		s, ok := r.text(node, what)
		if !ok {
			continue
		}
		list, err := compile(change(s))
		if err != nil {
			r.fault(place(node), "%s: %v", what, err)
			continue
		}
		if r.globbed += len(list); r.globbed > maxPatterns {
			r.fault(place(node), "the document has more than %d patterns with their braces expanded", maxPatterns)
			return nil
		}
		all = append(all, list...)
	}
	if none(n) {
		r.fault(place(n), "the list is empty: name %s, or leave it out", what)
	}
	return all
}

func asWritten(s string) string { return s }

// word reads one of the words.
func (r *reader) word(n ast.Node, words ...string) string {
	s, ok := scalar(n)
	if !ok {
		r.fault(place(n), "write one of %s, not %s", strings.Join(words, ", "), kind(n))
		return ""
	}
	for _, w := range words {
		if spelling(w) == spelling(s) {
			return w
		}
	}
	r.fault(place(n), "%s", unknown(shown(s), words))
	return ""
}

// shown is what a message shows of a text that may be of any length.
func shown(s string) string {
	const most = 80
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

func (r *reader) flag(e entries, key string, otherwise bool) bool {
	n, ok := e.get(key)
	if !ok {
		return otherwise
	}
	b, ok := n.(*ast.BoolNode)
	if !ok {
		r.fault(place(n), "`%s`: write true or false", key)
		return otherwise
	}
	return b.Value
}

func (r *reader) duration(n ast.Node) time.Duration {
	s, _ := scalar(n)
	d, err := ParseDuration(s)
	switch {
	case err != nil:
		r.fault(place(n), "`%s` is not a duration like 30m, 24h or 90d", shown(s))
	case d <= 0:
		r.fault(place(n), "a duration must be over 0")
	}
	return d
}

// limit reads a duration, or off for none.
func (r *reader) limit(n ast.Node) time.Duration {
	if s, ok := scalar(n); ok && spelling(s) == "off" {
		return 0
	}
	return r.duration(n)
}

func (r *reader) count(n ast.Node) int {
	const most = 1_000_000
	if integer, ok := n.(*ast.IntegerNode); ok {
		switch v := integer.Value.(type) {
		case uint64:
			if v <= most {
				return int(v)
			}
		case int64:
			if v >= 0 && v <= most {
				return int(v)
			}
		}
	}
	r.fault(place(n), "`%s` is not a number from 0 to %d", shown(n.GetToken().Value), most)
	return 0
}

// plain is a value that was read without fault as JSON knows it, as it is
// written.
func (r *reader) plain(n ast.Node) any {
	switch node := n.(type) {
	case *ast.MappingNode:
		m := map[string]any{}
		for _, entry := range node.Values {
			m[spelledKey(entry)] = r.plain(r.resolve(entry.Value))
		}
		return m
	case *ast.MappingValueNode:
		return map[string]any{spelledKey(node): r.plain(r.resolve(node.Value))}
	case *ast.SequenceNode:
		list := []any{}
		for _, value := range node.Values {
			list = append(list, r.plain(r.resolve(value)))
		}
		return list
	case *ast.BoolNode:
		return node.Value
	case *ast.IntegerNode:
		if v, ok := node.Value.(uint64); ok && v <= math.MaxInt64 {
			return int64(v)
		}
	}
	s, _ := scalar(n)
	return s
}

// spelledKey is a key of a policy as its documentation spells it. Triggers alone
// have hyphens.
func spelledKey(entry *ast.MappingValueNode) string {
	key := entry.Key.GetToken().Value
	for _, trigger := range triggers {
		if spelling(trigger) == spelling(key) {
			return trigger
		}
	}
	return spelling(key)
}
