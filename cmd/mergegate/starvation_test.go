package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"mergegate/internal/postgres/postgrestest"
)

// soon is how long an answer may take while others do their worst: far less than the
// half minute after which a connection ends anyhow.
const soon = 5 * time.Second

// hold opens a connection to the program, sends the beginning of a request and keeps it
// open for as long as the test runs.
func (w *world) hold(request string) {
	w.t.Helper()
	conn, err := new(net.Dialer).DialContext(w.t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
	w.must(err)
	w.t.Cleanup(func() { _ = conn.Close() })
	w.must(conn.(*net.TCPConn).SetReadBuffer(4 << 10))
	_, err = io.WriteString(conn, request)
	w.must(err)
}

// answersSoon asks once, and holds the answer to a status and to a time.
func (w *world) answersSoon(what string, ask func() response, status int) {
	w.t.Helper()
	start := time.Now()
	res := ask()
	if took := time.Since(start); res.status != status || took > soon {
		w.t.Errorf("%s is answered %d after %s: %.200s", what, res.status, took.Round(time.Millisecond), res.body)
	}
}

// TestSlowSendersHoldNobodyUp has many senders begin bodies that they don't end, at each
// route that takes one, and asks the same route once more.
func TestSlowSendersHoldNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_BITBUCKET_WEBHOOK_SECRET=signing", secretKey)
	w.built(commit('1'), "success")
	mergeCheck := event("on-merge")
	const push = `{"repository":{"uuid":"{` + repositoryUUID + `}","owner":{"uuid":"{` + workspaceUUID + `}"}}}`
	begin := func(path, token string, length int) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n{", path, token, length)
	}
	waive := w.tokenOf("waive", "waive")
	tests := []struct {
		name   string
		begin  string
		ask    func() response
		status int
	}{
		{name: "unsigned webhooks", begin: begin("/webhooks/bitbucket", "", 1000), status: 202, ask: func() response {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/webhooks/bitbucket", strings.NewReader(push))
			w.must(err)
			req.Header.Set("X-Hub-Signature", signature("signing", push))
			return send(t, req)
		}},
		{name: "unsigned webhooks in chunks", begin: "POST /webhooks/bitbucket HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", status: 202, ask: func() response {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/webhooks/bitbucket", strings.NewReader(push))
			w.must(err)
			req.Header.Set("X-Hub-Signature", signature("signing", push))
			return send(t, req)
		}},
		{name: "AppVeyor's webhook", begin: begin("/webhooks/appveyor", webhookSecret, 5<<20), status: 202, ask: func() response {
			return w.post("/webhooks/appveyor", webhookSecret, `{"eventName":"none","eventData":{"buildId":1}}`)
		}},
		{name: "Forge's events", begin: begin("/forge/events", w.forge.Token(), 1<<20), status: 202, ask: func() response {
			return w.post("/forge/events", w.forge.Token(), `{"eventType":"x","workspace":{"uuid":"{`+workspaceUUID+`}"}}`)
		}},
		{name: "merge checks", begin: begin("/forge/merge-check", w.forge.Token(), 1<<20), status: 200, ask: func() response {
			return w.post("/forge/merge-check", w.forge.Token(), mergeCheck)
		}},
		{name: "waivers", begin: begin("/api/v1/repositories/acme/widgets/pullrequests/7/waivers", waive, 1000), status: 201, ask: func() response {
			return w.post("/api/v1/repositories/acme/widgets/pullrequests/7/waivers", waive, `{"reason":"the agents are down"}`)
		}},
	}
	for _, tt := range tests {
		for range 100 {
			w.hold(tt.begin)
		}
		w.answersSoon(tt.name, tt.ask, tt.status)
	}
	w.answersSoon("the API", func() response { return w.do(http.MethodGet, reportsPath, w.token, nil) }, 200)
}

// fillBuilds gives acme/widgets many builds, over the last 400 days.
func (w *world) fillBuilds(builds int) {
	w.t.Helper()
	fillBuilds(w.t, w.database, builds)
}

func fillBuilds(t testing.TB, url string, builds int) {
	t.Helper()
	postgrestest.Exec(t, url, `
		INSERT INTO builds (workspace_uuid, repository_uuid, build_id, project_id, account, slug, repository, pull_request_id, version,
			state, reported_commit, source_commit, destination_branch, url, jobs, created_on, started_on, finished_on, updated_on)
		SELECT $1, $2, 1000000 + n, 12064, 'acme', 'widgets', 'acme/widgets', 1000 + n / 10, '1.0.' || n,
			CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'success' END, md5(n::text) || left(md5('head' || n), 8), md5(n::text) || left(md5('head' || n), 8), 'main',
			'https://ci.appveyor.com/project/acme/widgets/builds/' || n, '[{"id":"x64","name":"x64","state":"success","tests":{"total":3,"passed":3,"failed":0}}]',
			t, t + interval '1 minute', t + interval '5 minutes', t + interval '5 minutes'
		FROM generate_series(1, $3::bigint) n, LATERAL (SELECT now() - interval '399 days' * (1 - n::float8 / $3::bigint)) AS at(t)`,
		workspaceUUID, repositoryUUID, builds)
	postgrestest.Exec(t, url, `
		INSERT INTO pull_request_heads (workspace_uuid, repository_uuid, pull_request_id, first_seen_on, commit, last_seen_on)
		SELECT workspace_uuid, repository_uuid, pull_request_id, created_on, source_commit, finished_on FROM builds WHERE build_id > 1000000`)
	postgrestest.Exec(t, url, `ANALYZE builds, pull_request_heads`)
}

// TestSlowReadersHoldNobodyUp has many readers ask for all builds, and not read them.
func TestSlowReadersHoldNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, secretKey)
	w.check(event("on-merge"))
	w.built(commit('1'), "success")
	w.fillBuilds(20_000)
	var verdict struct {
		Page  string `json:"page_url"`
		Badge string `json:"badge_url"`
	}
	w.get("/api/v1/repositories/acme/widgets/pullrequests/7", &verdict)
	export := "GET " + reportsPath + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.token + "\r\nAccept: application/x-ndjson\r\n\r\n"
	for range 100 {
		w.hold(export)
	}
	for range 100 {
		w.hold("GET " + reportsPath + "?pagelen=100 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.token + "\r\n\r\n")
	}
	for range 3 {
		w.answersSoon("the API", func() response { return w.do(http.MethodGet, reportsPath, w.token, nil) }, 200)
		w.answersSoon("a page", func() response { return w.fetch(verdict.Page, "Accept", "text/html") }, 200)
		w.answersSoon("a badge", func() response { return w.fetch(verdict.Badge, "Accept", "image/svg+xml") }, 200)
		w.answersSoon("a merge check", func() response { return w.post("/forge/merge-check", w.forge.Token(), event("on-merge")) }, 200)
	}
	w.answersSoon("one more export", func() response { return w.fetch(reportsPath, "Accept", "application/x-ndjson") }, 429)
}

// TestLongReadsAreRefusedWhereThereAreTooMany asks for statistics of all builds, many
// times at once: the answers are statistics, or say when to come back.
func TestLongReadsAreRefusedWhereThereAreTooMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.check(event("on-merge"))
	w.built(commit('1'), "success")
	w.fillBuilds(100_000)
	since := time.Now().AddDate(0, 0, -399).UTC().Format(time.RFC3339)
	var mu sync.Mutex
	answers := map[int]int{}
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/api/v1/repositories/acme/widgets/stats?since="+since, http.NoBody)
			if err != nil {
				return
			}
			req.Header.Set("Authorization", "Bearer "+w.token)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = res.Body.Close() }()
			mu.Lock()
			defer mu.Unlock()
			answers[res.StatusCode]++
			if res.StatusCode != http.StatusOK && res.Header.Get("Retry-After") == "" {
				t.Errorf("answered %d without Retry-After", res.StatusCode)
			}
		})
	}
	for range 20 {
		if a := w.check(event("on-merge")); !a.Success {
			t.Errorf("a merge check meanwhile: %s", a.Message)
		}
	}
	group.Wait()
	if answers[200] == 0 || answers[200]+answers[429]+answers[503] != 64 || answers[429] == 0 {
		t.Errorf("answers by status: %v", answers)
	}
}
