package appveyor

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// identity is a text that names something, as PostgreSQL can store it; "" if it is
// longer than limit or can't be stored as it is.
func identity(s string, limit int) string {
	if len(s) > limit || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return ""
	}
	return s
}

// storable is a text without what PostgreSQL can't store.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "")
}

// prose is a text for people, as PostgreSQL can store it, cut to limit.
func prose(s string, limit int) string {
	s = storable(s)
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(strings.Clone(s[:limit]), "") // a part would keep the whole in memory
}

// nameOf reads a string that names something; "" for any other type, and where it
// is too long or can't be stored.
func nameOf(raw json.RawMessage, limit int) string {
	const escaped = len(`\u0000`)
	if len(raw) > escaped*limit+2 {
		return ""
	}
	return identity(stringOf(raw), limit)
}

// hintOf is [nameOf] for a webhook, which proves nothing: what can't be stored is
// left out of the text.
func hintOf(raw json.RawMessage, limit int) string { return identity(storable(stringOf(raw)), limit) }

// proseOf reads a string for people; "" for any other type.
func proseOf(raw json.RawMessage, limit int) string { return prose(stringOf(raw), limit) }

func stringOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// intOf reads a number or a string of digits: AppVeyor sends pullRequestId as
// the one in webhooks and as the other in REST answers. Anything else is 0.
func intOf(raw json.RawMessage) int64 {
	if len(raw) > maxNumber {
		return 0
	}
	return digits(strings.Trim(string(raw), `" `))
}

func digits(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// boolOf reads a boolean; anything but true is false.
func boolOf(raw json.RawMessage) bool { return string(raw) == "true" }

// timeOf reads AppVeyor's RFC 3339 times, to the microseconds PostgreSQL keeps.
// Missing, unreadable and .NET's default time (year 1) are zero.
func timeOf(raw json.RawMessage) time.Time {
	t, err := time.Parse(time.RFC3339, nameOf(raw, maxInstant))
	if err != nil || t.Year() <= 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}
