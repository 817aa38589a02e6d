package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"mergegate/internal/apptokens"
	"mergegate/internal/builds"
	"mergegate/internal/client"
	"mergegate/internal/config"
	"mergegate/internal/gate"
	"mergegate/internal/postgres"
	"mergegate/internal/sealed"
	"mergegate/internal/server"
	"mergegate/internal/waivers"
)

// Operator is who does something on the machine of the database, which they can read and
// write anyway.
type Operator struct {
	Name  string // recorded as who did it
	Owner string // the UUID of a Bitbucket user, or ""
}

// WithAPI gives f the service's API without the service: nothing listens, no job is worked,
// and everything is allowed to the operator.
func WithAPI(ctx context.Context, cfg config.Config, log *slog.Logger, operator Operator, f func(*client.Client) error) error {
	return WithStore(ctx, cfg, func(store *postgres.Store) error {
		api, err := operatorAPI(cfg, store, log)
		if err != nil {
			return err
		}
		handler := api.AsOperator(postgres.Token{Name: operator.Name, Owner: operator.Owner})
		return f(client.WithTransport("http://localhost", "", inProcess{handler}))
	})
}

// operatorAPI is the service's API without the service: nothing listens, and no
// job is worked.
func operatorAPI(cfg config.Config, store *postgres.Store, log *slog.Logger) (*server.Server, error) {
	cfg.ForgeAppIDs = nil // nobody asks this one from outside
	remotes, err := NewRemotes(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.DatabaseURL == "" && len(cfg.SecretKeys) == 0 {
		if cfg.SecretKeys, err = config.OwnSecretKey(cfg.DataDir); err != nil {
			return nil, err
		}
	}
	tokens, err := apptokens.New(store, cfg.SecretKeys, log)
	if err != nil {
		return nil, config.NewError(fmt.Errorf("MERGEGATE_SECRET_KEY: %w", err))
	}
	box, err := sealed.New(cfg.SecretKeys)
	if err != nil {
		return nil, config.NewError(fmt.Errorf("MERGEGATE_SECRET_KEY: %w", err))
	}
	confirming := builds.New(store, remotes.AppVeyor, remotes.Bitbucket, cfg.Accounts, builds.Options{Log: log})
	return server.New(server.Config{
		Store: store, Checks: store, Writing: store, Builds: confirming, Waivers: waivers.New(store), Log: log,
		Notifications: newNotifications(store, box, cfg, log, nil), PublicURL: cfg.PublicURL, SigningKey: cfg.SigningKey(),
		Explaining: gate.New(store, remotes.Bitbucket, tokens, gate.Options{Log: log, Accounts: cfg.Accounts, BranchBuilds: confirming.BranchBuilds}),
	}), nil
}

// inProcess answers requests by a handler of this process, as it writes.
type inProcess struct{ handler http.Handler }

// RoundTrip answers one request: its answer begins with what the handler writes first.
func (t inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		req.Body = http.NoBody
	}
	req.RemoteAddr = "127.0.0.1:0"
	body, w := io.Pipe()
	a := &answer{header: http.Header{}, body: w, begun: make(chan int, 1)}
	go func() {
		defer func() {
			a.WriteHeader(http.StatusOK) // where nothing was written
			if broken := recover(); broken != nil {
				_ = w.CloseWithError(fmt.Errorf("the answer broke off: %v", broken))
				return
			}
			_ = w.Close()
		}()
		t.handler.ServeHTTP(a, req)
	}()
	status := <-a.begun
	return &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: a.sent, Body: body, ContentLength: -1, Request: req,
	}, nil
}

// answer is what a handler answers. A reader that has closed the body ends its writing.
type answer struct {
	header, sent http.Header
	body         *io.PipeWriter
	begun        chan int
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.sent == nil {
		a.sent = a.header.Clone()
		a.begun <- status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// Flush has nothing to do: everything is written at once.
func (a *answer) Flush() {}
