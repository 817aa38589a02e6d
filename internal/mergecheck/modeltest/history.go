package modeltest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Tick is the time between two steps at least: of two ticks the first is no longer
// fresh enough to merge on.
const Tick = 20 * time.Second

// Action is what happens in a step.
type Action string

// The actions. The first ones change the pull request, the next builds; then come
// those of people and of mergegate itself.
const (
	Push     Action = "push"
	Retarget Action = "retarget"
	Comment  Action = "comment" // Bitbucket changes updated_on, and tells nobody that matters
	Close    Action = "close"

	Begin  Action = "begin"  // a build is queued
	Run    Action = "run"    // it runs, maybe again
	End    Action = "end"    // it has ended
	Delete Action = "delete" // AppVeyor doesn't show it any more

	Report Action = "report"
	Waive  Action = "waive"
	Revoke Action = "revoke"
	Rename Action = "rename" // the repository
	Round  Action = "round"  // AppVeyor's newest builds are looked at
	Ask    Action = "ask"    // a merge check
	Pause  Action = "pause"  // what was begun comes to its end
)

// Fate is what becomes of a message. The zero Fate is that it arrives at once.
type Fate struct {
	Lost  bool
	Late  int // ticks
	Again int // ticks after that it comes once more; 0: it doesn't
}

// Step is one step of a history. Only the fields that its action has are set.
type Step struct {
	At Time
	Do Action

	Commit      byte // A, T and U begin alike, B doesn't: see [Commit]
	Destination string
	Undated     bool // the push is told by a message without a time
	PushFate    Fate // of the message of a push or a build
	Fate        Fate // of the message of the pull request
	Slow        int  // ticks from reading what a message is about until that is recorded
	Refused     bool // Bitbucket refuses for good to have it read

	ID       int64
	Project  int64
	Kind     Kind
	Named    int  // how many characters of the head AppVeyor names
	OwnFiles bool // AppVeyor built the head, not a merge of it
	State    string
	Life     int // of a waiver, ticks

	Back          int  // how many ticks ago the function read the pull request
	Nothing       bool // the function brings nothing
	BitbucketDown bool
	AppVeyorDown  bool
	OnMerge       bool
}

// History is a pull request's.
type History struct {
	Seed     uint64
	Policy   Policy
	UpToDate bool
	Steps    []Step // by time
	// Salt makes the commits of one history others than those of another.
	Salt    int
	commits map[byte]string
}

// Commit is a commit of 40 characters. T has the first twelve of A, U the first ten.
func (h History) Commit(letter byte) string {
	if h.commits[letter] == "" {
		begin := map[byte]string{'T': "aaaaaaaaaaaacc", 'U': "aaaaaaaaaadddd"}[letter]
		if begin == "" {
			begin = strings.Repeat(strings.ToLower(string(letter)), 14)
		}
		h.commits[letter] = begin + fmt.Sprintf("%026x", h.Salt)
	}
	return h.commits[letter]
}

// Random is the history of a seed.
func Random(seed uint64, length int) History {
	r := rand.New(rand.NewPCG(seed, 10)) //nolint:gosec // histories, no secrets
	h := History{Seed: seed, UpToDate: r.IntN(4) > 0, commits: map[byte]string{}}
	h.Policy.AcceptBranches = r.IntN(3) == 0
	switch r.IntN(4) {
	case 0:
		h.Policy.AcceptReports = []int64{1, 3}
	case 1:
		h.Policy.AcceptNamed = []int64{1, 3}
	}
	g := generator{Rand: r, undated: r.IntN(3) == 0, named: []int{40, 12, 10, 0}[r.IntN(4)]}
	if r.IntN(8) == 0 {
		h.Steps = append(h.Steps, g.twins())
	} else {
		h.Steps = append(h.Steps, g.push('A'))
	}
	for n := 4 + r.IntN(length-3); n > 0 || len(g.coming) > 0; n-- {
		g.at += Tick * Time(1+r.IntN(2))
		h.Steps = append(h.Steps, g.step())
	}
	return h
}

// Unplayed is a history of which nothing has happened yet, with other commits: whoever
// plays h in real time adds its steps at the times at which they happen.
func (h History) Unplayed(salt int) History {
	h.Steps, h.Salt, h.commits = nil, salt, map[byte]string{}
	return h
}

// generator draws steps. Builds are numbered as they begin, and so are waivers.
type generator struct {
	*rand.Rand
	at      Time
	undated bool // pushes are told by webhooks
	named   int  // how AppVeyor names heads, mostly
	builds  int64
	reports int64
	waivers int64
	head    byte
	coming  []func() Step // what follows on what was drawn
}

func (g *generator) step() Step {
	if len(g.coming) > 0 {
		next := g.coming[0]
		g.coming = g.coming[1:]
		return next()
	}
	s := Step{At: g.at}
	switch n := g.IntN(100); {
	case n < 20:
		return g.push("AATUB"[g.IntN(5)])
	case n < 25:
		s.Do, s.Destination, s.Fate, s.Slow = Retarget, g.pick("main", "release"), g.fate(), g.IntN(3)
	case n < 28:
		s.Do = Comment
	case n < 29:
		s.Do, s.Fate = Close, g.fate()
	case n < 45:
		return g.begin()
	case n < 62:
		s.Do, s.ID, s.PushFate, s.Slow = End, 1+g.Int64N(g.builds+1), g.fate(), g.IntN(3)
		s.State = g.pick("success", "success", "success", "failed", "cancelled")
	case n < 65:
		s.Do, s.ID = Run, 1+g.Int64N(g.builds+1)
	case n < 67:
		s.Do, s.ID = Delete, 1+g.Int64N(g.builds+1)
	case n < 72:
		return g.report()
	case n < 77:
		g.waivers++
		s.Do, s.ID, s.Life = Waive, g.waivers, 2+g.IntN(20)
		s.Project = g.Int64N(3)
	case n < 79:
		s.Do, s.ID = Revoke, 1+g.Int64N(g.waivers+1)
	case n < 80:
		s.Do = Rename
	case n < 81:
		return g.twins()
	case n < 86:
		s.Do = Round
	default:
		s.Do, s.Back, s.Nothing, s.OnMerge = Ask, g.IntN(6), g.IntN(6) == 0, g.IntN(2) == 0
		s.BitbucketDown, s.AppVeyorDown = g.IntN(3) == 0, g.IntN(3) == 0
	}
	return s
}

func (g *generator) push(commit byte) Step {
	if commit == g.head {
		commit = map[byte]byte{'A': 'B', 'B': 'A', 'T': 'A', 'U': 'A'}[commit] // pushing the same does nothing
	}
	g.head = commit
	return Step{At: g.at, Do: Push, Commit: commit, Undated: g.undated, PushFate: g.fate(), Fate: g.fate(), Slow: g.IntN(3), Refused: g.IntN(12) == 0}
}

// twins begins with a head that passes. While it is looked at, its twin takes its place,
// and only twelve characters are told of that: those of both.
func (g *generator) twins() Step {
	first, second := byte('A'), byte('T')
	if g.head == first {
		first, second = second, first
	}
	pause := func() Step { return Step{At: g.at, Do: Pause} }
	g.coming = []func() Step{
		g.begin,
		func() Step { return Step{At: g.at, Do: End, ID: g.builds, State: "success"} },
		pause,
		func() Step {
			s := g.push(second)
			s.PushFate, s.Fate, s.Refused = Fate{Lost: true}, Fate{}, false
			return s
		},
		pause,
		func() Step { return Step{At: g.at, Do: Ask, Back: 3 + g.IntN(2), OnMerge: g.IntN(2) == 0} },
	}
	s := g.push(first)
	s.Fate = Fate{}
	return s
}

func (g *generator) begin() Step {
	g.builds++
	s := Step{At: g.at, Do: Begin, ID: g.builds, Project: 1 + g.Int64N(5)/4, Kind: OfPullRequest, Named: g.named}
	if g.IntN(4) == 0 {
		s.Named = []int{40, 12, 10, 0}[g.IntN(4)]
	}
	s.OwnFiles = g.IntN(2) == 0
	if g.IntN(4) == 0 {
		s.Kind = OfBranch
	}
	return s
}

// report is of a script that says in which build it runs, or makes a number up.
func (g *generator) report() Step {
	s := Step{At: g.at, Do: Report, ID: 1 + g.Int64N(g.builds+1), Project: 1 + 2*g.Int64N(2), State: g.pick("success", "failed", "running")}
	if s.Project == 3 || g.IntN(2) == 0 {
		g.reports++
		s.ID = 1000 + g.reports
	}
	return s
}

func (g *generator) fate() Fate {
	switch g.IntN(6) {
	case 0:
		return Fate{Lost: true}
	case 1:
		return Fate{Late: 1 + g.IntN(12), Again: g.IntN(4)}
	case 2:
		return Fate{Late: g.IntN(3), Again: g.IntN(4)}
	default:
		return Fate{}
	}
}

func (g *generator) pick(words ...string) string { return words[g.IntN(len(words))] }

// Delivered is the history with every message arriving some time, and builds kept.
func (h History) Delivered() History {
	h.Steps = slices.DeleteFunc(slices.Clone(h.Steps), func(s Step) bool { return s.Do == Delete })
	for i := range h.Steps {
		h.Steps[i].Fate.Lost, h.Steps[i].PushFate.Lost, h.Steps[i].Refused = false, false, false
	}
	return h
}

// End is the time of the last step.
func (h History) End() Time {
	if len(h.Steps) == 0 {
		return 0
	}
	return h.Steps[len(h.Steps)-1].At
}

// PullRequest is what Bitbucket has at a time, and since when. There is none before
// the first push.
func (h History) PullRequest(at Time) (pr PullRequest, updated Time) {
	pr.Destination = "main"
	for _, s := range h.Steps {
		if s.At > at || pr.Closed {
			break
		}
		switch s.Do {
		case Push:
			pr.Head = h.Commit(s.Commit)
		case Retarget:
			pr.Destination = s.Destination
		case Close:
			pr.Closed = true
		case Comment:
		default:
			continue
		}
		updated = s.At
	}
	return pr, updated
}

// Built is a build as AppVeyor has it at a time, with the head that it really is of.
type Built struct {
	Result
	Head    string
	Deleted bool
}

// Builds are AppVeyor's builds at a time, those that it doesn't show any more included.
func (h History) Builds(at Time) (list []Built) {
	for _, s := range h.Steps {
		if s.At > at {
			break
		}
		i := slices.IndexFunc(list, func(b Built) bool { return b.ID == s.ID })
		if s.Do == Begin {
			if b, ok := h.begun(s); ok {
				list = append(list, b)
			}
			continue
		}
		if i < 0 || list[i].Deleted {
			continue
		}
		switch b := &list[i]; {
		case s.Do == Run:
			b.State, b.Updated, b.Finished = "running", s.At, 0
		case s.Do == End:
			b.State, b.Updated, b.Finished = s.State, s.At, s.At
		case s.Do == Delete && b.Finished != 0:
			b.Deleted = true
		}
	}
	return list
}

// begun is a new build of what is the head then.
func (h History) begun(s Step) (b Built, ok bool) {
	pr, _ := h.PullRequest(s.At)
	if pr.Head == "" {
		return b, false
	}
	b = Built{Head: pr.Head, Result: Result{
		Kind: s.Kind, ID: s.ID, Project: s.Project, Named: pr.Head[:s.Named], CommitID: h.Commit('E'),
		Destination: pr.Destination, State: "queued", Created: s.At, Updated: s.At,
	}}
	if s.OwnFiles || s.Kind == OfBranch {
		b.CommitID = pr.Head
	}
	if s.Kind == OfBranch {
		b.Named, b.Destination = "", ""
	}
	return b, true
}

// Shortest takes steps and mishaps out of a history that fails as long as what is left
// fails too.
func Shortest(h History, fails func(History) bool) History {
	for shorter := true; shorter; {
		shorter = false
		for i := len(h.Steps) - 1; i >= 0; i-- {
			without := h
			without.Steps = slices.Delete(slices.Clone(h.Steps), i, i+1)
			if len(without.Steps) > 0 && fails(without) {
				h, shorter = without, true
			}
		}
		for i := range h.Steps {
			for _, simplify := range simplifications {
				other := h
				other.Steps = slices.Clone(h.Steps)
				simplify(&other.Steps[i])
				if other.Steps[i] != h.Steps[i] && fails(other) {
					h, shorter = other, true
				}
			}
		}
		for _, simpler := range []Policy{{}, {AcceptBranches: h.Policy.AcceptBranches}} {
			other := h
			other.Policy = simpler
			if h.Policy.asks() > simpler.asks() && fails(other) {
				h, shorter = other, true
			}
		}
	}
	return h
}

func (p Policy) asks() (n int) {
	if p.AcceptBranches {
		n = 1
	}
	return n + len(p.AcceptReports) + len(p.AcceptNamed)
}

// simplifications take a mishap each from a step.
var simplifications = []func(*Step){
	func(s *Step) { s.Fate = Fate{} },
	func(s *Step) { s.PushFate = Fate{} },
	func(s *Step) { s.Fate.Again, s.PushFate.Again = 0, 0 },
	func(s *Step) { s.Slow = 0 },
	func(s *Step) { s.Refused = false },
	func(s *Step) { s.Undated = false },
	func(s *Step) { s.OnMerge = false },
	func(s *Step) { s.BitbucketDown = false },
	func(s *Step) { s.AppVeyorDown = false },
	func(s *Step) { s.OwnFiles = false },
	func(s *Step) { s.Back = max(0, s.Back-1) },
	func(s *Step) {
		if s.Do == Begin {
			s.Named = 40
		}
	},
}

// String tells the history a line a step.
func (h History) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "history %d (accept_reports %v %v, accept_branch_builds %v, up to date %v):\n",
		h.Seed, h.Policy.AcceptReports, h.Policy.AcceptNamed, h.Policy.AcceptBranches, h.UpToDate)
	for _, s := range h.Steps {
		fmt.Fprintf(&text, "  %4.0f s  %s\n", s.At.Seconds(), s)
	}
	return text.String()
}

func (s Step) String() string {
	slow := ""
	if s.Slow > 0 {
		slow = fmt.Sprintf(", read at once and recorded %d ticks later", s.Slow)
	}
	if s.Refused {
		slow += ", refused to be read"
	}
	switch s.Do {
	case Push:
		undated := ""
		if s.Undated {
			undated = " without a time"
		}
		return fmt.Sprintf("push of %c: told%s %s, by the pull request's event %s%s", s.Commit, undated, s.PushFate, s.Fate, slow)
	case Retarget:
		return fmt.Sprintf("retarget to %s: told %s%s", s.Destination, s.Fate, slow)
	case Close:
		return fmt.Sprintf("close: told %s", s.Fate)
	case Begin:
		return fmt.Sprintf("%s %d of project %d begins; AppVeyor names %d characters of the head (own files: %v)", s.Kind, s.ID, s.Project, s.Named, s.OwnFiles)
	case End:
		return fmt.Sprintf("build %d ends: %s, told %s%s", s.ID, s.State, s.PushFate, slow)
	case Run, Delete, Revoke:
		return fmt.Sprintf("%s %d", s.Do, s.ID)
	case Report:
		return fmt.Sprintf("report of build %d for project %d: %s", s.ID, s.Project, s.State)
	case Waive:
		return fmt.Sprintf("waiver %d of project %d (0: all) for %d ticks", s.ID, s.Project, s.Life)
	case Ask:
		return s.question()
	default:
		return string(s.Do)
	}
}

func (s Step) question() string {
	text := fmt.Sprintf("merge check brings what was read %d ticks ago", s.Back)
	if s.Nothing {
		text = "merge check brings nothing"
	}
	if s.OnMerge {
		text += ", on-merge"
	}
	if s.BitbucketDown {
		text += ", Bitbucket is down"
	}
	if s.AppVeyorDown {
		text += ", AppVeyor is down"
	}
	return text
}

func (f Fate) String() string {
	switch {
	case f.Lost:
		return "never"
	case f.Late == 0 && f.Again == 0:
		return "at once"
	case f.Again == 0:
		return fmt.Sprintf("%d ticks late", f.Late)
	default:
		return fmt.Sprintf("%d ticks late and %d later again", f.Late, f.Again)
	}
}
