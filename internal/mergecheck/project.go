package mergecheck

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ProjectVerdict is one AppVeyor project's part in a verdict.
type ProjectVerdict struct {
	Project  Project
	Required bool
	Code     Code
	Build    *Build  // the build that decides, nil where there is none
	Detail   string  // why the code is not what the build's state alone says
	Moved    *Moved  // what became of the destination since; nil where it isn't asked
	Waiver   *Waiver // the one that made Code waived
	// Waived is the code that a waiver stands against.
	Waived Code
	// Alike says that another project of the verdict has the same name: they are
	// told apart by their ids.
	Alike bool
}

// Timer is a limit of time that makes a verdict another.
type Timer struct {
	Timer      string // not_started_after or running_longer_than
	Project    Project
	DeadlineOn time.Time
	Expired    bool
}

// The timers of a policy.
const (
	NotStartedAfter   = "not_started_after"
	RunningLongerThan = "running_longer_than"
)

// candidate is a build that may decide for its project.
type candidate struct {
	Build
	uncertain string // why it can't be told to be of the head
}

// results are a project's results for one head: the newest that AppVeyor built, the newest
// of those that are surely of the head, and all that were reported.
type results struct {
	built, certain *candidate
	reported       []candidate
}

func (r results) with(c candidate) results {
	if c.ConfirmedBy == ConfirmedByReport {
		r.reported = append(r.reported, c)
		return r
	}
	if r.built == nil || c.Supersedes(r.built.Build) {
		r.built = &c
	}
	if c.uncertain == "" && (r.certain == nil || c.Supersedes(r.certain.Build)) {
		r.certain = &c
	}
	return r
}

// newest is the one that decides, whatever kind it is. A build that is of another head
// after all would have overtaken no report: where it matters whether it is, it decides,
// uncertain as it is.
func (r results) newest() *candidate {
	newest, without := r.newestWith(r.built), r.newestWith(r.certain)
	if without == nil || newest.BuildID != without.BuildID || newest.ConfirmedBy != without.ConfirmedBy {
		return r.built
	}
	return newest
}

// newestWith is the newest where built is AppVeyor's newest build. A report's build id is
// what its script says, so that a build which AppVeyor created after the report arrived
// is newer than it with any id, and another report of a greater id is none the newer.
func (r results) newestWith(built *candidate) *candidate {
	newest := built
	for _, c := range r.reported {
		overtaken := built != nil && (built.BuildID >= c.BuildID || built.CreatedOn.After(c.UpdatedOn))
		if !overtaken && (newest == built || c.Supersedes(newest.Build)) {
			newest = &c
		}
	}
	return newest
}

func evaluateProjects(f Facts, waivers []WaiverWithState) ([]ProjectVerdict, []Timer) {
	verdicts := requirements(f)
	results := map[string]results{}
	for _, c := range candidates(f) {
		key := projectKey(c.Project)
		if verdicts[key] == nil {
			verdicts[key] = &ProjectVerdict{Project: c.Project}
		}
		if c.Project.named(f.Policy.RequiredIfPresent) {
			verdicts[key].Required = true
		}
		results[key] = results[key].with(c)
	}
	deciding := map[string]candidate{}
	for key, r := range results {
		deciding[key] = *r.newest()
	}
	var timers []Timer
	list := sorted(verdicts)
	markAlike(list)
	for i := range list {
		p := &list[i]
		timer := p.judge(f, deciding)
		if timer != nil && p.Required {
			timers = append(timers, *timer)
		}
		if w := LiveWaiver(waivers, p.Project.ID); w != nil && p.Required && !p.Code.Success() {
			p.Waived, p.Code, p.Waiver = p.Code, WaivedCode, w
		}
	}
	if timer := f.notStarted(Project{}); timer != nil && !slices.ContainsFunc(list, func(p ProjectVerdict) bool { return p.Required }) {
		timers = append(timers, *timer) // no project is known yet that could start
	}
	return list, timers
}

// requirements are the projects that must have passed, whether or not they have
// built anything.
func requirements(f Facts) map[string]*ProjectVerdict {
	verdicts := map[string]*ProjectVerdict{}
	if len(f.Policy.Required) == 0 {
		for _, p := range f.Seen {
			counts := !p.ReportsOnly || p.named(f.Policy.AcceptReports)
			if counts && !p.named(f.Policy.RequiredIfPresent) {
				verdicts[projectKey(p)] = &ProjectVerdict{Project: p, Required: true}
			}
		}
		return verdicts
	}
	known := f.knownProjects()
	for _, name := range f.Policy.Required {
		for _, p := range projectsNamed(name, known) {
			verdicts[projectKey(p)] = &ProjectVerdict{Project: p, Required: true}
		}
	}
	return verdicts
}

// knownProjects are the projects by the names that AppVeyor has for them now, else by
// those it had when it built. What a report calls its project names none: a policy
// would go by its author's word.
func (f Facts) knownProjects() []Project {
	known := slices.Clone(f.Seen)
	for _, b := range slices.Concat(f.Builds, f.BranchBuilds) {
		isKnown := slices.ContainsFunc(known, func(p Project) bool { return p.ID == b.Project.ID })
		if b.ConfirmedBy != ConfirmedByReport && !isKnown {
			known = append(known, b.Project)
		}
	}
	return known
}

// reported is the project that a report is of, and whether its reports count: where
// the policy lists its id, or the name that AppVeyor has for it if AppVeyor builds
// nothing in it. The id is the one that the report's token was made for.
func (f Facts) reported(id int64) (p Project, counts bool) {
	p = Project{ID: id, ReportsOnly: true}
	for _, seen := range f.Seen {
		if seen.ID == id {
			p = seen
		}
	}
	built := !p.ReportsOnly || slices.ContainsFunc(f.Builds, func(b Build) bool {
		return b.Project.ID == id && b.ConfirmedBy != ConfirmedByReport
	})
	return p, slices.Contains(f.Policy.AcceptReports, itoa(id)) || !built && p.named(f.Policy.AcceptReports)
}

// projectsNamed are the projects a policy names: more than one where a project was
// deleted and created again, or renamed, and AppVeyor hasn't told which has the name
// now. One that nobody has seen is only its name.
func projectsNamed(name string, known []Project) []Project {
	var named []Project
	for _, p := range known {
		if p.ID != 0 && p.Named(name) {
			named = append(named, p)
		}
	}
	if len(named) > 0 {
		return named
	}
	if id, err := strconv.ParseInt(name, 10, 64); err == nil {
		return []Project{{ID: id}}
	}
	account, slug, _ := strings.Cut(name, "/")
	return []Project{{Account: account, Slug: slug}}
}

// candidates are the builds that decide, if they are the newest of their project.
func candidates(f Facts) []candidate {
	var list []candidate
	for _, b := range f.Builds {
		if b.ConfirmedBy == ConfirmedByReport {
			var counts bool
			if b.Project, counts = f.reported(b.Project.ID); !counts {
				continue
			}
		}
		if of, reason := belongs(b, f); of != otherHead {
			list = append(list, candidate{Build: b, uncertain: reason})
		}
	}
	if f.Policy.AcceptBranchBuilds && upToDate(f) {
		for _, b := range f.BranchBuilds { // in any state: the newest decides
			if b.PullRequestID == 0 && b.CommitID == f.PullRequest.Head && IsFullCommit(b.CommitID) {
				b.DestinationBranch, b.DestinationCommit = f.PullRequest.DestinationBranch, f.PullRequest.DestinationCommit
				list = append(list, candidate{Build: b})
			}
		}
	}
	return list
}

// upToDate reports whether the head has every commit of the destination, so that
// its own files are those of the merge.
func upToDate(f Facts) bool {
	d := distance(f, f.PullRequest.Head)
	return d != nil && d.Complete && d.Behind == 0
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
	commit, reason := Attribute(b, History{Heads: f.Heads, Waiting: f.Waiting})
	switch commit {
	case head:
		return thisHead, ""
	case "":
		return uncertainHead, reason
	default:
		return otherHead, ""
	}
}

// judge gives the project its code, and the timer that runs for it if one does.
func (p *ProjectVerdict) judge(f Facts, deciding map[string]candidate) *Timer {
	c, found := deciding[projectKey(p.Project)]
	if !found {
		timer := f.notStarted(p.Project)
		if p.Code = NoBuild; timer != nil && timer.Expired {
			p.Code = TimedOut
		}
		return timer
	}
	p.Build = &c.Build
	switch {
	case c.uncertain != "":
		p.Code, p.Detail = Unavailable, c.uncertain
		return nil
	case c.DestinationBranch != f.PullRequest.DestinationBranch:
		p.Code = StaleDestination
		return nil
	}
	switch c.State {
	case Success:
		p.passed(f)
	case Failed:
		p.failed(f)
	case Cancelled:
		p.Code = CancelledCode
	case Queued:
		p.Code = QueuedCode
	default:
		timer := f.running(c.Build)
		if p.Code = RunningCode; timer != nil && timer.Expired {
			p.Code = TimedOut
		}
		return timer
	}
	return nil
}

// passed is for a build that is good if it is fresh enough.
func (p *ProjectVerdict) passed(f Facts) {
	p.Code = Passed
	if f.Policy.Freshness.Mode == FreshnessOff {
		return
	}
	p.Moved = moved(f, *p.Build)
	if !p.Moved.Within {
		p.Code = StaleDestination
	}
}

// failed passes a build whose failed jobs may all fail, if all of them are known.
func (p *ProjectVerdict) failed(f Facts) {
	p.Code = FailedCode
	b := *p.Build
	if f.Policy.AllowFailure == nil || b.JobsState != Failed || !b.JobsUpdatedOn.Equal(b.UpdatedOn) {
		return
	}
	var may []string
	for _, job := range b.Jobs {
		switch {
		case job.State == Success || job.AllowFailure && job.State.Finished():
		case job.State == Failed && f.Policy.AllowFailure(job.Name):
			may = append(may, job.Name)
		default:
			return
		}
	}
	if len(may) == 0 {
		return
	}
	slices.Sort(may)
	p.Detail = "except " + strings.Join(may, ", ") + " (allowed to fail)"
	p.passed(f)
}

// notStarted is the timer of a head that nothing was built of.
func (f Facts) notStarted(p Project) *Timer {
	since := f.HeadSince()
	if f.Policy.NotStartedAfter <= 0 || since.IsZero() {
		return nil
	}
	return f.timer(NotStartedAfter, p, since.Add(f.Policy.NotStartedAfter))
}

func (f Facts) running(b Build) *Timer {
	if f.Policy.RunningLongerThan <= 0 || started(b).IsZero() {
		return nil
	}
	return f.timer(RunningLongerThan, b.Project, started(b).Add(f.Policy.RunningLongerThan))
}

func (f Facts) timer(name string, p Project, deadline time.Time) *Timer {
	return &Timer{Timer: name, Project: p, DeadlineOn: deadline, Expired: f.Now.After(deadline)}
}

// HeadSince is when the head became the head: the beginning of the stretch in
// which no other was seen. It is zero where nobody saw it.
func (f Facts) HeadSince() (since time.Time) {
	heads := slices.Clone(f.Heads)
	slices.SortStableFunc(heads, func(a, b Head) int {
		return cmp.Or(a.LastSeenOn.Compare(b.LastSeenOn), a.FirstSeenOn.Compare(b.FirstSeenOn), strings.Compare(a.Commit, b.Commit))
	})
	for _, h := range slices.Backward(heads) {
		if h.Commit != f.PullRequest.Head {
			break
		}
		if since.IsZero() || h.FirstSeenOn.Before(since) {
			since = h.FirstSeenOn
		}
	}
	return since
}

func projectKey(p Project) string {
	if p.ID != 0 {
		return "#" + itoa(p.ID)
	}
	return strings.ToLower(p.Name())
}

func sorted(verdicts map[string]*ProjectVerdict) []ProjectVerdict {
	list := make([]ProjectVerdict, 0, len(verdicts))
	for v := range maps.Values(verdicts) {
		list = append(list, *v)
	}
	slices.SortFunc(list, func(a, b ProjectVerdict) int {
		return cmp.Or(cmp.Compare(a.Project.ID, b.Project.ID), cmp.Compare(a.Project.Name(), b.Project.Name()))
	})
	return list
}
