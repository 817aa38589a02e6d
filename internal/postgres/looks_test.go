package postgres_test

import (
	"testing"
	"time"

	"mergegate/internal/postgres"
)

// TestNoteAsked asks about a repository at several moments.
func TestNoteAsked(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		ago  []string // how long before each question the one before was
		jobs int
	}{
		{name: "once", ago: []string{"0"}, jobs: 1},
		{name: "twice in a moment", ago: []string{"0", "1 second"}, jobs: 1},
		{name: "again later", ago: []string{"0", "31 seconds"}, jobs: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			r := link(t, store, repository(name))
			link(t, store, repository("ws/another"))
			for _, ago := range tt.ago {
				exec(t, store, `UPDATE repository_visits SET asked_on = asked_on - $1::interval`, ago)
				if err := store.NoteAsked(t.Context(), r.WorkspaceUUID, r.RepositoryUUID); err != nil {
					t.Fatal(err)
				}
			}
			equal(t, "jobs that look again", tt.jobs, len(queued(t, store, "look_again")))
			askedOn, err := store.AskedOn(t.Context(), r.WorkspaceUUID, r.RepositoryUUID)
			if err != nil || askedOn.IsZero() {
				t.Errorf("asked on %s, error %v", askedOn, err)
			}
		})
	}
}

func TestNobodyAsked(t *testing.T) {
	t.Parallel()
	store := open(t)
	unknown := repository(name)
	if err := store.NoteAsked(t.Context(), unknown.WorkspaceUUID, unknown.RepositoryUUID); err != nil {
		t.Fatal(err)
	}
	equal(t, "jobs that look again", 0, len(queued(t, store, "look_again")))
	for _, r := range []postgres.Repository{unknown, link(t, store, repository(name))} {
		if askedOn, err := store.AskedOn(t.Context(), r.WorkspaceUUID, r.RepositoryUUID); err != nil || !askedOn.IsZero() {
			t.Errorf("asked on %s, error %v", askedOn, err)
		}
	}
}

func TestEvery(t *testing.T) {
	t.Parallel()
	const interval = 10 * time.Minute
	last := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	seen := map[time.Duration]bool{}
	for range 100 {
		in := postgres.Every(interval).Next(last).Sub(last)
		if in > interval || in < interval*9/10 {
			t.Fatalf("due in %s, want %s at most and a tenth less at least", in, interval)
		}
		seen[in] = true
	}
	if len(seen) < 50 {
		t.Errorf("%d different waits of 100", len(seen))
	}
}
