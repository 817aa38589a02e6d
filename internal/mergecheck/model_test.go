package mergecheck_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/mergecheck/modeltest"
)

// TestVerdictsAgreeWithTheContract plays random histories to the domain, put together
// as gate and postgres put it together, and holds its verdicts to the model.
// MODEL_HISTORIES is how many, MODEL_SEED the first one's seed.
func TestVerdictsAgreeWithTheContract(t *testing.T) {
	t.Parallel()
	first := fromEnvironment(t, "MODEL_SEED", uint64(time.Now().UnixNano()))
	count := fromEnvironment(t, "MODEL_HISTORIES", 20_000)
	t.Logf("MODEL_SEED=%d MODEL_HISTORIES=%d", first, count)
	for seed := first; seed < first+count; seed++ {
		h := modeltest.Random(seed, 22)
		if fault(h, 1) == "" {
			continue
		}
		const orders = 8 // a shorter history needs another one
		shortest := modeltest.Shortest(h, func(h modeltest.History) bool { return fault(h, orders) != "" })
		t.Fatalf("MODEL_SEED=%d: %s\n%s", seed, fault(shortest, orders), shortest)
	}
}

func fromEnvironment(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// fault plays a history as it is, with nothing lost, and with nothing lost and
// everything told in other orders, and says what was wrong.
func fault(h modeltest.History, orders uint64) string {
	p := newPlay(h)
	p.asks = true
	if p.run(); p.fault != "" {
		return p.fault
	}
	whole := newPlay(h.Delivered())
	if whole.run(); whole.fault != "" {
		return "with nothing lost: " + whole.fault
	}
	if whole.undated() {
		return "" // what has no time is dated by its arrival
	}
	if problem := whole.againstTheTruth(); problem != "" {
		return "with nothing lost: " + problem
	}
	for i := range orders {
		other := newPlay(h.Delivered())
		other.order = rand.New(rand.NewPCG(h.Seed, i)) //nolint:gosec // an order, no secret
		if other.run(); other.fault != "" {
			return "in another order: " + other.fault
		}
		if !whole.agrees(string(other.last.Code)) && !other.agrees(string(whole.last.Code)) {
			return fmt.Sprintf("it ends as %s, and as %s when the same is told in another order", whole.last.Code, other.last.Code)
		}
	}
	return ""
}

// play is one history that is played: to the program, and to the model, which is
// told the same.
type play struct {
	h     modeltest.History
	asks  bool       // merge checks are asked on the way
	order *rand.Rand // messages arrive after the end, in this order; nil: as is their fate
	k     modeltest.Knowledge
	store *store

	now    modeltest.Time
	queue  []happening
	parked []func() // messages that arrive after the end
	look   look
	fault  string
	last   mergecheck.Verdict
}

type happening struct {
	at modeltest.Time
	do func()
}

// look is at the pull request on Bitbucket: wanted while another runs, another follows.
type look struct {
	wanted, seen int
	live         bool
	slow         int
	refused      bool // for good: it ends without having read anything
}

func newPlay(h modeltest.History) *play {
	return &play{
		h: h, store: newStore(),
		k: modeltest.Knowledge{Looked: map[int64]modeltest.Time{}, UpToDate: h.UpToDate},
	}
}

func (p *play) run() {
	for _, s := range p.h.Steps {
		p.until(s.At)
		p.step(s)
		if p.fault != "" {
			return
		}
	}
	p.until(p.h.End() + 100*modeltest.Tick)
	if p.order != nil {
		p.order.Shuffle(len(p.parked), func(i, j int) { p.parked[i], p.parked[j] = p.parked[j], p.parked[i] })
	}
	for _, arrives := range p.parked {
		arrives()
		p.until(p.now + modeltest.Tick)
	}
	p.until(p.now + 10*modeltest.Tick)
	p.round()
	p.end()
}

// until has everything happen that was to happen by then.
func (p *play) until(then modeltest.Time) {
	for {
		next := -1
		for i, q := range p.queue {
			if q.at <= then && (next < 0 || q.at < p.queue[next].at) {
				next = i
			}
		}
		if next < 0 {
			p.now = then
			return
		}
		q := p.queue[next]
		p.queue = slices.Delete(p.queue, next, next+1)
		p.now = max(p.now, q.at)
		q.do()
	}
}

func (p *play) in(ticks int, do func()) {
	p.queue = append(p.queue, happening{at: p.now + modeltest.Time(ticks)*modeltest.Tick, do: do})
}

// sent has a message arrive as is its fate.
func (p *play) sent(f modeltest.Fate, arrives func()) {
	switch {
	case f.Lost:
	case p.order != nil:
		p.parked = append(p.parked, arrives)
		if f.Again > 0 {
			p.parked = append(p.parked, arrives)
		}
	default:
		p.in(f.Late, arrives)
		if f.Again > 0 {
			p.in(f.Late+f.Again, arrives)
		}
	}
}

func (p *play) step(s modeltest.Step) {
	pr, updated := p.h.PullRequest(s.At)
	if pr.Head == "" {
		return // there is no pull request yet
	}
	switch s.Do {
	case modeltest.Push, modeltest.Retarget, modeltest.Close:
		if updated == s.At { // else it was closed before
			p.changed(s, pr)
		}
	case modeltest.End:
		p.sent(s.PushFate, func() { p.notified(s) })
	case modeltest.Report:
		p.report(s, pr)
	case modeltest.Waive:
		p.waive(s, pr)
	case modeltest.Revoke:
		p.revoke(s.ID)
	case modeltest.Round:
		p.round()
	case modeltest.Ask:
		if p.asks {
			p.ask(s)
		}
	case modeltest.Comment, modeltest.Begin, modeltest.Run, modeltest.Delete, modeltest.Rename, modeltest.Pause:
	}
}

// changed has Bitbucket tell of the pull request.
func (p *play) changed(s modeltest.Step, pr modeltest.PullRequest) {
	if s.Do == modeltest.Push {
		p.sent(s.PushFate, func() {
			on := s.At
			if s.Undated {
				on = p.now
			}
			p.k.Facts = append(p.k.Facts, modeltest.Fact{PullRequest: modeltest.PullRequest{Head: pr.Head}, On: on, Undated: s.Undated})
			if p.store.pushed(pr.Head, at(on), s.Undated) {
				p.wantLook(s)
			}
		})
	}
	p.sent(s.Fate, func() {
		short := pr
		short.Head = pr.Head[:12]
		p.k.Facts = append(p.k.Facts, modeltest.Fact{PullRequest: short, On: s.At, Whole: true})
		if p.store.updated(told(short, s.At)) {
			p.wantLook(s)
		}
	})
}

func told(pr modeltest.PullRequest, on modeltest.Time) mergecheck.Told {
	t := mergecheck.Told{State: "OPEN", Head: pr.Head, DestinationBranch: pr.Destination, DestinationCommit: destination, On: at(on)}
	if pr.Closed {
		t.State = "MERGED"
	}
	return t
}

var destination = strings.Repeat("d", 40)

func (p *play) wantLook(s modeltest.Step) {
	p.look.wanted++
	p.look.slow, p.look.refused = s.Slow, s.Refused
	if !p.look.live {
		p.look.live = true
		p.in(s.Slow/2, p.beginLook)
	}
	p.store.waiting = true
}

// beginLook reads the pull request; what was read is recorded later.
func (p *play) beginLook() {
	p.look.seen = p.look.wanted
	pr, on := p.read()
	refused := p.look.refused
	p.in((p.look.slow+1)/2, func() {
		if !refused {
			p.see(pr, on)
		}
		if p.look.live = p.look.wanted > p.look.seen; p.look.live {
			p.beginLook()
			return
		}
		p.store.waiting = false
	})
}

// read is what Bitbucket tells now: an answer has its own time.
func (p *play) read() (modeltest.PullRequest, modeltest.Time) {
	pr, _ := p.h.PullRequest(p.now)
	return pr, p.now
}

// see has both know of the pull request as it was seen, in full.
func (p *play) see(pr modeltest.PullRequest, on modeltest.Time) {
	p.k.Facts = append(p.k.Facts, modeltest.Fact{PullRequest: pr, On: on, Whole: true})
	p.store.see(told(pr, on))
}

// notified has AppVeyor tell of a build, which is read back, and recorded a while later.
func (p *play) notified(s modeltest.Step) {
	for _, b := range p.h.Builds(p.now) {
		if b.ID != s.ID || b.Kind != modeltest.OfPullRequest {
			continue
		}
		p.k.Unconfirmed = append(p.k.Unconfirmed, b.ID)
		p.store.unconfirmed = append(p.store.unconfirmed, b.ID)
		if !b.Deleted {
			p.in(s.Slow, func() { p.observe(b) })
		}
	}
}

// observe has both know of a build as AppVeyor told it.
func (p *play) observe(b modeltest.Built) {
	p.k.Results = append(p.k.Results, b.Result)
	p.store.built(buildOf(b.Result))
}

func buildOf(r modeltest.Result) mergecheck.Build {
	b := mergecheck.Build{
		BuildID: r.ID, Project: projectOf(r.Project), Repository: "acme/widgets", Version: fmt.Sprintf("1.0.%d", r.ID),
		State: mergecheck.State(r.State), ReportedCommit: r.Named, CommitID: r.CommitID, DestinationBranch: r.Destination,
		CreatedOn: at(r.Created), UpdatedOn: at(r.Updated), ConfirmedBy: mergecheck.ConfirmedByAppVeyor,
	}
	if r.Kind != modeltest.OfBranch {
		b.PullRequestID = 7
	}
	if r.Finished != 0 {
		b.FinishedOn = at(r.Finished)
	}
	return b
}

func projectOf(id int64) mergecheck.Project {
	return mergecheck.Project{ID: id, Account: "acme", Slug: map[int64]string{1: "widgets", 2: "docs", 3: "lint"}[id]}
}

// round looks at every project's newest builds.
func (p *play) round() {
	for project := range int64(2) {
		p.lookAt(project + 1)
	}
}

func (p *play) lookAt(project int64) {
	for _, b := range p.h.Builds(p.now) {
		if b.Project == project && b.Kind == modeltest.OfPullRequest && !b.Deleted {
			p.observe(b)
		}
	}
	if p.store.looked(project, at(p.now)) {
		p.k.Looked[project] = p.now
	}
}

// report is of a build script, which is told the head by Bitbucket.
func (p *play) report(s modeltest.Step, pr modeltest.PullRequest) {
	known := slices.ContainsFunc(p.k.Results, func(r modeltest.Result) bool { return r.Kind == modeltest.Reported && r.ID == s.ID })
	if pr.Closed || known {
		return // refused, or the same attempt again
	}
	r := modeltest.Result{
		Kind: modeltest.Reported, ID: s.ID, Project: s.Project, Named: pr.Head, Destination: pr.Destination,
		State: s.State, Created: s.At, Updated: s.At,
	}
	p.k.Results = append(p.k.Results, r)
	b := buildOf(r)
	b.ConfirmedBy, b.SourceCommit = mergecheck.ConfirmedByReport, pr.Head
	p.store.reported(b)
}

// waive reads the pull request, and waives what it is then.
func (p *play) waive(s modeltest.Step, pr modeltest.PullRequest) {
	if pr.Closed || s.Project != 0 && p.store.projects[s.Project] == nil {
		return // refused
	}
	p.see(pr, s.At)
	w := modeltest.Waiver{
		ID: s.ID, Project: s.Project, Head: pr.Head, Destination: pr.Destination,
		Given: s.At, Expires: s.At + modeltest.Time(s.Life)*modeltest.Tick,
	}
	p.k.Waivers = append(p.k.Waivers, w)
	p.store.waivers = append(p.store.waivers, mergecheck.Waiver{
		ID: w.ID, Head: w.Head, Destination: w.Destination, ProjectID: w.Project, Reason: "it is urgent", By: "release",
		CreatedOn: at(w.Given), ExpiresOn: at(w.Expires),
	})
}

func (p *play) revoke(id int64) {
	for i, w := range p.k.Waivers {
		if w.ID == id && w.Revoked == 0 {
			p.k.Waivers[i].Revoked = p.now
			p.store.waivers[i].RevokedOn = at(p.now)
		}
	}
}

// answer is a verdict of the program with what it went by.
type answer struct {
	mergecheck.Verdict
	pr    mergecheck.PullRequest
	facts mergecheck.Facts
	read  bool // Bitbucket, for it
}

// ask asks a merge check, which never passes where the contract doesn't let it.
func (p *play) ask(s modeltest.Step) {
	then := p.now - modeltest.Time(s.Back)*modeltest.Tick
	pr, updated := p.h.PullRequest(then)
	if pr.Head == "" {
		return // there was no pull request then
	}
	brought := modeltest.Fact{PullRequest: pr, On: updated, Whole: true}
	var read *modeltest.PullRequest
	if !s.BitbucketDown {
		real, _ := p.read()
		read = &real
	}
	allowed := []modeltest.PullRequest{}
	if !s.Nothing {
		allowed = append(allowed, p.k.Believed(brought, read))
	}
	if read != nil {
		allowed = append(allowed, *read)
	}
	a := p.answer(s, brought, read)
	if a.Success {
		p.hold(s, a, allowed)
	}
}

// hold holds a pass to the contract: it is for one of the pull requests that may be
// gone by.
func (p *play) hold(s modeltest.Step, a answer, allowed []modeltest.PullRequest) {
	k := p.momentary(s)
	var codes []string
	for _, pr := range allowed {
		v := k.Verdict(p.h.Policy, pr, p.now)
		codes = append(codes, fmt.Sprintf("%s for %.14s into %s", v.Code, pr.Head, pr.Destination))
		if !v.Passes() || pr.Head != a.pr.Head || pr.Destination != a.pr.DestinationBranch {
			continue
		}
		for project, kind := range v.By {
			if a.Code == mergecheck.Passed && s.OnMerge && !s.AppVeyorDown && kind == modeltest.OfPullRequest && p.now-k.Looked[project] > 30*time.Second {
				p.fault = fmt.Sprintf("at %.0f s it merges by a build of project %d that was looked at %s ago", p.now.Seconds(), project, p.now-k.Looked[project])
			}
		}
		return
	}
	p.fault = fmt.Sprintf("at %.0f s it passes (%s) for %.14s into %s, and the contract says %s", p.now.Seconds(), a.Code, a.pr.Head, a.pr.DestinationBranch, strings.Join(codes, " or "))
}

// momentary is what is known with the builds of the head itself, which are only asked
// for at that moment.
func (p *play) momentary(s modeltest.Step) modeltest.Knowledge {
	k := p.k
	k.Results = slices.Clone(k.Results)
	for _, b := range p.branchBuilds(s) {
		k.Results = append(k.Results, b.Result)
	}
	return k
}

func (p *play) branchBuilds(s modeltest.Step) (list []modeltest.Built) {
	for _, b := range p.h.Builds(p.now) {
		if b.Kind == modeltest.OfBranch && !b.Deleted && !s.AppVeyorDown && p.h.Policy.AcceptBranches {
			list = append(list, b)
		}
	}
	return list
}

// answer is what gate does with a question.
func (p *play) answer(s modeltest.Step, brought modeltest.Fact, read *modeltest.PullRequest) (a answer) {
	pr, on, problem := brought.PullRequest, brought.On, ""
	tells := told(pr, on)
	recorded := p.store.recorded()
	if !s.Nothing {
		p.k.Facts = append(p.k.Facts, brought)
	}
	if !s.Nothing && recorded.Contradicts(tells) { // it was so at that time, whatever is now
		p.store.see(tells)
	}
	switch {
	case s.Nothing && read == nil:
		tells, problem = mergecheck.Told{}, "Bitbucket could not be reached"
	case s.Nothing, recorded.Contradicts(tells) && read != nil:
		a.read = true
		tells = told(*read, p.now)
		p.k.Facts = append(p.k.Facts, modeltest.Fact{PullRequest: *read, On: p.now, Whole: true})
	case recorded.Contradicts(tells):
		tells, problem = recorded.Instead(tells, "Bitbucket could not be reached")
	}
	a.judge(p, s, tells, problem)
	if s.OnMerge && !s.AppVeyorDown {
		if due := a.Due(a.facts); len(due) > 0 {
			for _, project := range due {
				p.lookAt(project)
			}
			a.judge(p, s, tells, problem)
		}
	}
	if mergecheck.IsFullCommit(tells.Head) {
		p.store.see(tells)
	}
	return a
}

func (a *answer) judge(p *play, s modeltest.Step, tells mergecheck.Told, problem string) {
	a.pr = mergecheck.PullRequest{
		ID: 7, State: tells.State, Head: tells.Head, HeadProblem: problem, SourceBranch: "feature",
		DestinationBranch: tells.DestinationBranch, DestinationCommit: tells.DestinationCommit, On: tells.On,
	}
	a.facts = p.store.facts(a.pr, at(p.now))
	a.facts.Policy = policyOf(p.h.Policy)
	if p.h.UpToDate {
		a.facts.Distances = []mergecheck.Distance{{Destination: destination, Tested: tells.Head, Complete: true}}
	}
	for _, b := range p.branchBuilds(s) {
		a.facts.BranchBuilds = append(a.facts.BranchBuilds, buildOf(b.Result))
	}
	a.Verdict = mergecheck.Evaluate(a.facts)
}

func policyOf(p modeltest.Policy) mergecheck.Policy {
	policy := mergecheck.Policy{AcceptBranchBuilds: p.AcceptBranches}
	for _, id := range p.AcceptReports {
		policy.AcceptReports = append(policy.AcceptReports, strconv.FormatInt(id, 10))
	}
	for _, id := range p.AcceptNamed {
		policy.AcceptReports = append(policy.AcceptReports, projectOf(id).Name())
	}
	return policy
}

// end asks once more, with everything told and read: program and model agree. What a
// merge check brings is recorded with its answer, so that the second one has it all.
func (p *play) end() {
	pr, updated := p.h.PullRequest(p.now)
	if pr.Head == "" {
		return
	}
	s := modeltest.Step{OnMerge: true}
	p.answer(s, modeltest.Fact{PullRequest: pr, On: updated, Whole: true}, &pr)
	a := p.answer(s, modeltest.Fact{PullRequest: pr, On: updated, Whole: true}, &pr)
	p.last = a.Verdict
	want := p.momentary(s).Verdict(p.h.Policy, pr, p.now).Code
	if !p.agrees(want) {
		p.fault = fmt.Sprintf("it ends as %s (%s), and the contract says %s", a.Code, a.Message, want)
	}
}

// againstTheTruth holds a pass in the end to what really was.
func (p *play) againstTheTruth() string {
	pr, _ := p.h.PullRequest(p.now)
	if pr.Head == "" {
		return ""
	}
	k := p.k
	k.Facts, k.Results = nil, nil
	for _, s := range p.h.Steps {
		if was, updated := p.h.PullRequest(s.At); updated == s.At && was.Head != "" {
			k.Facts = append(k.Facts, modeltest.Fact{PullRequest: was, On: s.At, Whole: true})
		}
	}
	for _, b := range p.h.Builds(p.now) {
		if b.Kind == modeltest.OfPullRequest {
			b.Named = b.Head
		}
		if b.Kind == modeltest.OfPullRequest || p.h.Policy.AcceptBranches {
			k.Results = append(k.Results, b.Result)
		}
	}
	for _, r := range p.k.Results {
		if r.Kind == modeltest.Reported {
			k.Results = append(k.Results, r)
		}
	}
	want := k.Verdict(p.h.Policy, pr, p.now)
	if p.last.Success && !want.Passes() {
		return fmt.Sprintf("it ends as %s, and in truth it is %s", p.last.Code, want.Code)
	}
	return ""
}

// agrees tells whether it ended with that code. Where AppVeyor named no head at all,
// not to know which one a build is of is always a safe answer: of heads that were seen
// often only the first and the last time are kept.
func (p *play) agrees(code string) bool {
	unnamed := slices.ContainsFunc(p.last.Projects, func(v mergecheck.ProjectVerdict) bool {
		return v.Build != nil && v.Build.ReportedCommit == "" && (v.Code == mergecheck.Unavailable || v.Waived == mergecheck.Unavailable)
	})
	return string(p.last.Code) == code || unnamed && (!p.last.Success || p.last.Code == mergecheck.WaivedCode)
}

// undated tells whether something was told without a time.
func (p *play) undated() bool {
	return slices.ContainsFunc(p.k.Facts, func(f modeltest.Fact) bool { return f.Undated })
}

// store keeps what internal/postgres keeps of a pull request, as it does.
type store struct {
	told    bool // of the pull request
	newest  mergecheck.Told
	waiting bool // a look is wanted or runs
	heads   []mergecheck.Head
	pushes  []mergecheck.Head

	builds      map[int64]mergecheck.Build
	reports     map[int64]mergecheck.Build
	projects    map[int64]*mergecheck.Project
	looks       map[int64]time.Time
	waivers     []mergecheck.Waiver
	unconfirmed []int64
}

func newStore() *store {
	return &store{
		builds: map[int64]mergecheck.Build{}, reports: map[int64]mergecheck.Build{},
		projects: map[int64]*mergecheck.Project{}, looks: map[int64]time.Time{},
	}
}

// pushed is Store.applyPush. It tells whether Bitbucket is to be looked at.
func (s *store) pushed(commit string, on time.Time, untimed bool) (look bool) {
	push := mergecheck.Head{Commit: commit, FirstSeenOn: on, LastSeenOn: on, Untimed: untimed}
	if !slices.Contains(s.pushes, push) {
		s.pushes = append(s.pushes, push)
	}
	if !s.told || s.newest.State != "OPEN" && !s.newest.On.After(on) {
		return false
	}
	s.headSeen(commit, on, untimed)
	return untimed
}

// updated is Store.applyPullRequest. It tells whether Bitbucket is to be looked at.
func (s *store) updated(t mergecheck.Told) (look bool) {
	s.tell(t)
	if t.State != "OPEN" {
		return false
	}
	return !slices.ContainsFunc(s.heads, func(h mergecheck.Head) bool { // read in full at that very time
		return !h.Untimed && strings.HasPrefix(h.Commit, t.Head) && (h.FirstSeenOn.Equal(t.On) || h.LastSeenOn.Equal(t.On))
	})
}

// tell is Store.tellPullRequest.
func (s *store) tell(t mergecheck.Told) {
	if !s.told || s.newest.On.Before(t.On) || s.newest.On.Equal(t.On) && s.newest.State == "OPEN" {
		s.told, s.newest = true, t
		if mergecheck.IsFullCommit(t.Head) {
			s.newest.Head = ""
		}
	}
	s.endWaivers(t.Head, t.DestinationBranch, t.On)
}

// see is Store.recordSighting.
func (s *store) see(t mergecheck.Told) {
	s.tell(t)
	s.headSeen(t.Head, t.On, false)
}

func (s *store) headSeen(commit string, on time.Time, untimed bool) {
	s.recordHead(commit, on, untimed)
	s.endWaivers(commit, "", on)
}

// recordHead is the statement of that name.
func (s *store) recordHead(commit string, on time.Time, untimed bool) {
	var before *mergecheck.Head
	for i := range s.heads {
		h := &s.heads[i]
		if h.FirstSeenOn.After(on) || h.Untimed && !untimed {
			continue
		}
		if before == nil || cmp.Or(h.FirstSeenOn.Compare(before.FirstSeenOn), h.LastSeenOn.Compare(before.LastSeenOn)) > 0 {
			before = h
		}
	}
	if before != nil && before.Commit == commit {
		if before.LastSeenOn.Before(on) && !before.Untimed && !untimed {
			before.LastSeenOn = on
		}
		return
	}
	for i := range s.heads {
		if h := &s.heads[i]; h.FirstSeenOn.Equal(on) && h.Commit == commit {
			h.Untimed = h.Untimed && untimed
			return
		}
	}
	s.heads = append(s.heads, mergecheck.Head{Commit: commit, FirstSeenOn: on, LastSeenOn: on, Untimed: untimed})
}

func (s *store) endWaivers(head, destination string, on time.Time) {
	for i, w := range s.waivers {
		if by := w.EndedByFact(head, destination, on); by != "" && w.EndedBy == "" {
			s.waivers[i].EndedBy, s.waivers[i].EndedOn = by, on
		}
	}
}

// built is Store.RecordBuild.
func (s *store) built(b mergecheck.Build) {
	if known, ok := s.builds[b.BuildID]; ok {
		b = known.Merge(b)
	}
	s.builds[b.BuildID] = b
	s.projects[b.Project.ID] = new(b.Project)
}

// reported is Store.RecordResultReport.
func (s *store) reported(b mergecheck.Build) {
	s.reports[b.BuildID] = b
	if s.projects[b.Project.ID] == nil {
		p := b.Project
		p.ReportsOnly = true
		s.projects[p.ID] = &p
	}
}

func (s *store) looked(project int64, on time.Time) bool {
	if s.projects[project] == nil {
		return false
	}
	s.looks[project] = on
	return true
}

func (s *store) recorded() mergecheck.Recorded {
	heads := slices.Concat(s.heads, s.pushes)
	slices.SortFunc(heads, func(a, b mergecheck.Head) int {
		return cmp.Or(a.FirstSeenOn.Compare(b.FirstSeenOn), strings.Compare(a.Commit, b.Commit))
	})
	return mergecheck.Recorded{
		History: mergecheck.History{Heads: heads, Waiting: s.waiting && s.newest.Head != ""}, Newest: s.newest,
	}
}

// facts is Store.Facts.
func (s *store) facts(pr mergecheck.PullRequest, now time.Time) mergecheck.Facts {
	recorded := s.recorded()
	f := mergecheck.Facts{PullRequest: pr, Heads: recorded.Heads, Waiting: recorded.Waiting, Waivers: s.waivers, Now: now}
	for _, b := range s.builds {
		if b.ReportedCommit == pr.Head || len(b.ReportedCommit) < mergecheck.FullCommit && strings.HasPrefix(pr.Head, b.ReportedCommit) {
			f.Builds = append(f.Builds, b)
		}
	}
	for _, b := range s.reports {
		confirmed := s.builds[b.BuildID].Project.ID == b.Project.ID
		if !confirmed && b.SourceCommit == pr.Head {
			f.Builds = append(f.Builds, b)
		}
	}
	for id, p := range s.projects {
		f.Seen = append(f.Seen, *p)
		f.Looks = append(f.Looks, mergecheck.Look{ProjectID: id, On: s.looks[id]})
	}
	for _, id := range s.unconfirmed {
		if _, known := s.builds[id]; !known {
			f.Unconfirmed = append(f.Unconfirmed, mergecheck.Unconfirmed{BuildID: id})
		}
	}
	return f
}
