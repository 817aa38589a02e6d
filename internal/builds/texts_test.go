package builds_test

import (
	"testing"

	"mergegate/internal/mergecheck/messagetest"
)

// TestTexts writes out why a build that AppVeyor confirmed may wait: the second half of a
// message.
func TestTexts(t *testing.T) {
	t.Parallel()
	messagetest.Hold(t, "Build can't be attributed yet", messagetest.Phrases, messagetest.Literals(t, "problem"))
}
