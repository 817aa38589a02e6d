//go:build slow

package server_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/server/servertest"
)

// day is what happened on some pull requests on one day.
type day struct {
	PullRequests []dayOfPullRequest
	// Unnamed has AppVeyor not name the heads of builds: they are told by when
	// the heads were pushed.
	Unnamed bool
}

type dayOfPullRequest struct {
	Heads    [][]string // for each head that was pushed, how its builds ended
	Declined bool
}

func anyDay() *rapid.Generator[day] {
	states := rapid.SampledFrom([]string{"success", "failed", "cancelled"})
	pullRequest := rapid.Custom(func(t *rapid.T) dayOfPullRequest {
		return dayOfPullRequest{
			Heads:    rapid.SliceOfN(rapid.SliceOfN(states, 0, 3), 1, 4).Draw(t, "heads"),
			Declined: rapid.Bool().Draw(t, "declined"),
		}
	})
	return rapid.Custom(func(t *rapid.T) day {
		return day{
			PullRequests: rapid.SliceOfN(pullRequest, 2, 4).Draw(t, "pull requests"),
			Unnamed:      rapid.Bool().Draw(t, "unnamed"),
		}
	})
}

// message is one that was sent on the day.
type message struct {
	class string
	send  func(*traffic)
}

// TestMessagesInAnyOrder plays a day's messages in order to one process, and
// shuffled, some twice and some not at all, to one, two and three: they end in
// the same state.
func TestMessagesInAnyOrder(t *testing.T) {
	t.Parallel()
	seed := servertest.Seed(t)
	for i := range servertest.HowOften(t, "RELIABILITY_DAYS", 2) {
		t.Run(fmt.Sprintf("day %d", i), func(t *testing.T) {
			t.Parallel()
			d := anyDay().Example(int(seed%(1<<31)) + i)
			want := play(t, d, 1, func(all []message) []message { return all }, nil)
			for replicas := 1; replicas <= 3; replicas++ {
				random := rand.New(rand.NewPCG(seed, uint64(i*10+replicas))) //nolint:gosec // an order, no secret
				play(t, d, replicas, func(all []message) []message { return disturb(random, all, d) }, &want)
			}
		})
	}
}

// disturb shuffles messages, sends some twice, and loses some. Where AppVeyor
// names no heads, what Bitbucket told is all there is to tell them by: that may
// come late and twice, but has to come.
func disturb(random *rand.Rand, all []message, d day) []message {
	var sent []message
	for _, m := range all {
		lossy := m.class == servertest.ClassWebhook || !d.Unnamed
		if lossy && random.IntN(4) == 0 {
			continue
		}
		sent = append(sent, m)
		if random.IntN(3) == 0 {
			sent = append(sent, m)
		}
	}
	random.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
	return sent
}

// play has a day end in a new world with some replicas, and returns how, or
// waits until it is as wanted.
func play(t *testing.T, d day, replicas int, order func([]message) []message, want *servertest.Outcome) servertest.Outcome {
	t.Helper()
	w := idleWorld(t, "MERGEGATE_RECONCILE_INTERVAL=1s")
	w.Start()
	all, urls := []*servertest.World{w.World}, []string{w.URL}
	for range replicas - 1 {
		r := w.Replica()
		all, urls = append(all, r), append(urls, r.URL)
	}
	defer func() {
		for _, r := range all {
			r.Stop()
		}
	}()
	tr := newTraffic(w, 0)
	w.Token = w.TokenOf("test", "admin")
	var turn atomic.Uint64
	tr.Target = func() string { return urls[turn.Add(1)%uint64(len(urls))] }
	w.Built(commit('1'), "success") // now the project is known
	messages := tr.happen(d)
	for _, m := range order(messages) {
		m.send(tr)
	}
	if want == nil {
		tr.Eventually("the day is told", func() bool { return tr.Unprocessed() == "" && len(tr.Seen().Builds) == len(tr.Builds)+1 })
		return ofOpen(d, tr.still())
	}
	var diff string
	defer func() {
		if diff != "" {
			t.Errorf("%d replicas, day %+v (-want +got):\n%s", replicas, d, diff)
		}
	}()
	tr.Eventually("it ends in the same state", func() bool {
		diff = cmp.Diff(*want, ofOpen(d, tr.without(tr.Seen()))) + tr.Unprocessed()
		return diff == ""
	})
	return *want
}

// ofOpen leaves out the commit statuses of pull requests that were declined: builds
// whose webhooks were lost get one only if they were found before.
func ofOpen(d day, o servertest.Outcome) servertest.Outcome {
	for i, p := range d.PullRequests {
		for n := range p.Heads {
			if p.Declined {
				delete(o.Statuses, servertest.HeadOf(int64(201+i), 2*n))
			}
		}
	}
	return o
}

// still is the state once it doesn't change any more.
func (tr *traffic) still() servertest.Outcome {
	tr.T.Helper()
	last, same := tr.without(tr.Seen()), 0
	tr.Eventually("nothing changes any more", func() bool {
		now := tr.without(tr.Seen())
		if same++; cmp.Diff(last, now) != "" {
			last, same = now, 0
		}
		return same == 30
	})
	return last
}

// without leaves out where this world's AppVeyor is.
func (tr *traffic) without(o servertest.Outcome) servertest.Outcome {
	for head, s := range o.Statuses {
		s.URL = strings.TrimPrefix(s.URL, tr.AppVeyor.URL)
		o.Statuses[head] = s
	}
	for pr, a := range o.Verdicts {
		a.Message = strings.ReplaceAll(a.Message, tr.AppVeyor.URL, "")
		o.Verdicts[pr] = a
	}
	return o
}

// happen makes the day what AppVeyor and Bitbucket know at its end, and returns
// what they sent meanwhile, in order.
func (tr *traffic) happen(d day) []message {
	tr.T.Helper()
	var messages []message
	at := time.Now().Add(-20 * time.Hour).UTC().Truncate(time.Second)
	build := int64(5000)
	for i, p := range d.PullRequests {
		pr := int64(201 + i)
		tr.PullRequests = append(tr.PullRequests, pr)
		event := func(class, body string, on time.Time) {
			body = stamped(body, on)
			messages = append(messages, message{class: class, send: func(tr *traffic) { tr.Send(class, body) }})
		}
		var commits []string
		for n, ends := range p.Heads {
			head := servertest.HeadOf(pr, 2*n)
			commits = append([]string{head}, commits...)
			at = at.Add(10 * time.Minute)
			event(servertest.ClassPush, servertest.PushEvent(pr, head), at)
			event(servertest.ClassPullRequest, servertest.PullRequestEvent(pr, head, "OPEN"), at)
			for _, state := range ends {
				build++
				at = at.Add(5 * time.Minute)
				b := appveyortest.Build{
					ID: build, Version: fmt.Sprintf("1.0.%d", build), Branch: "main", CommitID: commit('e'), PullRequestID: pr,
					PullRequestHeadCommit: head, PullRequestHeadRepository: repository, PullRequestHeadBranch: servertest.BranchOf(pr),
					Status: state, Created: at, Started: at, Finished: at.Add(time.Minute), Updated: at.Add(time.Minute),
				}
				tr.Builds[build] = b // with its head, to know where to look
				if d.Unnamed {
					b.PullRequestHeadCommit = ""
				}
				b, err := tr.AppVeyor.PutBuild("acme", "widgets", b)
				tr.Must(err)
				messages = append(messages, message{class: servertest.ClassWebhook, send: func(tr *traffic) { tr.Hook(b.ID) }})
			}
		}
		state := "OPEN"
		if p.Declined {
			state = "DECLINED"
			at = at.Add(10 * time.Minute)
			event(servertest.ClassPullRequest, servertest.PullRequestEvent(pr, commits[0], state), at)
		}
		tr.Put(bitbuckettest.PullRequest{
			ID: pr, State: state, Title: "Change something", SourceBranch: servertest.BranchOf(pr), SourceCommit: commits[0], Commits: commits,
			DestinationBranch: "main", DestinationCommit: commit('d'),
		})
	}
	return messages
}

// stamped gives an event another time.
func stamped(event string, on time.Time) string {
	before, rest, _ := strings.Cut(event, `"timestamp":"`)
	_, after, _ := strings.Cut(rest, `"`)
	return before + `"timestamp":"` + on.Format(time.RFC3339Nano) + `"` + after
}
