package sealed_test

import (
	"bytes"
	"errors"
	"testing"

	"mergegate/internal/sealed"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, sealed.KeySize) }

func TestOpen(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		sealing, open [][]byte
		place         string
		change        func([]byte) []byte
		want          error
	}{
		{name: "the same key", sealing: [][]byte{key(1)}, open: [][]byte{key(1)}, place: "here"},
		{name: "rotated", sealing: [][]byte{key(1)}, open: [][]byte{key(2), key(1)}, place: "here"},
		{name: "another key", sealing: [][]byte{key(1)}, open: [][]byte{key(2)}, place: "here", want: sealed.ErrNotOpened},
		{name: "no key", sealing: [][]byte{key(1)}, place: "here", want: sealed.ErrNotOpened},
		{name: "another place", sealing: [][]byte{key(1)}, open: [][]byte{key(1)}, place: "there", want: sealed.ErrNotOpened},
		{
			name: "changed", sealing: [][]byte{key(1)}, open: [][]byte{key(1)}, place: "here", want: sealed.ErrNotOpened,
			change: func(kept []byte) []byte { kept[len(kept)-1] ^= 1; return kept },
		},
		{
			name: "cut off", sealing: [][]byte{key(1)}, open: [][]byte{key(1)}, place: "here", want: sealed.ErrNotOpened,
			change: func(kept []byte) []byte { return kept[:5] },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			kept := box(t, tt.sealing).Seal("here", []byte("a secret"))
			if bytes.Contains(kept, []byte("secret")) {
				t.Fatal("the secret can be read")
			}
			if tt.change != nil {
				kept = tt.change(kept)
			}
			got, err := box(t, tt.open).Open(tt.place, kept)
			if !errors.Is(err, tt.want) || tt.want == nil && string(got) != "a secret" {
				t.Errorf("opened %q, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestKeysOfAnotherSize(t *testing.T) {
	t.Parallel()
	if _, err := sealed.New([][]byte{key(1), {1, 2, 3}}); err == nil {
		t.Error("a key of three bytes was taken")
	}
}

func box(t *testing.T, keys [][]byte) sealed.Box {
	t.Helper()
	b, err := sealed.New(keys)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzOpen reads what may stand in a database that somebody wrote to.
func FuzzOpen(f *testing.F) {
	b, err := sealed.New([][]byte{key(1), key(2)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b.Seal("here", []byte("a secret")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, kept []byte) {
		if opened, err := b.Open("there", kept); err == nil {
			t.Errorf("opened %q", opened)
		}
	})
}
