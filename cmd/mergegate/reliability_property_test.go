package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mergegate/internal/app"
	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/config"
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
	seed := seed(t)
	for i := range howOften(t, "RELIABILITY_DAYS", 2) {
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

// howOften is a number that the environment may make another one.
func howOften(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// disturb shuffles messages, sends some twice, and loses some. Where AppVeyor
// names no heads, what Bitbucket told is all there is to tell them by: that may
// come late and twice, but has to come.
func disturb(random *rand.Rand, all []message, d day) []message {
	var sent []message
	for _, m := range all {
		lossy := m.class == classWebhook || !d.Unnamed
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
func play(t *testing.T, d day, replicas int, order func([]message) []message, want *outcome) outcome {
	t.Helper()
	w := idleWorld(t, "MERGEGATE_RECONCILE_INTERVAL=1s")
	stop := w.serveHere(replicas)
	defer stop()
	tr := newTraffic(w, 0)
	w.token = w.command("token", "create", "--name", "test", "--scope", "admin")
	urls := strings.Split(w.url, " ")
	var turn atomic.Uint64
	tr.target = func() string { return urls[turn.Add(1)%uint64(len(urls))] }
	w.url = urls[0]
	w.built(commit('1'), "success") // now the project is known
	messages := tr.happen(d)
	for _, m := range order(messages) {
		m.send(tr)
	}
	if want == nil {
		tr.eventually("the day is told", func() bool { return tr.unprocessed() == "" && len(tr.seen().Builds) == len(tr.builds)+1 })
		return ofOpen(d, tr.still())
	}
	var diff string
	defer func() {
		if diff != "" {
			t.Errorf("%d replicas, day %+v (-want +got):\n%s", replicas, d, diff)
		}
	}()
	tr.eventually("it ends in the same state", func() bool {
		diff = cmp.Diff(*want, ofOpen(d, tr.without(tr.seen()))) + tr.unprocessed()
		return diff == ""
	})
	return *want
}

// ofOpen leaves out the commit statuses of pull requests that were declined: builds
// whose webhooks were lost get one only if they were found before.
func ofOpen(d day, o outcome) outcome {
	for i, p := range d.PullRequests {
		for n := range p.Heads {
			if p.Declined {
				delete(o.Statuses, headOf(int64(201+i), 2*n))
			}
		}
	}
	return o
}

// still is the state once it doesn't change any more.
func (tr *traffic) still() outcome {
	tr.t.Helper()
	last, same := tr.without(tr.seen()), 0
	tr.eventually("nothing changes any more", func() bool {
		now := tr.without(tr.seen())
		if same++; cmp.Diff(last, now) != "" {
			last, same = now, 0
		}
		return same == 30
	})
	return last
}

// without leaves out where this world's AppVeyor is.
func (tr *traffic) without(o outcome) outcome {
	for head, s := range o.Statuses {
		s.URL = strings.TrimPrefix(s.URL, tr.appveyor.URL)
		o.Statuses[head] = s
	}
	for pr, a := range o.Verdicts {
		a.Message = strings.ReplaceAll(a.Message, tr.appveyor.URL, "")
		o.Verdicts[pr] = a
	}
	return o
}

// happen makes the day what AppVeyor and Bitbucket know at its end, and returns
// what they sent meanwhile, in order.
func (tr *traffic) happen(d day) []message {
	tr.t.Helper()
	var messages []message
	at := time.Now().Add(-20 * time.Hour).UTC().Truncate(time.Second)
	build := int64(5000)
	for i, p := range d.PullRequests {
		pr := int64(201 + i)
		tr.pullRequests = append(tr.pullRequests, pr)
		event := func(class, body string, on time.Time) {
			body = stamped(body, on)
			messages = append(messages, message{class: class, send: func(tr *traffic) { tr.send(class, body) }})
		}
		var commits []string
		for n, ends := range p.Heads {
			head := headOf(pr, 2*n)
			commits = append([]string{head}, commits...)
			at = at.Add(10 * time.Minute)
			event(classPush, pushEvent(pr, head), at)
			event(classPullRequest, pullRequestEvent(pr, head, "OPEN"), at)
			for _, state := range ends {
				build++
				at = at.Add(5 * time.Minute)
				b := appveyortest.Build{
					ID: build, Version: fmt.Sprintf("1.0.%d", build), Branch: "main", CommitID: commit('e'), PullRequestID: pr,
					PullRequestHeadCommit: head, PullRequestHeadRepository: repository, PullRequestHeadBranch: branchOf(pr),
					Status: state, Created: at, Started: at, Finished: at.Add(time.Minute), Updated: at.Add(time.Minute),
				}
				tr.builds[build] = b // with its head, to know where to look
				if d.Unnamed {
					b.PullRequestHeadCommit = ""
				}
				b, err := tr.appveyor.PutBuild("acme", "widgets", b)
				tr.must(err)
				messages = append(messages, message{class: classWebhook, send: func(tr *traffic) { tr.hook(b.ID) }})
			}
		}
		state := "OPEN"
		if p.Declined {
			state = "DECLINED"
			at = at.Add(10 * time.Minute)
			event(classPullRequest, pullRequestEvent(pr, commits[0], state), at)
		}
		tr.put(bitbuckettest.PullRequest{
			ID: pr, State: state, Title: "Change something", SourceBranch: branchOf(pr), SourceCommit: commits[0], Commits: commits,
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

// serveHere runs replicas of the service in this process. Their addresses are
// the world's, with blanks between.
func (w *world) serveHere(replicas int) (stop func()) {
	w.t.Helper()
	cfg, err := config.Load(func(name string) string { return w.env[name] })
	w.must(err)
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, replicas)
	var urls []string
	for range replicas {
		ready := make(chan string, 1)
		go func() {
			ended <- app.Serve(ctx, cfg, slog.New(slog.DiscardHandler), func(address string) { ready <- address })
		}()
		select {
		case address := <-ready:
			urls = append(urls, "http://"+address)
		case err := <-ended:
			cancel()
			w.t.Fatalf("a replica ended: %v", err)
		}
	}
	w.url = strings.Join(urls, " ")
	return func() {
		w.t.Helper()
		cancel()
		for range replicas {
			w.must(<-ended)
		}
	}
}
