package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"

	"mergegate/internal/terminal"
)

// jsonFlag has a command print what programs read.
type jsonFlag struct {
	JSON bool `name:"json" help:"Print JSON, as the API has it"`
}

// table lines columns up, for people: on a terminal and in a pipe.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer, columns ...string) *table {
	t := &table{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	fmt.Fprintln(t.w, strings.Join(columns, "\t"))
	return t
}

// row writes one line; a cell that is empty is a dash.
func (t *table) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = orDash(terminal.Plain(fmt.Sprint(cell)))
	}
	fmt.Fprintln(t.w, strings.Join(texts, "\t"))
}

func (t *table) flush() error { return t.w.Flush() }

// writeJSON writes a value for programs. What a terminal would obey is written as
// \u escapes, which mean the same.
func writeJSON(w io.Writer, value any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(escapeUnprintable(text.Bytes()))
	return err
}

// escapeUnprintable escapes what isn't printable in JSON, where outside of strings
// there is nothing such but the line breaks between values.
func escapeUnprintable(text []byte) []byte {
	var escaped []byte
	for _, r := range string(text) {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			escaped = append(escaped, string(r)...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, high, low)
		default:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		}
	}
	return escaped
}

// printList prints a list: as an array, or as a table with a row of each. more says that
// there are others.
func printList[T any](p *program, asJSON bool, list []T, more bool, columns []string, row func(T) []any) error {
	if asJSON {
		return writeJSON(p.stdout, append([]T{}, list...))
	}
	t := newTable(p.stdout, columns...)
	for _, document := range list {
		t.row(row(document)...)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(p.stderr, "There are more than these %d: see --limit.\n", len(list))
	}
	return nil
}

// text is a text that may be missing.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
