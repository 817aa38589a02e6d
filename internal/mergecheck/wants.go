package mergecheck

import "slices"

// Wants are facts that nobody has read yet and that could make a verdict
// another. Only a policy that asks for more than builds wants any, and a pull request
// without a build.
type Wants struct {
	Author  bool     // who the pull request's author is
	Changed bool     // which paths it changes
	Tested  []string // commits whose distance to the destination's commit counts
	// BranchBuilds are AppVeyor's builds of the head without a pull request.
	BranchBuilds bool
	Unconfirmed  bool // deliveries that AppVeyor hasn't confirmed: one may be why there is no build
}

// Any reports whether anything is wanted.
func (w Wants) Any() bool {
	return w.Author || w.Changed || len(w.Tested) > 0 || w.BranchBuilds || w.Unconfirmed
}

// Wants tells which facts, beside those the verdict was evaluated from, could
// make it another.
func (v Verdict) Wants(f Facts) (w Wants) {
	if v.Code == PullRequestClosed || v.Code == HeadUnknown || v.Code == Frozen || f.Problem != "" {
		return w
	}
	if v.SkippedBy != "" {
		return w
	}
	for _, rule := range f.Policy.Skip {
		rest := rule
		rest.Authors, rest.Path = nil, nil
		if rest.DestinationBranch != nil && !rest.applies(f) {
			continue
		}
		otherAuthor := len(rule.Authors) > 0 && f.PullRequest.Author != "" && !slices.Contains(rule.Authors, f.PullRequest.Author)
		w.Author = w.Author || len(rule.Authors) > 0 && f.PullRequest.Author == ""
		w.Changed = w.Changed || rule.Path != nil && f.Changed == nil && !otherAuthor
	}
	for _, p := range v.Projects {
		if p.Required && p.Moved != nil && p.Moved.Tested != "" && p.Moved.Commits == nil && p.Moved.Current != "" && f.Policy.Freshness.counts() {
			w.Tested = append(w.Tested, p.Moved.Tested)
		}
	}
	// A branch build counts where it is the newest result, so that one is wanted even
	// where another build has passed.
	if f.Policy.AcceptBranchBuilds && f.PullRequest.DestinationCommit != "" {
		switch d := distance(f, f.PullRequest.Head); {
		case d == nil:
			w.Tested = append(w.Tested, f.PullRequest.Head)
		case upToDate(f):
			w.BranchBuilds = f.BranchBuilds == nil
		}
	}
	slices.Sort(w.Tested)
	w.Tested = slices.Compact(w.Tested)
	w.Unconfirmed = v.Code == NoBuild && !f.DeliveriesRead
	return w
}

// counts reports whether how many commits the destination got since matters.
func (limit Freshness) counts() bool {
	return limit.Mode == FreshnessWarn || limit.Mode == FreshnessLimit && limit.MaxBehind != nil
}
