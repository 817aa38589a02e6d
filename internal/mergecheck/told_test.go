package mergecheck_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mergegate/internal/mergecheck"
)

func at(d time.Duration) time.Time { return now.Add(d) }

// pushed is a head that one event told of.
func pushed(commit string, on time.Duration) mergecheck.Head { return seen(commit, on, on) }

// arrived is a head that an event without a time told of.
func arrived(commit string, on time.Duration) mergecheck.Head {
	h := seen(commit, on, on)
	h.Untimed = true
	return h
}

func TestNewerFactWins(t *testing.T) {
	t.Parallel()
	recorded := func(heads ...mergecheck.Head) mergecheck.Recorded {
		return mergecheck.Recorded{History: mergecheck.History{Heads: heads}}
	}
	open := func(commit string, on time.Duration) mergecheck.Told {
		return mergecheck.Told{State: "OPEN", Head: commit, DestinationBranch: "main", On: at(on)}
	}
	row := func(t mergecheck.Told, heads ...mergecheck.Head) mergecheck.Recorded {
		r := recorded(heads...)
		r.Newest = t
		return r
	}
	untimed := open(head, 0)
	untimed.On = time.Time{}
	merged, retargeted := open(head[:12], 2*time.Minute), open(head[:12], 2*time.Minute)
	merged.State, retargeted.DestinationBranch = "MERGED", "release"
	waiting := row(open(head[:12], time.Minute), pushed(head, 0))
	waiting.Waiting = true
	tests := []struct {
		name     string
		recorded mergecheck.Recorded
		told     mergecheck.Told
		want     bool
		instead  mergecheck.Told // where it contradicts
	}{
		{name: "nothing is recorded", recorded: recorded(), told: open(head, 0)},
		{name: "the recorded head", recorded: recorded(pushed(head, time.Minute)), told: open(head, 0)},
		{name: "another head, from before the push", recorded: recorded(pushed(other, time.Minute)), told: open(head, 0), want: true, instead: open("", 0)},
		{name: "another head, from the very time of the push", recorded: recorded(pushed(other, 0)), told: open(head, 0), want: true, instead: open("", 0)},
		{name: "another head, from after the push", recorded: recorded(pushed(other, -time.Minute)), told: open(head, 0)},
		{name: "another head, without a time", recorded: recorded(pushed(other, -time.Minute)), told: untimed, want: true, instead: mergecheck.Told{State: "OPEN", DestinationBranch: "main"}},
		{name: "the recorded head, without a time", recorded: recorded(pushed(head, -time.Minute)), told: untimed},
		{name: "pushed back, and read before", recorded: recorded(pushed(head, 0), pushed(other, time.Minute), pushed(head, 2*time.Minute)), told: open(other, time.Minute), want: true, instead: open("", time.Minute)},
		{name: "pushed back, told late", recorded: recorded(pushed(head, 2*time.Minute), pushed(other, time.Minute)), told: open(head, 0)},
		{name: "pushed back, and read after", recorded: recorded(pushed(head, 0), pushed(other, time.Minute)), told: open(head, 2*time.Minute)},
		{name: "a push without a time arrived since", recorded: recorded(pushed(head, 0), arrived(other, time.Minute)), told: open(head, 0), want: true, instead: open("", 0)},
		{name: "and brought is what it told of", recorded: recorded(pushed(head, 0), arrived(other, 2*time.Minute)), told: open(other, time.Minute)},
		{name: "a push without a time arrived before", recorded: recorded(arrived(other, -time.Minute), pushed(head, 0)), told: open(head, 0)},
		{name: "pushes without a time in the wrong order", recorded: recorded(arrived(other, time.Minute), arrived(head, 2*time.Minute)), told: open(head, 0), want: true, instead: open("", 0)},
		{name: "an event with another head's characters", recorded: row(open(other[:12], time.Minute), pushed(head, 0)), told: open(head, 0), want: true, instead: open("", 0)},
		{name: "an event of another head from before", recorded: row(open(other[:12], -time.Minute), pushed(other, -time.Minute)), told: open(head, 0)},
		{name: "an event whose head has yet to be read", recorded: waiting, told: open(head, 0), want: true, instead: open("", 0)},
		{name: "and read after that event", recorded: waiting, told: open(head, time.Minute)},
		{name: "a twin of a recorded head, from after it", recorded: recorded(pushed(twin, -time.Minute)), told: open(head, 0), want: true, instead: open("", 0)},
		{name: "merged since", recorded: row(merged, pushed(head, 0)), told: open(head, 0), want: true, instead: mergecheck.Told{State: "MERGED", DestinationBranch: "main", On: at(0)}},
		{name: "retargeted since", recorded: row(retargeted, pushed(head, 0)), told: open(head, 0), want: true, instead: mergecheck.Told{State: "OPEN", DestinationBranch: "release", On: at(0)}},
		{name: "retargeted before", recorded: row(retargeted, pushed(head, 0)), told: open(head, 3*time.Minute)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.recorded.Contradicts(tt.told); got != tt.want {
				t.Errorf("contradicts: %v, want %v", got, tt.want)
			}
			if !tt.want {
				return
			}
			got, problem := tt.recorded.Instead(tt.told, "Bitbucket is down")
			if diff := cmp.Diff(tt.instead, got); diff != "" {
				t.Errorf("instead (-want +got):\n%s", diff)
			}
			if (problem == "") != (got.Head != "") {
				t.Errorf("head %q with problem %q", got.Head, problem)
			}
		})
	}
}

func TestDestinationThatMovedSince(t *testing.T) {
	t.Parallel()
	r := mergecheck.Recorded{Destination: pushed(other, time.Minute)}
	tests := []struct {
		name string
		told mergecheck.Told
		want bool
	}{
		{name: "read before the push", told: mergecheck.Told{DestinationCommit: head, On: at(0)}, want: true},
		{name: "read after it", told: mergecheck.Told{DestinationCommit: head, On: at(2 * time.Minute)}},
		{name: "the same commit, abbreviated", told: mergecheck.Told{DestinationCommit: other[:12], On: at(0)}},
		{name: "not told", told: mergecheck.Told{On: at(0)}},
	}
	for _, tt := range tests {
		if got := r.ContradictsDestination(tt.told); got != tt.want {
			t.Errorf("%s: contradicts: %v, want %v", tt.name, got, tt.want)
		}
	}
	if got, _ := r.Instead(tests[0].told, ""); got.DestinationCommit != other {
		t.Errorf("instead it is at %s", got.DestinationCommit)
	}
}

// TestOrderOfArrivalDecidesNothing records true facts about a pull request in any
// order and brings along what was read at some time: unless that is surely what it
// was at the newest of those times, it contradicts.
func TestOrderOfArrivalDecidesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		commits := rapid.SliceOfN(rapid.SampledFrom([]string{head, twin, other}), 1, 6).Draw(t, "pushes, a minute apart")
		var heads []mergecheck.Head
		for i, commit := range commits {
			h := pushed(commit, time.Duration(i)*time.Minute)
			if rapid.Bool().Draw(t, "without a time") {
				late := time.Duration(rapid.IntRange(0, 3).Draw(t, "minutes late"))
				h = arrived(commit, (time.Duration(i)+late)*time.Minute)
			}
			heads = append(heads, h)
		}
		heads = rapid.Permutation(heads).Draw(t, "as they arrive")
		known := heads[:rapid.IntRange(0, len(heads)).Draw(t, "arrived so far")]
		read := rapid.IntRange(0, len(commits)-1).Draw(t, "read after push")
		told := mergecheck.Told{Head: commits[read], On: at(time.Duration(read) * time.Minute)}
		r := mergecheck.Recorded{History: mergecheck.History{Heads: known}}
		newer := slices.ContainsFunc(known, func(h mergecheck.Head) bool {
			i := slices.IndexFunc(heads, func(o mergecheck.Head) bool { return o == h })
			return !h.Untimed && h.LastSeenOn.After(told.On) && i >= 0
		})
		if !r.Contradicts(told) && newer {
			newest := slices.MaxFunc(known, func(a, b mergecheck.Head) int {
				if a.Untimed != b.Untimed {
					return map[bool]int{true: -1, false: 1}[a.Untimed]
				}
				return a.LastSeenOn.Compare(b.LastSeenOn)
			})
			if newest.Commit != told.Head {
				t.Fatalf("read %s at %s, and %s was told of since at %s, but nothing contradicts", told.Head, told.On, newest.Commit, newest.LastSeenOn)
			}
		}
		backwards := mergecheck.Recorded{History: mergecheck.History{Heads: slices.Clone(known)}}
		slices.Reverse(backwards.Heads)
		if r.Contradicts(told) != backwards.Contradicts(told) || r.Head() != backwards.Head() {
			t.Fatal("the order in which heads are recorded decides")
		}
	})
}

func TestFactsThatEndWaivers(t *testing.T) {
	t.Parallel()
	w := mergecheck.Waiver{Head: head, Destination: "main", CreatedOn: now}
	tests := []struct {
		name, head, destination string
		on                      time.Duration
		want                    mergecheck.WaiverState
	}{
		{name: "another head", head: other, on: time.Second, want: mergecheck.WaiverOtherHead},
		{name: "another head, abbreviated", head: other[:12], on: time.Second, want: mergecheck.WaiverOtherHead},
		{name: "a twin", head: twin, on: time.Second, want: mergecheck.WaiverOtherHead},
		{name: "maybe the same head", head: head[:12], on: time.Second},
		{name: "another head before", head: other, on: -time.Second},
		{name: "another head at the very time", head: other},
		{name: "another destination", head: head, destination: "release", on: time.Second, want: mergecheck.WaiverOtherDestination},
		{name: "another destination before", destination: "release", on: -time.Second},
		{name: "nothing else", head: head, destination: "main", on: time.Second},
	}
	for _, tt := range tests {
		if got := w.EndedByFact(tt.head, tt.destination, at(tt.on)); got != tt.want {
			t.Errorf("%s: ended by %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestEndedWaiverNeverLivesAgain judges waivers that ended, whatever the pull
// request has become.
func TestEndedWaiverNeverLivesAgain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := mergecheck.Waiver{ID: 1, Head: head, Destination: "main", By: "release", Owner: "o", CreatedOn: now, ExpiresOn: at(time.Hour)}
		w.EndedBy = rapid.SampledFrom([]mergecheck.WaiverState{mergecheck.WaiverOtherHead, mergecheck.WaiverOtherDestination}).Draw(t, "ended by")
		w.EndedOn = at(time.Minute)
		pr := pullRequest()
		pr.Head = rapid.SampledFrom([]string{head, other, ""}).Draw(t, "head now")
		pr.DestinationBranch = rapid.SampledFrom([]string{"main", "release"}).Draw(t, "destination now")
		when := at(time.Duration(rapid.IntRange(0, 120).Draw(t, "minutes")) * time.Minute)
		rules := mergecheck.WaiverRules{TwoPerson: rapid.Bool().Draw(t, "two persons")}
		for _, v := range mergecheck.WithStates([]mergecheck.Waiver{w}, pr, rules, when) {
			if v.State == mergecheck.WaiverLive || v.State == mergecheck.WaiverWaiting {
				t.Fatalf("it is %s", v.State)
			}
		}
		if v := mergecheck.Evaluate(mergecheck.Facts{PullRequest: pr, Waivers: []mergecheck.Waiver{w}, Now: when}); v.Success {
			t.Fatalf("it lets the pull request through: %s", v.Message)
		}
	})
}
