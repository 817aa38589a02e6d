package postgres_test

import (
	"strings"
	"testing"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

func TestDeleteOlder(t *testing.T) {
	t.Parallel()
	const month = 30 * 24 * time.Hour
	tests := []struct {
		kind  string
		table string
		age   string // makes rows old
		left  int64
	}{
		{kind: "deliveries", table: "deliveries", age: `UPDATE deliveries SET received_on = now() - interval '31 days'`, left: 1}, // the pending one
		{kind: "deliveries", table: "branch_heads", age: `UPDATE branch_heads SET pushed_on = pushed_on - interval '100 years'`, left: 1},
		{kind: "decisions", table: "decisions", age: `UPDATE decisions SET created_on = now() - interval '62 days'`},
		{kind: "builds", table: "builds", age: `UPDATE builds SET recorded_on = now() - interval '31 days';
			UPDATE outbox SET updated_on = now() - interval '31 days', outcome = 'posted'`, left: 1}, // of the open pull request
		{kind: "builds", table: "commit_statuses", age: `UPDATE builds SET recorded_on = now() - interval '31 days';
			UPDATE outbox SET updated_on = now() - interval '31 days'`, left: 2}, // still to be posted
	}
	for _, tt := range tests {
		t.Run(tt.kind+" "+tt.table, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			r := link(t, store, repository(name))
			record(t, store, build(1), build(2, func(b *mergecheck.Build) { b.PullRequestID = 8 }))
			apply(t, store, told(r, 7, "MERGED", "", 0), told(r, 8, "OPEN", "", 0), pushed(r, "feature", head, 0), pushed(r, "feature", other, time.Hour))
			addDelivery(t, store, postgres.Delivery{Source: "appveyor", Body: []byte("{}"), BuildID: 9, Outcome: postgres.Pending})
			addDecision(t, store, pullRequest(r, 7), postgres.Decision{Trigger: "on-merge", Code: "passed"}, false)

			count := func() int64 { return query[int64](t, store, `SELECT count(*) FROM `+tt.table)[0] }
			before := count()
			if _, err := store.DeleteOlder(t.Context(), tt.kind, month); err != nil {
				t.Fatal(err)
			}
			if n := count(); n != before {
				t.Fatalf("%d of %d rows are left though none is old", n, before)
			}
			for _, statement := range splitStatements(tt.age) {
				exec(t, store, statement)
			}
			if _, err := store.DeleteOlder(t.Context(), tt.kind, month); err != nil {
				t.Fatal(err)
			}
			if n := count(); n != tt.left {
				t.Errorf("%d rows are left, want %d", n, tt.left)
			}
		})
	}
}

func splitStatements(sql string) []string { return strings.Split(sql, ";") }
