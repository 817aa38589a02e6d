package bitbucket

import (
	"strconv"
	"testing"
	"time"
)

func TestReadsAreKeptWithinBounds(t *testing.T) {
	t.Parallel()
	var kept headReads
	list, first := commitList{short: "3d688362cb1f", updatedOn: time.Now()}, commitPage{}
	read := func(pages int, began time.Time) headRead {
		r := newHeadRead(list, first)
		r.pages, r.began = pages, began
		return r
	}
	now := time.Now()
	for i := range keptReads + 10 {
		kept.keep(strconv.Itoa(i), read(2, now.Add(time.Duration(i)*time.Millisecond)))
	}
	if _, ok := kept.resume("0", list, first); ok || len(kept.reads) != keptReads {
		t.Errorf("%d reads are kept, the oldest: %t", len(kept.reads), ok)
	}
	last := strconv.Itoa(keptReads + 9)
	kept.keep(last, read(5, now))
	kept.keep(last, read(3, now))
	if got, ok := kept.resume(last, list, first); !ok || got.pages != 5 {
		t.Errorf("%d pages are kept, want those that got furthest", got.pages)
	}
	kept.keep(last, read(9, now.Add(-2*keptFor)))
	if _, ok := kept.resume(last, list, first); ok {
		t.Error("what is two hours old was resumed")
	}
	kept.keep(last, read(2, now))
	if got, ok := kept.resume(last, list, first); !ok || got.pages != 2 {
		t.Errorf("what was read after that is not kept: %d pages", got.pages)
	}
}
