package policy

import (
	"cmp"
	"context"
	"iter"
	"runtime"
	"slices"
	"sync"

	"mergegate/internal/mergecheck"
)

// maxNamed is how many pull requests a change names.
const maxNamed = 1000

// Decision is the answer that was given when somebody wanted to merge.
type Decision struct {
	Repository    string // "workspace/slug"; "" where it isn't known
	RepositoryID  string // what to call it then
	PullRequestID int64
	Success       bool
	Code          mergecheck.Code
	Inputs        []byte // see [mergecheck.Facts.Inputs]; nil: none were recorded
}

// Simulation is what another policy would have made of decisions.
type Simulation struct {
	Decisions int        `json:"decisions"`
	Judged    int        `json:"judged"`
	Blocked   []Change   `json:"newly_blocked"`
	Allowed   []Change   `json:"newly_allowed"`
	Unjudged  []Unjudged `json:"unjudged"`
}

// Change are the decisions of a repository that would have been others for the
// same reason.
type Change struct {
	// Code is why: of the new verdict where it blocks, of the old one where it did.
	Code         mergecheck.Code `json:"code"`
	Repository   string          `json:"repository"`
	Decisions    int             `json:"decisions"`
	PullRequests []int64         `json:"pullrequests"` // in their order, at most 1000
	More         bool            `json:"more"`         // there are other pull requests
}

// Unjudged is why decisions could not be judged.
type Unjudged struct {
	Reason    string `json:"reason"`
	Decisions int    `json:"decisions"`
}

// Simulate judges decisions by the document, on all cores. next returns a batch
// of them at a time, and an empty one at the end: no more than three batches are
// held. progress, unless it is nil, is told how many are done.
func Simulate(ctx context.Context, d *Document, next func(context.Context) ([]Decision, error), progress func(done int)) (Simulation, error) {
	judge, tally := &judge{document: d}, newTally()
	for read := range readAhead(ctx, next) {
		if read.err != nil {
			return Simulation{}, read.err
		}
		for i, o := range judge.all(read.batch) {
			tally.add(read.batch[i], o)
		}
		if progress != nil {
			progress(tally.Decisions)
		}
	}
	if err := ctx.Err(); err != nil {
		return Simulation{}, err // a part would look like the whole
	}
	return tally.simulation(), nil
}

type read struct {
	batch []Decision
	err   error
}

// readAhead reads a batch while the last one is judged. It has stopped reading
// when the loop over it ends.
func readAhead(ctx context.Context, next func(context.Context) ([]Decision, error)) iter.Seq[read] {
	return func(yield func(read) bool) {
		ctx, cancel := context.WithCancel(ctx)
		reads := make(chan read, 1)
		go func() {
			defer close(reads)
			for {
				batch, err := next(ctx)
				if err == nil && len(batch) == 0 {
					return
				}
				select {
				case reads <- read{batch: batch, err: err}:
				case <-ctx.Done():
					return
				}
			}
		}()
		defer func() {
			cancel()
			for range reads { // until the reader has ended
			}
		}()
		for r := range reads {
			if !yield(r) {
				return
			}
		}
	}
}

// outcome is what the document makes of a decision.
type outcome struct {
	success  bool
	code     mergecheck.Code
	unjudged string // why it can't be told
}

// judge judges decisions by a document.
type judge struct {
	document *Document
	mu       sync.Mutex
	policies map[target]mergecheck.Policy
}

type target struct{ repository, branch string }

// all judges a batch. Each core takes every so manieth decision: they cost about
// the same.
func (j *judge) all(batch []Decision) []outcome {
	outcomes := make([]outcome, len(batch))
	var group sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), len(batch))
	for first := range workers {
		group.Go(func() {
			for i := first; i < len(batch); i += workers {
				outcomes[i] = j.one(batch[i])
			}
		})
	}
	group.Wait()
	return outcomes
}

func (j *judge) one(d Decision) outcome {
	if d.Inputs == nil {
		return outcome{unjudged: "the decision's facts weren't recorded"}
	}
	facts, err := mergecheck.ReadInputs(d.Inputs)
	if err != nil {
		return outcome{unjudged: "this mergegate can't read the decision's facts"}
	}
	if facts.Problem != "" {
		return outcome{unjudged: "a fact was missing when it was decided"}
	}
	facts.Policy = j.policy(d.Repository, facts.PullRequest.DestinationBranch)
	v := mergecheck.Evaluate(facts)
	o := outcome{success: v.Success, code: v.Code}
	if !v.Success {
		o.unjudged = unread(v.Wants(facts))
	}
	return o
}

// unread says which fact is missing that could let a verdict pass, "" where none
// is. Only what the policy of then asked for was read then.
func unread(w mergecheck.Wants) string {
	switch {
	case w.Changed:
		return "the changed paths weren't recorded"
	case w.Author:
		return "the author wasn't recorded"
	case len(w.Tested) > 0:
		return "how far the target branch had moved wasn't recorded"
	case w.BranchBuilds:
		return "branch builds weren't recorded"
	default:
		return ""
	}
}

// policy remembers what a document says of a branch: there are many decisions on
// each of a few.
func (j *judge) policy(repository, branch string) mergecheck.Policy {
	const most = 10_000
	at := target{repository: repository, branch: branch}
	j.mu.Lock()
	defer j.mu.Unlock()
	p, ok := j.policies[at]
	if ok {
		return p
	}
	if j.policies == nil || len(j.policies) >= most {
		j.policies = map[target]mergecheck.Policy{}
	}
	p = j.document.For(repository, branch)
	j.policies[at] = p
	return p
}

// tally adds outcomes up.
type tally struct {
	Simulation
	blocked, allowed map[group]*members
	unjudged         map[string]int
}

type group struct {
	code       mergecheck.Code
	repository string
}

type members struct {
	decisions    int
	pullRequests map[int64]bool
	more         bool
}

func newTally() *tally {
	return &tally{blocked: map[group]*members{}, allowed: map[group]*members{}, unjudged: map[string]int{}}
}

func (t *tally) add(d Decision, o outcome) {
	t.Decisions++
	if o.unjudged != "" {
		t.unjudged[o.unjudged]++
		return
	}
	t.Judged++
	repository := cmp.Or(d.Repository, d.RepositoryID)
	switch {
	case d.Success && !o.success:
		count(t.blocked, group{code: o.code, repository: repository}, d.PullRequestID)
	case !d.Success && o.success:
		count(t.allowed, group{code: d.Code, repository: repository}, d.PullRequestID)
	}
}

func count(groups map[group]*members, g group, pullRequestID int64) {
	m := groups[g]
	if m == nil {
		m = &members{pullRequests: map[int64]bool{}}
		groups[g] = m
	}
	m.decisions++
	if m.pullRequests[pullRequestID] {
		return
	}
	if m.more = len(m.pullRequests) >= maxNamed; !m.more {
		m.pullRequests[pullRequestID] = true
	}
}

func (t *tally) simulation() Simulation {
	s := t.Simulation
	s.Blocked, s.Allowed = changes(t.blocked), changes(t.allowed)
	s.Unjudged = []Unjudged{}
	for reason, n := range t.unjudged {
		s.Unjudged = append(s.Unjudged, Unjudged{Reason: reason, Decisions: n})
	}
	slices.SortFunc(s.Unjudged, func(a, b Unjudged) int {
		return cmp.Or(cmp.Compare(b.Decisions, a.Decisions), cmp.Compare(a.Reason, b.Reason))
	})
	return s
}

// changes lists groups, those with the most decisions first.
func changes(groups map[group]*members) []Change {
	list := []Change{}
	for g, m := range groups {
		c := Change{Code: g.code, Repository: g.repository, Decisions: m.decisions, More: m.more}
		for id := range m.pullRequests {
			c.PullRequests = append(c.PullRequests, id)
		}
		slices.Sort(c.PullRequests)
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Change) int {
		return cmp.Or(cmp.Compare(b.Decisions, a.Decisions), cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Code, b.Code))
	})
	return list
}
