package appveyor_test

import (
	"testing"

	"mergegate/internal/mergecheck/messagetest"
)

// TestTexts writes out why AppVeyor may not confirm a build: the second half of a message.
func TestTexts(t *testing.T) {
	t.Parallel()
	messagetest.Hold(t, "Build can't be confirmed", messagetest.Phrases, messagetest.Literals(t, "Reason"))
}
