package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
)

func TestCache(t *testing.T) {
	t.Parallel()
	var cache policy.Cache
	const one, two = "rules: [{freshness: strict}]", "rules: [{freshness: warn}]"
	for _, tt := range []struct {
		name      string
		workspace string
		version   int64
		document  string
		want      mergecheck.FreshnessMode
	}{
		{name: "none set", workspace: "a", want: mergecheck.FreshnessOff},
		{name: "first", workspace: "a", version: 1, document: one, want: mergecheck.FreshnessStrict},
		{name: "another document of the same version", workspace: "a", version: 1, document: two, want: mergecheck.FreshnessWarn},
		{name: "and the first again", workspace: "a", version: 1, document: one, want: mergecheck.FreshnessStrict},
		{name: "another workspace", workspace: "b", version: 1, document: two, want: mergecheck.FreshnessWarn},
		{name: "next version", workspace: "a", version: 2, document: two, want: mergecheck.FreshnessWarn},
		{name: "the old one again", workspace: "a", version: 1, document: one, want: mergecheck.FreshnessStrict},
	} {
		got, err := cache.For(tt.workspace, tt.version, tt.document, "acme/widgets", "main")
		if err != nil || got.Freshness.Mode != tt.want || got.Version != tt.version {
			t.Errorf("%s: %+v, %v; want %q of version %d", tt.name, got.Freshness, err, tt.want, tt.version)
		}
	}
}

func TestCacheFailsClosed(t *testing.T) {
	t.Parallel()
	var cache policy.Cache
	for range 2 {
		_, err := cache.For("a", 3, "rules: [{retired_setting: true}]", "acme/widgets", "main")
		var faults policy.Faults
		if !errors.As(err, &faults) {
			t.Errorf("a document that can't be read is %v", err)
		}
	}
	if _, err := cache.For("a", 4, "", "acme/widgets", "main"); err == nil {
		t.Error("an empty document is a policy")
	}
}

// TestCacheReadsADocumentOnce has the same document asked about as several versions:
// what is cached is its content. Allocations are only counted when nothing else runs.
func TestCacheReadsADocumentOnce(t *testing.T) {
	var cache policy.Cache
	document := "rules: [" + strings.Repeat("{freshness: warn},", 400) + "]"
	for version := range int64(2) {
		if _, err := cache.For("a", version+1, document, "acme/widgets", "main"); err != nil {
			t.Fatal(err)
		}
	}
	allocations := testing.AllocsPerRun(10, func() {
		if _, err := cache.For("a", 3, document, "acme/widgets", "elsewhere"); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > 2000 { // reading it takes over ten thousand
		t.Errorf("%g allocations for a document that was read before", allocations)
	}
}

// TestCacheIsBounded has more workspaces than are kept, asked about at once.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	var cache policy.Cache
	var group sync.WaitGroup
	for i := range 400 {
		group.Go(func() {
			got, err := cache.For(fmt.Sprint(i), 1, fmt.Sprintf("rules: [{freshness: {max_behind: %d}}]", i), "acme/widgets", "main")
			if err != nil || *got.Freshness.MaxBehind != i {
				t.Errorf("workspace %d: %+v, %v", i, got.Freshness, err)
			}
		})
	}
	group.Wait()
	if n := cache.Len(); n > 128 {
		t.Errorf("%d documents are kept", n)
	}
}
