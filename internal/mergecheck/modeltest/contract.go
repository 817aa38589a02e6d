// Package modeltest is the reference that the program is held to: section 4 of the
// contract, written down once more as plainly as can be, and random histories of a
// pull request to try both on. It shares no code with the program, imports nothing
// of it, and is slow on purpose: every rule is a loop over all that was told.
//
//	h := modeltest.Random(seed)
//	… play h to the program, noting in a Knowledge what it was told …
//	verdict := k.Verdict(h.Policy, pullRequest, now)
//	if program != verdict.Code { t.Errorf("%s", modeltest.Shortest(h, fails)) }
package modeltest

import (
	"slices"
	"strings"
	"time"
)

// Time is how long after the beginning of a history something was.
type Time = time.Duration

// PullRequest is a pull request as Bitbucket has it, or tells it.
type PullRequest struct {
	Head        string // 40 characters, or what was told of them; "" where it isn't known
	Destination string
	Closed      bool
}

// Fact is what was told of a pull request, whoever told it.
type Fact struct {
	PullRequest
	// On is when that was so, by Bitbucket's clock. Of what Bitbucket gives no time to
	// it is when it arrived: it was so some time before.
	On      Time
	Undated bool
	// Whole says that state and destination were told too.
	Whole bool
}

// abbreviated facts tell 12 characters of the head.
func (f Fact) abbreviated() bool { return len(f.Head) < 40 }

// Kind is where a result comes from.
type Kind string

// The kinds of results.
const (
	OfPullRequest Kind = "pull request build"
	OfBranch      Kind = "branch build"
	Reported      Kind = "report"
)

// Result is a build as AppVeyor told it at one moment, or as its script reported it.
type Result struct {
	Kind        Kind
	ID          int64
	Project     int64
	Named       string // the head as it was named: 40, 12, 10 or no characters
	CommitID    string // what AppVeyor built: the head, or a merge of it
	Destination string
	State       string
	Created     Time
	Updated     Time // of a report: when it arrived
	Finished    Time // 0: it isn't
}

// Waiver is a waiver as it was given. Zero times and projects are none.
type Waiver struct {
	ID          int64
	Project     int64
	Head        string
	Destination string
	Given       Time
	Expires     Time
	Revoked     Time
}

// Policy is what a workspace may ask for beside the default.
type Policy struct {
	AcceptReports  []int64 // project ids
	AcceptNamed    []int64 // projects whose names are listed: enough for those that AppVeyor doesn't build
	AcceptBranches bool
}

// Knowledge is all that somebody was told so far, in any order and as often as it was.
type Knowledge struct {
	Facts       []Fact
	Results     []Result
	Waivers     []Waiver
	Looked      map[int64]Time // when AppVeyor was last looked at for a project
	Unconfirmed []int64        // builds of deliveries that AppVeyor was not read for yet
	UpToDate    bool           // the head has every commit of its destination
}

// Verdict is what the contract says.
type Verdict struct {
	Code string
	By   map[int64]Kind // what each project passed by, where a result did it
}

// Passes tells whether the code is a pass.
func (v Verdict) Passes() bool { return v.Code == "passed" || v.Code == "waived" }

// failures are the codes that fail, of which the first that applies is reported.
var failures = []string{"failed", "cancelled", "unavailable", "no_build", "missing_project", "stale_destination", "running", "queued"}

// Verdict is for the pull request as it is at the moment of asking.
func (k Knowledge) Verdict(policy Policy, pr PullRequest, now Time) Verdict {
	v := Verdict{By: map[int64]Kind{}}
	switch {
	case pr.Closed:
		v.Code = "pull_request_closed"
		return v
	case pr.Head == "":
		v.Code = "head_unknown"
		return v
	}
	var codes []string
	missing := false
	for _, project := range k.required(policy) {
		code, by := k.ofProject(policy, project, pr)
		if code != "passed" && k.waived(project, pr, now) {
			code = "waived"
		}
		if code == "passed" {
			v.By[project] = by
		}
		missing = missing || code == "no_build"
		if code != "no_build" {
			codes = append(codes, code)
		}
	}
	switch {
	case len(codes) == 0 && k.waived(0, pr, now):
		codes = append(codes, "waived")
	case len(codes) == 0 && len(k.unconfirmed()) > 0:
		codes = append(codes, "unavailable")
	case len(codes) == 0:
		codes = append(codes, "no_build")
	case missing:
		codes = append(codes, "missing_project")
	}
	for _, code := range append(failures, "waived", "passed") {
		if slices.Contains(codes, code) {
			v.Code = code
			return v
		}
	}
	return v
}

// required are the projects that AppVeyor was seen to build pull requests in, and
// those that are only reported where the policy accepts their reports.
func (k Knowledge) required(policy Policy) (projects []int64) {
	for _, r := range k.Results {
		counts := r.Kind == OfPullRequest || r.Kind == Reported && k.accepts(policy, r.Project)
		if counts && !slices.Contains(projects, r.Project) {
			projects = append(projects, r.Project)
		}
	}
	return projects
}

// accepts tells whether reports of a project count: by its id, or by its name if
// AppVeyor builds nothing in it.
func (k Knowledge) accepts(policy Policy, project int64) bool {
	for _, r := range k.Results {
		if r.Project == project && r.Kind == OfPullRequest {
			return slices.Contains(policy.AcceptReports, project)
		}
	}
	return slices.Contains(policy.AcceptReports, project) || slices.Contains(policy.AcceptNamed, project)
}

// ofProject is the code of the newest result that is, or may be, of the head.
func (k Knowledge) ofProject(policy Policy, project int64, pr PullRequest) (code string, by Kind) {
	var sure, all []Result
	for _, r := range k.latest() {
		if r.Project != project || !k.counts(policy, r, pr) {
			continue
		}
		is, maybe := k.isOf(r, pr.Head)
		if is {
			sure = append(sure, r)
		}
		if is || maybe {
			all = append(all, r)
		}
	}
	newest, surely := newest(all), newest(sure)
	switch {
	case newest == nil:
		return "no_build", ""
	case surely == nil, newest.ID != surely.ID, newest.Kind != surely.Kind: // it depends on what nobody knows
		return "unavailable", ""
	case newest.Kind != OfBranch && newest.Destination != pr.Destination:
		return "stale_destination", ""
	case newest.State == "success":
		return "passed", newest.Kind
	default:
		return newest.State, ""
	}
}

// newest is the newest of a project's results for one head, nil where there are none.
// AppVeyor numbers builds as it creates them. The number of a report is only what its
// script says: one that arrived before the newest build was created is older.
func newest(results []Result) (newest *Result) {
	for _, r := range results {
		if r.Kind != Reported && (newest == nil || r.ID > newest.ID) {
			newest = &r
		}
	}
	built := newest
	for _, r := range results {
		if r.Kind != Reported || built != nil && (r.ID <= built.ID || r.Updated < built.Created) {
			continue
		}
		if newest == built || r.ID > newest.ID {
			newest = &r
		}
	}
	return newest
}

func (k Knowledge) counts(policy Policy, r Result, pr PullRequest) bool {
	switch r.Kind {
	case Reported:
		return k.accepts(policy, r.Project) && !k.confirmed(r)
	case OfBranch:
		return policy.AcceptBranches && k.UpToDate && r.CommitID == pr.Head
	default:
		return true
	}
}

// confirmed tells whether AppVeyor itself told of the build that a report is of: then the
// report is history.
func (k Knowledge) confirmed(report Result) bool {
	return slices.ContainsFunc(k.Results, func(r Result) bool {
		return r.ID == report.ID && r.Project == report.Project && r.Kind == OfPullRequest
	})
}

// latest is each result once, as it stands after everything that was told of it.
func (k Knowledge) latest() (list []Result) {
	for _, r := range k.Results {
		at := slices.IndexFunc(list, func(o Result) bool { return o.ID == r.ID && o.Kind == r.Kind })
		switch {
		case at < 0:
			list = append(list, r)
		case r.Updated > list[at].Updated, r.Updated == list[at].Updated && decides(r.State, list[at].State):
			list[at] = r
		}
	}
	return list
}

// decides tells whether a counts rather than b where both were told for one moment.
func decides(a, b string) bool {
	order := []string{"queued", "running", "success", "cancelled", "failed"}
	return slices.Index(order, a) > slices.Index(order, b)
}

// isOf tells whether a result is of the head, or may be and nobody can tell.
func (k Knowledge) isOf(r Result, head string) (is, maybe bool) {
	switch {
	case r.Kind == OfBranch:
		return r.CommitID == head, false
	case len(r.Named) == 40:
		return r.Named == head, false
	case !strings.HasPrefix(head, r.Named):
		return false, false
	case k.unread():
		return false, true
	case r.Named != "":
		others := slices.ContainsFunc(k.Facts, func(f Fact) bool {
			return !f.abbreviated() && f.Head != head && strings.HasPrefix(f.Head, r.Named)
		})
		return !others, others
	default:
		of := k.onlyHeadDuring(r)
		return of == head, of == ""
	}
}

// onlyHeadDuring is the head that was the pull request's only one from a build's
// creation through its end, "" where nobody can tell.
func (k Knowledge) onlyHeadDuring(r Result) (of string) {
	since := Time(-1)
	for _, f := range k.Facts {
		if !f.abbreviated() && !f.Undated && f.On <= r.Created && f.On >= since {
			of, since = f.Head, f.On
		}
	}
	for _, f := range k.Facts {
		if f.abbreviated() || f.Head == of {
			continue // twelve characters are no recorded head
		}
		// What has no time may have been so before it arrived.
		during := f.On > r.Created || f.Undated && f.On >= since
		during = during && (r.Finished == 0 || f.On <= r.Finished)
		if during || r.CommitID != "" && strings.HasPrefix(f.Head, r.CommitID) {
			return ""
		}
	}
	return of
}

// unread tells whether an event told 12 characters of a head that nobody told in full:
// they may be another's.
func (k Knowledge) unread() bool {
	return slices.ContainsFunc(k.Facts, func(f Fact) bool { return f.abbreviated() && !k.isRead(f) })
}

// isRead tells whether the head of an abbreviated fact was told in full for that very
// time, or the pull request was read since.
func (k Knowledge) isRead(short Fact) bool {
	return slices.ContainsFunc(k.Facts, func(f Fact) bool {
		sameTime := f.On == short.On && strings.HasPrefix(f.Head, short.Head)
		return !f.abbreviated() && !f.Undated && (sameTime || f.Whole && f.On >= short.On)
	})
}

func (k Knowledge) unconfirmed() (ids []int64) {
	for _, id := range k.Unconfirmed {
		if !slices.ContainsFunc(k.Results, func(r Result) bool { return r.ID == id && r.Kind == OfPullRequest }) {
			ids = append(ids, id)
		}
	}
	return ids
}

// waived tells whether a live waiver covers the project; project 0 asks for one of
// all projects.
func (k Knowledge) waived(project int64, pr PullRequest, now Time) bool {
	return slices.ContainsFunc(k.Waivers, func(w Waiver) bool {
		return (w.Project == 0 || w.Project == project) && w.Head == pr.Head && w.Destination == pr.Destination &&
			w.Revoked == 0 && now < w.Expires && !k.ended(w)
	})
}

// ended tells whether a fact of another head or destination is dated after the waiver
// was given, whenever it was heard of.
func (k Knowledge) ended(w Waiver) bool {
	return slices.ContainsFunc(k.Facts, func(f Fact) bool {
		otherHead := f.Head != "" && !strings.HasPrefix(w.Head, f.Head)
		return f.On > w.Given && (otherHead || f.Whole && f.Destination != w.Destination)
	})
}

// Believed is what a merge check may go by that was brought something. Where what is
// recorded may be newer Bitbucket has to be read: read is nil where it can't be.
func (k Knowledge) Believed(brought Fact, read *PullRequest) PullRequest {
	pr, doubt := k.newestPlace(brought), !k.surelyHead(brought)
	if doubt || pr != brought.PullRequest {
		if read != nil {
			return *read
		}
		if doubt {
			pr.Head = ""
		}
	}
	return pr
}

// surelyHead tells whether the head that was brought is the last that was told, by
// Bitbucket's times.
func (k Knowledge) surelyHead(brought Fact) bool {
	last := brought.On
	for _, f := range k.Facts {
		if f.Head == brought.Head && !f.Undated {
			last = max(last, f.On)
		}
	}
	for _, f := range k.Facts {
		switch {
		case !strings.HasPrefix(brought.Head, f.Head) && f.On >= last:
			return false
		case f.abbreviated() && f.On > last && !k.isRead(f): // these characters may be another's
			return false
		}
	}
	return true
}

// newestPlace is what was brought, with the state and destination that were told last.
func (k Knowledge) newestPlace(brought Fact) PullRequest {
	newest := brought
	for _, f := range k.Facts {
		if f.Whole && f.On > newest.On {
			newest = f
		}
	}
	return PullRequest{Head: brought.Head, Destination: newest.Destination, Closed: newest.Closed}
}
