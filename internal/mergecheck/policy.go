package mergecheck

import (
	"slices"
	"strings"
	"time"
)

// Policy is what good to merge means for one repository and one destination
// branch. The zero value is what applies where nobody set a policy: every project
// seen has to have passed, nothing else is asked, and anybody with a token of
// scope waive may waive.
type Policy struct {
	Version int64 // of the document it is from; 0: nobody set one

	// Required are the projects that must have passed; empty: every project seen.
	Required []string
	// RequiredIfPresent are projects that only have to have passed where they built
	// the head.
	RequiredIfPresent []string
	// AllowFailure tells of a job whether its failure alone doesn't fail its build;
	// nil: of none.
	AllowFailure func(job string) bool
	Freshness    Freshness
	// NotStartedAfter is how old a head may be without a build; 0: any age.
	NotStartedAfter time.Duration
	// RunningLongerThan is how long a build may run; 0: any time.
	RunningLongerThan time.Duration
	// PassPendingOnPush lets on-code-pushed checks pass while nothing has ended.
	// on-merge checks never do.
	PassPendingOnPush bool
	Skip              []SkipRule
	Waivers           WaiverRules
	Freezes           []Freeze
	// AcceptReports are projects whose results count when a build script reported
	// them.
	AcceptReports []string
	// AcceptBranchBuilds lets AppVeyor's build of the head itself count where the
	// pull request is up to date with its destination.
	AcceptBranchBuilds bool
	// RebuildStale and RebuildMissing have AppVeyor asked to build again.
	RebuildStale   bool
	RebuildMissing bool
	PublicBadges   bool
	Effects        Effects
}

// FreshnessMode says how much the destination may have moved since a build
// merged into it.
type FreshnessMode string

// The modes of freshness. The zero value asks nothing.
const (
	FreshnessOff    FreshnessMode = ""
	FreshnessWarn   FreshnessMode = "warn"   // passes, and the message says it
	FreshnessLimit  FreshnessMode = "limit"  // within MaxBehind and MaxAge
	FreshnessStrict FreshnessMode = "strict" // the destination must not have moved
)

// Freshness is how much the destination may have moved since a build merged into
// it.
type Freshness struct {
	Mode FreshnessMode
	// MaxBehind is how many commits the destination may have got since; nil: any.
	MaxBehind *int
	// MaxAge is how old a build may be once the destination has moved; 0: any age.
	MaxAge time.Duration
}

// SkipRule says which pull requests need no build. Everything that is given has
// to apply. An author can choose none of it freely.
type SkipRule struct {
	Name string
	// DestinationBranch tells whether the branch is one of the rule's; nil: any is.
	DestinationBranch func(branch string) bool
	// Authors are UUIDs of Bitbucket users, lower case, no braces; none: anybody.
	Authors []string
	// Path tells whether a changed path is one of the rule's; nil: any is. The rule
	// applies where every changed path is.
	Path func(path string) bool
}

// WaiverRules say who may waive.
type WaiverRules struct {
	Refused   bool          // nobody may
	TwoPerson bool          // two owners of tokens are needed, neither the author
	MaxLife   time.Duration // 0: [MaxWaiverLife]
	Freezes   bool          // a waiver of all projects waives a freeze too
}

// Effects are what else Bitbucket shows of a verdict; each has to be asked for.
type Effects struct {
	Approve        bool   // approve when passed, withdraw when not
	RequestChanges bool   // request changes on failure
	Comment        bool   // one comment, kept up to date
	Task           string // the text of a task that is checked when passed; "": none
	Report         bool   // a Code Insights report
}

// Any reports whether any effect is asked for.
func (e Effects) Any() bool { return e != Effects{} }

// Named reports whether name is the project's: its id in digits, or "account/slug"
// in any case.
func (p Project) Named(name string) bool {
	return p.ID != 0 && name == itoa(p.ID) || strings.EqualFold(name, p.Name())
}

func (p Project) named(list []string) bool { return slices.ContainsFunc(list, p.Named) }
