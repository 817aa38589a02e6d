package mergecheck

import (
	"slices"
	"strings"
	"time"
)

// Told is a pull request as Bitbucket told it at one moment: read just now,
// brought along with a merge check, or in an event. Empty fields weren't told.
type Told struct {
	State             string
	Head              string // 40 hex characters, or what is known of them
	DestinationBranch string
	DestinationCommit string // 40 or 12 hex characters
	// On is that moment by Bitbucket's clock; zero where it wasn't told.
	On time.Time
}

// Recorded is what is recorded of a pull request that something newly told may
// contradict.
type Recorded struct {
	History
	// Newest is the newest telling of state and destination. Its Head is as events
	// have it, abbreviated.
	Newest Told
	// Destination is the newest head that was told of the destination branch.
	Destination Head
}

// Contradicts reports whether t differs from something recorded and isn't newer by
// Bitbucket's clock: then only Bitbucket can tell what is the case. Arrival decides
// nothing: a message can be late, and what is brought along can be read long before.
func (r Recorded) Contradicts(t Told) bool {
	return r.contradictsHead(t) || r.contradictsPlace(t)
}

// HasTwin reports whether another recorded head begins with the same 12 characters. The
// Forge function reads a pull request and its head one after the other: where there are
// twins, what it brings may be the one's time with the other's head.
func (r Recorded) HasTwin(head string) bool {
	return slices.ContainsFunc(r.Heads, func(h Head) bool {
		return h.Commit != head && len(head) == FullCommit && h.Commit[:shownCommit] == head[:shownCommit]
	})
}

// shownCommit is how many characters Bitbucket abbreviates commits to.
const shownCommit = 12

// contradictsHead looks at every commit that may be the newest recorded head.
func (r Recorded) contradictsHead(t Told) bool {
	if r.HasTwin(t.Head) {
		return true
	}
	for _, h := range r.newestHeads() {
		if h.Commit != t.Head && !t.On.After(h.LastSeenOn) {
			return true
		}
	}
	if t.On.After(r.Newest.On) {
		return false
	}
	// An event has the head abbreviated: one with other characters is another commit,
	// and with the same it may be, until it was told in full.
	return r.unread() && t.On.Before(r.Newest.On) || r.Newest.Head != "" && !strings.HasPrefix(t.Head, r.Newest.Head)
}

// unread reports whether the newest telling has a head that is only told abbreviated:
// nobody told it in full for that time, nor read the pull request since, whether or not
// somebody still tries to.
func (r Recorded) unread() bool {
	return r.Newest.Head != "" && !slices.ContainsFunc(r.Heads, func(h Head) bool {
		return !h.Untimed && strings.HasPrefix(h.Commit, r.Newest.Head) && (h.FirstSeenOn.Equal(r.Newest.On) || h.LastSeenOn.Equal(r.Newest.On))
	})
}

func (r Recorded) contradictsPlace(t Told) bool {
	if r.Newest.On.IsZero() || t.On.After(r.Newest.On) {
		return false
	}
	return r.Newest.State != "" && !strings.EqualFold(t.State, r.Newest.State) ||
		r.Newest.DestinationBranch != "" && t.DestinationBranch != r.Newest.DestinationBranch
}

// ContradictsDestination is [Recorded.Contradicts] for the commit that the
// destination branch is at. It matters only where freshness does: a destination
// moves often, which doesn't change the pull request.
func (r Recorded) ContradictsDestination(t Told) bool {
	d := r.Destination
	return d.Commit != "" && t.DestinationCommit != "" && !sameCommit(d.Commit, t.DestinationCommit) && !t.On.After(d.LastSeenOn)
}

// Head is the newest recorded head, "" where none is or the times don't tell.
func (r Recorded) Head() string {
	heads := r.newestHeads()
	if len(heads) == 0 || slices.ContainsFunc(heads, func(h Head) bool { return h.Commit != heads[0].Commit }) {
		return ""
	}
	return heads[0].Commit
}

// newestHeads are the heads of which no other is surely newer: those last seen by
// Bitbucket's clock, and those without a time that arrived no earlier.
func (r Recorded) newestHeads() []Head {
	var newest time.Time
	for _, h := range r.Heads {
		if !h.Untimed && h.LastSeenOn.After(newest) {
			newest = h.LastSeenOn
		}
	}
	return slices.DeleteFunc(slices.Clone(r.Heads), func(h Head) bool { return h.LastSeenOn.Before(newest) })
}

// Instead is what holds where t contradicts what is recorded and Bitbucket can't be
// read: what is recorded, which isn't older. The head stands only where both tell
// the same; else it isn't known, and problem says why.
func (r Recorded) Instead(t Told, problem string) (known Told, headProblem string) {
	if r.contradictsHead(t) && (r.unread() || r.Head() != t.Head || !strings.HasPrefix(t.Head, r.Newest.Head)) {
		t.Head, headProblem = "", problem
	}
	if r.contradictsPlace(t) {
		t.State, t.DestinationBranch = r.Newest.State, r.Newest.DestinationBranch
	}
	if r.Destination.Commit != "" && r.ContradictsDestination(t) {
		t.DestinationCommit = r.Destination.Commit
	}
	return t, headProblem
}
