package mergecheck

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Code is the stable word for a verdict.
type Code string

// The codes of verdicts. [Passed] alone is a pass; where several of the others
// apply, the first in the order of [FailCodes] is reported.
const (
	Passed            Code = "passed"
	PullRequestClosed Code = "pull_request_closed"
	HeadUnknown       Code = "head_unknown"
	FailedCode        Code = "failed"
	CancelledCode     Code = "cancelled"
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
	PullRequestClosed, HeadUnknown, FailedCode, CancelledCode, Unavailable,
	NoBuild, MissingProject, StaleDestination, RunningCode, QueuedCode,
}

// Success reports whether the code is a pass.
func (c Code) Success() bool { return c == Passed }

// PullRequest is what Bitbucket tells of a pull request at the moment of asking.
type PullRequest struct {
	ID                int64
	State             string // OPEN, MERGED, DECLINED or SUPERSEDED; "" is unknown
	Head              string // 40 hex characters, or "" when it can't be told
	HeadProblem       string // why Head is empty, one sentence without full stop
	SourceBranch      string
	DestinationBranch string
	DestinationCommit string
}

// Unconfirmed is a delivery that AppVeyor has not confirmed. It proves nothing;
// it only explains why there may be no build.
type Unconfirmed struct {
	BuildID int64
	Reason  string // "" while AppVeyor is still being asked
}

// Facts are all that a verdict depends on.
type Facts struct {
	PullRequest PullRequest
	Heads       []Head  // recorded for this pull request, oldest first
	Builds      []Build // confirmed builds of this pull request, any order
	Required    []Project
	Unconfirmed []Unconfirmed
	// Problem is set when something the verdict needs could not be read: one
	// sentence that says what, and what to do.
	Problem string
	Now     time.Time
}

// ProjectVerdict is one AppVeyor project's part in a verdict.
type ProjectVerdict struct {
	Project  Project
	Required bool
	Code     Code
	Build    *Build // the build that decides, nil where there is none
	Detail   string // why a build can't be told to be of this head
}

// Rule is one condition of a verdict and whether it is met.
type Rule struct {
	Rule   string
	Met    bool
	Detail string
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
	EvaluatedOn time.Time
}

// Evaluate is the gate: whether the pull request may be merged now. It never
// passes without a successful confirmed build of this very head, merged into
// this very destination branch, for every required project. The order of the
// facts is irrelevant.
func Evaluate(f Facts) Verdict {
	if f.PullRequest.Head != "" { // recorded or not, it is the head now
		f.Heads = append(slices.Clone(f.Heads), Head{Commit: f.PullRequest.Head, FirstSeenOn: f.Now, LastSeenOn: f.Now})
	}
	v := Verdict{PullRequest: f.PullRequest, EvaluatedOn: f.Now}
	v.Projects = evaluateProjects(f)
	v.Code = decide(f, v.Projects)
	v.Success = v.Code.Success()
	v.Rules = rules(f, v.Projects)
	v.Message, v.NextStep = explain(f, v)
	return v
}

// Unanswerable is the verdict when the facts themselves can't be read: what
// isn't known is not a pass.
func Unanswerable(pr PullRequest, problem string, now time.Time) Verdict {
	return Evaluate(Facts{PullRequest: pr, Problem: problem, Now: now})
}

func decide(f Facts, projects []ProjectVerdict) Code {
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
	codes = append(codes, projectCodes(f, projects)...)
	for _, code := range FailCodes {
		if slices.Contains(codes, code) {
			return code
		}
	}
	return Passed
}

// projectCodes are the codes of the required projects. What isn't there counts
// once for all of them: with no build at all for this head nothing was built,
// and an unconfirmed delivery may be why; with some, a project is missing.
func projectCodes(f Facts, projects []ProjectVerdict) []Code {
	var codes []Code
	missing := false
	for _, p := range projects {
		switch {
		case !p.Required:
		case p.Code == NoBuild:
			missing = true
		default:
			codes = append(codes, p.Code)
		}
	}
	switch {
	case len(codes) == 0 && len(f.Unconfirmed) > 0:
		return []Code{Unavailable}
	case len(codes) == 0:
		return []Code{NoBuild}
	case missing:
		return append(codes, MissingProject)
	default:
		return codes
	}
}

func isMissing(p ProjectVerdict) bool { return p.Required && p.Code == NoBuild }

// isOpen takes an unknown state for open: then the head is unknown too, and
// that is the reason to report.
func isOpen(state string) bool { return state == "" || strings.EqualFold(state, "OPEN") }

func evaluateProjects(f Facts) []ProjectVerdict {
	verdicts := map[string]*ProjectVerdict{}
	for _, p := range f.Required {
		verdicts[projectKey(p)] = &ProjectVerdict{Project: p, Required: true, Code: NoBuild}
	}
	for _, b := range f.Builds {
		of, reason := belongs(b, f)
		if of == otherHead {
			continue
		}
		key := projectKey(b.Project)
		if verdicts[key] == nil {
			verdicts[key] = &ProjectVerdict{Project: b.Project}
		}
		if p := verdicts[key]; p.Build == nil || b.Supersedes(*p.Build) {
			p.Build, p.Detail = &b, reason
			p.Code = codeOf(b, of, f.PullRequest)
		}
	}
	return sorted(verdicts)
}

type belonging int

const (
	otherHead belonging = iota
	thisHead
	uncertainHead
)

// belongs tells whether b is of the head asked about. Where that is uncertain
// the build may be the one that decides, so it must not be passed over.
func belongs(b Build, f Facts) (belonging, string) {
	head := f.PullRequest.Head
	if head == "" || len(b.ReportedCommit) < FullCommit && !strings.HasPrefix(head, b.ReportedCommit) {
		return otherHead, ""
	}
	commit, reason := Attribute(b, f.Heads)
	switch commit {
	case head:
		return thisHead, ""
	case "":
		return uncertainHead, reason
	default:
		return otherHead, ""
	}
}

func codeOf(b Build, of belonging, pr PullRequest) Code {
	switch {
	case of == uncertainHead:
		return Unavailable
	case b.DestinationBranch != pr.DestinationBranch:
		return StaleDestination
	}
	switch b.State {
	case Success:
		return Passed
	case Failed:
		return FailedCode
	case Cancelled:
		return CancelledCode
	case Queued:
		return QueuedCode
	default:
		return RunningCode
	}
}

func projectKey(p Project) string {
	if p.ID != 0 {
		return "#" + itoa(p.ID)
	}
	return strings.ToLower(p.Name())
}

func sorted(verdicts map[string]*ProjectVerdict) []ProjectVerdict {
	list := make([]ProjectVerdict, 0, len(verdicts))
	for _, v := range verdicts {
		list = append(list, *v)
	}
	slices.SortFunc(list, func(a, b ProjectVerdict) int {
		return cmp.Or(cmp.Compare(a.Project.ID, b.Project.ID), cmp.Compare(a.Project.Name(), b.Project.Name()))
	})
	return list
}
