// Package app wires the services: once, for the program that serves and for the commands
// that work on its database.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"mergegate/internal/apptokens"
	"mergegate/internal/appveyor"
	"mergegate/internal/bitbucket"
	"mergegate/internal/builds"
	"mergegate/internal/commitstatus"
	"mergegate/internal/config"
	"mergegate/internal/effects"
	"mergegate/internal/forge"
	"mergegate/internal/gate"
	"mergegate/internal/notifications"
	"mergegate/internal/postgres"
	"mergegate/internal/pullrequests"
	"mergegate/internal/retention"
	"mergegate/internal/sealed"
	"mergegate/internal/server"
	"mergegate/internal/terminal"
	"mergegate/internal/waivers"
)

// drainTimeout is how long requests and jobs get to end at shutdown: less than
// the half minute that orchestrators wait before they kill.
const drainTimeout = 12 * time.Second

// drainDelay is how long /readyz answers 503 before the listener closes.
const drainDelay = 2 * time.Second

// NewLogger logs as configured, and with least as the level where none is.
func NewLogger(cfg config.Config, w io.Writer, least slog.Level) *slog.Logger {
	level := least
	if configured := new(slog.Level); configured.UnmarshalText([]byte(cfg.LogLevel)) == nil && *configured != slog.LevelInfo {
		level = *configured
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "text" || cfg.LogFormat == "" && terminal.Is(w) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

// Serve runs the service until ctx ends, then drains it: readiness first, so
// that nothing new is sent; then requests; then jobs; then the database. ready
// is told the address once it serves.
func Serve(ctx context.Context, cfg config.Config, log *slog.Logger, ready func(address string)) error {
	listener, err := listen(ctx, "MERGEGATE_LISTEN", cfg.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	url, ended, stopDatabase, err := serveDatabase(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer stopDatabase()
	if cfg.DatabaseURL == "" && len(cfg.SecretKeys) == 0 {
		if cfg.SecretKeys, err = config.OwnSecretKey(cfg.DataDir); err != nil {
			return err
		}
	}
	if err := migrate(ctx, url); err != nil {
		return err
	}
	service, err := assemble(ctx, cfg, url, log)
	if err != nil {
		return err
	}
	defer service.close()

	if err := service.jobs.MakePartitions(ctx); err != nil {
		log.WarnContext(ctx, "partitions not made ahead; they are within the hour", "error", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return service.serveHTTP(ctx, listener) })
	group.Go(func() error { return service.serveAdmin(ctx) })
	group.Go(func() error { return service.work(ctx) })
	group.Go(func() error {
		select {
		case <-ended: // never, with a database that isn't ours
			return errors.New("the embedded PostgreSQL ended by itself")
		case <-ctx.Done():
			return nil
		}
	})
	log.InfoContext(ctx, "serving", "address", listener.Addr().String(), "admin", cfg.AdminListen, "version", Version,
		"bitbucket_credential", cfg.BitbucketCredential())
	ready(listener.Addr().String())
	return group.Wait()
}

// listen listens on the address that a variable gives.
func listen(ctx context.Context, variable, address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err == nil {
		return listener, nil
	}
	var refused *os.SyscallError
	if errors.As(err, &refused) {
		err = refused.Err
	}
	return nil, fmt.Errorf("%s: can't listen on %q: %w; stop what uses the port, or choose another", variable, address, err)
}

// service is everything that runs, wired.
type service struct {
	cfg config.Config
	log *slog.Logger
	pools
	workers *workers
	handler *server.Server
	metrics *prometheus.Registry
}

func assemble(ctx context.Context, cfg config.Config, url string, log *slog.Logger) (s *service, err error) {
	s = &service{cfg: cfg, log: log, metrics: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	s.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if s.pools, err = openPools(ctx, url, newWriteFailures(log, s.metrics).note); err != nil {
		return s, err
	}
	remotes, err := NewRemotes(cfg)
	if err != nil {
		return s, err
	}
	bb := remotes.Bitbucket
	box, err := sealed.New(cfg.SecretKeys)
	if err != nil {
		return s, config.NewError(fmt.Errorf("MERGEGATE_SECRET_KEY: %w", err))
	}
	tokens, err := apptokens.New(s.checks, cfg.SecretKeys, log)
	if err != nil {
		return s, config.NewError(fmt.Errorf("MERGEGATE_SECRET_KEY: %w", err))
	}
	s.metrics.MustRegister(tokens.Collector(bb))
	confirming := builds.New(s.jobs, remotes.AppVeyor, bb, cfg.Accounts, builds.Options{
		Log: log, Metrics: s.metrics, Interval: cfg.ReconcileInterval,
	})
	looking := confirming.WithStore(s.checks)
	following := pullrequests.New(s.jobs, bb, tokens, pullrequests.Options{Log: log, Metrics: s.metrics})
	publisher := commitstatus.New(s.jobs, bb, tokens, commitstatus.Options{Log: log, Metrics: s.metrics})
	if s.workers, err = newWorkers(s.jobs, services{
		confirming: confirming, following: following, publisher: publisher, retaining: retention.New(s.jobs, cfg.Retention, log),
		waiving: waivers.New(s.jobs), notifying: newNotifications(s.jobs, box, cfg, log, s.metrics),
		showing: effects.New(s.jobs,
			gate.New(s.jobs, bb, tokens, gate.Options{Log: log, Accounts: cfg.Accounts, BranchBuilds: confirming.BranchBuilds}), bb, tokens,
			effects.Options{Log: log, Metrics: s.metrics}),
	}, cfg.ReconcileInterval, newGivingUp(s.jobs, log, s.metrics), log); err != nil {
		return s, err
	}
	verifier, err := newVerifier(ctx, cfg, log)
	if err != nil {
		return s, config.NewError(err)
	}
	reading := confirming.WithStore(s.reading)
	s.handler = server.New(server.Config{
		Store: s.reading, Builds: reading, Waivers: waivers.New(s.reading), Notifications: newNotifications(s.reading, box, cfg, log, nil),
		Explaining: gate.New(s.reading, bb, tokens, gate.Options{Log: log, Accounts: cfg.Accounts, BranchBuilds: reading.BranchBuilds}),
		Checks:     s.checks,
		Gate: gate.New(s.checks, bb, tokens, gate.Options{
			Log: log, Metrics: s.metrics, Accounts: cfg.Accounts, Look: looking.LookNow, Recheck: looking.Recheck, BranchBuilds: looking.BranchBuilds,
		}),
		Writing: s.receiving, Receiving: confirming.WithStore(s.receiving), PullRequests: following.WithStore(s.receiving),
		Forge: verifier, Log: log, Metrics: s.metrics,
		AppVeyorSecrets: cfg.AppVeyorSecrets, BitbucketSecrets: cfg.BitbucketSecrets, PublicURL: cfg.PublicURL, SigningKey: cfg.SigningKey(),
	})
	return s, nil
}

// Remotes are the clients of the services that mergegate talks to.
type Remotes struct {
	AppVeyor  *appveyor.Client
	Bitbucket *bitbucket.Client
}

// NewRemotes returns the clients that cfg leads to.
func NewRemotes(cfg config.Config) (r Remotes, err error) {
	userAgent := "mergegate/" + Version
	r.AppVeyor, err = appveyor.NewClient(appveyor.Config{URL: cfg.AppVeyorURL, Tokens: cfg.AppVeyorTokens, UserAgent: userAgent})
	if err != nil {
		return r, config.NewError(err)
	}
	r.Bitbucket, err = bitbucket.NewClient(bitbucket.Config{
		BaseURL: cfg.BitbucketAPIURL, Token: cfg.BitbucketToken, Email: cfg.BitbucketEmail, APIToken: cfg.BitbucketAPIToken,
		OAuthClientID: cfg.BitbucketOAuthClientID, OAuthClientSecret: cfg.BitbucketOAuthClientSecret, UserAgent: userAgent,
	})
	if err != nil {
		return r, config.NewError(err)
	}
	return r, nil
}

func newNotifications(store *postgres.Store, box sealed.Box, cfg config.Config, log *slog.Logger, metrics prometheus.Registerer) *notifications.Service {
	return notifications.New(store, box, notifications.Options{Log: log, Metrics: metrics, Networks: cfg.WebhookNetworks, UserAgent: "mergegate/" + Version})
}

func newVerifier(ctx context.Context, cfg config.Config, log *slog.Logger) (*forge.Verifier, error) {
	if len(cfg.ForgeAppIDs) == 0 {
		return nil, nil //nolint:nilnil // without an app there is no Forge
	}
	return forge.NewVerifier(ctx, forge.Config{
		AppIDs: cfg.ForgeAppIDs, Environments: cfg.ForgeEnvironments, JWKSURL: cfg.ForgeJWKSURL, Log: log,
	})
}

func (s *service) serveHTTP(ctx context.Context, listener net.Listener) error {
	srv := server.Harden(&http.Server{Handler: s.handler, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}) //nolint:gosec // Harden sets the time-outs
	return serveUntil(ctx, srv, listener, s.handler.Drain)
}

// serveAdmin serves metrics and profiles, on a listener of their own so that
// they are never public by accident.
func (s *service) serveAdmin(ctx context.Context) error {
	if s.cfg.AdminListen == "" {
		return nil
	}
	listener, err := listen(ctx, "MERGEGATE_ADMIN_LISTEN", s.cfg.AdminListen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	srv := server.Harden(&http.Server{Handler: mux}) //nolint:gosec // Harden sets the time-outs
	srv.WriteTimeout = 2 * time.Minute               // a profile takes as long as it is asked to
	return serveUntil(ctx, srv, listener, func() {})
}

func serveUntil(ctx context.Context, srv *http.Server, listener net.Listener, drain func()) error {
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	drain()
	// Load balancers have to see that before the listener is gone.
	select {
	case err := <-failed:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-time.After(drainDelay):
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		return fmt.Errorf("requests did not end in time: %w", err)
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
