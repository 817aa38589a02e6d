package apptokens

import (
	"bytes"
	"log/slog"
	"testing"
)

// FuzzOpen opens anything as a stored token: only what was sealed for the same
// workspace opens.
func FuzzOpen(f *testing.F) {
	const workspace = "b7ea02c9-0871-4858-a2a6-a190d7de977c"
	tokens, err := New(nil, [][]byte{bytes.Repeat([]byte{1}, KeySize), bytes.Repeat([]byte{2}, KeySize)}, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	sealed := tokens.seal(workspace, "token")
	f.Add(workspace, sealed)
	f.Add("another", sealed)
	f.Add(workspace, sealed[:11])
	f.Add(workspace, []byte{})
	f.Fuzz(func(t *testing.T, of string, given []byte) {
		token, err := tokens.open(of, given)
		if err == nil && (of != workspace || token != "token") {
			t.Errorf("opened as %q of %q", token, of)
		}
		if bytes.Equal(given, sealed) && (err == nil) != (of == workspace) {
			t.Errorf("opened of %q: error %v", of, err)
		}
	})
}
