package postgres_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"mergegate/internal/commitstatus"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
)

func TestFactsRecordHeads(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	steps := []struct {
		name, head string
		seen       bool
		want       []string // commits, oldest stretch first
	}{
		{name: "only asked about", head: head},
		{name: "short", head: head[:12], seen: true},
		{name: "upper case", head: "AAAAAAAAAAAABBBBBBBBBBBBBBBBBBBBBBBBBBBB", seen: true},
		{name: "unknown", seen: true},
		{name: "first", head: head, seen: true, want: []string{head}},
		{name: "the same again", head: head, seen: true, want: []string{head}},
		{name: "another", head: other, seen: true, want: []string{head, other}},
		{name: "the first comes back", head: head, seen: true, want: []string{head, other, head}},
		{name: "and stays", head: head, seen: true, want: []string{head, other, head}},
	}
	var heads []mergecheck.Head
	for _, tt := range steps {
		if tt.seen {
			see(t, store, pullRequest(r, 7), tt.head)
		}
		f := facts(t, store, pullRequest(r, 7), tt.head)
		var commits []string
		for _, h := range f.Recorded.Heads {
			commits = append(commits, h.Commit)
		}
		equal(t, tt.name, tt.want, commits)
		heads = f.Recorded.Heads
	}
	if lengthened := heads[0].LastSeenOn.After(heads[0].FirstSeenOn) && heads[2].LastSeenOn.After(heads[2].FirstSeenOn); !lengthened {
		t.Errorf("stretches seen twice have no length: %v", heads)
	}
	if !heads[0].LastSeenOn.Before(heads[1].FirstSeenOn) || !heads[1].LastSeenOn.Before(heads[2].FirstSeenOn) {
		t.Errorf("stretches overlap: %v", heads)
	}
}

func TestFactsAreOfThePullRequest(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	link(t, store, repository("ws/elsewhere"))
	record(
		t, store,
		build(1),
		build(2, reported(head[:12])),
		build(3, reported("")),
		build(4, reported(other)),
		build(5, reported(other[:12])),
		build(6, reported(twin)),
		build(7, func(b *mergecheck.Build) { b.PullRequestID = 8 }),
		build(8, of("ws/elsewhere"), func(b *mergecheck.Build) { b.Project.ID = 3 }),
		build(9, func(b *mergecheck.Build) { b.Project = mergecheck.Project{ID: 2, Account: "acme", Slug: "lib"} }),
	)
	app, lib := mergecheck.Project{ID: 1, Account: "acme", Slug: "app"}, mergecheck.Project{ID: 2, Account: "acme", Slug: "lib"}
	tests := []struct {
		name, head string
		want       []int64
	}{
		{name: "head", head: head, want: []int64{9, 3, 2, 1}},
		{name: "twin", head: twin, want: []int64{6, 3, 2}},
		{name: "never built", head: "e" + head[1:], want: []int64{3}},
		{name: "unknown", want: []int64{3}},
	}
	for _, tt := range tests {
		f := facts(t, store, pullRequest(r, 7), tt.head)
		equal(t, tt.name, tt.want, buildIDs(f.Builds))
		equal(t, tt.name+": required", []mergecheck.Project{app, lib}, f.Seen)
		equal(t, tt.name+": repository", r, f.Repository)
		if skew := time.Since(f.Now).Abs(); skew > time.Minute {
			t.Errorf("%s: now is off by %v", tt.name, skew)
		}
	}
	if err := commitstatus.Forget(t.Context(), store, 2); err != nil {
		t.Fatal(err)
	}
	equal(t, "required after forgetting", []mergecheck.Project{app}, facts(t, store, pullRequest(r, 7), head).Seen)
	record(t, store, build(10, func(b *mergecheck.Build) { b.Project = lib }))
	equal(t, "required after another build", []mergecheck.Project{app}, facts(t, store, pullRequest(r, 7), head).Seen)

	got := facts(t, store, pullRequest(repository("ws/new"), 7), head)
	equal(t, "facts of nobody's repository", postgres.Facts{}, got, cmpopts.IgnoreFields(postgres.Facts{}, "Now"))
}

func unconfirmed(t testing.TB, store *postgres.Store, pr postgres.PullRequestKey) []mergecheck.Unconfirmed {
	t.Helper()
	list, err := store.Unconfirmed(t.Context(), pr)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestUnconfirmed(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	for _, d := range []postgres.Delivery{
		{BuildID: 1, Outcome: postgres.Pending},
		{BuildID: 2, Outcome: postgres.Failed, Reason: "AppVeyor says no", HintedRepository: "WS/Repo"},
		{BuildID: 3, Outcome: postgres.Ignored, Reason: "not_pull_request"},
		{BuildID: 8, Outcome: postgres.Ignored, Reason: "untrusted_account", Account: "mallory"},
		{BuildID: 4, Outcome: postgres.Processed},
		{BuildID: 5, Outcome: postgres.Pending, HintedPullRequest: 8},
		{BuildID: 6, Outcome: postgres.Pending, HintedRepository: "ws/elsewhere"},
		{BuildID: 7, Outcome: postgres.Pending},
	} {
		d.Source, d.Body = "appveyor", []byte("{}")
		if d.HintedRepository == "" {
			d.HintedRepository = name
		}
		if d.HintedPullRequest == 0 {
			d.HintedPullRequest = 7
		}
		addDelivery(t, store, d)
	}
	record(t, store, build(7, of("ws/elsewhere"))) // the id exists, wherever
	want := []mergecheck.Unconfirmed{{BuildID: 8, Untrusted: "mallory"}, {BuildID: 2, Reason: "AppVeyor says no", Failed: true}, {BuildID: 1}}
	equal(t, "unconfirmed", want, unconfirmed(t, store, pullRequest(r, 7)))
	record(t, store, build(1), build(2))
	equal(t, "unconfirmed after the builds", []mergecheck.Unconfirmed{{BuildID: 8, Untrusted: "mallory"}}, unconfirmed(t, store, pullRequest(r, 7)))
}

// TestFactsInOneRoundTrip counts how often the client speaks after the server did.
func TestFactsInOneRoundTrip(t *testing.T) {
	t.Parallel()
	address := postgrestest.New(t)
	direct := openURL(t, address)
	r := link(t, direct, repository(name))
	record(t, direct, build(1))
	proxied, trips := countTrips(t, address)
	store := openURL(t, proxied)
	for _, commit := range []string{head, other, head} { // after the first two the statements are prepared
		trips.Store(0)
		facts(t, store, pullRequest(r, 7), commit)
	}
	equal(t, "round trips", 1, trips.Load())
}

// countTrips puts a proxy before the database that counts turns of the client.
func countTrips(t *testing.T, address string) (proxied string, trips *atomic.Int64) {
	t.Helper()
	config, err := pgx.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	trips = new(atomic.Int64)
	var conns sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); conns.Wait() })
	network, server := pgconn.NetworkAddress(config.Host, config.Port)
	conns.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // the listener is closed
			}
			upstream, err := new(net.Dialer).DialContext(context.WithoutCancel(t.Context()), network, server)
			if err != nil {
				_ = client.Close()
				continue
			}
			spoken := new(atomic.Bool) // the server, since the client last did
			spoken.Store(true)
			conns.Go(func() {
				pass(upstream, client, func() {
					if spoken.Swap(false) {
						trips.Add(1)
					}
				})
			})
			conns.Go(func() { pass(client, upstream, func() { spoken.Store(true) }) })
		}
	})
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(config.User, config.Password),
		Host: listener.Addr().String(), Path: config.Database, RawQuery: "sslmode=disable",
	}
	return u.String(), trips
}

func pass(to, from net.Conn, note func()) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			note()
			if _, err := to.Write(buffer[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	store := open(t)
	r := link(t, store, repository(name))
	pr := pullRequest(r, 7)
	for i := range 7 {
		d := postgres.Decision{
			Trigger: "on-merge", Success: i%2 == 0, Code: "passed", Message: fmt.Sprint(i), Head: head, Destination: "main",
			Builds: []int64{int64(i)}, DurationMs: i,
		}
		if i == 6 {
			d.Builds, d.PolicyVersion = nil, new(int64(3))
		}
		addDecision(t, store, pr, d, i == 3)
	}
	addDecision(t, store, pullRequest(r, 8), postgres.Decision{Trigger: "on-merge", Code: "passed", Message: "another"}, false)

	var got []string
	var newest postgres.Decision
	for before := int64(0); ; {
		list, err := store.Decisions(t.Context(), pr, before, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
		if before == 0 {
			newest = list[0]
		}
		for _, d := range list {
			got = append(got, d.Message)
		}
		before = list[len(list)-1].ID
	}
	equal(t, "newest first", []string{"6", "5", "4", "3", "2", "1", "0"}, got)
	want := postgres.Decision{
		Trigger: "on-merge", Success: true, Code: "passed", Message: "6", Head: head, Destination: "main",
		PolicyVersion: new(int64(3)), DurationMs: 6,
	}
	equal(t, "read back", want, newest, cmpopts.IgnoreFields(postgres.Decision{}, "ID", "PullRequestID", "CreatedOn"))
	equal(t, "jobs", 1, len(queued(t, store, "settle_heads")))
}

func addDecision(t *testing.T, store *postgres.Store, pr postgres.PullRequestKey, d postgres.Decision, settle bool) {
	t.Helper()
	inTx(t, store, func(tx *postgres.Tx) error {
		if err := tx.AddDecision(t.Context(), pr, d); err != nil || !settle {
			return err
		}
		return tx.Enqueue(t.Context(), postgres.SettleHeads(pr))
	})
}
