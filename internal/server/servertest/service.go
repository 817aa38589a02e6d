package servertest

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"mergegate/api"
	"mergegate/internal/app"
	"mergegate/internal/client"
	"mergegate/internal/config"
)

// service is one that runs in this process.
type service struct {
	stop  context.CancelFunc
	ended chan error
}

// log keeps what the service logs, of all the times it ran.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write is called by whoever logs.
func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// Log is what the service has logged.
func (w *World) Log() string {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	return w.log.text.String()
}

func (w *World) config() config.Config {
	w.T.Helper()
	cfg, err := config.Load(config.EnvironOf(w.Env))
	w.Must(err)
	return cfg
}

// Start starts the service with the world's environment, and waits until it serves. It
// ends with the test.
func (w *World) Start() {
	w.T.Helper()
	cfg := w.config()
	ctx, cancel := context.WithCancel(w.T.Context())
	s := &service{stop: cancel, ended: make(chan error, 1)}
	ready := make(chan string, 1)
	go func() {
		s.ended <- app.Serve(ctx, cfg, app.NewLogger(cfg, w.log, slog.LevelInfo), func(address string) { ready <- address })
	}()
	w.service = s
	w.T.Cleanup(func() {
		w.end(s)
		if w.T.Failed() && testing.Verbose() {
			w.T.Logf("the service's log:\n%s", w.Log())
		}
	})
	select {
	case address := <-ready:
		w.URL = "http://" + address
	case err := <-s.ended:
		s.ended <- err
		w.T.Fatalf("the service ended: %v\n%s", err, w.Log())
	case <-time.After(Patience):
		w.T.Fatalf("the service does not serve:\n%s", w.Log())
	}
}

// Stop drains the service and waits for its end. Stopping twice is fine.
func (w *World) Stop() {
	w.T.Helper()
	w.end(w.service)
}

func (w *World) end(s *service) {
	w.T.Helper()
	s.stop()
	select {
	case err := <-s.ended:
		s.ended <- nil
		if err != nil {
			w.T.Errorf("the service ended with %v", err)
		}
	case <-time.After(Patience):
		w.T.Errorf("the service did not end:\n%s", w.Log())
	}
}

// Replica starts the service once more, on the same database.
func (w *World) Replica() *World {
	w.T.Helper()
	other := *w
	other.Start()
	return &other
}

// Operate does something as an operator does with commands: on the database, whether the
// service runs or not.
func (w *World) Operate(f func(ctx context.Context, c *client.Client) error) {
	w.T.Helper()
	cfg := w.config()
	w.Must(app.WithAPI(w.T.Context(), cfg, app.NewLogger(cfg, w.log, slog.LevelError), app.Operator{Name: "test"}, func(c *client.Client) error {
		return f(w.T.Context(), c)
	}))
}

// TokenOf makes a token for the API that covers every repository, unless it is changed.
// Several scopes have commas between.
func (w *World) TokenOf(name, scopes string, changes ...func(*api.TokenRequest)) (secret string) {
	w.T.Helper()
	w.Operate(func(ctx context.Context, c *client.Client) error {
		r := api.TokenRequest{Name: name, Scopes: strings.Split(scopes, ","), Repository: "**"}
		for _, change := range changes {
			change(&r)
		}
		token, err := c.CreateToken(ctx, r)
		secret = token.Secret
		return err
	})
	return secret
}

// Covering has a token cover repositories that fit a glob.
func Covering(glob string) func(*api.TokenRequest) {
	return func(r *api.TokenRequest) { r.Repository = glob }
}

// ReportingFor has a token with scope report be of an AppVeyor project.
func ReportingFor(project int64) func(*api.TokenRequest) {
	return func(r *api.TokenRequest) { r.ProjectID = &project }
}

// OwnedBy has a token act for a Bitbucket user.
func OwnedBy(uuid string) func(*api.TokenRequest) {
	return func(r *api.TokenRequest) { r.Owner = uuid }
}

// ValidFor has a token expire.
func ValidFor(d time.Duration) func(*api.TokenRequest) {
	return func(r *api.TokenRequest) { r.ExpiresOn = new(time.Now().Add(d)) }
}
