package appveyor

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// text is a string that PostgreSQL can store: no NUL, valid UTF-8, bounded.
func text(s string, limit int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "")
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "")
}

func textOf(raw json.RawMessage, limit int) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return text(s, limit)
}

// intOf reads a number or a string of digits: AppVeyor sends pullRequestId as
// the one in webhooks and as the other in REST answers. Anything else is 0.
func intOf(raw json.RawMessage) int64 {
	s := strings.Trim(string(raw), `" `)
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// integer decodes like intOf and never fails.
type integer int64

func (n *integer) UnmarshalJSON(raw []byte) error {
	*n = integer(intOf(raw))
	return nil
}

// label decodes a string; any other type is the empty string.
type label string

func (l *label) UnmarshalJSON(raw []byte) error {
	*l = label(textOf(raw, 2048))
	return nil
}

// flag decodes a boolean; anything but true is false.
type flag bool

func (f *flag) UnmarshalJSON(raw []byte) error {
	*f = string(raw) == "true"
	return nil
}

// instant decodes AppVeyor's RFC 3339 times, to the microseconds PostgreSQL
// keeps. Missing, unreadable and .NET's default time (year 1) are zero.
type instant struct{ time.Time }

func (t *instant) UnmarshalJSON(raw []byte) error {
	parsed, err := time.Parse(time.RFC3339, textOf(raw, 64))
	if err != nil || parsed.Year() <= 1 || parsed.Year() > 9999 {
		t.Time = time.Time{}
		return nil //nolint:nilerr // a time that can't be read is an absent one
	}
	t.Time = parsed.UTC().Truncate(time.Microsecond)
	return nil
}
