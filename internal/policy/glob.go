package policy

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
)

const (
	maxPattern = 1 << 10 // bytes
	// maxAlternatives bounds what the braces of a pattern multiply to.
	maxAlternatives = 64
)

// pattern is a glob without braces: matching one takes time in proportion to the
// lengths of pattern and name, which braces would make exponential.
type pattern struct {
	glob string
	precision
	exact string // what a pattern without wildcards matches
}

// precision is how closely a pattern says what it means.
type precision struct {
	plain    bool // no wildcards
	literals int  // characters that are no wildcards
}

func (p precision) compare(q precision) int {
	if p.plain != q.plain {
		if p.plain {
			return 1
		}
		return -1
	}
	return cmp.Compare(p.literals, q.literals)
}

func (p pattern) match(name string) bool {
	if p.plain {
		return p.exact == name
	}
	return doublestar.MatchUnvalidated(p.glob, name)
}

// compile reads a glob; it becomes several patterns where it has braces.
func compile(glob string) ([]pattern, error) {
	switch {
	case glob == "":
		return nil, errors.New("an empty pattern matches nothing")
	case len(glob) > maxPattern:
		return nil, fmt.Errorf("a pattern is over the limit of %d bytes", maxPattern)
	case !doublestar.ValidatePattern(glob):
		return nil, fmt.Errorf("`%s` is not a glob: close its bracket or brace, or complete its backslash", glob)
	}
	globs := alternatives(glob)
	if globs == nil {
		return nil, fmt.Errorf("the braces of a pattern make more than %d patterns", maxAlternatives)
	}
	patterns := make([]pattern, len(globs))
	for i, g := range globs {
		if blank(g) {
			return nil, fmt.Errorf("`%s` has an empty alternative in its braces", glob)
		}
		patterns[i] = newPattern(g)
	}
	return patterns, nil
}

func newPattern(glob string) pattern {
	p := pattern{glob: glob, precision: precision{plain: true}}
	var exact strings.Builder
	for i := 0; i < len(glob); {
		end := element(glob, i)
		switch glob[i] {
		case '*', '?', '[':
			p.plain = false
		case '\\':
			p.literals++
			exact.WriteString(glob[i+1 : end])
		default:
			p.literals++
			exact.WriteString(glob[i:end])
		}
		i = end
	}
	p.exact = exact.String()
	return p
}

// element is where the element of a valid glob ends that begins at i: a
// character, an escaped one, or a class like [a-z].
func element(glob string, i int) int {
	switch glob[i] {
	case '\\':
		_, size := utf8.DecodeRuneInString(glob[i+1:])
		return i + 1 + size
	case '[':
		for i++; glob[i] != ']'; i++ {
			if glob[i] == '\\' {
				i++
			}
		}
		return i + 1
	default:
		_, size := utf8.DecodeRuneInString(glob[i:])
		return i + size
	}
}

// alternatives writes the braces of a valid glob out, nil if that makes too many.
func alternatives(glob string) []string {
	open := []string{glob}
	var done []string
	for len(open) > 0 {
		next := open[len(open)-1]
		open = open[:len(open)-1]
		before, parts, after := cutBraces(next)
		if parts == nil {
			done = append(done, next)
			continue
		}
		if len(open)+len(parts)+len(done) > maxAlternatives {
			return nil
		}
		for i := len(parts) - 1; i >= 0; i-- {
			open = append(open, before+parts[i]+after)
		}
	}
	return done
}

// cutBraces splits a glob around its first pair of braces; parts is nil where it
// has none.
func cutBraces(glob string) (before string, parts []string, after string) {
	depth, begin := 0, 0
	for i := 0; i < len(glob); i = element(glob, i) {
		switch glob[i] {
		case '{':
			if depth++; depth == 1 {
				before, begin = glob[:i], i+1
			}
		case ',':
			if depth == 1 {
				parts, begin = append(parts, glob[begin:i]), i+1
			}
		case '}':
			if depth--; depth == 0 {
				return before, append(parts, glob[begin:i]), glob[i+1:]
			}
		}
	}
	return glob, nil, ""
}

// patterns are alternatives: one that matches is enough. None match anything.
type patterns []pattern

// best is how closely the closest of the patterns that match means name.
func (p patterns) best(matches func(pattern) bool) (best precision, matched bool) {
	if len(p) == 0 {
		return precision{}, true
	}
	for _, one := range p {
		if matches(one) && (!matched || one.compare(best) > 0) {
			best, matched = one.precision, true
		}
	}
	return best, matched
}

func (p patterns) match(name string) bool {
	_, matched := p.best(func(one pattern) bool { return one.match(name) })
	return matched
}
