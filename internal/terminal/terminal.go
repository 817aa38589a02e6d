// Package terminal writes texts of others where people read them: a branch, a policy's
// comment or an answer of a remote never gives orders to a terminal.
package terminal

import (
	"fmt"
	"io"
	"os"
	"time"
	"unicode"
	"unicode/utf8"

	"mergegate/internal/mergecheck"
)

// printable escapes what a terminal would obey.
type printable struct{ raw io.Writer }

// Printable is w for texts of others: what a terminal would obey is shown as \u001b is,
// which means the same in JSON and YAML.
func Printable(w io.Writer) io.Writer { return printable{w} }

// Write writes p, escaped where it has to be.
func (w printable) Write(p []byte) (int, error) {
	if _, err := w.raw.Write(escapeControls(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Raw is what is behind a printable writer, for what this program itself has a
// terminal do.
func Raw(w io.Writer) io.Writer {
	if p, ok := w.(printable); ok {
		return p.raw
	}
	return w
}

// escapeControls escapes what isn't printable and no line break or tab.
func escapeControls(text []byte) []byte {
	var escaped []byte
	from := 0 // of what is copied as it is
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == '\n' || r == '\t' || unicode.IsPrint(r) && (r != utf8.RuneError || size > 1) {
			i += size
			continue
		}
		escaped = append(escaped, text[from:i]...)
		switch {
		case r == utf8.RuneError && size == 1:
			escaped = fmt.Appendf(escaped, `\x%02x`, text[i])
		case r > 0xffff:
			escaped = fmt.Appendf(escaped, `\U%08x`, r)
		default:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		}
		i += size
		from = i
	}
	if from == 0 {
		return text
	}
	return append(escaped, text[from:]...)
}

// Is reports whether w leads to a terminal.
func Is(w io.Writer) bool {
	file, ok := Raw(w).(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// longest is what a cell of a table shows at most: titles and reasons are as long as their
// authors made them.
const longest = 200

// Plain is text that others typed, in one line and not too long: branches, titles and names
// of jobs can hold what moves the cursor or turns the direction of text.
func Plain(text string) string { return mergecheck.OneLine(text, longest) }

// Counted is how many there are of something: "1 fault", "2 faults".
func Counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Time is a time in UTC to the minute, with its zone, otherwise where there is none.
func Time(t *time.Time, otherwise string) string {
	if t == nil {
		return otherwise
	}
	return t.UTC().Format("2006-01-02 15:04 MST")
}

// Short is a commit as people read it.
func Short(commit string) string { return commit[:min(len(commit), 12)] }
