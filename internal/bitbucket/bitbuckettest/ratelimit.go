package bitbuckettest

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// anonymousLimit is what Bitbucket allows an address that doesn't say who asks.
const anonymousLimit = 60

// rateLimit is how many requests of one credential are answered in any hour.
type rateLimit struct {
	perHour int                    // 0: any number
	asked   map[string][]time.Time // within the last hour, by credential
	refused int
}

// LimitRate answers more requests of one credential than so many in any hour with 429, and anonymous ones as Bitbucket
// does beyond 60. Refused requests don't count.
// https://support.atlassian.com/bitbucket-cloud/docs/api-request-limits/
func (s *Server) LimitRate(perHour int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = rateLimit{perHour: perHour, asked: map[string][]time.Time{}}
}

// Refused answers how many requests the rate limit refused.
func (s *Server) Refused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit.refused
}

// limited counts a request, tells of the limit in the headers, and answers the refusal when it is used up. There is no
// Retry-After, and only access tokens and the Forge app are told of the limit at all: not OAuth consumers and users.
func (s *Server) limited(r *http.Request, header http.Header, now time.Time) *refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit.perHour == 0 {
		return nil
	}
	who, limit := identity(r), s.limit.perHour
	if who == "" {
		limit = min(limit, anonymousLimit)
	}
	asked := s.limit.asked[who]
	for len(asked) > 0 && now.Sub(asked[0]) >= time.Hour {
		asked = asked[1:]
	}
	over := len(asked) >= limit
	if !over {
		asked = append(asked, now)
	}
	s.limit.asked[who] = asked
	if who != "" && !strings.Contains(who, ":") && !strings.HasPrefix(who, consumerToken) {
		header.Set("X-RateLimit-Limit", strconv.Itoa(limit))
		header.Set("X-RateLimit-Resource", "api")
		header.Set("X-RateLimit-NearLimit", strconv.FormatBool(limit-len(asked) < limit/5))
	}
	if over {
		s.limit.refused++
		return refused(http.StatusTooManyRequests, "Rate limit for this resource has been exceeded")
	}
	return nil
}
