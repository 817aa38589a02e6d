package postgres_test

import (
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"mergegate/internal/postgres"
)

func partitionsOf(t *testing.T, store *postgres.Store, table string) []string {
	t.Helper()
	return query[string](t, store, `SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1`, table)
}

// TestPartitions has deliveries and decisions go to the partition of their time, and whole
// partitions go once everything in them is old.
func TestPartitions(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	var g errgroup.Group
	for range 4 { // replicas
		g.Go(func() error { return store.MakePartitions(t.Context()) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := store.MakePartitions(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "partitions", []int{9, 4}, []int{len(partitionsOf(t, store, "deliveries")), len(partitionsOf(t, store, "decisions"))})
	id := addDelivery(t, store, postgres.Delivery{Source: "appveyor", Body: []byte("{}"), Outcome: postgres.Ignored, Reason: "not_pull_request"})
	addDecision(t, store, pullRequest(r, 7), postgres.Decision{Trigger: "on-merge", Code: "passed"}, true)
	now := time.Now().UTC()
	for table, want := range map[string]string{"deliveries": "deliveries_" + now.Format("20060102"), "decisions": "decisions_" + now.Format("200601")} {
		equal(t, "partition", []string{want}, query[string](t, store, `SELECT DISTINCT tableoid::regclass::text FROM `+table))
	}
	if d, err := store.Delivery(t.Context(), id); err != nil || d.ID != id {
		t.Errorf("read back as %d, %v", d.ID, err)
	}

	old := now.AddDate(0, 0, -40)
	exec(t, store, `CREATE TABLE deliveries_`+old.Format("20060102")+` PARTITION OF deliveries FOR VALUES FROM (1) TO (2)`)
	exec(t, store, `CREATE TABLE deliveries_`+old.AddDate(0, 0, 1).Format("20060102")+` PARTITION OF deliveries FOR VALUES FROM (2) TO (3)`)
	exec(t, store, `INSERT INTO deliveries (id, source, body, outcome) VALUES (1, 'forge', '', 'processed'), (2, 'forge', '', 'pending')`)
	if _, err := store.DeleteOlder(t.Context(), "deliveries", 30*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	equal(t, "partitions after that", 10, len(partitionsOf(t, store, "deliveries")))
	equal(t, "what is left of old deliveries", []int64{2}, query[int64](t, store, `SELECT id FROM deliveries WHERE id < 10`))
}

// TestPartitionsThatCannotBeMade leaves rows that came before their partition where they are.
func TestPartitionsThatCannotBeMade(t *testing.T) {
	t.Parallel()
	store := open(t)
	addDelivery(t, store, postgres.Delivery{Source: "forge", Body: []byte("{}"), Outcome: postgres.Processed})
	if err := store.MakePartitions(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "partition", []string{"deliveries_default"}, query[string](t, store, `SELECT tableoid::regclass::text FROM deliveries`))
	equal(t, "partitions", 8, len(partitionsOf(t, store, "deliveries"))) // but today's
}

// TestTheSameRequestIsTheSameDelivery has a sender send again, at once and later.
func TestTheSameRequestIsTheSameDelivery(t *testing.T) {
	t.Parallel()
	store := open(t)
	ids := make([]int64, 8)
	var g errgroup.Group
	for i := range ids {
		g.Go(func() (err error) {
			ids[i], err = store.AddDelivery(t.Context(), postgres.Delivery{Source: "bitbucket", RequestID: "r", Body: []byte("{}"), Outcome: postgres.Processed})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		equal(t, "id", ids[0], id)
	}
	equal(t, "deliveries", int64(1), query[int64](t, store, `SELECT count(*) FROM deliveries`)[0])
}
