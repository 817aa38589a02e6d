package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/bitbucket/bitbuckettest/held"
	"mergegate/internal/forge/forgetest"
	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
	"mergegate/internal/server/servertest"
)

// BenchmarkMergeChecksUnderReaders asks merge checks while 64 clients ask for statistics
// of 200,000 builds (BENCH_BUILDS), others reload a page and page through lists, and others
// export everything and hardly read it. It prints how long merge checks took and how many
// said that the database could not be used: figures, without a bound. Clients, service,
// stand-ins and PostgreSQL share the machine.
func BenchmarkMergeChecksUnderReaders(b *testing.B) {
	builds := 200_000
	if text := os.Getenv("BENCH_BUILDS"); text != "" {
		var err error
		if builds, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	s := newBusyService(b, builds)
	b.Run("alone", s.measure)
	stop := s.load(b)
	b.Run("under readers", s.measure)
	for name, n := range stop() {
		b.Logf("meanwhile: %s: %d", name, n)
	}
}

// busyService is a running service with a long history.
type busyService struct {
	url, token, page string
	appveyor         *appveyortest.Server
	bb               *bitbuckettest.Server
	forge            *forgetest.Issuer
	client           *http.Client
}

func newBusyService(b *testing.B, builds int) *busyService {
	b.Helper()
	s := &busyService{token: "mgt_benchmark", client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 200}}}
	b.Cleanup(s.client.CloseIdleConnections)
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	var err error
	s.appveyor, err = appveyortest.New()
	must(err)
	s.bb, err = held.New()
	must(err)
	s.forge, err = forgetest.New()
	must(err)
	b.Cleanup(func() { s.appveyor.Close(); s.bb.Close(); s.forge.Close() })
	must(s.appveyor.AddProject(appveyortest.Project{ID: 12064, Account: "acme", Slug: "widgets", RepositoryName: repository}))
	must(s.bb.AddRepository(bitbuckettest.Repository{WorkspaceUUID: workspaceUUID, UUID: repositoryUUID, FullName: repository}))
	must(s.bb.PutPullRequest(repository, servertest.PullRequest(commit('1'))))

	database := postgrestest.New(b)
	self, err := os.Executable()
	must(err)
	program := &process{cmd: exec.Command(self, "serve"), done: make(chan error, 1)}
	program.cmd.Env = []string{
		asProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
		"DATABASE_URL=" + database, "MERGEGATE_LISTEN=127.0.0.1:0", "MERGEGATE_APPVEYOR_ACCOUNTS=acme=acme", "MERGEGATE_APPVEYOR_URL=" + s.appveyor.URL,
		"MERGEGATE_APPVEYOR_WEBHOOK_SECRET=" + servertest.WebhookSecret, "MERGEGATE_BITBUCKET_API_URL=" + s.bb.URL, "MERGEGATE_FORGE_APP_ID=" + forgetest.AppID,
		"MERGEGATE_FORGE_JWKS_URL=" + s.forge.URL, servertest.SecretKey,
	}
	serving := make(chan string, 1)
	stderr, err := program.cmd.StderrPipe()
	must(err)
	must(program.cmd.Start())
	go program.follow(stderr, serving)
	b.Cleanup(func() {
		_ = program.cmd.Process.Signal(os.Interrupt)
		if err := <-program.done; err != nil {
			b.Errorf("the program ended with %v", err)
		}
	})
	s.url = "http://" + <-serving

	store, err := postgres.Open(b.Context(), database, postgres.Options{MaxConns: 1, StatementTimeout: time.Minute})
	must(err)
	defer store.Close()
	hash := sha256.Sum256([]byte(s.token))
	_, err = store.AddToken(b.Context(), postgres.Token{Name: "benchmark", Scopes: []string{"read"}, Repository: "**"}, hash[:])
	must(err)
	s.check(b) // links the repository
	servertest.FillBuilds(b, database, builds)
	now := time.Now().UTC()
	built, err := s.appveyor.PutBuild("acme", "widgets", appveyortest.Build{
		Branch: "main", PullRequestID: 7, PullRequestHeadCommit: commit('1'), PullRequestHeadRepository: repository, PullRequestHeadBranch: "feature",
		CommitID: commit('1'), Status: "success", Created: now, Started: now, Updated: now, Finished: now, Jobs: []appveyortest.Job{{Tests: 1, Passed: 1}},
	})
	must(err)
	_, _, err = s.appveyor.Notify(b.Context(), s.url+"/webhooks/appveyor", servertest.WebhookSecret, built.ID)
	must(err)
	var verdict struct {
		Success bool
		Page    string `json:"page_url"`
	}
	for deadline := time.Now().Add(servertest.Patience); !verdict.Success; {
		if time.Now().After(deadline) {
			b.Fatal("the build is not confirmed")
		}
		s.check(b)
		body, _ := s.get(b.Context(), "/api/v1/repositories/acme/widgets/pullrequests/7")
		must(json.Unmarshal(body, &verdict))
	}
	s.page = verdict.Page
	return s
}

// check asks one merge check and returns its message and how long it took.
func (s *busyService) check(b *testing.B) (message string, took time.Duration) {
	b.Helper()
	token := s.forge.Token()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, s.url+"/forge/merge-check", strings.NewReader(servertest.Event("on-merge", servertest.Bringing(commit('1')))))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	start := time.Now()
	res, err := s.client.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	took = time.Since(start)
	var a servertest.Answer
	if err != nil || res.StatusCode != http.StatusOK || json.Unmarshal(body, &a) != nil {
		b.Fatalf("answered %d %s, %v", res.StatusCode, body, err)
	}
	if !a.Success {
		message = a.Message
	}
	return message, took
}

func (s *busyService) measure(b *testing.B) {
	var times []time.Duration
	var database, refused int
	for b.Loop() {
		message, took := s.check(b)
		times = append(times, took)
		if message != "" {
			refused++
		}
		if strings.Contains(message, "database") {
			database++
		}
	}
	slices.Sort(times)
	at := func(share float64) float64 {
		return float64(times[min(int(share*float64(len(times))), len(times)-1)]) / float64(time.Millisecond)
	}
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(at(1), "max-ms")
	b.ReportMetric(float64(database), "database-messages")
	b.ReportMetric(float64(refused), "not-passed")
}

// load begins to read. What it returns ends that, and tells what was answered how often.
func (s *busyService) load(b *testing.B) (stop func() map[string]int) {
	ctx, cancel := context.WithCancel(b.Context())
	var group sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{}
	again := func(name string, clients int, path func() string) {
		for range clients {
			group.Go(func() {
				for ctx.Err() == nil {
					_, status := s.get(ctx, path())
					mu.Lock()
					answers[fmt.Sprintf("%s answered %d", name, status)]++
					mu.Unlock()
				}
			})
		}
	}
	const history = "/api/v1/repositories/acme/widgets/"
	since := time.Now().AddDate(0, 0, -399).UTC().Format(time.RFC3339)
	again("statistics", 64, func() string { return history + "stats?since=" + since })
	again("page", 16, func() string { return s.page })
	var turn atomic.Int64
	again("list", 8, func() string {
		return history + "builds?pagelen=100&state=failed&until=" + time.Now().AddDate(0, 0, -int(turn.Add(1)%390)).UTC().Format(time.RFC3339)
	})
	for range 32 {
		group.Go(func() {
			for ctx.Err() == nil {
				s.readSlowly(ctx, history+"builds")
			}
		})
	}
	return func() map[string]int { cancel(); group.Wait(); return answers }
}

func (s *busyService) get(ctx context.Context, path string) (body []byte, status int) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, http.NoBody)
	if err != nil {
		return nil, 0
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	res, err := s.client.Do(req)
	if err != nil {
		return nil, 0
	}
	defer func() { _ = res.Body.Close() }()
	body, _ = io.ReadAll(res.Body)
	return body, res.StatusCode
}

// readSlowly asks for an export and reads some kilobytes of it in a second, until it is
// cut off.
func (s *busyService) readSlowly(ctx context.Context, path string) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\nAccept: application/x-ndjson\r\n\r\n", path, s.token); err != nil {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if _, err := io.ReadFull(conn, make([]byte, 4<<10)); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
