package postgres_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"mergegate/internal/builds"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// refusedAs is a status that was refused, by what with.
var refusedAs = map[string]postgres.Attempt{
	"waits for its next attempt": {Outcome: postgres.Pending, HTTPStatus: 401, RetryIn: time.Hour},
	"waits after an outage":      {Outcome: postgres.Pending, HTTPStatus: 503, RetryIn: time.Hour},
	"no credential for a day":    {Outcome: postgres.Failed},
	"401 for a day":              {Outcome: postgres.Failed, HTTPStatus: 401},
	"404 for a day":              {Outcome: postgres.Failed, HTTPStatus: 404},
	"409 for a day":              {Outcome: postgres.Failed, HTTPStatus: 409},
	"423 for a day":              {Outcome: postgres.Failed, HTTPStatus: 423},
	"503 for a day":              {Outcome: postgres.Failed, HTTPStatus: 503},
	"a key that is too long":     {Outcome: postgres.Failed, HTTPStatus: 400},
	"somebody else's key":        {Outcome: postgres.Failed, HTTPStatus: 403},
	"a fork that is closed":      {Outcome: postgres.NotPostable, HTTPStatus: 403},
	"posted":                     {Outcome: postgres.Posted, HTTPStatus: 201},
}

func retry(t *testing.T, store *postgres.Store, why postgres.Occasion, which postgres.Refused) int {
	t.Helper()
	n, err := store.RetryRefused(t.Context(), why, which)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRefusedStatusesAreRetried refuses statuses in all ways, and has each occasion retry those that it may mend.
func TestRefusedStatusesAreRetried(t *testing.T) {
	t.Parallel()
	waiting := []string{"waits for its next attempt", "waits after an outage"}
	credential := append(slices.Clone(waiting), "no credential for a day", "401 for a day")
	mended := append(slices.Clone(credential), "a fork that is closed", "404 for a day", "409 for a day", "423 for a day", "503 for a day")
	for why, retried := range map[postgres.Occasion][]string{
		postgres.ServiceStarts:     credential,
		postgres.CredentialArrives: mended,
		postgres.NameChanges:       mended,
		postgres.HeadAppears:       mended,
		postgres.WebhookRepeats:    append(slices.Clone(mended), "a key that is too long", "somebody else's key"),
	} {
		t.Run(string(why), func(t *testing.T) {
			t.Parallel()
			store := open(t)
			names := slices.Sorted(maps.Keys(refusedAs))
			for i, name := range names {
				record(t, store, build(int64(i+1), func(b *mergecheck.Build) { b.PullRequestID = int64(i + 1) }))
				settleAs(t, store, claim(t, store, int64(i+1)), refusedAs[name])
			}
			jobs := len(queued(t, store, "publish"))
			equal(t, "retried", len(retried), retry(t, store, why, postgres.Refused{}))
			equal(t, "jobs", jobs+len(retried), len(queued(t, store, "publish")))
			spread := time.Duration(0)
			if why == postgres.ServiceStarts {
				spread = time.Minute
			}
			for _, s := range statuses(t, store) {
				name := names[s.ID-1]
				if !slices.Contains(retried, name) {
					equal(t, name, refusedAs[name].Outcome, s.Outcome)
					continue
				}
				equal(t, name, []any{postgres.Pending, 0, "SUCCESSFUL"}, []any{s.Outcome, s.Attempts, s.State})
				if in := time.Until(*s.NextAttemptOn); in > spread {
					t.Errorf("%s: retried in %s, want %s", name, in, spread)
				}
			}
			equal(t, "retried again", 0, retry(t, store, why, postgres.Refused{}))
		})
	}
}

func TestWhichStatusesAreRetried(t *testing.T) {
	t.Parallel()
	store := open(t)
	here, there := link(t, store, repository(name)), link(t, store, repository("ws/other"))
	refuse := func() {
		t.Helper()
		for _, s := range statuses(t, store) {
			if s.Outcome == postgres.Pending {
				settle(t, store, claim(t, store, s.ID), postgres.NotPostable)
			}
		}
	}
	record(t, store, build(1), build(2, reported(other)), build(3, of("ws/other")), build(4, func(b *mergecheck.Build) { b.Project.ID = 2 }))
	refuse()
	for i, tt := range []struct {
		which postgres.Refused
		want  int
	}{
		{want: 4},
		{which: postgres.Refused{WorkspaceUUID: here.WorkspaceUUID}, want: 3},
		{which: postgres.Refused{WorkspaceUUID: there.WorkspaceUUID, RepositoryUUID: there.RepositoryUUID}, want: 1},
		{which: postgres.Refused{WorkspaceUUID: here.WorkspaceUUID, RepositoryUUID: there.RepositoryUUID}},
		{which: postgres.Refused{WorkspaceUUID: here.WorkspaceUUID, RepositoryUUID: here.RepositoryUUID, Commit: other}, want: 1},
		{which: postgres.Refused{WorkspaceUUID: here.WorkspaceUUID, RepositoryUUID: here.RepositoryUUID, Commit: head, Key: "appveyor-1-pr-7"}, want: 1},
		{which: postgres.Refused{WorkspaceUUID: here.WorkspaceUUID, RepositoryUUID: here.RepositoryUUID, Commit: head, Key: "appveyor-9-pr-7"}},
	} {
		equal(t, fmt.Sprint(i), tt.want, retry(t, store, postgres.NameChanges, tt.which))
		refuse()
	}
	exec(t, store, `UPDATE outbox SET wanted_on = now() - interval '8 days'`)
	equal(t, "what is long past", 0, retry(t, store, postgres.NameChanges, postgres.Refused{}))
	equal(t, "what is long past and a head", 1, retry(t, store, postgres.HeadAppears, postgres.Refused{Commit: other}))
}

// TestACredentialThatArrivesDuringAPost has a status posted once more that was being posted with the one before.
func TestACredentialThatArrivesDuringAPost(t *testing.T) {
	t.Parallel()
	store := open(t)
	record(t, store, build(1))
	id := only(t, store).ID
	settleAs(t, store, claim(t, store, id), postgres.Attempt{Outcome: postgres.Pending, HTTPStatus: 401})
	during := claim(t, store, id)
	equal(t, "retried", 1, retry(t, store, postgres.CredentialArrives, postgres.Refused{}))
	settleAs(t, store, during, postgres.Attempt{Outcome: postgres.Pending, HTTPStatus: 401, RetryIn: time.Hour})
	settle(t, store, claim(t, store, id), postgres.Posted)
	equal(t, "in the end", postgres.Posted, only(t, store).Outcome)
}

// TestJobsBeforeTheNextAttempt: a status with several jobs isn't tried more often for them.
func TestJobsBeforeTheNextAttempt(t *testing.T) {
	t.Parallel()
	store := open(t)
	record(t, store, build(1))
	id := only(t, store).ID
	settleAs(t, store, claim(t, store, id), postgres.Attempt{Outcome: postgres.Pending, HTTPStatus: 503, RetryIn: time.Hour})
	s, claimed, busy := tryClaim(t, store, id)
	if claimed || !busy || s.NextAttemptOn == nil || time.Until(*s.NextAttemptOn) < 59*time.Minute {
		t.Errorf("claimed %t, busy %t, next attempt %v", claimed, busy, s.NextAttemptOn)
	}
	record(t, store, build(1, updated(time.Second), in(mergecheck.Failed)))
	equal(t, "another state", "FAILED", claim(t, store, id).State)
}

// TestAWebhookRepeatsWhatWasRefused: polling doesn't.
func TestAWebhookRepeatsWhatWasRefused(t *testing.T) {
	t.Parallel()
	for name, result := range map[string]postgres.Attempt{
		"refused": {Outcome: postgres.Failed, HTTPStatus: 400},
		"a fork":  {Outcome: postgres.NotPostable, HTTPStatus: 404},
		"waiting": {Outcome: postgres.Pending, HTTPStatus: 401, RetryIn: time.Hour},
		"posted":  {Outcome: postgres.Posted, HTTPStatus: 201},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			record(t, store, build(1), build(2, reported(other)))
			for _, s := range statuses(t, store) {
				settleAs(t, store, claim(t, store, s.ID), result)
			}
			record(t, store, build(1))
			for _, s := range statuses(t, store) {
				equal(t, "after polling", result.Outcome, s.Outcome)
			}
			id := addDelivery(t, store, postgres.Delivery{Source: "appveyor", Body: []byte("{}"), BuildID: 1, Outcome: postgres.Pending})
			if _, err := builds.Record(t.Context(), store, build(1), id, false); err != nil {
				t.Fatal(err)
			}
			for _, s := range statuses(t, store) {
				_, claimed, _ := tryClaim(t, store, s.ID)
				equal(t, "due: "+s.Commit, s.Commit == head && name != "posted", claimed)
			}
		})
	}
}

// TestARefusalIsToldOnce: that a retry ended as the attempt before did is no news.
func TestARefusalIsToldOnce(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	subscribe(t, store, r, postgres.EventStatusRefused)
	record(t, store, build(1))
	id := only(t, store).ID
	refused := postgres.Attempt{Outcome: postgres.NotPostable, HTTPStatus: 403, Reason: "closed to mergegate"}
	settleAs(t, store, claim(t, store, id), refused)
	before := query[int64](t, store, `SELECT count(*) FROM notifications`)[0]
	retry(t, store, postgres.CredentialArrives, postgres.Refused{})
	settleAs(t, store, claim(t, store, id), refused)
	equal(t, "messages", before, query[int64](t, store, `SELECT count(*) FROM notifications`)[0])
	if before == 0 {
		t.Error("the refusal was not told at all")
	}
}
