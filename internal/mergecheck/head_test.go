package mergecheck_test

import (
	"testing"
	"time"

	"mergegate/internal/mergecheck"
)

func TestAttribute(t *testing.T) {
	t.Parallel()
	// The build ran from 10 minutes to 1 minute ago.
	tests := []struct {
		name  string
		build mergecheck.Build
		heads []mergecheck.Head
		want  string
	}{
		{name: "40 characters need no head", build: build(1), want: head},
		{name: "12 characters, one head", build: build(1, reported(head[:12])), heads: []mergecheck.Head{seen(head, 0, 0)}, want: head},
		{
			name: "12 characters, the same head twice", build: build(1, reported(head[:12])),
			heads: []mergecheck.Head{seen(head, -time.Hour, -time.Hour), seen(other, -time.Hour, -time.Hour), seen(head, 0, 0)}, want: head,
		},
		{name: "12 characters, twins", build: build(1, reported(head[:12])), heads: []mergecheck.Head{seen(head, 0, 0), seen(twin, 0, 0)}},
		{name: "12 characters, no head", build: build(1, reported(head[:12])), heads: []mergecheck.Head{seen(other, 0, 0)}},
		{name: "none, one head all along", build: build(1, reported("")), heads: []mergecheck.Head{seen(head, -time.Hour, 0)}, want: head},
		{
			name: "none, another head before and after", build: build(1, reported("")),
			heads: []mergecheck.Head{seen(other, -2*time.Hour, -time.Hour), seen(head, -30*time.Minute, -30*time.Minute), seen(other, 0, 0)}, want: head,
		},
		{name: "none, head first seen after it was created", build: build(1, reported("")), heads: []mergecheck.Head{seen(head, -9*time.Minute, 0)}},
		{
			name: "none, another head while it ran", build: build(1, reported("")),
			heads: []mergecheck.Head{seen(head, -time.Hour, -time.Hour), seen(other, -5*time.Minute, -5*time.Minute)},
		},
		{
			name: "none, still running and pushed since", build: build(1, reported(""), in(mergecheck.Running)),
			heads: []mergecheck.Head{seen(head, -time.Hour, -time.Hour), seen(other, 0, 0)},
		},
		{
			name: "none, its commit is another head", build: build(1, reported(""), func(b *mergecheck.Build) { b.CommitID = other }),
			heads: []mergecheck.Head{seen(other, -2*time.Hour, -2*time.Hour), seen(head, -time.Hour, 0)},
		},
		{
			name: "none, told late of another head, without a time", build: build(1, reported("")),
			heads: []mergecheck.Head{seen(head, -time.Hour, -time.Hour), arrived(other, 0), seen(head, time.Minute, time.Minute)},
		},
		{
			name: "none, told of another head without a time, but seen since", build: build(1, reported("")),
			heads: []mergecheck.Head{arrived(other, -2*time.Hour), seen(head, -time.Hour, 0)}, want: head,
		},
		{
			name: "none, not even a time", build: build(1, reported(""), func(b *mergecheck.Build) { b.CreatedOn = time.Time{} }),
			heads: []mergecheck.Head{seen(head, -time.Hour, 0)},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, reason := mergecheck.Attribute(tt.build, mergecheck.History{Heads: tt.heads})
			if got != tt.want {
				t.Errorf("commit %q (%s), want %q", got, reason, tt.want)
			}
			if (got == "") != (reason != "") {
				t.Errorf("commit %q with reason %q", got, reason)
			}
		})
	}
}

func TestCommitPrefix(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, given, want string }{
		{name: "full", given: head, want: head},
		{name: "upper case", given: "AD2366F0C4", want: "ad2366f0c4"},
		{name: "too short", given: "ad2366f0c"},
		{name: "too long", given: head + "a"},
		{name: "not hexadecimal", given: "zd2366f0c4"},
		{name: "empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := mergecheck.CommitPrefix(tt.given); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
