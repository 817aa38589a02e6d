package bitbucket

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"mergegate/internal/mergecheck"
)

const (
	// keptReads bounds how many pull requests it is kept of what was read of their commits: those with more than one
	// page of them. Each is a few hundred bytes.
	keptReads = 256
	// keptFor bounds how long it is kept.
	keptFor = time.Hour
)

// headReads are the commits that were read of pull requests with many, by pull request. It is ready to use.
type headReads struct {
	mu    sync.Mutex
	reads map[string]headRead
}

// headSubject names a pull request by UUIDs where they are known: a slug can become another repository's.
func headSubject(workspace, repo string, pr PullRequest) string {
	if uuid := pr.Destination.Repository.UUID; uuid != "" {
		workspace, repo = "", uuid
	}
	return strings.ToLower(workspace+"/"+repo) + "#" + strconv.FormatInt(pr.ID, 10)
}

// commitList is what makes a pull request's list of commits the same one: a push changes updated_on, and a
// destination that moves can take commits out of the list.
type commitList struct {
	short       string
	updatedOn   time.Time
	destination string
}

func listedCommits(pr PullRequest) commitList {
	return commitList{short: mergecheck.CommitHash(pr.Source.Commit), updatedOn: pr.UpdatedOn, destination: pr.Destination.Branch + " " + pr.Destination.Commit}
}

// headRead is what was read of a list of commits, as far as it bears on the head.
type headRead struct {
	list    commitList
	first   [sha256.Size]byte // of the first page
	next    *url.URL          // of the next page, nil when all are read
	pages   int
	commits int
	fit     []string // full hashes that begin with list.short, each once
	parents []string // those of all commits that can be one of fit, abbreviated ones included
	vague   bool     // a commit's hash is no full one
	began   time.Time
}

func newHeadRead(list commitList, first commitPage) headRead {
	return headRead{list: list, first: first.sum(), began: time.Now()}
}

// sum is the same for pages with the same commits.
func (p commitPage) sum() [sha256.Size]byte {
	var text strings.Builder
	for _, commit := range p.Values {
		fmt.Fprintf(&text, "%q", commit.Hash)
		for _, parent := range commit.Parents {
			fmt.Fprintf(&text, " %q", parent.Hash)
		}
		text.WriteByte('\n')
	}
	return sha256.Sum256([]byte(text.String()))
}

// add takes a page in; next is where the one after it is, nil for the last.
func (r *headRead) add(page commitPage, next *url.URL) {
	r.pages, r.next = r.pages+1, next
	for _, commit := range page.Values {
		r.commits++
		hash := mergecheck.CommitHash(commit.Hash)
		switch {
		case len(hash) != fullHash:
			r.vague = true
		case strings.HasPrefix(hash, r.list.short) && !slices.Contains(r.fit, hash):
			r.fit = append(r.fit, hash)
		}
		for _, parent := range commit.Parents {
			p := mergecheck.CommitHash(parent.Hash)
			canFit := p != "" && (strings.HasPrefix(p, r.list.short) || strings.HasPrefix(r.list.short, p))
			if canFit && !slices.Contains(r.parents, p) {
				r.parents = append(r.parents, p)
			}
		}
	}
}

// head answers the one fitting commit that is nobody's parent. Only the head of a complete list is nobody's parent, so
// a fitting commit that has a child means that the list is newer than the pull request. An abbreviated parent is taken
// for every commit that it fits: that errs towards not knowing.
func (r *headRead) head(op, short string) (string, error) {
	tips := slices.DeleteFunc(slices.Clone(r.fit), func(hash string) bool {
		return slices.ContainsFunc(r.parents, func(parent string) bool { return strings.HasPrefix(hash, parent) })
	})
	unknown := &HeadUnknown{op: op, NextStep: "Push a new commit."}
	switch {
	case r.vague:
		unknown.cause = "Bitbucket abbreviates the commits of the pull request"
		unknown.NextStep = "Ask your mergegate admin to run `mergegate doctor`."
	case len(tips) == 1:
		return tips[0], nil
	case len(r.fit) == 0:
		unknown.cause = fmt.Sprintf("no commit of the pull request starts with %s", short)
		unknown.NextStep = "Re-run this check in a minute."
	case len(r.fit) == 1:
		unknown.cause = "the pull request changed while mergegate read it"
		unknown.NextStep = "Re-run this check."
	case len(r.fit) == 2:
		unknown.cause = "two commits share the prefix " + short
	default:
		unknown.cause = fmt.Sprintf("%d commits share the prefix %s", len(r.fit), short)
	}
	return "", unknown
}

// unfinished says that there are more commits than were read.
func (r *headRead) unfinished(op string, err error) *HeadUnknown {
	unknown := &HeadUnknown{
		op: op, err: err, NextStep: "Re-run this check: mergegate continues where it stopped.",
		cause: fmt.Sprintf("the pull request has many commits, and mergegate has read %d so far", r.commits),
	}
	if r.pages >= maxCommitPages {
		unknown.cause = fmt.Sprintf("the pull request has more than %d commits", r.commits)
		unknown.NextStep = "Ask your mergegate admin to give the app access to the source repository."
	}
	return unknown
}

// resume answers what was read of a list that still begins as it did. Nothing is kept of a pull request that doesn't
// say when it changed.
func (h *headReads) resume(subject string, list commitList, first commitPage) (headRead, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	read, ok := h.reads[subject]
	if ok && time.Since(read.began) > keptFor {
		delete(h.reads, subject)
		return headRead{}, false
	}
	if !ok || read.list != list || read.first != first.sum() {
		return headRead{}, false
	}
	read.fit, read.parents = slices.Clone(read.fit), slices.Clone(read.parents)
	return read, true
}

// keep notes what was read, if it is more than the first page and more than what is known.
func (h *headReads) keep(subject string, read headRead) {
	if read.list.updatedOn.IsZero() || read.pages < 2 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	known, ok := h.reads[subject]
	if ok && known.list == read.list && known.first == read.first && known.pages >= read.pages {
		return
	}
	if h.reads == nil {
		h.reads = map[string]headRead{}
	}
	if !ok && len(h.reads) >= keptReads {
		h.forgetOldest()
	}
	h.reads[subject] = read
}

func (h *headReads) forgetOldest() {
	oldest := ""
	for subject, read := range h.reads {
		if oldest == "" || read.began.Before(h.reads[oldest].began) {
			oldest = subject
		}
	}
	delete(h.reads, oldest)
}
