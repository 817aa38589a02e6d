package postgres_test

import (
	"crypto/md5" //nolint:gosec // what PostgreSQL makes up hashes with
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
)

// BenchmarkHistory asks what the API asks of a repository of 10,000 builds and of
// one of a million (BENCH_BUILDS), as many bare round trips to PostgreSQL as it
// takes: a page costs the same wherever it is.
func BenchmarkHistory(b *testing.B) {
	most := 1_000_000
	if text := os.Getenv("BENCH_BUILDS"); text != "" {
		var err error
		if most, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	for _, builds := range []int{10_000, most} {
		b.Run(fmt.Sprintf("%d builds", builds), func(b *testing.B) { benchmarkHistory(b, builds) })
	}
}

// fillHistory makes builds of ten heads for each pull request, over 400 days.
func fillHistory(b testing.TB, store *postgres.Store, builds int) postgres.Repository {
	b.Helper()
	r := link(b, store, repository(name))
	const batch = 5_000 // what one statement does within its time, on a busy machine too
	for from := 1; from <= builds; from += batch {
		to := min(from+batch-1, builds)
		exec(b, store, fillBuilds, r.WorkspaceUUID, r.RepositoryUUID, builds, from, to)
		exec(b, store, fillHeads, r.WorkspaceUUID, r.RepositoryUUID, from, to)
	}
	exec(b, store, `ANALYZE builds, pull_request_heads, decisions, result_reports`)
	return r
}

func benchmarkHistory(b *testing.B, builds int) {
	store := openURL(b, postgrestest.New(b))
	r := fillHistory(b, store, builds)
	now, err := store.Now(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	list := func(f postgres.BuildFilter) func() error {
		f.Limit = 11
		return func() error {
			found, err := store.Builds(b.Context(), r, f)
			if err == nil && len(found) == 0 {
				err = fmt.Errorf("nothing is found by %+v", f)
			}
			return err
		}
	}
	queries := []struct {
		name string
		ask  func() error
	}{
		{name: "first page", ask: list(postgres.BuildFilter{})},
		{name: "page 1000", ask: list(postgres.BuildFilter{Before: int64(builds - 9_990)})},
		{name: "by commit prefix", ask: list(postgres.BuildFilter{Commit: fmt.Sprintf("%x", md5.Sum([]byte(strconv.Itoa(builds/2))))[:10]})},
		{name: "by pull request", ask: list(postgres.BuildFilter{PullRequestID: 1})},
		{name: "failed, page 10", ask: list(postgres.BuildFilter{State: "failed", Before: int64(builds - 900)})},
		{name: "a day a year ago", ask: list(postgres.BuildFilter{Since: now.Add(-366 * 24 * time.Hour), Until: now.Add(-365 * 24 * time.Hour)})},
		{name: "a day", ask: list(postgres.BuildFilter{Since: now.Add(-48 * time.Hour), Until: now.Add(-24 * time.Hour)})},
		{name: "stats of 30 days", ask: func() error {
			_, err := store.Stats(b.Context(), r, now.Add(-30*24*time.Hour), now)
			return err
		}},
	}
	for _, q := range queries {
		b.Run(q.name, func(b *testing.B) {
			var asking, pinging time.Duration
			for b.Loop() {
				start := time.Now()
				if err := q.ask(); err != nil {
					b.Fatal(err)
				}
				asked := time.Now()
				if _, err := store.Now(b.Context()); err != nil {
					b.Fatal(err)
				}
				asking, pinging = asking+asked.Sub(start), pinging+time.Since(asked)
			}
			b.ReportMetric(float64(asking)/float64(pinging), "round-trips/op")
		})
	}
}

// fillBuilds makes a build of ten pull requests each, over 400 days, one in ten failed.
const fillBuilds = `
	INSERT INTO builds (workspace_uuid, repository_uuid, build_id, project_id, account, slug, repository, pull_request_id, version,
		state, reported_commit, source_commit, destination_branch, created_on, started_on, finished_on, updated_on)
	SELECT $1, $2, n, 1 + n % 3, 'acme', 'widgets', 'ws/repo', 1 + n / 10, '1.0.' || n,
		CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'success' END, md5(n::text) || left(md5('head' || n), 8), md5(n::text) || left(md5('head' || n), 8), 'main',
		t, t + interval '1 minute', t + interval '5 minutes', t + interval '5 minutes'
	FROM generate_series($4::bigint, $5::bigint) n, LATERAL (SELECT now() - interval '400 days' * (1 - n::float8 / $3::bigint)) AS at(t)`

const fillHeads = `
	INSERT INTO pull_request_heads (workspace_uuid, repository_uuid, pull_request_id, first_seen_on, commit, last_seen_on)
	SELECT workspace_uuid, repository_uuid, pull_request_id, created_on, source_commit, finished_on FROM builds
	WHERE workspace_uuid = $1 AND repository_uuid = $2 AND build_id BETWEEN $3 AND $4`

// TestPagesReadLittle counts the rows that PostgreSQL looks at for pages anywhere
// in a long history.
func TestPagesReadLittle(t *testing.T) {
	t.Parallel()
	store := openURL(t, postgrestest.New(t))
	const builds = 20_000
	r := fillHistory(t, store, builds)
	now, err := store.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ago := func(days int) time.Time { return now.Add(-time.Duration(days) * 24 * time.Hour) }
	tests := []struct {
		name   string
		filter postgres.BuildFilter
		most   int // rows
	}{
		{name: "first page", most: 30},
		{name: "the last page", filter: postgres.BuildFilter{Before: 15}, most: 30},
		{name: "by commit", filter: postgres.BuildFilter{Commit: "c20ad4d76f"}, most: 30},
		{name: "of a pull request", filter: postgres.BuildFilter{PullRequestID: 5}, most: 60},
		{name: "of a project", filter: postgres.BuildFilter{Project: "2", Before: 100}, most: 60},
		{name: "in a state that none is in", filter: postgres.BuildFilter{State: "cancelled"}, most: 30},
		{name: "failed, long ago", filter: postgres.BuildFilter{State: "failed", Before: 300}, most: 150},
		{name: "a day", filter: postgres.BuildFilter{Since: ago(2), Until: ago(1)}, most: 300},
		{name: "a day a year ago", filter: postgres.BuildFilter{Since: ago(366), Until: ago(365)}, most: 300},
		{name: "failed on a day a year ago", filter: postgres.BuildFilter{State: "failed", Since: ago(366), Until: ago(365)}, most: 300},
		{name: "before there was any", filter: postgres.BuildFilter{Until: ago(500)}, most: 300},
		{name: "after all", filter: postgres.BuildFilter{Since: now.Add(time.Hour)}, most: 300},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.filter.Limit = 11
			sql, args := tt.filter.Query(r)
			var plan []struct{ Plan planNode }
			err := store.Pool().QueryRow(t.Context(), "EXPLAIN (ANALYZE, FORMAT JSON) "+sql, pgx.QueryExecModeExec, args).Scan(&plan)
			if err != nil {
				t.Fatal(err)
			}
			if rows := plan[0].Plan.scanned(); rows > tt.most {
				t.Errorf("%v rows are looked at, want %d at most:\n%+v", rows, tt.most, plan[0].Plan)
			}
		})
	}
}

type planNode struct {
	Type    string  `json:"Node Type"`
	Rows    float64 `json:"Actual Rows"`
	Loops   float64 `json:"Actual Loops"`
	Removed float64 `json:"Rows Removed by Filter"`
	Recheck float64 `json:"Rows Removed by Index Recheck"`
	Plans   []planNode
}

// scanned is how many rows were read from tables and indexes.
func (n planNode) scanned() int {
	rows := 0
	if strings.Contains(n.Type, "Scan") {
		rows = int((n.Rows + n.Removed + n.Recheck) * n.Loops)
	}
	for _, child := range n.Plans {
		rows += child.scanned()
	}
	return rows
}
