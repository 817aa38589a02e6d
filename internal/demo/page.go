package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"mergegate/internal/config"
	"mergegate/internal/terminal"
)

// pageWidth is how wide what the demo prints may get.
const pageWidth = 100

// page is what the demo prints on: a heading per step, below it what went
// over the wire and what had to hold.
type page struct {
	w      io.Writer
	colour bool
	err    error // the first that writing had, as when it is piped to head
}

func newPage(w io.Writer, environ config.Environ) *page {
	page := &page{w: w, colour: terminal.Is(w) && environ.Get("NO_COLOR") == ""}
	if page.colour {
		page.w = terminal.Raw(w)
	}
	return page
}

// How a text is shown on a terminal.
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

func (p *page) style(style, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (p *page) print(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// heading begins a step.
func (p *page) heading(number int, title string) {
	p.print("\n%s", p.style(bold, fmt.Sprintf("%d. %s", number, title)))
}

// text prints a paragraph.
func (p *page) text(text string) {
	for _, line := range wrap(text, "   ", "   ") {
		p.print("%s", line)
	}
}

// request shows what is sent. Nobody needs to read it twice, so it is dim.
func (p *page) request(line, note string, body []byte) {
	for _, line := range block("→ "+line+note, layout(shorten(body))) {
		p.print("%s", p.style(dim, line))
	}
}

// answer shows what came back.
func (p *page) answer(status int, note string, body []byte) {
	for _, line := range block(fmt.Sprintf("← %d %s%s", status, http.StatusText(status), note), layout(shorten(body))) {
		p.print("%s", line)
	}
}

// block is a line and what belongs below it, within the page's width.
func block(first string, others []string) []string {
	lines := wrap(first, "   ", "       ")
	for _, line := range others {
		text := strings.TrimLeft(line, " ")
		indent := "     " + line[:len(line)-len(text)]
		lines = append(lines, wrap(text, indent, indent+" ")...)
	}
	return lines
}

// held says that something is as it has to be.
func (p *page) held(what, got string) {
	lines := wrap(what+": "+got, "   ✓ ", "     ")
	lines[0] = strings.Replace(lines[0], "✓", p.style(green, "✓"), 1)
	for _, line := range lines {
		p.print("%s", line)
	}
}

// broke says that something isn't.
func (p *page) broke(what, want, got string) {
	p.print("   %s %s", p.style(red, "✗"), what)
	p.print("     expected: %s", want)
	p.print("     got:      %s", got)
}

// wrap breaks a text at spaces. What has none to break at stays whole: it is to
// be copied.
func wrap(text, first, others string) []string {
	var lines []string
	line := first
	for i, word := range strings.SplitAfter(text, " ") {
		if i > 0 && len([]rune(line))+len([]rune(strings.TrimRight(word, " "))) > pageWidth {
			lines = append(lines, strings.TrimRight(line, " "))
			line = others
		}
		line += strings.ReplaceAll(word, glue, " ")
	}
	return append(lines, strings.TrimRight(line, " "))
}

var (
	longCommit = regexp.MustCompile(`\b([0-9a-f]{12})[0-9a-f]{28}\b`)
	longUUID   = regexp.MustCompile(`\{([0-9a-f]{8})-[0-9a-f-]{27}\}`)
)

// shorten abbreviates what nobody reads to its end.
func shorten(body []byte) []byte {
	return longUUID.ReplaceAll(longCommit.ReplaceAll(body, []byte("$1…")), []byte("{$1…}"))
}

// layout writes JSON to be read. What is no JSON stays as it is.
func layout(body []byte) []string {
	switch {
	case len(body) == 0:
		return nil
	case !json.Valid(body):
		return strings.Split(strings.TrimSpace(string(body)), "\n")
	}
	return layoutValue("", body, pageWidth-6)
}

// layoutValue has one line for what is short, and for what is read like a
// sentence, to be wrapped; a line for each member otherwise.
func layoutValue(name string, value []byte, width int) []string {
	line := name + inline(value)
	keys, values := members(value)
	length := len([]rune(line))
	isList := strings.Contains(line, "[{")
	if len(values) == 0 || length <= width || length <= 4*width && !isList {
		return []string{line}
	}
	brackets := "[]"
	if keys != nil {
		brackets = "{}"
	}
	lines := []string{name + brackets[:1]}
	for i, v := range values {
		inner := layoutValue(keyOf(keys, i), v, width-2)
		if i < len(values)-1 {
			inner[len(inner)-1] += ","
		}
		for _, line := range inner {
			lines = append(lines, "  "+line)
		}
	}
	return append(lines, brackets[1:])
}

// glue is a space at which no line is broken.
const glue = "\u00a0"

// inline writes a value in one line, with spaces for the eye.
func inline(value []byte) string {
	keys, values := members(value)
	if values == nil {
		return string(bytes.TrimSpace(value))
	}
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = keyOf(keys, i) + inline(v)
	}
	if keys != nil {
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func keyOf(keys []string, i int) string {
	if keys == nil {
		return ""
	}
	return keys[i] + ":" + glue
}

// members takes an object or array apart, in its own order; a scalar has none.
func members(value []byte) (keys []string, values []json.RawMessage) {
	decoder := json.NewDecoder(bytes.NewReader(value))
	opening, _ := decoder.Token()
	switch opening {
	case json.Delim('{'):
		keys = []string{}
	case json.Delim('['):
	default:
		return nil, nil
	}
	values = []json.RawMessage{}
	for decoder.More() {
		if keys != nil {
			key, _ := decoder.Token()
			keys = append(keys, fmt.Sprintf("%q", key))
		}
		var v json.RawMessage
		if decoder.Decode(&v) != nil {
			break // never: it was valid as a whole
		}
		values = append(values, v)
	}
	return keys, values
}
