package mergecheck

import (
	"crypto/sha256"
	"encoding/hex"
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

// The most bytes of texts from outside that are kept. PostgreSQL indexes rows of some
// 2,700 bytes, so that what is looked up by is bounded well below.
const (
	MaxBranch   = 1024 // beyond: a hash stands for the name, see [BranchName]
	MaxFullName = 256  // beyond: as if it weren't told
	MaxState    = 32   // beyond: as if it weren't told
)

// BranchName is a branch's name as it is kept. One that is longer than [MaxBranch] is
// known by its hash: a part of it may be another branch's name.
func BranchName(s string) string {
	s = Storable(s)
	if len(s) <= MaxBranch {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Name is a text that PostgreSQL can store, "" where it has more than most bytes: a
// part of a name may be another name.
func Name(s string, most int) string {
	if s = Storable(s); len(s) > most {
		return ""
	}
	return s
}

// Storable is s without what PostgreSQL doesn't store in a text.
func Storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
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
