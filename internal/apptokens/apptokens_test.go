package apptokens_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"mergegate/internal/apptokens"
	"mergegate/internal/bitbucket"
	"mergegate/internal/builds"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
	"mergegate/internal/sealed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }

const (
	workspace = "b7ea02c9-0871-4858-a2a6-a190d7de977c"
	other     = "0c3a7799-53ae-4a5b-9e7e-03338980abb5"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, sealed.KeySize) }

func TestTokensAcrossReplicas(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		kept, readBy [][]byte
		asked        string
		want         string
	}{
		{name: "the same key", kept: [][]byte{key(1)}, readBy: [][]byte{key(1)}, asked: workspace, want: "token"},
		{name: "rotated", kept: [][]byte{key(1)}, readBy: [][]byte{key(2), key(1)}, asked: workspace, want: "token"},
		{name: "another key", kept: [][]byte{key(1)}, readBy: [][]byte{key(2)}, asked: workspace},
		{name: "without a key nothing is stored", readBy: [][]byte{key(1)}, asked: workspace},
		{name: "without a key nothing is read", kept: [][]byte{key(1)}, asked: workspace},
		{name: "another workspace", kept: [][]byte{key(1)}, readBy: [][]byte{key(1)}, asked: other},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store, err := postgres.Open(t.Context(), postgrestest.New(t), postgres.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(store.Close)
			replica := func(keys [][]byte) *apptokens.Tokens {
				tokens, err := apptokens.New(store, keys, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				return tokens
			}
			first := replica(tt.kept)
			first.Keep(t.Context(), workspace, "token")
			if got := first.Token(t.Context(), workspace); got != "token" {
				t.Errorf("who kept it has %q", got)
			}
			if got := replica(tt.readBy).Token(t.Context(), tt.asked); got != tt.want {
				t.Errorf("another replica has %q, want %q", got, tt.want)
			}
		})
	}
}

// bundle is a store, and replicas on it that have the same key.
type bundle struct {
	t     *testing.T
	store *postgres.Store
}

func newBundle(t *testing.T) *bundle {
	t.Helper()
	store, err := postgres.Open(t.Context(), postgrestest.New(t), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return &bundle{t: t, store: store}
}

func (b *bundle) replica() *apptokens.Tokens {
	b.t.Helper()
	tokens, err := apptokens.New(b.store, [][]byte{key(1)}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.t.Fatal(err)
	}
	return tokens
}

// TestTokensThatEnd has a token end before it expires, on a replica that kept it
// and on one that only read it.
func TestTokensThatEnd(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		ends func(kept, read *apptokens.Tokens)
		want [3]string // of who kept it, of who read it, and of one that starts then
	}{
		{
			name: "uninstalled", want: [3]string{"", "old", ""}, // the second finds out when it is rejected
			ends: func(kept, _ *apptokens.Tokens) { kept.Drop(t.Context(), workspace) },
		},
		{
			name: "uninstalled, then rejected",
			ends: func(kept, read *apptokens.Tokens) {
				kept.Drop(t.Context(), workspace)
				read.Reject(t.Context(), workspace, "old")
			},
		},
		{
			name: "uninstalled and installed again", want: [3]string{"new", "new", "new"},
			ends: func(kept, read *apptokens.Tokens) {
				kept.Drop(t.Context(), workspace)
				kept.Keep(t.Context(), workspace, "new")
				read.Reject(t.Context(), workspace, "old")
			},
		},
		{
			name: "rejected", want: [3]string{"old", "", ""},
			ends: func(_, read *apptokens.Tokens) { read.Reject(t.Context(), workspace, "old") },
		},
		{
			name: "refused once", want: [3]string{"old", "old", "old"},
			ends: func(_, read *apptokens.Tokens) { read.Doubt(t.Context(), workspace, "old") },
		},
		{
			name: "refused once where another one is stored", want: [3]string{"new", "new", "new"},
			ends: func(kept, read *apptokens.Tokens) {
				kept.Drop(t.Context(), workspace)
				kept.Keep(t.Context(), workspace, "new")
				read.Doubt(t.Context(), workspace, "old")
			},
		},
		{
			name: "an older one rejected late", want: [3]string{"old", "old", "old"},
			ends: func(_, read *apptokens.Tokens) { read.Reject(t.Context(), workspace, "older") },
		},
		{
			name: "another workspace's", want: [3]string{"old", "old", "old"},
			ends: func(kept, read *apptokens.Tokens) {
				kept.Drop(t.Context(), other)
				read.Reject(t.Context(), other, "old")
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			kept, read := b.replica(), b.replica()
			kept.Keep(t.Context(), workspace, "old")
			if got := read.Token(t.Context(), workspace); got != "old" {
				t.Fatalf("the other replica has %q", got)
			}
			tt.ends(kept, read)
			var got [3]string
			for i, tokens := range []*apptokens.Tokens{kept, read, b.replica()} {
				got[i] = tokens.Token(t.Context(), workspace)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("tokens (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	const third = "5f0e7a4e-7a0b-4c1b-9a43-2ea5ad1c7f10"
	tests := []struct {
		name   string
		config bitbucket.Config
		want   []apptokens.Credential
	}{
		{
			name: "nothing configured",
			want: []apptokens.Credential{
				{WorkspaceUUID: third, Reading: bitbucket.KindApp, Posting: bitbucket.KindApp},
				{WorkspaceUUID: workspace, Workspace: "acme", Reading: bitbucket.KindApp, Posting: bitbucket.KindApp},
				{WorkspaceUUID: other, Workspace: "other", Reading: bitbucket.KindNone, Posting: bitbucket.KindNone},
			},
		},
		{
			name: "an access token", config: bitbucket.Config{Token: "t"},
			want: []apptokens.Credential{
				{WorkspaceUUID: third, Reading: bitbucket.KindApp, Posting: bitbucket.KindAccessToken},
				{WorkspaceUUID: workspace, Workspace: "acme", Reading: bitbucket.KindApp, Posting: bitbucket.KindAccessToken},
				{WorkspaceUUID: other, Workspace: "other", Reading: bitbucket.KindAccessToken, Posting: bitbucket.KindAccessToken},
			},
		},
		{
			name: "an API token", config: bitbucket.Config{Email: "a@example.com", APIToken: "t"},
			want: []apptokens.Credential{
				{WorkspaceUUID: third, Reading: bitbucket.KindApp, Posting: bitbucket.KindAPIToken},
				{WorkspaceUUID: workspace, Workspace: "acme", Reading: bitbucket.KindApp, Posting: bitbucket.KindAPIToken},
				{WorkspaceUUID: other, Workspace: "other", Reading: bitbucket.KindAPIToken, Posting: bitbucket.KindAPIToken},
			},
		},
		{
			name: "an OAuth consumer", config: bitbucket.Config{OAuthClientID: "i", OAuthClientSecret: "t"},
			want: []apptokens.Credential{
				{WorkspaceUUID: third, Reading: bitbucket.KindApp, Posting: bitbucket.KindOAuthClient},
				{WorkspaceUUID: workspace, Workspace: "acme", Reading: bitbucket.KindApp, Posting: bitbucket.KindOAuthClient},
				{WorkspaceUUID: other, Workspace: "other", Reading: bitbucket.KindOAuthClient, Posting: bitbucket.KindOAuthClient},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			for _, r := range []postgres.Repository{
				{WorkspaceUUID: workspace, RepositoryUUID: "15a31549-1cff-45dc-9d0d-310114c5038b", FullName: "acme/widgets"},
				{WorkspaceUUID: other, RepositoryUUID: "ffe76500-0627-43f6-a9c5-4d6373a5e4eb", FullName: "other/gadgets"},
			} {
				if err := b.store.LinkRepository(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			tokens := b.replica()
			b.replica().Keep(t.Context(), workspace, "token") // only another replica has it in memory
			tokens.Keep(t.Context(), third, "token")
			client, err := bitbucket.NewClient(tt.config)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tokens.Credentials(t.Context(), client)
			if err != nil {
				t.Fatal(err)
			}
			untils := cmpopts.IgnoreFields(apptokens.Credential{}, "AppTokenUntil")
			if diff := cmp.Diff(tt.want, got, untils); diff != "" {
				t.Errorf("credentials (-want +got):\n%s", diff)
			}
			for _, c := range got {
				if left := time.Until(c.AppTokenUntil); (c.Reading == bitbucket.KindApp) != (left > 0 && left <= time.Hour) {
					t.Errorf("the app's token in %s is valid for %s", c.WorkspaceUUID, left)
				}
			}
			registry := prometheus.NewPedanticRegistry()
			registry.MustRegister(tokens.Collector(client))
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			counts := map[string]int{}
			for _, family := range families {
				counts[family.GetName()] = len(family.GetMetric())
			}
			wantCounts := map[string]int{
				"mergegate_bitbucket_credential_info":                    2 * len(tt.want), // reading and posting
				"mergegate_bitbucket_app_token_expiry_timestamp_seconds": 2,
			}
			if diff := cmp.Diff(wantCounts, counts); diff != "" {
				t.Errorf("metrics (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKeysHave32Bytes(t *testing.T) {
	t.Parallel()
	if _, err := apptokens.New(nil, [][]byte{{1, 2, 3}}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a key of 3 bytes was taken")
	}
}

// TestRefusedStatusesAreRetriedWhenATokenArrives: one comes with every call of Forge, and only where there was none that
// works is it news.
func TestRefusedStatusesAreRetriedWhenATokenArrives(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		before func(tokens *apptokens.Tokens)
		token  string
		want   bool
	}{
		{name: "the first", token: "new", want: true, before: func(*apptokens.Tokens) {}},
		{name: "none", before: func(*apptokens.Tokens) {}},
		{name: "another one", token: "new", before: func(tokens *apptokens.Tokens) { tokens.Keep(t.Context(), workspace, "old") }},
		{name: "the same", token: "old", before: func(tokens *apptokens.Tokens) { tokens.Keep(t.Context(), workspace, "old") }},
		{
			name: "after one that was refused once", token: "new", want: true,
			before: func(tokens *apptokens.Tokens) {
				tokens.Keep(t.Context(), workspace, "old")
				tokens.Doubt(t.Context(), workspace, "old")
			},
		},
		{
			name: "after one that was given up", token: "new", want: true,
			before: func(tokens *apptokens.Tokens) {
				tokens.Keep(t.Context(), workspace, "old")
				tokens.Reject(t.Context(), workspace, "old")
			},
		},
		{
			name: "after another one was refused", token: "new",
			before: func(tokens *apptokens.Tokens) {
				tokens.Keep(t.Context(), workspace, "old")
				tokens.Doubt(t.Context(), workspace, "older")
			},
		},
		{
			name: "after the app was uninstalled", token: "new", want: true,
			before: func(tokens *apptokens.Tokens) {
				tokens.Keep(t.Context(), workspace, "old")
				tokens.Drop(t.Context(), workspace)
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			tokens := b.replica()
			tt.before(tokens)
			id := b.refused()
			tokens.Keep(t.Context(), workspace, tt.token)
			_, c, err := b.store.ClaimEntry(t.Context(), id, time.Minute, 1)
			if claimed := c == postgres.Claimed; err != nil || claimed != tt.want {
				t.Errorf("retried %t, %v", claimed, err)
			}
		})
	}
}

// refused is a commit status of the workspace that waits for its next attempt.
func (b *bundle) refused() int64 {
	b.t.Helper()
	err := b.store.LinkRepository(b.t.Context(), postgres.Repository{WorkspaceUUID: workspace, RepositoryUUID: other, FullName: "ws/repo"})
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = builds.Record(b.t.Context(), b.store, mergecheck.Build{
		BuildID: 1, Project: mergecheck.Project{ID: 1, Account: "acme", Slug: "app"}, Repository: "ws/repo", PullRequestID: 7,
		State: mergecheck.Success, ReportedCommit: strings.Repeat("a", 40), CreatedOn: time.Now(), ConfirmedBy: mergecheck.ConfirmedByAppVeyor,
	}, 0, false)
	if err != nil {
		b.t.Fatal(err)
	}
	list, err := b.store.CommitStatuses(b.t.Context(), postgres.Everything, "", 0, 1)
	if err != nil || len(list) != 1 {
		b.t.Fatalf("%d statuses, %v", len(list), err)
	}
	s, c, err := b.store.ClaimEntry(b.t.Context(), list[0].ID, time.Minute, 1)
	if err != nil || c != postgres.Claimed {
		b.t.Fatalf("claim %v, %v", c, err)
	}
	err = b.store.InTx(b.t.Context(), func(tx *postgres.Tx) error {
		_, err := tx.SettleEntry(b.t.Context(), s, postgres.Attempt{Outcome: postgres.Pending, HTTPStatus: 401, RetryIn: time.Hour})
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return s.ID
}
