package apptokens_test

import (
	"bytes"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"mergegate/internal/apptokens"
	"mergegate/internal/postgres"
	"mergegate/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }

const (
	workspace = "b7ea02c9-0871-4858-a2a6-a190d7de977c"
	other     = "0c3a7799-53ae-4a5b-9e7e-03338980abb5"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, apptokens.KeySize) }

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

func TestKeysHave32Bytes(t *testing.T) {
	t.Parallel()
	if _, err := apptokens.New(nil, [][]byte{{1, 2, 3}}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a key of 3 bytes was taken")
	}
}
