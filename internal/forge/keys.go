package forge

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// Keys is what there is at a JWKS URL.
type Keys struct {
	Usable int       // keys that tokens can be verified with
	On     time.Time // the server's clock, to the second; zero: not told
}

// ReadKeys reads the keys at a JWKS URL once, as a [Verifier] does again and again.
func ReadKeys(ctx context.Context, url string) (Keys, error) {
	keys, header, err := newKeySet(url, nil, slog.New(slog.DiscardHandler)).get(ctx)
	on, _ := http.ParseTime(header.Get("Date"))
	return Keys{Usable: len(keys), On: on}, err
}
