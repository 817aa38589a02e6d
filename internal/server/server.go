// Package server is mergegate's HTTP surface: the routes of contract and API
// description, each authenticated before its body is read.
//
//	handler := server.New(server.Config{Store: store, Builds: builds, Explaining: gate, Log: log})
//	http.ListenAndServe(addr, handler)
//
// Handlers return an error; one adapter renders it as RFC 9457 problem details
// with a stable code. Routes of parts that aren't configured don't exist: 404.
package server

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/semaphore"

	"mergegate/internal/builds"
	"mergegate/internal/config"
	"mergegate/internal/forge"
	"mergegate/internal/gate"
	"mergegate/internal/notifications"
	"mergegate/internal/policy"
	"mergegate/internal/postgres"
	"mergegate/internal/pullrequests"
	"mergegate/internal/waivers"
)

// Config wires a server. Those that merge checks, webhooks, and everything else rest on
// have connections to the database of their own, so that none waits for another's. Store,
// Builds, Explaining, Waivers, Notifications and Log are required.
type Config struct {
	// For the API, pages and badges.
	Store         *postgres.Store
	Builds        *builds.Service
	Explaining    *gate.Gate
	Waivers       *waivers.Service
	Notifications *notifications.Service
	// For merge checks, and /readyz: whoever can answer those is ready.
	Checks *postgres.Store
	Gate   *gate.Gate
	// For webhooks and events.
	Writing      *postgres.Store // for /readyz?full
	Receiving    *builds.Service
	PullRequests *pullrequests.Service

	Log *slog.Logger
	// Forge verifies invocation tokens; nil: the Forge routes are 404.
	Forge *forge.Verifier
	// AppVeyorSecrets are all valid at once; none: the webhook's route is 404.
	AppVeyorSecrets []string
	// BitbucketSecrets are all valid at once; none: the webhook's route is 404.
	BitbucketSecrets []config.WebhookSecret
	// SigningKey signs the addresses of pages and badges; empty: there are only badges
	// that the policy shows to anybody.
	SigningKey []byte
	PublicURL  string                // for links; empty: as the request came
	Metrics    prometheus.Registerer // nil: not counted
}

// Server is the HTTP handler of the public listener.
type Server struct {
	Config
	engine   *gin.Engine
	handler  http.Handler // the engine, and compression
	draining atomic.Bool
	failures failures
	policies policy.Cache
	probe    probe
	requests *prometheus.HistogramVec

	api, stats, simulations, streams kind
	checks, logins                   places
	appveyor, events, webhooks       places // for what AppVeyor, Forge and Bitbucket send

	appveyorBodies, forgeBodies, bitbucketBodies, checkBodies, apiBodies *intake
	answers                                                              *semaphore.Weighted
}

// What bodies in memory may take, by who sends them. Reading one in takes a small
// multiple of it for a moment.
const (
	appveyorRoom  = 32 << 20
	forgeRoom     = 16 << 20
	bitbucketRoom = 32 << 20
	checkRoom     = 32 << 20
	apiRoom       = 16 << 20
)

// New returns a server with all its routes.
func New(cfg Config) *Server {
	gin.SetMode(gin.ReleaseMode)
	s := &Server{
		Config:      cfg,
		api:         kind{places: newPlaces(apiAtOnce), full: errBusy, time: apiTime},
		stats:       kind{places: newPlaces(statsAtOnce), full: errCostly, time: apiTime},
		simulations: kind{places: newPlaces(simulatedAtOnce), full: errCostly},
		streams:     kind{places: newPlaces(streamsAtOnce), full: errCostly, streams: true},
		checks:      newPlaces(checksAtOnce), logins: newPlaces(loginsAtOnce),
		appveyor: newPlaces(deliveriesAtOnce), events: newPlaces(deliveriesAtOnce), webhooks: newPlaces(deliveriesAtOnce),
		appveyorBodies: newIntake(appveyorRoom), forgeBodies: newIntake(forgeRoom), bitbucketBodies: newIntake(bitbucketRoom),
		checkBodies: newIntake(checkRoom), apiBodies: newIntake(apiRoom), answers: newAnswers(),
		requests: promauto.With(cfg.Metrics).NewHistogramVec(prometheus.HistogramOpts{
			Name: "mergegate_http_request_duration_seconds", Help: "Requests answered, by route and status.",
			Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2, 4, 10},
		}, []string{"method", "route", "status"}),
	}
	// Short answers stay as they are, those to Forge among them.
	s.engine = s.routes()
	s.handler = lenient(gzhttp.GzipHandler(s.engine))
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Drain makes /readyz answer 503 from now on, so that load balancers stop
// sending requests before the listener closes.
func (s *Server) Drain() { s.draining.Store(true) }

// Harden gives srv the limits every listener of this program has: a client that
// sends or reads slowly is cut off instead of holding a connection.
func Harden(srv *http.Server) *http.Server {
	srv.ReadHeaderTimeout = 5 * time.Second
	srv.ReadTimeout = 20 * time.Second
	srv.WriteTimeout = 30 * time.Second
	srv.IdleTimeout = 90 * time.Second
	srv.MaxHeaderBytes = 64 << 10
	return srv
}
