package mergecheck

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MaxWaiverLife is the longest a waiver can be valid.
const MaxWaiverLife = 90 * 24 * time.Hour

// Waiver lets one head of a pull request be merged into one destination branch
// without a passing build. It is a record that is never changed: what ends it
// are its expiry, a revocation, a new head, another destination.
type Waiver struct {
	ID          int64     `json:"id,omitzero"`
	Head        string    `json:"head,omitzero"`         // 40 hex characters
	Destination string    `json:"destination,omitzero"`  // branch
	ProjectID   int64     `json:"project_id,omitzero"`   // 0: every project
	ProjectName string    `json:"project_name,omitzero"` // "account/slug" when it was given; "" for every project
	Reason      string    `json:"reason,omitzero"`
	By          string    `json:"by,omitzero"`         // the name of the token it was given with
	Owner       string    `json:"owner,omitzero"`      // the token's owner: UUID of a Bitbucket user, or ""
	Author      string    `json:"author,omitzero"`     // the pull request's author: UUID, or "" when it wasn't told
	TwoPerson   bool      `json:"two_person,omitzero"` // whether two were needed when it was given
	CreatedOn   time.Time `json:"created_on,omitzero"`
	ExpiresOn   time.Time `json:"expires_on,omitzero"`
	RevokedOn   time.Time `json:"revoked_on,omitzero"` // zero: it isn't
	RevokedBy   string    `json:"revoked_by,omitzero"`
	// EndedBy is [WaiverOtherHead] or [WaiverOtherDestination] where the pull request
	// was told to have another head or destination after the waiver was given: then
	// it has ended for good, whatever the pull request is now. "": it hasn't.
	EndedBy WaiverState `json:"ended_by,omitzero"`
	EndedOn time.Time   `json:"ended_on,omitzero"` // when Bitbucket says that was
}

// EndedByFact tells by what a fact ends w, "" where it doesn't: one of another head
// or another destination from after the waiver was given. A head may be abbreviated
// and each may be "" where the fact doesn't tell it.
func (w Waiver) EndedByFact(head, destination string, on time.Time) WaiverState {
	switch {
	case !on.After(w.CreatedOn):
		return ""
	case head != "" && !strings.HasPrefix(w.Head, head):
		return WaiverOtherHead
	case destination != "" && destination != w.Destination:
		return WaiverOtherDestination
	default:
		return ""
	}
}

// WaiverState is what has become of a waiver.
type WaiverState string

// The states of a waiver.
const (
	WaiverLive             WaiverState = "live"
	WaiverWaiting          WaiverState = "waiting" // for a second person
	WaiverExpired          WaiverState = "expired"
	WaiverRevoked          WaiverState = "revoked"
	WaiverOtherHead        WaiverState = "other_head"
	WaiverOtherDestination WaiverState = "other_destination"
	WaiverRefused          WaiverState = "refused" // the policy lets nobody waive
	WaiverUnknown          WaiverState = "unknown" // the head isn't known
)

// WaiverWithState is a waiver with what has become of it.
type WaiverWithState struct {
	Waiver
	State WaiverState
}

// covers reports whether the waiver is for the project.
func (w Waiver) covers(projectID int64) bool { return w.ProjectID == 0 || w.ProjectID == projectID }

// WithStates tells of each waiver what has become of it. The head may be empty
// where it isn't known: then no waiver is live.
func WithStates(waivers []Waiver, pr PullRequest, rules WaiverRules, now time.Time) []WaiverWithState {
	waivers = slices.SortedFunc(slices.Values(waivers), func(a, b Waiver) int { return cmp.Compare(a.ID, b.ID) })
	verdicts := make([]WaiverWithState, len(waivers))
	for i, w := range waivers {
		verdicts[i] = WaiverWithState{Waiver: w, State: stateOf(w, pr, rules, now)}
	}
	judged := slices.Clone(verdicts)
	for i, v := range verdicts {
		if v.State == WaiverLive && (rules.TwoPerson || v.TwoPerson) && !seconded(v.Waiver, verdicts) {
			judged[i].State = WaiverWaiting
		}
	}
	return judged
}

// StateAsGiven is a waiver as it is the moment it is given, among all of the pull request:
// of its own head and destination, and waiting where it needs a second person.
func StateAsGiven(all []Waiver, w Waiver) WaiverWithState {
	then := PullRequest{Head: w.Head, DestinationBranch: w.Destination}
	for _, given := range WithStates(all, then, WaiverRules{}, w.CreatedOn) {
		if given.ID == w.ID {
			return given
		}
	}
	return WaiverWithState{Waiver: w, State: WaiverUnknown}
}

func stateOf(w Waiver, pr PullRequest, rules WaiverRules, now time.Time) WaiverState {
	switch {
	case !w.RevokedOn.IsZero():
		return WaiverRevoked
	case w.EndedBy != "":
		return w.EndedBy
	case !now.Before(w.ExpiresOn):
		return WaiverExpired
	case pr.Head == "":
		return WaiverUnknown
	case w.Head != pr.Head:
		return WaiverOtherHead
	case w.Destination != pr.DestinationBranch:
		return WaiverOtherDestination
	case rules.Refused:
		return WaiverRefused
	default:
		return WaiverLive
	}
}

// seconded reports whether somebody else waived what w waives, and neither is the
// author. Where it isn't known who somebody is, nobody can tell that they differ.
func seconded(w Waiver, all []WaiverWithState) bool {
	if !w.independent() {
		return false
	}
	for _, other := range all {
		if other.State == WaiverLive && other.covers(w.ProjectID) && other.independent() && other.Owner != w.Owner {
			return true
		}
	}
	return false
}

func (w Waiver) independent() bool { return w.Owner != "" && w.Author != "" && w.Owner != w.Author }

// LiveWaiver is the live waiver of a project that was given first, nil where there
// is none; project 0 asks for one of every project.
func LiveWaiver(waivers []WaiverWithState, projectID int64) *Waiver {
	for _, w := range waivers {
		if w.State == WaiverLive && w.covers(projectID) {
			return &w.Waiver
		}
	}
	return nil
}

// words says who gave the waiver, and why.
func (w Waiver) words() string {
	return fmt.Sprintf("by %s: %s", w.By, strings.TrimSuffix(w.Reason, "."))
}
