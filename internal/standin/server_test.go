package standin_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mergegate/internal/standin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, handler http.HandlerFunc) (*standin.Server, *http.Client) {
	t.Helper()
	server, err := standin.Start(handler)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{
		Transport:     &http.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		server.Close()
		server.Close()
	})
	return server, client
}

func TestFaults(t *testing.T) {
	t.Parallel()
	type answer struct {
		Status                           int
		Type, RetryAfter, Location, Body string
		Broken                           bool
		Applied                          int32
	}
	const text = "text/plain; charset=utf-8"
	const jsonType = "application/json; charset=utf-8"
	for name, test := range map[string]struct {
		fault standin.Fault
		want  answer
	}{
		"none":        {want: answer{Status: 200, Type: text, Body: "proper", Applied: 1}},
		"status":      {fault: standin.Fault{Status: 429, RetryAfter: "3"}, want: answer{Status: 429, Type: jsonType, RetryAfter: "3"}},
		"answer lost": {fault: standin.Fault{Status: 502, Applied: true}, want: answer{Status: 502, Type: jsonType, Applied: 1}},
		"HTML":        {fault: standin.Fault{HTML: true}, want: answer{Status: 200, Type: "text/html; charset=utf-8", Body: "<!DOCTYPE html><title>Sign in</title>"}},
		"other JSON":  {fault: standin.Fault{Body: "[]"}, want: answer{Status: 200, Type: jsonType, Body: "[]"}},
		"redirect": {
			fault: standin.Fault{Redirect: "http://elsewhere.invalid/"},
			want:  answer{Status: 302, Type: "text/html; charset=utf-8", Location: "http://elsewhere.invalid/", Body: "<a href=\"http://elsewhere.invalid/\">Found</a>.\n\n"},
		},
		"reset": {fault: standin.Fault{Reset: true}, want: answer{Status: 200, Type: "application/json", Body: `{"type":`, Broken: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var applied atomic.Int32
			server, client := start(t, func(w http.ResponseWriter, _ *http.Request) {
				applied.Add(1)
				w.Header().Set("Content-Type", text)
				_, _ = io.WriteString(w, "proper")
			})
			server.OnRequest(func(*http.Request) standin.Fault { return test.fault })
			res, err := client.Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			got := answer{
				Status: res.StatusCode, Type: res.Header.Get("Content-Type"), RetryAfter: res.Header.Get("Retry-After"),
				Location: res.Header.Get("Location"), Body: string(body), Broken: err != nil, Applied: applied.Load(),
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestTrickle reads an answer of which a byte comes now and then: a client that
// is patient has all of it, one that isn't ends when it wants to.
func TestTrickle(t *testing.T) {
	t.Parallel()
	var applied atomic.Int32
	server, client := start(t, func(w http.ResponseWriter, _ *http.Request) {
		applied.Add(1)
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "slow")
	})
	server.OnRequest(func(*http.Request) standin.Fault { return standin.Fault{Trickle: true} })
	for _, tt := range []struct {
		name    string
		timeout time.Duration
		want    string
		fails   bool
	}{
		{name: "patient", want: "slow"},
		{name: "impatient", timeout: 300 * time.Millisecond, want: "sl", fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			if tt.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, tt.timeout)
				defer cancel()
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(res.Body)
			if res.StatusCode != http.StatusCreated || (err != nil) != tt.fails || !strings.HasPrefix(tt.want, string(body)) {
				t.Errorf("%d %q, error %v", res.StatusCode, body, err)
			}
			if !tt.fails && string(body) != tt.want {
				t.Errorf("read %q", body)
			}
		})
	}
	if applied.Load() != 2 {
		t.Errorf("applied %d times", applied.Load())
	}
}

func TestHangEndsWithClose(t *testing.T) {
	t.Parallel()
	server, client := start(t, func(http.ResponseWriter, *http.Request) {})
	hanging := make(chan struct{})
	server.OnRequest(func(*http.Request) standin.Fault {
		close(hanging)
		return standin.Fault{Hang: true}
	})
	ended := make(chan error)
	go func() {
		res, err := client.Get(server.URL)
		if err == nil {
			_ = res.Body.Close()
		}
		ended <- err
	}()
	<-hanging
	server.Close()
	if err := <-ended; err == nil {
		t.Error("the request was answered")
	}
}

func TestRequestsAreLoggedWithoutSecrets(t *testing.T) {
	t.Parallel()
	server, client := start(t, func(_ http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); string(body) != "hello" {
			t.Errorf("the handler read %q", body)
		}
	})
	server.OnRequest(func(r *http.Request) standin.Fault {
		_, _ = io.ReadAll(r.Body)
		return standin.Fault{}
	})
	for _, authorization := range []string{"", "Bearer s3cret", "Basic czNjcmV0", "Digest s3cret"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/%7Ba%7D/b?c=d", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", authorization)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
	var want []standin.Request
	for _, kind := range []string{"", "bearer", "basic", "other"} {
		want = append(want, standin.Request{Method: "POST", Path: "/%7Ba%7D/b?c=d", Auth: kind, Body: "hello"})
	}
	if diff := cmp.Diff(want, server.Requests()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	var changes standin.Changes
	changes.Announce() // nobody waits
	var count atomic.Int32
	go func() {
		for range 3 {
			count.Add(1)
			changes.Announce()
		}
	}()
	if err := changes.Wait(t.Context(), func() bool { return count.Load() == 3 }); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := changes.Wait(ctx, func() bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
