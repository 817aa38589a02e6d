package main

import (
	"maps"
	"net/http"
	"syscall"
	"testing"
	"time"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/postgres/postgrestest"
)

// TestRetentionBoundsEveryTable ages what was stored of pull requests that are
// closed by now, and has nothing left that grows.
func TestRetentionBoundsEveryTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_RECONCILE_INTERVAL=10s", "MERGEGATE_RETENTION=deliveries=1d,decisions=1d,builds=1d")
	w.built(commit('1'), "success")
	w.must(w.bb.Decline(repository, 7))
	tr := newTraffic(w, 3)
	tr.keep(w)
	tr.pace = 10 * time.Millisecond
	tr.run(t.Context(), 6)
	tr.ends()
	tr.bounded()
}

// bounded closes every pull request, lets the days of retention pass, and waits
// until no table has rows that came with time.
func (tr *traffic) bounded() {
	tr.t.Helper()
	for _, pr := range tr.pullRequests {
		tr.must(tr.bb.Decline(repository, pr))
		tr.send(classPullRequest, pullRequestEvent(pr, headOf(pr, 0), "DECLINED"))
	}
	tr.settled()
	tr.eventually("every status has been posted", func() bool {
		var pending struct{ Values []any }
		tr.get("/api/v1/commit-statuses?outcome=pending", &pending)
		return len(pending.Values) == 0
	})
	tr.must(tr.stop(syscall.SIGTERM))
	// What is young to AppVeyor would be found and recorded anew.
	tr.appveyor.OnRequest(func(*http.Request) appveyortest.Fault {
		return appveyortest.Fault{Status: http.StatusServiceUnavailable}
	})
	postgrestest.Age(tr.t, tr.database, 40*24*time.Hour) // more than the queue keeps what it gave up, and a month of decisions
	tr.start()
	var unbounded map[string]int64
	defer func() {
		if len(unbounded) > 0 {
			tr.t.Errorf("too many rows in %v", unbounded)
		}
	}()
	tr.eventually("every table is bounded", func() bool {
		unbounded = postgrestest.Rows(tr.t, tr.database)
		maps.DeleteFunc(unbounded, func(table string, rows int64) bool { return rows <= bounds[table] })
		return len(unbounded) == 0
	})
}

// bounds are how many rows may stay when everything is old: of tables that grow
// with what is configured and built, not with time. Tables that aren't here have
// to be empty.
var bounds = map[string]int64{
	"goose_db_version": 20, "river_migration": 20, "river_queue": 5, "river_leader": 1, "river_client": 3, "river_client_queue": 9,
	"river_job": 40, // what runs again and again
	"projects":  1, "repositories": 1, "tokens": 1, "write_probe": 1,
}
