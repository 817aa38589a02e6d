package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"mergegate/api"
	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
	"mergegate/internal/postgres"
	"mergegate/internal/waivers"
)

// maxRequest bounds the body of a request that carries a few fields.
const maxRequest = 64 << 10

// giveWaiver lets a pull request's head through without a passing build.
func (s *Server) giveWaiver(c *gin.Context, token postgres.Token) error {
	repository, id, err := s.pullRequest(c, token)
	if err != nil {
		return err
	}
	var body api.WaiverRequest
	if err := readJSON(c, &body); err != nil {
		return err
	}
	now, err := s.Store.Now(c.Request.Context())
	if err != nil {
		return err
	}
	request, err := waiverOfRequest(body, now)
	if err != nil {
		return err
	}
	request.PullRequest = keyOf(repository, id)
	request.By, request.Owner = token.Name, token.Owner
	verdict := s.Explaining.Explain(c.Request.Context(), repository, id)
	w, err := s.Waivers.Give(c.Request.Context(), verdict, request)
	if err != nil {
		return err
	}
	list, err := s.Store.Waivers(c.Request.Context(), request.PullRequest, 0, maxPageLength)
	if err != nil {
		return err
	}
	for _, waiver := range mergecheck.WithStates(list, verdict.PullRequest, verdict.Policy.Waivers, w.CreatedOn) {
		if waiver.ID == w.ID {
			c.JSON(http.StatusCreated, waiverOf(waiver))
			return nil
		}
	}
	return errInternal
}

// readJSON reads a body of a few fields.
func readJSON(c *gin.Context, into any) error {
	body, err := readBody(c, maxRequest)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if !json.Valid(body) {
		return errNotJSON
	}
	if err := decoder.Decode(into); err != nil {
		return errInvalidBody.with("%s", jsonProblem(err))
	}
	return nil
}

// waiverOfRequest reads what the body of a waiver says. Unknown fields are refused before: a
// misspelt project would waive all of them.
func waiverOfRequest(b api.WaiverRequest, now time.Time) (r waivers.Request, err error) {
	r = waivers.Request{Reason: b.Reason}
	if b.Commit != nil {
		if r.Commit = strings.ToLower(*b.Commit); !mergecheck.IsFullCommit(r.Commit) {
			return r, errInvalidBody.with("commit: give a hash of 40 characters")
		}
	}
	if r.Project, err = projectName(b.Project); err != nil {
		return r, err
	}
	switch {
	case b.ExpiresOn != nil && b.Expires != nil:
		return r, errInvalidBody.with("expires_on, expires: give one of them")
	case b.ExpiresOn != nil:
		if r.Life = b.ExpiresOn.Sub(now); r.Life <= 0 {
			return r, errInvalidBody.with("expires_on: give a time in the future")
		}
	case b.Expires != nil:
		if r.Life, err = policy.ParseDuration(*b.Expires); err != nil || r.Life <= 0 {
			return r, errInvalidBody.with("expires: %q is not a duration like 4h or 2d", *b.Expires)
		}
	}
	return r, nil
}

// projectName reads a project by id, as number or text, or by "account/slug".
func projectName(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil && text != "" {
		return text, nil
	}
	var id int64
	if json.Unmarshal(raw, &id) == nil && id > 0 {
		return strconv.FormatInt(id, 10), nil
	}
	return "", errInvalidBody.with("project: give a project id or account/slug")
}

// listWaivers lists a pull request's waivers, newest first, with what became of
// each.
func (s *Server) listWaivers(c *gin.Context, token postgres.Token) error {
	repository, id, err := s.pullRequest(c, token)
	if err != nil {
		return err
	}
	before, length, err := paging(c.Request)
	if err != nil {
		return err
	}
	verdict := s.Explaining.Show(c.Request.Context(), repository, id)
	list, err := s.Store.Waivers(c.Request.Context(), keyOf(repository, id), before, length+1)
	if err != nil {
		return err
	}
	states := map[int64]mergecheck.WaiverState{}
	for _, waiver := range mergecheck.WithStates(list, verdict.PullRequest, verdict.Policy.Waivers, verdict.EvaluatedOn) {
		states[waiver.ID] = waiver.State
	}
	for _, waiver := range verdict.Waivers { // among all of them, not a page
		states[waiver.ID] = waiver.State
	}
	return writePage(s, c, list, length, func(w mergecheck.Waiver) int64 { return w.ID }, func(w mergecheck.Waiver) api.Waiver {
		return waiverOf(mergecheck.WaiverWithState{Waiver: w, State: states[w.ID]})
	})
}

// revokeWaiver ends one waiver, revokeWaivers all of a pull request.
func (s *Server) revokeWaiver(c *gin.Context, token postgres.Token) error {
	waiverID, err := strconv.ParseInt(c.Param("waiver_id"), 10, 64)
	if err != nil || waiverID <= 0 {
		return errNotFound
	}
	return s.revoke(c, token, waiverID)
}

func (s *Server) revokeWaivers(c *gin.Context, token postgres.Token) error {
	return s.revoke(c, token, 0)
}

func (s *Server) revoke(c *gin.Context, token postgres.Token, waiverID int64) error {
	repository, id, err := s.pullRequest(c, token)
	if err != nil {
		return err
	}
	if _, err := s.Store.RevokeWaivers(c.Request.Context(), keyOf(repository, id), waiverID, token.Name); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

func keyOf(r postgres.Repository, pullRequestID int64) postgres.PullRequestKey {
	return postgres.PullRequestKey{WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, PullRequestID: pullRequestID}
}

func waiverOf(w mergecheck.WaiverWithState) api.Waiver {
	wire := api.Waiver{
		ID: formatID(w.ID), State: string(w.State), Commit: w.Head, Destination: w.Destination, Reason: w.Reason, By: w.By,
		TwoPerson: w.TwoPerson, CreatedOn: w.CreatedOn.UTC(), ExpiresOn: w.ExpiresOn.UTC(),
		RevokedOn: nullTime(w.RevokedOn), RevokedBy: null(w.RevokedBy),
	}
	if w.ProjectID != 0 {
		wire.Project = &api.Project{ID: w.ProjectID, Slug: w.ProjectName}
	}
	if w.Owner != "" {
		wire.Owner = new("{" + w.Owner + "}")
	}
	return wire
}
