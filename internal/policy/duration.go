package policy

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
)

var days = regexp.MustCompile(`^(\d{1,5})d(.*)$`)

const day = 24 * time.Hour

// ParseDuration reads Go durations, and days: "90d", "1d12h".
func ParseDuration(s string) (time.Duration, error) {
	var sum time.Duration
	rest := s
	if parts := days.FindStringSubmatch(s); parts != nil {
		n, _ := strconv.Atoi(parts[1]) // five digits always are a number
		if sum, rest = time.Duration(n)*day, parts[2]; rest == "" {
			return sum, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d > math.MaxInt64-sum {
		return 0, fmt.Errorf("%q is not a duration like 90d or 12h", s)
	}
	return sum + d, nil
}
