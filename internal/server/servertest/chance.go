package servertest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// Seed is what chance follows from: RELIABILITY_SEED, to have it again, else one
// that is logged.
func Seed(t *testing.T) uint64 {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv("RELIABILITY_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("RELIABILITY_SEED: %v", err)
		}
	}
	t.Logf("RELIABILITY_SEED=%d", n)
	return n
}

// Randomly is a source of moments.
func Randomly(t *testing.T) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(Seed(t), 0)) //nolint:gosec // moments, no secrets
}

// HowOften is a number that the environment may make another one.
func HowOften(t *testing.T, variable string, otherwise int) int {
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
