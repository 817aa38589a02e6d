package server

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/gin-gonic/gin"

	"mergegate/internal/bitbucket"
	"mergegate/internal/config"
	"mergegate/internal/forge"
	"mergegate/internal/pullrequests"
)

// maxBitbucketEvent is more than Bitbucket sends: it drops larger ones than 256 KB.
const maxBitbucketEvent = 1 << 20

// beforeUninstall are the keys of the module, and of its endpoint, that the app's
// manifests have called before the app is uninstalled. What its body holds isn't
// documented, so that the invocation token is what tells it.
var beforeUninstall = []string{"before-uninstall", "uninstall"}

// forgeEvent stores a product or lifecycle event of Forge. 202 means that it is
// committed. The app system token that comes along is kept, and dropped before
// the app is uninstalled.
func (s *Server) forgeEvent(c *gin.Context) error {
	invocation, err := s.verify(c)
	if err != nil {
		return err
	}
	body, done, err := s.forgeBodies.read(c, maxEvent, bodyTime)
	defer done()
	if err != nil {
		return err
	}
	return bounded(s.events, func(c *gin.Context) error { return s.receiveForgeEvent(c, invocation, body) })(c)
}

func (s *Server) receiveForgeEvent(c *gin.Context, invocation forge.Invocation, body []byte) error {
	event, err := forge.ParseEvent(body)
	if err != nil {
		return err
	}
	workspace := event.WorkspaceUUID
	if workspace == "" {
		workspace = invocation.Workspace()
	}
	if !invocation.ForWorkspace(workspace) {
		return errForbidden.with("the token is for another workspace")
	}
	if slices.Contains(beforeUninstall, invocation.ModuleKey) {
		s.Gate.DropToken(c.Request.Context(), workspace)
	} else {
		s.Gate.KeepToken(c.Request.Context(), workspace, c.GetHeader("x-forge-oauth-system"))
	}
	return s.receiveEvent(c, pullrequests.Delivery{
		Source: pullrequests.SourceForge, Event: event.Type, Body: body, Told: event.Event, WorkspaceUUID: workspace, RepositoryUUID: event.RepositoryUUID,
	})
}

// bitbucketWebhook stores a webhook of Bitbucket, once for each X-Request-UUID.
func (s *Server) bitbucketWebhook(c *gin.Context) error {
	// The signature is over the body, so that has to be read first, by anybody who
	// sends one; nothing of it is looked at before it is known to be Bitbucket's.
	body, done, err := s.bitbucketBodies.read(c, maxBitbucketEvent, bodyTime)
	defer done()
	if err != nil {
		return err
	}
	secrets := s.signedBy(body, c.GetHeader("X-Hub-Signature"))
	if len(secrets) == 0 {
		return errUnauthorized.with("X-Hub-Signature doesn't match the body; check the webhook's secret against MERGEGATE_BITBUCKET_WEBHOOK_SECRET")
	}
	return bounded(s.webhooks, func(c *gin.Context) error { return s.receiveBitbucketEvent(c, body, secrets) })(c)
}

func (s *Server) receiveBitbucketEvent(c *gin.Context, body []byte, secrets []config.WebhookSecret) error {
	event := c.GetHeader("X-Event-Key")
	told, err := bitbucket.ParseWebhook(event, body)
	if err != nil {
		return errNotJSON
	}
	ok, err := s.maySpeak(c.Request.Context(), secrets, told)
	if err != nil {
		return err
	}
	if !ok {
		return errForbidden.with("the webhook's secret is for another workspace")
	}
	d := pullrequests.Delivery{
		Source: pullrequests.SourceBitbucket, Event: event, RequestID: c.GetHeader("X-Request-UUID"), Body: body, Told: told,
		WorkspaceUUID: told.WorkspaceUUID, RepositoryUUID: told.RepositoryUUID,
	}
	if !storable(d.Event) || !storable(d.RequestID) {
		return errParameter.with("X-Event-Key and X-Request-UUID must be text in UTF-8")
	}
	return s.receiveEvent(c, d)
}

func (s *Server) receiveEvent(c *gin.Context, d pullrequests.Delivery) error {
	ctx, cancel := context.WithTimeout(c.Request.Context(), storeTimeout)
	defer cancel()
	id, err := s.PullRequests.Receive(ctx, d)
	if err != nil {
		return err
	}
	c.JSON(http.StatusAccepted, gin.H{"delivery": strconv.FormatInt(id, 10)})
	return nil
}
