package postgres_test

import (
	"strings"
	"testing"
	"time"

	"mergegate/internal/commitstatus"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/pullrequests"
	"mergegate/internal/waivers"
)

// waive gives a waiver of head's merge into main, for what w leaves open.
func waive(t testing.TB, store *postgres.Store, pr postgres.PullRequestKey, w mergecheck.Waiver) mergecheck.Waiver {
	t.Helper()
	if w.Head == "" {
		w.Head = head
	}
	w.Destination, w.Reason, w.By = "main", "because", "somebody"
	inTx(t, store, func(tx *postgres.Tx) (err error) {
		w, err = waivers.Add(t.Context(), tx, pr, w, time.Hour)
		return err
	})
	return w
}

func revoke(t testing.TB, store *postgres.Store, pr postgres.PullRequestKey, id int64) {
	t.Helper()
	if _, err := store.RevokeWaivers(t.Context(), pr, id, "somebody else"); err != nil {
		t.Fatal(err)
	}
}

func TestWaiverLogIsAppendOnly(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	waive(t, store, pullRequest(r, 7), mergecheck.Waiver{})
	revoke(t, store, pullRequest(r, 7), 0)
	for _, statement := range []string{
		"UPDATE waivers SET reason = 'another'", "UPDATE waivers SET expires_on = now() + interval '1 year'", "DELETE FROM waivers",
		"TRUNCATE waivers CASCADE", "UPDATE waiver_revocations SET by = 'nobody'", "DELETE FROM waiver_revocations", "TRUNCATE waiver_revocations",
	} {
		if err := tryExec(t, store, statement); err == nil || !strings.Contains(err.Error(), "is a log") {
			t.Errorf("%s: %v", statement, err)
		}
	}
	list, err := store.Waivers(t.Context(), pullRequest(r, 7), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "reason", "because", list[0].Reason)
	equal(t, "revoked by", "somebody else", list[0].RevokedBy)
}

// TestWaivedStatus follows what Bitbucket is to show on a commit whose build
// failed.
func TestWaivedStatus(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(t *testing.T, store *postgres.Store, pr postgres.PullRequestKey)
		want   string
	}{
		{name: "not waived", want: mergecheck.StatusFailed, change: func(*testing.T, *postgres.Store, postgres.PullRequestKey) {}},
		{name: "waived", want: mergecheck.StatusSuccessful, change: func(t *testing.T, store *postgres.Store, pr postgres.PullRequestKey) {
			waive(t, store, pr, mergecheck.Waiver{})
		}},
		{name: "its project waived", want: mergecheck.StatusSuccessful, change: func(t *testing.T, store *postgres.Store, pr postgres.PullRequestKey) {
			waive(t, store, pr, mergecheck.Waiver{ProjectID: 1})
		}},
		{name: "another project waived", want: mergecheck.StatusFailed, change: func(t *testing.T, store *postgres.Store, pr postgres.PullRequestKey) {
			waive(t, store, pr, mergecheck.Waiver{ProjectID: 2})
		}},
		{name: "another head waived", want: mergecheck.StatusFailed, change: func(t *testing.T, store *postgres.Store, pr postgres.PullRequestKey) {
			waive(t, store, pr, mergecheck.Waiver{Head: other})
		}},
		{name: "expired", want: mergecheck.StatusFailed, change: func(t *testing.T, store *postgres.Store, pr postgres.PullRequestKey) {
			waive(t, store, pr, mergecheck.Waiver{})
			settleWaivers(t, store, pr)
			equal(t, "state before it expires", mergecheck.StatusSuccessful, statuses(t, store)[0].State)
			expire(t, store)
		}},
		{name: "revoked", want: mergecheck.StatusFailed, change: func(t *testing.T, store *postgres.Store, pr postgres.PullRequestKey) {
			w := waive(t, store, pr, mergecheck.Waiver{})
			settleWaivers(t, store, pr)
			revoke(t, store, pr, w.ID)
		}},
		{name: "a new head", want: mergecheck.StatusFailed, change: func(t *testing.T, store *postgres.Store, pr postgres.PullRequestKey) {
			waive(t, store, pr, mergecheck.Waiver{})
			settleWaivers(t, store, pr)
			see(t, store, pr, other)
		}},
		{name: "another destination", want: mergecheck.StatusFailed, change: func(t *testing.T, store *postgres.Store, pr postgres.PullRequestKey) {
			waive(t, store, pr, mergecheck.Waiver{})
			settleWaivers(t, store, pr)
			told := mergecheck.Told{State: "OPEN", DestinationBranch: "release", On: time.Now()}
			if err := pullrequests.See(t.Context(), store, pr, postgres.Sighting{Told: told, SourceBranch: "feature"}); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "waited for a second person", want: mergecheck.StatusFailed, change: func(t *testing.T, store *postgres.Store, pr postgres.PullRequestKey) {
			waive(t, store, pr, mergecheck.Waiver{TwoPerson: true, Owner: "a", Author: "c"})
		}},
		{name: "seconded", want: mergecheck.StatusSuccessful, change: func(t *testing.T, store *postgres.Store, pr postgres.PullRequestKey) {
			waive(t, store, pr, mergecheck.Waiver{TwoPerson: true, Owner: "a", Author: "c"})
			waive(t, store, pr, mergecheck.Waiver{TwoPerson: true, Owner: "b", Author: "c"})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			pr := pullRequest(link(t, store, repository(name)), 7)
			see(t, store, pr, head)
			record(t, store, build(1, in(mergecheck.Failed)))
			tt.change(t, store, pr)
			settleWaivers(t, store, pr)
			status := statuses(t, store)[0]
			equal(t, "state", tt.want, status.State)
			equal(t, "says that it was waived", tt.want == mergecheck.StatusSuccessful, strings.Contains(status.Description, "Waived by somebody: because"))
		})
	}
}

func settleWaivers(t testing.TB, store *postgres.Store, pr postgres.PullRequestKey) {
	t.Helper()
	inTx(t, store, func(tx *postgres.Tx) error { return commitstatus.WantWaived(t.Context(), tx, pr) })
}

// expire ends every waiver, which nothing but time can do otherwise.
func expire(t testing.TB, store *postgres.Store) {
	t.Helper()
	for _, statement := range []string{
		"ALTER TABLE waivers DISABLE TRIGGER waivers_log", "UPDATE waivers SET expires_on = now()", "ALTER TABLE waivers ENABLE TRIGGER waivers_log",
	} {
		if err := tryExec(t, store, statement); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWaiversAreSettledInTime(t *testing.T) {
	t.Parallel()
	store := open(t)
	pr := pullRequest(link(t, store, repository(name)), 7)
	w := waive(t, store, pr, mergecheck.Waiver{})
	jobs := queued(t, store, "settle_waivers")
	equal(t, "jobs, at once and at its end", 2, len(jobs))
	if _, err := store.RevokeWaivers(t.Context(), pr, w.ID+1, "x"); err == nil {
		t.Error("a waiver that isn't there was revoked")
	}
}

func tryExec(t testing.TB, store *postgres.Store, statement string) error {
	t.Helper()
	_, err := store.Pool().Exec(t.Context(), statement)
	return err
}

// TestEndedWaiversStayEnded ends a waiver by facts that arrive in any order, and has
// the pull request become again what was waived.
func TestEndedWaiversStayEnded(t *testing.T) {
	t.Parallel()
	after := func(d time.Duration) time.Time { return time.Now().UTC().Truncate(time.Microsecond).Add(d) }
	tests := []struct {
		name string
		do   func(t *testing.T, store *postgres.Store, r postgres.Repository)
		want mergecheck.WaiverState
	}{
		{name: "nothing happened", want: mergecheck.WaiverLive, do: func(*testing.T, *postgres.Store, postgres.Repository) {}},
		{name: "another head was pushed, and the first again", want: mergecheck.WaiverOtherHead, do: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			away, back := pushed(r, "feature", other, 0), pushed(r, "feature", head, 0)
			away.On, back.On = after(time.Second), after(2*time.Second)
			apply(t, store, away, back)
		}},
		{name: "and heard of in the wrong order", want: mergecheck.WaiverOtherHead, do: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			away, back := pushed(r, "feature", other, 0), pushed(r, "feature", head, 0)
			away.On, back.On = after(time.Second), after(2*time.Second)
			apply(t, store, back, away)
		}},
		{name: "another head was pushed before, and heard of late", want: mergecheck.WaiverLive, do: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			apply(t, store, pushed(r, "feature", other, 0))
		}},
		{name: "an event had another head, abbreviated", want: mergecheck.WaiverOtherHead, do: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			e := told(r, 7, "OPEN", other[:12], 0)
			e.On = after(time.Second)
			apply(t, store, e)
		}},
		{name: "retargeted, and back", want: mergecheck.WaiverOtherDestination, do: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			away, back := told(r, 7, "OPEN", "", 0), told(r, 7, "OPEN", "", 0)
			away.PullRequest.DestinationBranch = "release"
			away.On, back.On = after(time.Second), after(2*time.Second)
			apply(t, store, back, away)
		}},
		{name: "a look saw another head", want: mergecheck.WaiverOtherHead, do: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			see(t, store, pullRequest(r, 7), other)
			see(t, store, pullRequest(r, 7), head)
		}},
		{name: "a merge check brought another head", want: mergecheck.WaiverOtherHead, do: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			for i, commit := range []string{other, head} {
				seen := postgres.Sighting{Told: mergecheck.Told{State: "OPEN", Head: commit, DestinationBranch: "main", On: after(time.Duration(i+1) * time.Second)}}
				inTx(t, store, func(tx *postgres.Tx) error { return pullrequests.Saw(t.Context(), tx, pullRequest(r, 7), seen) })
			}
		}},
		{name: "a merge check brought what was before", want: mergecheck.WaiverLive, do: func(t *testing.T, store *postgres.Store, r postgres.Repository) {
			seen := postgres.Sighting{Told: mergecheck.Told{State: "OPEN", Head: other, DestinationBranch: "main", On: after(-time.Hour)}}
			inTx(t, store, func(tx *postgres.Tx) error { return pullrequests.Saw(t.Context(), tx, pullRequest(r, 7), seen) })
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			r := link(t, store, repository(name))
			apply(t, store, told(r, 7, "OPEN", "", 0))
			waive(t, store, pullRequest(r, 7), mergecheck.Waiver{})
			tt.do(t, store, r)
			f := facts(t, store, pullRequest(r, 7), head)
			pr := mergecheck.PullRequest{ID: 7, State: "OPEN", Head: head, DestinationBranch: "main"}
			judged := mergecheck.WithStates(f.Waivers, pr, mergecheck.WaiverRules{}, f.Now)
			equal(t, "state", tt.want, judged[0].State)
		})
	}
}
