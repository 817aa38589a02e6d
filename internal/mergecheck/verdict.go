package mergecheck

import (
	"slices"
	"strings"
	"time"
)

// Code is the stable word for a verdict.
type Code string

// The codes of verdicts. [Passed], [WaivedCode] and [NotRequired] are passes;
// where several of the others apply, the first in the order of [FailCodes] is
// reported.
const (
	Passed            Code = "passed"
	WaivedCode        Code = "waived"
	NotRequired       Code = "not_required"
	PullRequestClosed Code = "pull_request_closed"
	HeadUnknown       Code = "head_unknown"
	Frozen            Code = "frozen"
	FailedCode        Code = "failed"
	CancelledCode     Code = "cancelled"
	TimedOut          Code = "timed_out"
	Unavailable       Code = "unavailable"
	NoBuild           Code = "no_build"
	MissingProject    Code = "missing_project"
	StaleDestination  Code = "stale_destination"
	RunningCode       Code = "running"
	QueuedCode        Code = "queued"
)

// FailCodes is the order in which reasons not to merge are reported: what a
// person has to act on before what only takes waiting.
var FailCodes = []Code{
	PullRequestClosed, HeadUnknown, Frozen, FailedCode, CancelledCode, TimedOut, Unavailable,
	NoBuild, MissingProject, StaleDestination, RunningCode, QueuedCode,
}

// Success reports whether the code is a pass.
func (c Code) Success() bool { return c == Passed || c == WaivedCode || c == NotRequired }

// Pending reports whether nothing but time may turn the code into a pass.
func (c Code) Pending() bool {
	return c == NoBuild || c == MissingProject || c == RunningCode || c == QueuedCode
}

// PullRequest is a pull request as Bitbucket has it at the moment of asking.
type PullRequest struct {
	ID                int64  `json:"id"`
	State             string `json:"state"`                  // OPEN, MERGED, DECLINED or SUPERSEDED; "" is unknown
	Head              string `json:"head,omitempty"`         // 40 hex characters, or "" when it can't be told
	HeadProblem       string `json:"head_problem,omitempty"` // why Head is empty, one sentence without full stop
	HeadNextStep      string `json:"head_next_step,omitempty"`
	SourceBranch      string `json:"source_branch,omitempty"`
	DestinationBranch string `json:"destination_branch,omitempty"`
	DestinationCommit string `json:"destination_commit,omitempty"` // 40 or 12 hex characters
	Author            string `json:"author,omitempty"`             // UUID, lower case, no braces; "" when it isn't known
	SourceRepository  string `json:"source_repository,omitempty"`  // UUID, "" when it isn't known
	// On is when all that was so by Bitbucket's clock; zero when that wasn't told.
	On time.Time `json:"on,omitzero"`
}

// Unconfirmed is a delivery that AppVeyor has not confirmed. It proves nothing;
// it only explains why there may be no build.
type Unconfirmed struct {
	BuildID int64  `json:"build_id"`
	Reason  string `json:"reason,omitempty"` // "" while AppVeyor is still being asked
	Failed  bool   `json:"failed,omitempty"` // mergegate has stopped asking
	// Untrusted is the AppVeyor account where it may not speak for the workspace: such
	// a delivery is ignored, whatever AppVeyor says of the build.
	Untrusted string `json:"untrusted,omitempty"`
}

// Look is when mergegate last read a project's newest builds from AppVeyor.
type Look struct {
	ProjectID int64     `json:"project_id"`
	On        time.Time `json:"on,omitzero"` // zero: never
	// Problem says why AppVeyor couldn't be read just now, "" where it could or nobody
	// tried: then what was confirmed before stands.
	Problem string `json:"problem,omitempty"`
}

// Distance is how many commits one commit of the destination has that a tested
// commit doesn't have.
type Distance struct {
	Destination string `json:"destination"` // as Bitbucket abbreviates it
	Tested      string `json:"tested"`      // 40 hex characters
	Behind      int    `json:"behind"`
	Complete    bool   `json:"complete"` // false: there are more
}

// Facts are all that a verdict depends on. Everything but Policy can be written
// as JSON and read again, to evaluate it by another policy.
type Facts struct {
	PullRequest PullRequest `json:"pull_request"`
	Policy      Policy      `json:"-"`
	Heads       []Head      `json:"heads,omitempty"` // recorded for this pull request, oldest first
	// Waiting says that a head has yet to be read; see [History].
	Waiting bool      `json:"waiting,omitzero"`
	Builds  []Build   `json:"builds,omitempty"` // confirmed or reported builds of this pull request, any order
	Seen    []Project `json:"seen,omitempty"`   // projects of the repository, but those forgotten
	// Looks say of projects when AppVeyor was last looked at for newer builds.
	Looks       []Look        `json:"looks,omitempty"`
	Waivers     []Waiver      `json:"waivers,omitempty"`
	Unconfirmed []Unconfirmed `json:"unconfirmed,omitempty"`
	// DeliveriesRead says that all of Unconfirmed is there. It matters only where there is no
	// build, and is read only then.
	DeliveriesRead bool `json:"-"`
	// BranchBuilds are AppVeyor's builds of the head itself, without a pull request.
	BranchBuilds []Build    `json:"branch_builds,omitempty"`
	Distances    []Distance `json:"distances,omitempty"`
	// Changed are the paths that the pull request changes, all of them; nil: not known.
	Changed []string `json:"changed,omitempty"`
	// Unread says why something that the policy wants isn't known, "" where nothing
	// is missing.
	Unread string `json:"unread,omitempty"`
	// Problem is set when something the verdict needs could not be read: one
	// sentence that says what. ProblemNextStep says what to do; "" is [RetryLater].
	Problem         string    `json:"problem,omitempty"`
	ProblemNextStep string    `json:"problem_next_step,omitempty"`
	Now             time.Time `json:"now"`
}

// Verdict says whether a pull request may be merged, and why.
type Verdict struct {
	Success     bool
	Code        Code
	Message     string // one line, plain text, at most 255 characters
	NextStep    string
	PullRequest PullRequest
	Projects    []ProjectVerdict
	Rules       []Rule
	Waivers     []WaiverWithState // of this pull request, in the order they were given
	Timers      []Timer
	// SkippedBy is the rule by which no build is required, "" where one is.
	SkippedBy string
	// FrozenBy is the freeze that is on until FrozenUntil, nil where none is.
	FrozenBy    *Freeze
	FrozenUntil time.Time
	// WouldChange says what would make the verdict another.
	WouldChange []string
	// Checked says when AppVeyor was last looked at for the builds that passed, or that
	// it can't be reached now; "" where nothing rests on such a look.
	Checked     string
	Policy      Policy
	EvaluatedOn time.Time
}

// Evaluate is the gate: whether the pull request may be merged now. Unless a live
// waiver or a skip rule says otherwise, it never passes without a successful
// build of this very head, merged into this very destination branch, for every
// required project. The order of the facts is irrelevant, and the outcome depends
// on nothing but the facts.
func Evaluate(f Facts) Verdict {
	if f.PullRequest.Head != "" { // recorded or not, it is the head now
		now := Head{Commit: f.PullRequest.Head, FirstSeenOn: f.Now, LastSeenOn: f.Now}
		if on := f.PullRequest.On; !on.IsZero() && on.Before(f.Now) {
			now.FirstSeenOn = on // it was the head then, too
		}
		f.Heads = append(slices.Clone(f.Heads), now)
	}
	v := Verdict{PullRequest: f.PullRequest, Policy: f.Policy, EvaluatedOn: f.Now}
	v.Waivers = WithStates(f.Waivers, f.PullRequest, f.Policy.Waivers, f.Now)
	v.SkippedBy = skippedBy(f)
	if freeze, until, is := frozen(f.Policy.Freezes, f.Now); is {
		v.FrozenBy, v.FrozenUntil = &freeze, until
	}
	v.Projects, v.Timers = evaluateProjects(f, v.Waivers)
	v.Code = decide(f, v)
	v.Success = v.Code.Success()
	v.Checked = checked(f, v)
	v.Rules = rules(f, v)
	v.Message, v.NextStep = explain(f, v)
	v.WouldChange = wouldChange(v)
	return v
}

// Unanswerable is the verdict when the facts can't be read: problem says why, and nextStep
// what to do. It is never a pass.
func Unanswerable(pr PullRequest, problem, nextStep string, now time.Time) Verdict {
	return Evaluate(Facts{PullRequest: pr, Problem: problem, ProblemNextStep: nextStep, Now: now})
}

// Answer is the answer to a merge check. If the policy has pending pass on push, a check that
// doesn't decide a merge passes while builds are pending, and its message says so.
func (v Verdict) Answer(onMerge bool) (success bool, message string) {
	if !onMerge && v.Policy.PassPendingOnPush && v.Code.Pending() {
		return true, OneLine("Passes for now; mergegate checks again on merge. "+v.Message, MaxMessage)
	}
	return v.Success, v.Message
}

func decide(f Facts, v Verdict) Code {
	var codes []Code
	if !isOpen(f.PullRequest.State) {
		codes = append(codes, PullRequestClosed)
	}
	if f.PullRequest.Head == "" {
		codes = append(codes, HeadUnknown)
	}
	if f.Problem != "" {
		codes = append(codes, Unavailable)
	}
	switch {
	case v.FrozenBy == nil:
	case f.Policy.Waivers.Freezes && LiveWaiver(v.Waivers, 0) != nil:
		codes = append(codes, WaivedCode)
	default:
		codes = append(codes, Frozen)
	}
	if v.SkippedBy == "" {
		codes = append(codes, projectCodes(f, v)...)
	}
	for _, code := range append(slices.Clone(FailCodes), WaivedCode) {
		if slices.Contains(codes, code) {
			return code
		}
	}
	if v.SkippedBy != "" {
		return NotRequired
	}
	return Passed
}

// projectCodes are the codes of the required projects. What isn't there counts
// once for all of them: with no build at all for this head nothing was built,
// and an unconfirmed delivery may be why; with some, a project is missing.
func projectCodes(f Facts, v Verdict) []Code {
	var codes []Code
	missing := false
	for _, p := range v.Projects {
		switch {
		case !p.Required:
		case p.Code == NoBuild:
			missing = true
		default:
			codes = append(codes, p.Code)
		}
	}
	switch {
	case len(codes) == 0 && LiveWaiver(v.Waivers, 0) != nil:
		return []Code{WaivedCode} // nothing was ever built here
	case len(codes) == 0 && !missing && slices.ContainsFunc(v.Timers, func(t Timer) bool { return t.Expired }):
		return []Code{TimedOut}
	case len(codes) == 0 && slices.ContainsFunc(f.Unconfirmed, func(u Unconfirmed) bool { return u.Untrusted == "" }):
		return []Code{Unavailable}
	case len(codes) == 0:
		return []Code{NoBuild}
	case missing:
		return append(codes, MissingProject)
	default:
		return codes
	}
}

// skippedBy is the first rule by which the pull request needs no build.
func skippedBy(f Facts) string {
	for _, rule := range f.Policy.Skip {
		if rule.applies(f) {
			return rule.Name
		}
	}
	return ""
}

// unevaluated are the skip rules that may apply, but for something that can't be read
// now.
func (f Facts) unevaluated() (names []string) {
	for _, rule := range f.Policy.Skip {
		known := rule
		if f.PullRequest.Author == "" {
			known.Authors = nil
		}
		if f.Changed == nil {
			known.Path = nil
		}
		missing := len(known.Authors) < len(rule.Authors) || known.Path == nil && rule.Path != nil
		rest := known.DestinationBranch == nil && len(known.Authors) == 0 && known.Path == nil || known.applies(f)
		if f.Unread != "" && missing && rest {
			names = append(names, rule.Name)
		}
	}
	return names
}

// applies is false for what isn't known: a skip rule lets pull requests through.
// No path at all is no path of the rule's.
func (r SkipRule) applies(f Facts) bool {
	if r.DestinationBranch == nil && len(r.Authors) == 0 && r.Path == nil {
		return false
	}
	if r.DestinationBranch != nil && (f.PullRequest.DestinationBranch == "" || !r.DestinationBranch(f.PullRequest.DestinationBranch)) {
		return false
	}
	if len(r.Authors) > 0 && !slices.Contains(r.Authors, f.PullRequest.Author) {
		return false
	}
	if r.Path == nil {
		return true
	}
	return len(f.Changed) > 0 && !slices.ContainsFunc(f.Changed, func(path string) bool { return !r.Path(path) })
}

// isOpen takes an unknown state for open: then the head is unknown too, and
// that is the reason to report.
func isOpen(state string) bool { return state == "" || strings.EqualFold(state, "OPEN") }
