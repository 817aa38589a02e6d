package main

import (
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"
)

// printable is where everything is printed that people read: texts of others, such as a
// branch, a policy's comment or an answer of a remote, never reach a terminal with what
// it would obey. That is shown as \u001b is, which means the same in JSON and YAML.
type printable struct{ raw io.Writer }

// Write writes p, escaped where it has to be.
func (w printable) Write(p []byte) (int, error) {
	if _, err := w.raw.Write(escapeControls(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// rawWriter is what is behind a printable writer, for what this program itself has a
// terminal do.
func rawWriter(w io.Writer) io.Writer {
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
