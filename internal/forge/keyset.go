package forge

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The set is kept by hand, since github.com/MicahParks/keyfunc v3.9.1 (with jwkset v0.11.4) fails these tests:
//   - TestKnownKeysOutliveAnOutage and TestWithoutKeys: an answer that is no set ({"message":…}, null) counts as an empty
//     one and drops every key, what follows a set is passed over, and the body has no limit;
//   - TestWeakKeysAreNotUsed: one key that can't be read has the whole set refused, and short keys are taken;
//   - TestAKeyThatJoinsIsFoundByAll and TestAKeyThatJoinsThoughAnotherHangsUp: a token with an unknown key reads the set
//     on its own context, and whoever comes meanwhile, or after it hung up, is refused by the rate limiter.
//
// A transport of ours that checks the body cures the first two, with hardly less code than there is here; nothing outside
// of it cures the third.

const (
	fetchTimeout = 5 * time.Second
	// refreshEvery has a key that joined known, and one that left forgotten, well within 90 s without anyone asking.
	refreshEvery = 60 * time.Second
	// refetchAfter is the least time between two reads, however many tokens name an unknown key.
	refetchAfter = 10 * time.Second
	// retryAfter is the least time between two reads after one failed, and the longest.
	retryAfter = 5 * time.Second
	// maxKeyWait is how long a token with an unknown key waits for a read: someone waits for the answer.
	maxKeyWait = time.Second
	maxSet     = 1 << 20
	minKeyBits = 2048
)

var (
	errKeysUnread = errors.New("mergegate can't read Atlassian's keys to verify it")
	errUnknownKey = errors.New("it is signed with an unknown key")
)

// keySet keeps the keys of a JWKS URL. One goroutine reads it, so that no number of tokens, forged or not, causes more
// than one read at a time; and what can't be read, or isn't a set, changes nothing.
type keySet struct {
	url  string
	http *http.Client
	log  *slog.Logger
	wake chan struct{} // one value: someone wants an unknown key

	mu       sync.RWMutex
	keys     map[string]*rsa.PublicKey // by kid
	read     time.Time                 // of the last success; zero: never
	err      error                     // of the last attempt
	nextRead time.Time                 // not before
	attempt  chan struct{}             // closed when the next attempt has ended
}

func newKeySet(url string, client *http.Client, log *slog.Logger) *keySet {
	if client == nil {
		client = &http.Client{
			Transport: &http.Transport{
				Proxy:             http.ProxyFromEnvironment,
				ForceAttemptHTTP2: true,
				DisableKeepAlives: true, // one request a minute
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return &keySet{url: url, http: client, log: log, wake: make(chan struct{}, 1), attempt: make(chan struct{})}
}

// run reads the set until ctx ends.
func (k *keySet) run(ctx context.Context) {
	for ctx.Err() == nil {
		keys, err := k.fetch(ctx)
		pause, longest := refetchAfter, refreshEvery
		if err != nil {
			pause, longest = retryAfter, retryAfter
		}
		k.settle(ctx, keys, err, pause)
		k.sleep(ctx, pause, nil)
		k.sleep(ctx, longest-pause, k.wake)
	}
}

func (k *keySet) sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
}

// settle takes over the outcome of an attempt and wakes those who wait for it.
func (k *keySet) settle(ctx context.Context, keys map[string]*rsa.PublicKey, err error, pause time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	switch {
	case ctx.Err() != nil: // cut short by the end: says nothing about the URL
	case err != nil && k.err == nil:
		k.log.WarnContext(ctx, "reading forge keys failed", "url", k.url, "error", err, "known_keys", len(k.keys))
	case err == nil && (k.err != nil || k.read.IsZero()):
		k.log.InfoContext(ctx, "forge keys read", "url", k.url, "keys", len(keys))
	}
	k.err, k.nextRead = err, now.Add(pause)
	if err == nil {
		k.keys, k.read = keys, now
	}
	close(k.attempt)
	k.attempt = make(chan struct{})
}

// find answers the key. An unknown one is looked for in the set again, as soon as it may be read again.
func (k *keySet) find(ctx context.Context, kid string) (*rsa.PublicKey, error) {
	if kid == "" {
		return nil, errUnknownKey // no set can have it
	}
	key, attempt, soon := k.known(kid)
	if key != nil {
		return key, nil
	}
	select {
	case k.wake <- struct{}{}:
	default: // asked for already
	}
	if soon {
		if err := wait(ctx, attempt); err != nil {
			return nil, err
		}
		key, _, _ = k.known(kid)
	}
	switch {
	case key != nil:
		return key, nil
	case k.never():
		return nil, errKeysUnread
	default:
		return nil, errUnknownKey
	}
}

// known answers the key or nil, what is closed after the next attempt, and whether that is worth waiting for.
func (k *keySet) known(kid string) (key *rsa.PublicKey, attempt <-chan struct{}, soon bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keys[kid], k.attempt, time.Until(k.nextRead) < maxKeyWait
}

func (k *keySet) never() bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.read.IsZero()
}

func (k *keySet) status() (int, time.Time, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.keys), k.read, k.err
}

// wait returns when the attempt has ended or took too long; an error only when ctx ended.
func wait(ctx context.Context, attempt <-chan struct{}) error {
	timer := time.NewTimer(maxKeyWait)
	defer timer.Stop()
	select {
	case <-attempt:
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *keySet) fetch(ctx context.Context) (map[string]*rsa.PublicKey, error) {
	keys, _, err := k.get(ctx)
	return keys, err
}

// get answers the usable keys, and the header of the answer.
func (k *keySet) get(ctx context.Context) (map[string]*rsa.PublicKey, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := k.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end or given up
	if res.StatusCode != http.StatusOK {
		return nil, res.Header, fmt.Errorf("the answer is %s", res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxSet+1))
	if err != nil {
		return nil, res.Header, err
	}
	keys, err := parseSet(body)
	return keys, res.Header, err
}

// parseSet answers the usable keys of a JSON Web Key Set (RFC 7517). Only an object with an array of keys is a set;
// an empty one is: every key has left it. What is not for us among the keys is passed over.
func parseSet(body []byte) (map[string]*rsa.PublicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if len(body) > maxSet {
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxSet)
	}
	if err := json.Unmarshal(body, &set); err != nil || set.Keys == nil {
		return nil, errors.New("the answer isn't a JSON web key set")
	}
	keys := map[string]*rsa.PublicKey{}
	for _, raw := range set.Keys {
		if kid, key := parseKey(raw); key != nil {
			keys[kid] = key
		}
	}
	return keys, nil
}

// parseKey answers nil for a key that isn't RSA, is too short, not for RS256 signatures or has no id.
func parseKey(raw json.RawMessage) (string, *rsa.PublicKey) {
	var jwk struct{ Kty, Kid, Use, Alg, N, E string }
	if json.Unmarshal(raw, &jwk) != nil || jwk.Kty != "RSA" || jwk.Kid == "" {
		return "", nil
	}
	if (jwk.Use != "" && jwk.Use != "sig") || (jwk.Alg != "" && jwk.Alg != algorithm) {
		return "", nil
	}
	n, errN := base64.RawURLEncoding.DecodeString(strings.TrimRight(jwk.N, "="))
	e, errE := base64.RawURLEncoding.DecodeString(strings.TrimRight(jwk.E, "="))
	if errN != nil || errE != nil || len(e) > 4 {
		return "", nil
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	if key.N.BitLen() < minKeyBits || key.E < 3 || key.E%2 == 0 {
		return "", nil
	}
	return jwk.Kid, key
}
