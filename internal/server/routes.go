package server

import (
	"net/http"
	"strings"

	"mergegate/api"

	"github.com/gin-gonic/gin"
)

// Where AppVeyor, Forge and Bitbucket send to.
const (
	appveyorPath    = "/webhooks/appveyor"
	bitbucketPath   = "/webhooks/bitbucket"
	mergeCheckPath  = "/forge/merge-check"
	forgeEventsPath = "/forge/events"
)

// lenient takes the paths that others send to with slashes too many: addresses are put
// together by hand in settings, and senders don't follow redirects. Every other path is
// taken as it is.
func lenient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := "/" + strings.Join(strings.FieldsFunc(r.URL.Path, func(c rune) bool { return c == '/' }), "/")
		if r.Method == http.MethodPost && path != r.URL.Path {
			switch path {
			case appveyorPath, bitbucketPath, mergeCheckPath, forgeEventsPath:
				address := *r.URL
				address.Path, address.RawPath = path, ""
				r = r.WithContext(r.Context()) // a copy: the request isn't ours to change
				r.URL = &address
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) routes() *gin.Engine {
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false
	_ = engine.SetTrustedProxies(nil) // forwarded addresses are anybody's to write
	engine.Use(s.identify, s.observe, s.recoverPanic)
	engine.NoRoute(s.handle(func(*gin.Context) error { return errNoRoute }))
	engine.NoMethod(s.handle(func(*gin.Context) error { return errMethod }))

	engine.GET("/healthz", s.handle(s.healthz))
	engine.GET(readyPath, s.handle(s.readyz))
	engine.GET("/openapi.yaml", s.handle(s.openAPI))
	engine.GET(docsPath, docs())
	engine.GET(docsPath+"/*file", docs())

	if len(s.AppVeyorSecrets) > 0 {
		engine.POST(appveyorPath, s.handle(s.appveyorWebhook))
	}
	if s.Forge != nil {
		engine.POST(mergeCheckPath, s.handle(s.mergeCheck))
		engine.POST(forgeEventsPath, s.handle(s.forgeEvent))
	}
	if len(s.BitbucketSecrets) > 0 {
		engine.POST(bitbucketPath, s.handle(s.bitbucketWebhook))
	}

	engine.GET("/", s.handle(s.home))
	engine.GET("/repositories/:workspace/:repo_slug/pullrequests/:id", s.handle(s.within(s.api, s.pullRequestPage)))
	engine.GET("/badges/:workspace/:repo_slug/pullrequests/:file", s.handle(s.within(s.api, s.badge)))

	s.apiRoutes(engine.Group("/api/v1"))
	return engine
}

// apiRoutes are those that take a token.
func (s *Server) apiRoutes(v1 *gin.RouterGroup) {
	s.repositoryRoutes(v1.Group("/repositories/:workspace/:repo_slug"))
	s.workspaceRoutes(v1.Group("/workspaces/:workspace"))
	v1.GET("/builds/:id", s.authorized(api.ScopeRead, s.getBuild))
	v1.GET("/workspaces", s.authorized(api.ScopeAdmin, s.listWorkspaces))
	v1.GET("/projects", s.authorized(api.ScopeAdmin, s.listProjects))
	v1.POST("/projects/:id/forget", s.authorized(api.ScopeAdmin, s.forgetProject))
	v1.POST("/backfill", s.authorizedOf(s.streams, api.ScopeAdmin, s.backfill))
	v1.POST("/tokens", s.authorized(api.ScopeAdmin, s.createToken))
	v1.GET("/tokens", s.authorized(api.ScopeAdmin, s.listTokens))
	v1.DELETE("/tokens/:id", s.authorized(api.ScopeAdmin, s.revokeToken))
	v1.POST("/deliveries/replay", s.authorizedOf(s.streams, api.ScopeAdmin, s.replayDeliveries))
	v1.GET("/deliveries", s.authorized(api.ScopeAdmin, s.listDeliveries))
	v1.POST("/deliveries/:id/replay", s.authorized(api.ScopeAdmin, s.replayDelivery))
	v1.GET("/commit-statuses", s.authorized(api.ScopeAdmin, s.listCommitStatuses))
	v1.POST("/commit-statuses/:id/retry", s.authorized(api.ScopeAdmin, s.retryCommitStatus))
}

func (s *Server) repositoryRoutes(repository *gin.RouterGroup) {
	repository.GET("/builds", s.authorized(api.ScopeRead, s.listBuilds))
	repository.GET("/stats", s.authorizedOf(s.stats, api.ScopeRead, s.getStats))
	repository.POST("/builds", s.authorized(api.ScopeReport, s.reportBuild))
	repository.GET("/pullrequests/:id", s.authorized(api.ScopeRead, s.getPullRequest))
	repository.GET("/pullrequests/:id/builds", s.authorized(api.ScopeRead, s.listPullRequestBuilds))
	repository.GET("/pullrequests/:id/decisions", s.authorized(api.ScopeRead, s.listDecisions))
	repository.GET("/decisions", s.authorized(api.ScopeRead, s.listRepositoryDecisions))
	repository.POST("/pullrequests/:id/waivers", s.authorized(api.ScopeWaive, s.giveWaiver))
	repository.GET("/pullrequests/:id/waivers", s.authorized(api.ScopeWaive, s.listWaivers))
	repository.DELETE("/pullrequests/:id/waivers", s.authorized(api.ScopeWaive, s.revokeWaivers))
	repository.DELETE("/pullrequests/:id/waivers/:waiver_id", s.authorized(api.ScopeWaive, s.revokeWaiver))
	repository.GET("/pullrequests/:id/effects", s.authorized(api.ScopeRead, s.listEffects))
	repository.POST("/pullrequests/:id/effects/retry", s.authorized(api.ScopeAdmin, s.retryEffects))
	repository.POST("/pullrequests/:id/rebuild", s.authorized(api.ScopeWaive, s.rebuild))
}

func (s *Server) workspaceRoutes(workspace *gin.RouterGroup) {
	workspace.GET("/policy", s.authorized(api.ScopeAdmin, s.getPolicy))
	workspace.PUT("/policy", s.authorized(api.ScopeAdmin, s.putPolicy))
	workspace.POST("/policy/simulate", s.authorizedOf(s.simulations, api.ScopeAdmin, s.simulatePolicy))
	workspace.GET("/policy/effective", s.authorized(api.ScopeAdmin, s.getEffectivePolicy))
	workspace.GET("/policy/versions", s.authorized(api.ScopeAdmin, s.listPolicyVersions))
	subscriptions := workspace.Group("/subscriptions")
	subscriptions.POST("", s.authorized(api.ScopeAdmin, s.subscribe))
	subscriptions.GET("", s.authorized(api.ScopeAdmin, s.listSubscriptions))
	subscriptions.GET("/:id", s.authorized(api.ScopeAdmin, s.getSubscription))
	subscriptions.DELETE("/:id", s.authorized(api.ScopeAdmin, s.unsubscribe))
	subscriptions.POST("/:id/rotate", s.authorized(api.ScopeAdmin, s.rotateSecret))
	subscriptions.POST("/:id/test", s.authorized(api.ScopeAdmin, s.testSubscription))
	subscriptions.GET("/:id/notifications", s.authorized(api.ScopeAdmin, s.listNotifications))
	subscriptions.POST("/:id/notifications/:notification_id/replay", s.authorized(api.ScopeAdmin, s.replayNotification))
}

func (s *Server) healthz(c *gin.Context) error {
	c.JSON(http.StatusOK, gin.H{"status": "ok"})
	return nil
}
