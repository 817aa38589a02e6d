package mergecheck

import (
	"fmt"
	"strings"
	"time"
)

// FullCommit is the length of a commit's full hash. Only such hashes decide: an
// author can make two commits that share the 12 characters Bitbucket shows.
const FullCommit = 40

// shortestCommit is the fewest characters AppVeyor abbreviates a commit to.
const shortestCommit = 10

// Head is a commit that was a pull request's head, with the first and the last
// time it was the head during one unbroken stretch, by Bitbucket's clock. A head
// that comes back after another is a second Head.
type Head struct {
	Commit      string    `json:"commit"` // 40 hex characters
	FirstSeenOn time.Time `json:"first_seen_on"`
	LastSeenOn  time.Time `json:"last_seen_on"`
	// Untimed says that Bitbucket gave no time: the commit became the head at the
	// latest when the message arrived, which both times are then. Bitbucket's push
	// webhooks are like that.
	Untimed bool `json:"untimed,omitempty"`
}

// IsFullCommit reports whether s is a full, lower-case commit hash.
func IsFullCommit(s string) bool { return len(s) == FullCommit && isHex(s) }

// CommitPrefix normalises what a remote calls a commit: lower-case hex of 10 to
// 40 characters, or "" for anything else.
func CommitPrefix(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if len(s) < shortestCommit || len(s) > FullCommit || !isHex(s) {
		return ""
	}
	return s
}

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

// History is what is recorded of a pull request's heads.
type History struct {
	Heads []Head // oldest first
	// Waiting says that Bitbucket told of a change whose head has yet to be read:
	// there may be a head that is not among Heads.
	Waiting bool
}

// Attribute tells which head a build is of. Without a certain answer the commit is
// empty and reason says why.
//
//   - A reported commit of 40 characters is the answer.
//   - A shorter one counts only where it fits exactly one recorded head.
//   - With none, the build is of the head that was the pull request's only one
//     from its creation through its end, unless its commitId is another head.
//   - Where a head has yet to be read, only 40 characters are an answer: it may be
//     another one that the shorter fits.
func Attribute(b Build, of History) (commit, reason string) {
	switch {
	case len(b.ReportedCommit) == FullCommit:
		return b.ReportedCommit, ""
	case of.Waiting:
		return "", fmt.Sprintf("mergegate is still reading the head of pull request %d from Bitbucket, and AppVeyor abbreviates the commit of build %s", b.PullRequestID, b.name())
	case b.ReportedCommit != "":
		return attributeShort(b, of.Heads)
	default:
		return attributeByTime(b, of.Heads)
	}
}

func attributeShort(b Build, heads []Head) (commit, reason string) {
	for _, h := range heads {
		if !strings.HasPrefix(h.Commit, b.ReportedCommit) || h.Commit == commit {
			continue
		}
		if commit != "" {
			return "", fmt.Sprintf("AppVeyor names the commit of build %s only as %s, a prefix that several commits of the pull request share", b.name(), b.ReportedCommit)
		}
		commit = h.Commit
	}
	if commit == "" {
		return "", fmt.Sprintf("AppVeyor names the commit of build %s only as %s, and mergegate has seen no such head of the pull request", b.name(), b.ReportedCommit)
	}
	return commit, ""
}

func attributeByTime(b Build, heads []Head) (commit, reason string) {
	unknown := fmt.Sprintf("AppVeyor doesn't name the commit of build %s", b.name())
	if b.CreatedOn.IsZero() {
		return "", unknown + " or say when the build was created"
	}
	commit, since := headAt(b.CreatedOn, heads)
	if commit == "" {
		return "", unknown + ", and mergegate saw no head of the pull request before the build was created"
	}
	for _, h := range heads {
		if h.Commit == commit {
			continue
		}
		if seenDuring(h, b, since) {
			return "", unknown + ", and the pull request's head changed while the build ran"
		}
		if b.CommitID != "" && strings.HasPrefix(h.Commit, b.CommitID) {
			return "", unknown + ", and the build's own commit was another head of the pull request"
		}
	}
	return commit, ""
}

// headAt is the head that was last seen at or before t, by Bitbucket's clock, and when.
func headAt(t time.Time, heads []Head) (commit string, seen time.Time) {
	for _, h := range heads {
		for _, on := range []time.Time{h.FirstSeenOn, h.LastSeenOn} {
			if !h.Untimed && !on.After(t) && !on.Before(seen) {
				commit, seen = h.Commit, on
			}
		}
	}
	return commit, seen
}

// seenDuring reports whether h was seen after b was created and before it ended, or,
// where it has no time, maybe was: at any time until the message arrived, which may
// have been long after b ended, but for what was seen since. A build that has not ended
// has its whole future for another head to appear in.
func seenDuring(h Head, b Build, since time.Time) bool {
	if h.Untimed && !h.LastSeenOn.Before(since) {
		return true
	}
	if !h.LastSeenOn.After(b.CreatedOn) {
		return false
	}
	if b.FinishedOn.IsZero() {
		return true
	}
	return !h.FirstSeenOn.After(b.FinishedOn)
}
