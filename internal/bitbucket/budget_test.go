package bitbucket

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

// tell gives a budget an answer of Bitbucket; limit 0: that says nothing of it.
func tell(b *budget, now time.Time, status, limit int, near bool, retryAfter string) {
	header := http.Header{}
	if limit > 0 {
		header.Set("X-RateLimit-Limit", strconv.Itoa(limit))
		header.Set("X-RateLimit-Resource", "api")
		header.Set("X-RateLimit-NearLimit", strconv.FormatBool(near))
	}
	if retryAfter != "" {
		header.Set("Retry-After", retryAfter)
	}
	b.learn(status, header, now)
}

func TestBudget(t *testing.T) {
	t.Parallel()
	ask := func(b *budget, times int, now time.Time) {
		for range times {
			b.charge(now)
		}
	}
	for _, tt := range []struct {
		name                string
		before              func(b *budget, now time.Time)
		after               time.Duration // how long after that is asked
		background, atLeast time.Duration // how long background work waits, with a fifth for chance; atLeast for spare work
	}{
		{name: "nothing is known", before: func(b *budget, now time.Time) { ask(b, 5000, now) }},
		{name: "no limit told", before: func(b *budget, now time.Time) { tell(b, now, 200, 0, false, "") }},
		{name: "no number", before: func(b *budget, now time.Time) { tell(b, now, 200, maxLimit+1, false, ""); ask(b, 5000, now) }},
		{name: "much is left", before: func(b *budget, now time.Time) { tell(b, now, 200, 1000, false, ""); ask(b, 90, now) }},
		{
			// 100 of 200 at once are left to background work; 3/5 of 1000 come in an hour.
			name: "half of what goes at once is used", atLeast: 6 * time.Second,
			before: func(b *budget, now time.Time) { tell(b, now, 200, 1000, false, ""); ask(b, 101, now) },
		},
		{
			name: "used up", background: 6 * time.Second, atLeast: 6 * time.Second,
			before: func(b *budget, now time.Time) { tell(b, now, 200, 1000, false, ""); ask(b, 200, now) },
		},
		{
			name: "used up, a minute later", after: time.Minute, atLeast: 9 * time.Minute,
			before: func(b *budget, now time.Time) { tell(b, now, 200, 1000, false, ""); ask(b, 200, now) },
		},
		{
			name: "others used it up", background: 3 * time.Minute, atLeast: longestWait,
			before: func(b *budget, now time.Time) { tell(b, now, 200, 1000, true, "") },
		},
		{
			name: "others did and do no more", after: 2 * time.Minute, atLeast: 7 * time.Minute,
			before: func(b *budget, now time.Time) {
				tell(b, now, 200, 1000, true, "")
				tell(b, now, 200, 1000, false, "")
			},
		},
		{
			name: "the plan has more than was told before", before: func(b *budget, now time.Time) {
				tell(b, now, 200, 1000, false, "")
				ask(b, 200, now)
				tell(b, now, 200, 10000, false, "")
			},
			background: 600 * time.Millisecond, atLeast: time.Minute,
		},
		{
			name: "refused for a while", background: 30 * time.Second, atLeast: 30 * time.Second,
			before: func(b *budget, now time.Time) { tell(b, now, 429, 0, false, "30") },
		},
		{
			name: "refused without a word", background: time.Second, atLeast: time.Second,
			before: func(b *budget, now time.Time) { tell(b, now, 429, 0, false, "") },
		},
		{
			name: "many at once are one pause", background: time.Second, atLeast: time.Second,
			before: func(b *budget, now time.Time) {
				for range 16 {
					tell(b, now, 429, 0, false, "")
				}
			},
		},
		{
			name: "refused for days", background: longestWait, atLeast: longestWait,
			before: func(b *budget, now time.Time) { tell(b, now, 429, 0, false, "999999") },
		},
		{
			name: "answered again", before: func(b *budget, now time.Time) {
				tell(b, now, 429, 0, false, "30")
				tell(b, now, 200, 0, false, "")
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
			var b budget
			tt.before(&b, now)
			now = now.Add(tt.after)
			if got := b.wait(Background, now); got < tt.background || got > tt.background*6/5+time.Millisecond {
				t.Errorf("background work waits %s, want %s", got, tt.background)
			}
			if got := b.wait(Spare, now); got < tt.atLeast || (got > 0) != (tt.atLeast > 0) {
				t.Errorf("spare work waits %s, want %s at least", got, tt.atLeast)
			}
		})
	}
}

// TestOneProbesAUsedUpLimit has many wait for a limit that stays used up: one at
// a time asks, less often each time.
func TestOneProbesAUsedUpLimit(t *testing.T) {
	t.Parallel()
	var b budget
	start := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	tell(&b, start, 429, 0, false, "")
	asked := 0
	for now := start; now.Before(start.Add(time.Hour)); now = now.Add(500 * time.Millisecond) {
		underWay := 0 // before the first is answered
		for range 16 {
			if b.wait(Background, now) == 0 {
				underWay++
			}
		}
		if underWay > 1 {
			t.Fatalf("%d asked at once", underWay)
		}
		for range underWay {
			asked++
			b.charge(now)
			tell(&b, now, 429, 0, false, "")
		}
	}
	if asked < 50 || asked > 70 { // after 1 s, 2 s, 4 s … a minute, a minute …
		t.Errorf("asked %d times in an hour", asked)
	}
}

// TestNobodyIsRefused has three replicas with more to do than Bitbucket allows,
// and people who ask merge checks: over four hours nobody is answered 429.
func TestNobodyIsRefused(t *testing.T) {
	t.Parallel()
	const limit, replicas = 1000, 3
	start := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	var counted []time.Time // Bitbucket's window
	refused := 0
	ask := func(b *budget, now time.Time) {
		for len(counted) > 0 && now.Sub(counted[0]) >= time.Hour {
			counted = counted[1:]
		}
		b.charge(now)
		if len(counted) >= limit {
			refused++
			tell(b, now, 429, limit, true, "")
			return
		}
		counted = append(counted, now)
		tell(b, now, 200, limit, len(counted) > limit*4/5, "")
	}
	var budgets [replicas]budget
	background, interactive := 0, 0
	for now := start; now.Before(start.Add(4 * time.Hour)); now = now.Add(time.Second) {
		for i := range budgets {
			for range 16 {
				if budgets[i].wait(Background, now) > 0 {
					break
				}
				background++
				ask(&budgets[i], now)
			}
		}
		if now.Unix()%60 == 0 {
			interactive++
			ask(&budgets[int(now.Unix()/60)%replicas], now)
		}
	}
	t.Logf("%d background requests, %d of people, %d refused", background, interactive, refused)
	if refused > 0 {
		t.Errorf("%d requests were refused", refused)
	}
	if background < 4*limit/2 {
		t.Errorf("%d background requests in four hours: more than half of the limit is left unused", background)
	}
}

// TestAnAssumedLimitIsGivenUp has somebody ask more than the documentation's limit,
// and be answered, after one 429 that told of none.
func TestAnAssumedLimitIsGivenUp(t *testing.T) {
	t.Parallel()
	var b budget
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	b.charge(now)
	tell(&b, now, 429, 0, false, "1")
	now = now.Add(2 * time.Second)
	for range documentedLimit {
		b.charge(now)
		tell(&b, now, 200, 0, false, "")
	}
	if left := b.wait(Background, now); left == 0 || left > 10*time.Second {
		t.Errorf("waits %s though as much was granted as is assumed, and no more", left)
	}
	b.charge(now)
	tell(&b, now, 200, 0, false, "")
	if left := b.wait(Background, now); left > 0 {
		t.Errorf("waits %s though more was granted than is assumed", left)
	}
}

func TestBudgetsAreForOneWorkspace(t *testing.T) {
	t.Parallel()
	var b budgets
	now := time.Now()
	tell(b.of("a"), now, 429, 0, false, "30")
	if b.of("a").wait(Background, now) == 0 || b.of("b").wait(Background, now) > 0 {
		t.Error("the limit of one workspace is another's")
	}
}
