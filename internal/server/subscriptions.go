package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"mergegate/api"
	"mergegate/internal/postgres"
)

func subscriptionOf(sub postgres.Subscription) api.Subscription {
	return api.Subscription{
		ID: formatID(sub.ID), URL: sub.URL, Events: sub.Events, CreatedBy: sub.CreatedBy, CreatedOn: sub.CreatedOn.UTC(),
		DisabledOn: utc(sub.DisabledOn), DisabledReason: null(sub.DisabledReason),
	}
}

func notificationOf(m postgres.Notification, attempts []postgres.NotificationAttempt) api.Notification {
	return api.Notification{
		ID: formatID(m.ID), Event: m.Event, Outcome: string(m.Outcome), NextAttemptOn: utc(m.NextAttemptOn), CreatedOn: m.CreatedOn.UTC(),
		Attempts: each(attempts, func(a postgres.NotificationAttempt) api.NotificationAttempt {
			return api.NotificationAttempt{AttemptedOn: a.AttemptedOn.UTC(), HTTPStatus: a.HTTPStatus, Reason: null(a.Reason), DurationMs: a.DurationMs}
		}),
	}
}

// subscribe has somebody notified of what happens in a workspace.
func (s *Server) subscribe(c *gin.Context, token postgres.Token) error {
	workspace, err := s.workspace(c, token)
	if err != nil {
		return err
	}
	var body api.SubscriptionRequest
	if err := readJSON(c, &body); err != nil {
		return err
	}
	if !storable(body.URL) {
		return errInvalidBody.with("url: over 1024 characters or not text")
	}
	sub, secret, err := s.Notifications.Subscribe(c.Request.Context(), workspace.UUID, body.URL, body.Events, token.Name)
	if err != nil {
		return err
	}
	wire := subscriptionOf(sub)
	wire.Secret = &secret
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusCreated, wire)
	return nil
}

// subscription finds the one of the path.
func (s *Server) subscription(c *gin.Context, token postgres.Token) (postgres.Subscription, error) {
	workspace, err := s.workspace(c, token)
	if err != nil {
		return postgres.Subscription{}, err
	}
	id, err := pathID(c)
	if err != nil {
		return postgres.Subscription{}, err
	}
	return s.Store.Subscription(c.Request.Context(), workspace.UUID, id)
}

func (s *Server) listSubscriptions(c *gin.Context, token postgres.Token) error {
	workspace, err := s.workspace(c, token)
	if err != nil {
		return err
	}
	before, length, err := paging(c.Request)
	if err != nil {
		return err
	}
	list, err := s.Store.Subscriptions(c.Request.Context(), workspace.UUID, before, length+1)
	if err != nil {
		return err
	}
	return writePage(s, c, list, length, func(sub postgres.Subscription) int64 { return sub.ID }, subscriptionOf)
}

func (s *Server) getSubscription(c *gin.Context, token postgres.Token) error {
	sub, err := s.subscription(c, token)
	if err != nil {
		return err
	}
	return writeJSON(c, subscriptionOf(sub))
}

func (s *Server) unsubscribe(c *gin.Context, token postgres.Token) error {
	sub, err := s.subscription(c, token)
	if err != nil {
		return err
	}
	if err := s.Store.DeleteSubscription(c.Request.Context(), sub.WorkspaceUUID, sub.ID); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

// rotateSecret gives a subscription another secret, beside the one it has.
func (s *Server) rotateSecret(c *gin.Context, token postgres.Token) error {
	sub, err := s.subscription(c, token)
	if err != nil {
		return err
	}
	secret, err := s.Notifications.Rotate(c.Request.Context(), sub, time.Now())
	if err != nil {
		return err
	}
	if sub, err = s.Store.Subscription(c.Request.Context(), sub.WorkspaceUUID, sub.ID); err != nil {
		return err
	}
	wire := subscriptionOf(sub)
	wire.Secret = &secret
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, wire)
	return nil
}

// testSubscription sends a notification of nothing.
func (s *Server) testSubscription(c *gin.Context, token postgres.Token) error {
	sub, err := s.subscription(c, token)
	if err != nil {
		return err
	}
	if err := s.Store.TestSubscription(c.Request.Context(), sub); err != nil {
		return err
	}
	c.Status(http.StatusAccepted)
	return nil
}

// listNotifications lists what a subscriber was sent, with every attempt.
func (s *Server) listNotifications(c *gin.Context, token postgres.Token) error {
	sub, err := s.subscription(c, token)
	if err != nil {
		return err
	}
	before, length, err := paging(c.Request)
	if err != nil {
		return err
	}
	list, err := s.Store.Notifications(c.Request.Context(), sub, before, length+1)
	if err != nil {
		return err
	}
	attempts, err := s.Store.NotificationAttempts(c.Request.Context(), list)
	if err != nil {
		return err
	}
	return writePage(s, c, list, length, func(m postgres.Notification) int64 { return m.ID }, func(m postgres.Notification) api.Notification {
		return notificationOf(m, attempts[m.ID])
	})
}

// replayNotification sends a notification again.
func (s *Server) replayNotification(c *gin.Context, token postgres.Token) error {
	sub, err := s.subscription(c, token)
	if err != nil {
		return err
	}
	id, err := strconv.ParseInt(c.Param("notification_id"), 10, 64)
	if err != nil || id <= 0 {
		return errNotFound
	}
	m, err := s.Store.ReplayNotification(c.Request.Context(), sub, id)
	if err != nil {
		return err
	}
	attempts, err := s.Store.NotificationAttempts(c.Request.Context(), []postgres.Notification{m})
	if err != nil {
		return err
	}
	c.JSON(http.StatusAccepted, notificationOf(m, attempts[m.ID]))
	return nil
}
