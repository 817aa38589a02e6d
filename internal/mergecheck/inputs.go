package mergecheck

import (
	"encoding/json"
	"fmt"
	"slices"
)

// maxRecordedPaths is how many changed paths are written down with a decision.
const maxRecordedPaths = 500

// Inputs writes down what the verdict depends on beside its policy, so that
// [ReadInputs] and another policy give another verdict. What no policy looks at
// is left out.
func (f Facts) Inputs() ([]byte, error) {
	trimmed := f
	if len(f.Changed) > maxRecordedPaths {
		trimmed.Changed = nil
	}
	trimmed.Heads = f.decidingHeads()
	trimmed.Builds = make([]Build, len(f.Builds))
	for i, b := range f.Builds {
		b.PullRequestTitle, b.Repository, b.URL, b.SourceBranch, b.SourceRepository = "", "", "", "", ""
		b.Jobs = slices.Clone(b.Jobs)
		if b.State == Success {
			b.Jobs = nil
		}
		trimmed.Builds[i] = b
	}
	text, err := json.Marshal(trimmed)
	if err != nil {
		return nil, fmt.Errorf("write down a verdict's inputs: %w", err)
	}
	return text, nil
}

// ReadInputs reads what [Facts.Inputs] wrote. The policy is to be set.
func ReadInputs(text []byte) (Facts, error) {
	var f Facts
	if err := json.Unmarshal(text, &f); err != nil {
		return f, fmt.Errorf("read a verdict's inputs: %w", err)
	}
	return f, nil
}

// decidingHeads leaves out heads that change nothing: where AppVeyor named the
// head of every build in full, the last stretch tells since when it is the head.
func (f Facts) decidingHeads() []Head {
	for _, b := range f.Builds {
		if len(b.ReportedCommit) < FullCommit {
			return f.Heads
		}
	}
	since := f.HeadSince()
	if since.IsZero() {
		return nil
	}
	return []Head{{Commit: f.PullRequest.Head, FirstSeenOn: since, LastSeenOn: f.Now}}
}
