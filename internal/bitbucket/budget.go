package bitbucket

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"mergegate/internal/retryafter"

	"golang.org/x/time/rate"
)

// Urgency says who waits for a request: the less urgent ones give way when a credential's rate limit runs short.
type Urgency int

const (
	// Background is for what somebody will look at soon, such as the result of a build. It leaves a fifth of the limit
	// to merge checks, which ask whatever is left: a person waits for them.
	Background Urgency = iota
	// Spare is for what can wait: it leaves background work half of what that may use at once.
	Spare
)

const (
	// documentedLimit is what a credential may ask in an hour when it wasn't told another number.
	// https://support.atlassian.com/bitbucket-cloud/docs/api-request-limits/
	documentedLimit          = 1000
	documentedAnonymousLimit = 60
	// maxLimit is far above Bitbucket's most, 10,000: a number beyond it is none.
	maxLimit = 1_000_000

	// leastPause and mostPause bound how long nothing is asked after a 429 that doesn't say: Bitbucket counts over the
	// last hour, so that some requests come back every minute.
	leastPause  = time.Second
	mostPause   = time.Minute
	longestWait = 10 * time.Minute
	// probeEvery is how often one request looks whether a used up limit is used up still.
	probeEvery = 2 * time.Second
)

// budget is what background work may ask of Bitbucket with one credential. Bitbucket counts over the last hour, and
// over everybody who has the credential, so that our own count is only half of the truth: the other half is its
// answers. Until one tells of a limit there is none; not every credential is told.
type budget struct {
	anonymous bool

	mu      sync.Mutex
	limit   int  // requests an hour; 0: not learnt yet
	told    bool // limit is from an answer, not taken from the documentation after a 429
	granted int  // requests answered in the hour from since on, or since the last 429
	since   time.Time
	near    bool          // Bitbucket said that less than a fifth is left
	bucket  *rate.Limiter // nil while limit is 0
	refused int           // pauses in a row that 429 answers made
	probing bool          // one request is let through to see whether the limit is used up still
	until   time.Time     // background work waits until then
}

// wait is how long work of this urgency has to wait; 0: it may go on. Whoever may go on asks, and so is counted.
func (b *budget) wait(u Urgency, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if left := b.until.Sub(now); left > 0 {
		return left + jitter(left)
	}
	if b.refused > 0 {
		// Only one looks whether it goes on; the others wait for what it is told.
		b.until, b.probing = now.Add(probeEvery), true
		return 0
	}
	if b.bucket == nil {
		return 0
	}
	needed := 1.0
	if u == Spare {
		needed = max(needed, float64(b.bucket.Burst())/2)
	}
	missing := needed - b.bucket.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	wait := min(time.Duration(missing/float64(b.bucket.Limit())*float64(time.Second)), longestWait)
	return wait + jitter(wait)
}

// jitter keeps what waited together from coming back together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(d)/5 + 1)) //nolint:gosec // no secret
}

// charge counts a request, whoever made it: what merge checks ask is missing to the others.
func (b *budget) charge(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	// What merge checks ask beyond a limit that nobody told of is no debt of others.
	if b.bucket != nil && (b.told || b.bucket.TokensAt(now) >= 1) {
		b.bucket.ReserveN(now, 1)
	}
}

// learn takes from an answer what it tells of the limit.
func (b *budget) learn(status int, header http.Header, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	limit, err := strconv.Atoi(header.Get("X-RateLimit-Limit"))
	if err != nil || limit < 1 || limit > maxLimit {
		limit = b.limit
	} else {
		b.told = true
	}
	refused := status == http.StatusTooManyRequests
	if refused && limit == 0 {
		limit = b.documented()
	}
	if limit > 0 {
		near, _ := strconv.ParseBool(header.Get("X-RateLimit-NearLimit"))
		b.set(limit, near || refused && b.near, now)
	}
	if refused {
		b.granted = 0
		b.pause(retryafter.Read(header, now), now)
		return
	}
	b.refused, b.probing, b.until = 0, false, time.Time{}
	if now.Sub(b.since) > time.Hour {
		b.since, b.granted = now, 0
	}
	if b.granted++; !b.told && b.limit > 0 && b.granted > b.limit {
		b.limit, b.bucket = 0, nil // more was granted than the limit that was assumed
	}
}

// pause has background work wait after a 429: as long as told, else longer each time. Those of requests that were
// under way already are of the same pause.
func (b *budget) pause(told time.Duration, now time.Time) {
	if b.refused > 0 && !b.probing && told == 0 {
		return
	}
	pause := told
	if pause == 0 {
		pause = min(leastPause<<min(b.refused, 20), mostPause)
	}
	if b.refused == 0 || b.probing {
		b.refused++
	}
	b.probing = false
	if until := now.Add(min(pause, longestWait)); until.After(b.until) {
		b.until = until
	}
}

func (b *budget) documented() int {
	if b.anonymous {
		return documentedAnonymousLimit
	}
	return documentedLimit
}

// set makes the bucket one that, from any moment on, gives out less than four fifths of the limit in an hour: a fifth
// at once, and three fifths over the hour. Near the limit it gives out a fiftieth in an hour and nothing at once: others
// use the credential too, such as more replicas, and what is left is for merge checks. One request in longestWait goes
// always, to hear whether that is still so.
func (b *budget) set(limit int, near bool, now time.Time) {
	if b.bucket == nil {
		b.bucket = rate.NewLimiter(0, max(1, limit/5))
	}
	if limit != b.limit || near != b.near {
		share := 0.6
		if near {
			share = 0.02
		}
		perSecond := max(float64(limit)*share/time.Hour.Seconds(), 1/longestWait.Seconds())
		b.bucket.SetLimitAt(now, rate.Limit(perSecond))
		b.bucket.SetBurstAt(now, max(1, limit/5))
	}
	b.limit, b.near = limit, near
	if left := int(b.bucket.TokensAt(now)); near && left > 0 {
		b.bucket.ReserveN(now, left)
	}
}

// budgets are those of the Forge app, which has one in each workspace whatever its token is at the moment.
type budgets struct {
	mu   sync.Mutex
	apps map[string]*budget // by workspace
}

func (b *budgets) of(workspaceUUID string) *budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.apps == nil {
		b.apps = map[string]*budget{}
	}
	known, ok := b.apps[workspaceUUID]
	if !ok {
		known = &budget{}
		b.apps[workspaceUUID] = known
	}
	return known
}
