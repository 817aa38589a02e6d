package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"regexp"
	"time"

	"github.com/gin-gonic/gin"

	"mergegate/internal/forge"
	"mergegate/internal/gate"
	"mergegate/internal/postgres"
)

// maxEvent bounds a Forge event: the largest documented ones have some kilobytes.
const maxEvent = 1 << 20

// verifyTimeout bounds reading the keys on the way of a merge check.
const verifyTimeout = 1200 * time.Millisecond

// mergeCheck answers Forge. Every question that was understood gets 200 with a
// verdict: any other answer shows as a failed check without a message.
func (s *Server) mergeCheck(c *gin.Context) error {
	if id := c.GetHeader("x-b3-traceid"); saneTraceID.MatchString(id) {
		note(c, "trace_id", id)
	}
	invocation, err := s.verify(c)
	if err != nil {
		return err
	}
	body, done, err := s.checkBodies.read(c, maxEvent, checkBodyTime)
	defer done()
	var p problem
	if errors.As(err, &p) && p.Code == errBusy.Code {
		return tooManyChecks(c)
	}
	if err != nil {
		return err
	}
	event, err := forge.ParseMergeCheck(body)
	if err != nil {
		return err
	}
	note(c, "workspace", event.WorkspaceUUID, "pull_request", event.PullRequestID, "trigger", event.Trigger)
	if !invocation.ForWorkspace(event.WorkspaceUUID) {
		return errForbidden.with("the token is for another workspace")
	}
	if !s.checks.take(c.Request.Context(), checkWaits) {
		return tooManyChecks(c)
	}
	defer s.checks.give()
	answer := s.Gate.Ask(c.Request.Context(), gate.Question{
		PullRequest: postgres.PullRequestKey{
			WorkspaceUUID: event.WorkspaceUUID, RepositoryUUID: event.RepositoryUUID, PullRequestID: event.PullRequestID,
		},
		Trigger: event.Trigger, Brought: brought(event), SystemToken: c.GetHeader("x-forge-oauth-system"),
	})
	note(c, "repository", cmp.Or(answer.Repository, event.RepositoryUUID), "verdict", answer.Verdict.Code, "success", answer.Success,
		"message", answer.Message)
	c.JSON(http.StatusOK, gin.H{"success": answer.Success, "message": answer.Message})
	return nil
}

// saneTraceID is what Forge's trace ids look like: they are logged as they come.
var saneTraceID = regexp.MustCompile(`^[0-9a-f]{16,32}$`)

func tooManyChecks(c *gin.Context) error {
	note(c, "success", false, "reason", "too many merge checks at once")
	c.JSON(http.StatusOK, gin.H{"success": false, "message": gate.TooManyChecks})
	return nil
}

// verify authenticates a call of Forge; its body is read after that.
func (s *Server) verify(c *gin.Context) (forge.Invocation, error) {
	token := bearer(c.Request)
	if token == "" {
		return forge.Invocation{}, errUnauthorized.with("send a Forge invocation token as Authorization: Bearer TOKEN")
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), verifyTimeout)
	defer cancel()
	return s.Forge.Verify(ctx, token)
}

func brought(event forge.MergeCheck) *gate.Snapshot {
	pr := event.PullRequest
	if pr == nil {
		return nil
	}
	s := &gate.Snapshot{
		State: pr.State, SourceCommit: pr.SourceCommit, SourceBranch: pr.SourceBranch,
		SourceRepositoryUUID: pr.SourceRepositoryUUID, SourceRepository: pr.SourceRepositoryFullName,
		DestinationBranch: pr.DestinationBranch, DestinationCommit: pr.DestinationCommit, On: pr.UpdatedOn,
	}
	if pr.RepositoryUUID == event.RepositoryUUID {
		s.Repository = pr.RepositoryFullName
	}
	return s
}
