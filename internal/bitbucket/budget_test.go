package bitbucket

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

// told is an answer of Bitbucket that tells of its limit.
func told(status, limit int, near bool, retryAfter string) *http.Response {
	res := &http.Response{StatusCode: status, Header: http.Header{}}
	if limit > 0 {
		res.Header.Set("X-RateLimit-Limit", strconv.Itoa(limit))
		res.Header.Set("X-RateLimit-Resource", "api")
		res.Header.Set("X-RateLimit-NearLimit", strconv.FormatBool(near))
	}
	if retryAfter != "" {
		res.Header.Set("Retry-After", retryAfter)
	}
	return res
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
		{name: "no limit told", before: func(b *budget, now time.Time) { b.learn(told(200, 0, false, ""), now) }},
		{name: "no number", before: func(b *budget, now time.Time) { b.learn(told(200, maxLimit+1, false, ""), now); ask(b, 5000, now) }},
		{name: "much is left", before: func(b *budget, now time.Time) { b.learn(told(200, 1000, false, ""), now); ask(b, 90, now) }},
		{
			// 100 of 200 at once are left to background work; 3/5 of 1000 come in an hour.
			name: "half of what goes at once is used", atLeast: 6 * time.Second,
			before: func(b *budget, now time.Time) { b.learn(told(200, 1000, false, ""), now); ask(b, 101, now) },
		},
		{
			name: "used up", background: 6 * time.Second, atLeast: 6 * time.Second,
			before: func(b *budget, now time.Time) { b.learn(told(200, 1000, false, ""), now); ask(b, 200, now) },
		},
		{
			name: "used up, a minute later", after: time.Minute, atLeast: 9 * time.Minute,
			before: func(b *budget, now time.Time) { b.learn(told(200, 1000, false, ""), now); ask(b, 200, now) },
		},
		{
			name: "others used it up", background: 3 * time.Minute, atLeast: longestWait,
			before: func(b *budget, now time.Time) { b.learn(told(200, 1000, true, ""), now) },
		},
		{
			name: "others did and do no more", after: 2 * time.Minute, atLeast: 7 * time.Minute,
			before: func(b *budget, now time.Time) {
				b.learn(told(200, 1000, true, ""), now)
				b.learn(told(200, 1000, false, ""), now)
			},
		},
		{
			name: "the plan has more than was told before", before: func(b *budget, now time.Time) {
				b.learn(told(200, 1000, false, ""), now)
				ask(b, 200, now)
				b.learn(told(200, 10000, false, ""), now)
			},
			background: 600 * time.Millisecond, atLeast: time.Minute,
		},
		{
			name: "refused for a while", background: 30 * time.Second, atLeast: 30 * time.Second,
			before: func(b *budget, now time.Time) { b.learn(told(429, 0, false, "30"), now) },
		},
		{
			name: "refused without a word", background: time.Second, atLeast: time.Second,
			before: func(b *budget, now time.Time) { b.learn(told(429, 0, false, ""), now) },
		},
		{
			name: "many at once are one pause", background: time.Second, atLeast: time.Second,
			before: func(b *budget, now time.Time) {
				for range 16 {
					b.learn(told(429, 0, false, ""), now)
				}
			},
		},
		{
			name: "refused for days", background: longestWait, atLeast: longestWait,
			before: func(b *budget, now time.Time) { b.learn(told(429, 0, false, "999999"), now) },
		},
		{
			name: "answered again", before: func(b *budget, now time.Time) {
				b.learn(told(429, 0, false, "30"), now)
				b.learn(told(200, 0, false, ""), now)
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
	b.learn(told(429, 0, false, ""), start)
	asked := 0
	for now := start; now.Before(start.Add(time.Hour)); now = now.Add(500 * time.Millisecond) {
		for range 16 {
			if b.wait(Background, now) == 0 {
				asked++
				b.charge(now)
				b.learn(told(429, 0, false, ""), now)
			}
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
			b.learn(told(429, limit, true, ""), now)
			return
		}
		counted = append(counted, now)
		b.learn(told(200, limit, len(counted) > limit*4/5, ""), now)
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

func TestBudgetsAreForOneWorkspace(t *testing.T) {
	t.Parallel()
	var b budgets
	now := time.Now()
	b.of("a").learn(told(429, 0, false, "30"), now)
	if b.of("a").wait(Background, now) == 0 || b.of("b").wait(Background, now) > 0 {
		t.Error("the limit of one workspace is another's")
	}
}
