package postgres_test

import (
	"crypto/md5" //nolint:gosec // what PostgreSQL makes up hashes with
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

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

func benchmarkHistory(b *testing.B, builds int) {
	store := openURL(b, postgrestest.New(b))
	r := link(b, store, repository(name))
	const batch = 50_000 // what one statement does within its time
	for from := 1; from <= builds; from += batch {
		to := min(from+batch-1, builds)
		exec(b, store, fillBuilds, r.WorkspaceUUID, r.RepositoryUUID, builds, from, to)
		exec(b, store, fillHeads, r.WorkspaceUUID, r.RepositoryUUID, from, to)
	}
	exec(b, store, `ANALYZE builds, pull_request_heads, decisions, reports`)
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
