package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// quoted is a value as a fault shows it: what can't be seen is escaped.
func quoted(value string) string {
	if strings.Contains(value, `"`) && strconv.CanBackquote(value) {
		return "`" + value + "`"
	}
	return strconv.Quote(value)
}

// byteOrderMark is what some Windows programs begin a file with.
const byteOrderMark = '\ufeff'

// invisible reports whether a character can't be seen, or is a space other than the usual.
func invisible(r rune) bool {
	return r == utf8.RuneError || r != ' ' && (unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zs))
}

// invisibleNames are those that come with copied text.
var invisibleNames = map[rune]string{
	'\u00a0': "a no-break space", '\u200b': "a zero-width space", '\u200c': "a zero-width non-joiner", '\u200d': "a zero-width joiner",
	'\u2060': "a word joiner", byteOrderMark: "a byte order mark", '\t': "a tab",
}

// damageOf says what the way to the program did to a variable's text, "" where it is whole.
func (v variable) damageOf(value string) string {
	what := damageOf(value, v.secret)
	switch {
	case what != "":
		return what
	case v.name == databaseURL:
		return ""
	case v.secret && strings.HasPrefix(strings.ToLower(value), "bearer "):
		return `begins with "Bearer "; give the secret alone`
	case v.list && len(List(value)) == 0:
		return "holds nothing but commas; give a value, or unset it"
	}
	return ""
}

var (
	// comment is one after a value: Docker's --env-file and systemd make it part of the value.
	comment = regexp.MustCompile(`\s#`)
	// unexpanded is what a shell would have replaced.
	unexpanded = regexp.MustCompile(`\$[({]`)
	// enclosed is a value in quotes, of a keyboard or of a word processor.
	enclosed = regexp.MustCompile(`^(".*"|'.*'|` + "`.*`" + `|[“”„‘’«»].*[“”„‘’«»])$`)
)

func damageOf(value string, secret bool) string {
	shown := func(what string) string {
		if secret {
			return what
		}
		return quoted(value) + " " + what
	}
	if what := invisibleIn(value); what != "" {
		return shown(what)
	}
	switch {
	case enclosed.MatchString(value):
		return shown("is in quotes, which became part of the value; remove them")
	case comment.MatchString(value):
		return shown("has a comment in it, which became part of the value; put the comment on a line of its own")
	case unexpanded.MatchString(value):
		return shown("has a $( or ${ in it that nothing expanded; write what it stands for")
	case strings.Trim(value, ".…") == "" || strings.HasSuffix(value, "…"):
		return shown("is the placeholder of an example; replace it")
	}
	return ""
}

func invisibleIn(value string) string {
	at := strings.IndexFunc(value, invisible)
	if at < 0 {
		return ""
	}
	r, size := utf8.DecodeRuneInString(value[at:])
	switch {
	case r == byteOrderMark && at == 0:
		return "begins with a byte order mark; save the file as UTF-8 without it"
	case r == '\r' && at == len(value)-1:
		return "ends with a carriage return; save the file with Unix line endings (LF)"
	case r == '\n' || r == '\r':
		return "has several lines; write one, and separate values with commas"
	case r == utf8.RuneError && size == 1:
		return "is not UTF-8 text; save the file as UTF-8"
	}
	name, known := invisibleNames[r]
	if !known {
		name = "an invisible character"
	}
	return fmt.Sprintf("has %s in it (U+%04X); type the value by hand", name, r)
}
