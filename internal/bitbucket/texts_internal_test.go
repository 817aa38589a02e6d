package bitbucket

import (
	"context"
	"errors"
	"testing"

	"mergegate/internal/mergecheck/messagetest"
)

// TestTexts writes out why the head of a pull request can be ambiguous.
func TestTexts(t *testing.T) {
	t.Parallel()
	const short = "3d688362cb1f"
	of := func(r headRead) *HeadUnknown {
		_, err := r.head("op", short)
		var unknown *HeadUnknown
		if !errors.As(err, &unknown) {
			t.Fatalf("%+v: %v", r, err)
		}
		return unknown
	}
	causes := []struct {
		facts   string
		unknown *HeadUnknown
	}{
		{facts: "two commits share 12 characters", unknown: of(headRead{fit: []string{"a", "b"}})},
		{facts: "three commits do", unknown: of(headRead{fit: []string{"a", "b", "c"}})},
		{facts: "no commit fits", unknown: of(headRead{})},
		{facts: "a push while the commits are read", unknown: of(headRead{fit: []string{"ab"}, parents: []string{"a"}})},
		{facts: "abbreviated commits", unknown: of(headRead{vague: true})},
		{facts: "many commits", unknown: (&headRead{commits: 2000, pages: 20}).unfinished("op", context.DeadlineExceeded)},
		{facts: "too many commits", unknown: (&headRead{commits: 10_000, pages: maxCommitPages}).unfinished("op", nil)},
		{facts: "the branch or the fork is gone", unknown: sourceDeleted("op", nil)},
		{facts: "a page of commits is missing", unknown: listIncomplete("op")},
		{facts: "a push at every read", unknown: keepsChanging("op")},
	}
	rows := make([]messagetest.Row, 0, len(causes))
	for _, c := range causes {
		rows = append(rows, messagetest.Row{Facts: c.facts, Code: "head_unknown", Message: c.unknown.Message(), NextStep: c.unknown.NextStep})
	}
	messagetest.Hold(t, "Head unknown", messagetest.Messages, rows)
}
