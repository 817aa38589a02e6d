package mergecheck

import (
	"regexp"
	"strings"
	"time"
)

// How Bitbucket writes identities, in REST answers, webhooks and Forge's events
// alike.
var (
	uuidPattern = regexp.MustCompile(`^\{?([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\}?$`)
	hashPattern = regexp.MustCompile(`^[0-9a-f]{7,40}$`)
)

// BareUUID is a UUID in lower case and without braces, "" for what is none.
func BareUUID(s string) string {
	parts := uuidPattern.FindStringSubmatch(s)
	if parts == nil {
		return ""
	}
	return strings.ToLower(parts[1])
}

// CommitHash is a commit's hash in lower case, "" for what is none. Bitbucket's
// schema allows 7 or more characters; pull requests carry 12, commits 40.
func CommitHash(s string) string {
	if s = strings.ToLower(s); hashPattern.MatchString(s) {
		return s
	}
	return ""
}

// EventTime reads when an event happened, to the microseconds that PostgreSQL
// keeps. What is no time, or years away from any event, is zero.
func EventTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 2000 || t.Year() > 2200 {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}
