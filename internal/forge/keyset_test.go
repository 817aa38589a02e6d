package forge

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// keyServer is a transport that serves a set: with it, minutes pass in no time inside a synctest bubble.
type keyServer struct {
	modulus string

	mu       sync.Mutex
	kids     []string
	takes    time.Duration                               // to answer
	broken   func(*http.Request) (*http.Response, error) // nil: not
	requests int
}

func newKeyServer(t *testing.T, kids ...string) *keyServer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, minKeyBits)
	if err != nil {
		t.Fatal(err)
	}
	return &keyServer{modulus: base64.RawURLEncoding.EncodeToString(key.N.Bytes()), kids: kids}
}

func (s *keyServer) serve(kids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kids, s.broken = kids, nil
}

func (s *keyServer) breakWith(broken func(*http.Request) (*http.Response, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = broken
}

func (s *keyServer) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func (s *keyServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.requests++
	broken, kids, takes := s.broken, s.kids, s.takes
	s.mu.Unlock()
	if broken != nil {
		return broken(r)
	}
	select {
	case <-time.After(takes):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	keys := []map[string]string{}
	for _, kid := range kids {
		keys = append(keys, map[string]string{"kty": "RSA", "kid": kid, "n": s.modulus, "e": "AQAB"})
	}
	body, err := json.Marshal(map[string]any{"keys": keys})
	return reply(http.StatusOK, string(body)), err
}

func reply(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader(body))}
}

func hang(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// inBubble runs a key set against the server in a bubble with a clock of its own.
func inBubble(t *testing.T, server *keyServer, log io.Writer, test func(*testing.T, *keySet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		keys := newKeySet("http://keys.invalid/", &http.Client{Transport: server}, slog.New(slog.NewTextHandler(log, nil)))
		go keys.run(ctx)
		test(t, keys)
	})
}

// advance lets the bubble's clock go on.
func advance(d time.Duration) { <-time.After(d) }

func finds(t *testing.T, keys *keySet, kid string) bool {
	t.Helper()
	before := time.Now()
	key, err := keys.find(t.Context(), kid)
	if took := time.Since(before); took > maxKeyWait {
		t.Errorf("waited %s for key %s", took, kid)
	}
	return key != nil && err == nil
}

func TestAKeyThatJoinsIsFoundAtOnce(t *testing.T) {
	t.Parallel()
	server := newKeyServer(t, "a")
	inBubble(t, server, io.Discard, func(t *testing.T, keys *keySet) {
		if !finds(t, keys, "a") {
			t.Error("the first key isn't found")
		}
		advance(30 * time.Second)
		server.serve("a", "b")
		if !finds(t, keys, "b") {
			t.Error("the key that joined isn't found at the first token")
		}
	})
}

// TestAKeyThatJoinsIsFoundByAll has several tokens come while the set is read: none is refused for being late.
func TestAKeyThatJoinsIsFoundByAll(t *testing.T) {
	t.Parallel()
	server := newKeyServer(t, "a")
	server.takes = maxKeyWait / 2
	inBubble(t, server, io.Discard, func(t *testing.T, keys *keySet) {
		advance(30 * time.Second)
		server.serve("a", "b")
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				if !finds(t, keys, "b") {
					t.Error("the key that joined isn't found")
				}
			})
		}
		group.Wait()
	})
}

// TestAKeyThatJoinsThoughAnotherHangsUp has the one whose unknown key caused a read not wait for it.
func TestAKeyThatJoinsThoughAnotherHangsUp(t *testing.T) {
	t.Parallel()
	server := newKeyServer(t, "a")
	server.takes = maxKeyWait / 2
	inBubble(t, server, io.Discard, func(t *testing.T, keys *keySet) {
		advance(30 * time.Second)
		server.serve("a", "b")
		impatient, cancel := context.WithTimeout(t.Context(), server.takes/2)
		defer cancel()
		if _, err := keys.find(impatient, "forged"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if !finds(t, keys, "b") {
			t.Error("the key that joined isn't found")
		}
	})
}

func TestAKeyThatJoinsWhileOthersForge(t *testing.T) {
	t.Parallel()
	server := newKeyServer(t, "a")
	inBubble(t, server, io.Discard, func(t *testing.T, keys *keySet) {
		advance(30 * time.Second)
		finds(t, keys, "forged") // uses up the read
		server.serve("a", "b")
		if finds(t, keys, "b") {
			t.Error("the set was read twice in a moment")
		}
		advance(refetchAfter)
		if !finds(t, keys, "b") {
			t.Errorf("the key that joined isn't found %s later", refetchAfter)
		}
	})
}

func TestAKeyThatJoinsWithoutAnyToken(t *testing.T) {
	t.Parallel()
	server := newKeyServer(t, "a")
	inBubble(t, server, io.Discard, func(t *testing.T, keys *keySet) {
		advance(time.Second)
		server.serve("b")
		advance(90 * time.Second)
		if key, _, _ := keys.known("b"); key == nil {
			t.Error("the key that joined isn't known after 90 s")
		}
		if finds(t, keys, "a") {
			t.Error("the key that left is still accepted after 90 s")
		}
	})
}

func TestAnEmptySetIsASet(t *testing.T) {
	t.Parallel()
	server := newKeyServer(t, "a")
	inBubble(t, server, io.Discard, func(t *testing.T, keys *keySet) {
		advance(time.Second)
		server.serve()
		advance(refreshEvery)
		_, err := keys.find(t.Context(), "a")
		if !errors.Is(err, errUnknownKey) {
			t.Errorf("every key has left, but: %v", err)
		}
	})
}

func TestKnownKeysOutliveAnOutage(t *testing.T) {
	t.Parallel()
	answer := func(status int, body string) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) { return reply(status, body), nil }
	}
	for name, broken := range map[string]func(*http.Request) (*http.Response, error){
		"unreachable": func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") },
		"hanging":     hang,
		"5xx":         answer(http.StatusBadGateway, `{"keys":[]}`),
		"HTML":        answer(http.StatusOK, "<html>"),
		"empty body":  answer(http.StatusOK, ""),
		"no set":      answer(http.StatusOK, `{"message":"try later"}`),
		"garbage":     answer(http.StatusOK, `{"keys":[]} {"keys":[]}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newKeyServer(t, "a")
			var log bytes.Buffer
			inBubble(t, server, &log, func(t *testing.T, keys *keySet) {
				advance(time.Second)
				server.breakWith(broken)
				for range 100 {
					advance(time.Minute)
					if !finds(t, keys, "a") {
						t.Fatal("the known key is refused")
					}
					finds(t, keys, "forged")
				}
				server.serve("b")
				advance(fetchTimeout + retryAfter)
				if !finds(t, keys, "b") || finds(t, keys, "a") {
					t.Error("the new set isn't in force after the outage")
				}
			})
			if got := strings.Count(log.String(), "reading forge keys failed"); got != 1 {
				t.Errorf("the outage was logged %d times", got)
			}
		})
	}
}

func TestUnreachableAtTheStart(t *testing.T) {
	t.Parallel()
	server := newKeyServer(t, "a")
	server.breakWith(hang)
	inBubble(t, server, io.Discard, func(t *testing.T, keys *keySet) {
		if _, err := keys.find(t.Context(), "a"); !errors.Is(err, errKeysUnread) {
			t.Errorf("got %v", err)
		}
		server.serve("a")
		advance(fetchTimeout + retryAfter)
		if !finds(t, keys, "a") {
			t.Error("the key isn't found once the set can be read")
		}
	})
}

func TestForgedKeyIDsCauseFewReads(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(*http.Request) (*http.Response, error){"readable": nil, "hanging": hang} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newKeyServer(t, "a")
			inBubble(t, server, io.Discard, func(t *testing.T, keys *keySet) {
				advance(30 * time.Second)
				server.breakWith(broken)
				before := server.asked()
				var group sync.WaitGroup
				for i := range 5000 {
					group.Go(func() { finds(t, keys, fmt.Sprintf("forged-%d", i)) })
				}
				start := time.Now()
				if !finds(t, keys, "a") || time.Since(start) != 0 {
					t.Error("a known key had to wait")
				}
				group.Wait()
				for range 60 {
					advance(time.Second)
					finds(t, keys, "forged")
				}
				most := 2 + int(time.Since(start)/refetchAfter)
				if got := server.asked() - before; got > most {
					t.Errorf("%d reads in %s, want %d at most", got, time.Since(start), most)
				}
			})
		})
	}
}
