package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"mergegate/api"
	"mergegate/internal/appveyor"
	"mergegate/internal/builds"
	"mergegate/internal/forge"
	"mergegate/internal/notifications"
	"mergegate/internal/policy"
	"mergegate/internal/postgres"
	"mergegate/internal/sealed"
	"mergegate/internal/waivers"
)

// problem is an error with its rendering.
type problem api.Problem

func (p problem) Error() string { return p.Code + ": " + p.Detail }

func (p problem) with(format string, args ...any) problem {
	p.Detail = fmt.Sprintf(format, args...)
	return p
}

// about is the problem with what is wrong in a policy document.
func (p problem) about(faults policy.Faults) problem {
	p = p.with("%s", faults[0])
	if len(faults) > 1 {
		p = p.with("%s (and %d more)", faults[0], len(faults)-1)
	}
	p.Errors = each(faults, func(f policy.Fault) api.Fault { return api.Fault(f) })
	return p
}

// The problems of the API. Codes are stable.
var (
	errUnauthorized = problem{Status: 401, Code: "unauthorized", Title: "Not authenticated"}
	errForbidden    = problem{Status: 403, Code: "forbidden", Title: "Not allowed"}
	errNoRoute      = problem{Status: 404, Code: "not_found", Title: "Not found", Detail: "unknown route, or one that this mergegate isn't configured for"}
	errNotFound     = problem{Status: 404, Code: "not_found", Title: "Not found"}
	errMethod       = problem{Status: 405, Code: "method_not_allowed", Title: "Method not allowed"}
	errTooLarge     = problem{Status: 413, Code: "too_large", Title: "Body too large"}
	errConflict     = problem{Status: 409, Code: "conflict", Title: "Not possible now"}
	errNotJSON      = problem{Status: 400, Code: "invalid_json", Title: "Not JSON", Detail: "body: not a single JSON value"}
	errNotEvent     = problem{Status: 400, Code: "invalid_event", Title: "Not a Forge event"}
	errBadBody      = problem{Status: 400, Code: "incomplete_body", Title: "Body incomplete", Detail: "body: ended early or arrived too slowly"}
	errNotBuild     = problem{Status: 422, Code: "invalid_delivery", Title: "Not a build"}
	errParameter    = problem{Status: 400, Code: "invalid_parameter", Title: "Invalid parameter"}
	errInvalidBody  = problem{Status: 422, Code: "invalid_body", Title: "Invalid body"}
	errPolicy       = problem{Status: 422, Code: "invalid_policy", Title: "Invalid policy"}
	errChanged      = problem{Status: 412, Code: "policy_changed", Title: "Changed meanwhile", Detail: "another version of the policy is in force; read it, merge your change and try again"}
	errMediaType    = problem{Status: 415, Code: "unsupported_media_type", Title: "Unsupported media type", Detail: "Content-Type: send application/yaml, or application/json with {\"document\": \"...\"}"}
	errUnavailable  = problem{Status: 503, Code: "unavailable", Title: "Unavailable", Detail: "mergegate can't reach its database; try again in a few seconds"}
	errBusy         = problem{Status: 503, Code: "overloaded", Title: "Too many requests", Detail: "mergegate is busy; try again in a few seconds"}
	errTooSlow      = problem{Status: 503, Code: "too_slow", Title: "Took too long", Detail: "the request exceeded its time limit; narrow it, for example to fewer days, or try again"}
	errCostly       = problem{Status: 429, Code: "too_many_requests", Title: "Too many requests", Detail: "mergegate runs few requests of this kind at once; try again in a few seconds"}
	errTooMany      = problem{Status: 429, Code: "too_many_failures", Title: "Too many failures", Detail: "too many failed authentications from this address; try again in a minute"}
	errAppVeyor     = problem{Status: 502, Code: "appveyor_unavailable", Title: "AppVeyor can't be read"}
	errInternal     = problem{Status: 500, Code: "internal", Title: "Internal error"}
)

// asProblem is the one table from errors to answers. An error that isn't in it is a fault of
// mergegate's: the answer says no more than that, and the log has the error.
func asProblem(err error) problem {
	var p problem
	var tooLarge *http.MaxBytesError
	var faults policy.Faults
	var refused *appveyor.Error
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &tooLarge):
		return errTooLarge.with("body: over the limit of %d bytes", tooLarge.Limit)
	case errors.Is(err, appveyor.ErrNotJSON):
		return errNotJSON
	case errors.Is(err, appveyor.ErrNotBuild):
		return errNotBuild.with("%s", err)
	case errors.As(err, &refused) && refused.Kind == appveyor.Temporary:
		return errAppVeyor.with("%s", refused.Reason)
	case errors.As(err, &refused):
		return errConflict.with("%s", refused.Reason)
	case errors.Is(err, forge.ErrForbidden):
		return errForbidden.with("%s", err)
	case errors.Is(err, forge.ErrUnauthorized):
		return errUnauthorized.with("%s", err)
	case errors.Is(err, forge.ErrNotAnEvent):
		return errNotEvent.with("%s", err)
	case errors.Is(err, notifications.ErrInvalid):
		return errInvalidBody.with("%s", err)
	case errors.Is(err, notifications.ErrNoKey), errors.Is(err, postgres.ErrTooManySubscriptions), errors.Is(err, sealed.ErrNotOpened):
		return errConflict.with("%s", err)
	case errors.Is(err, waivers.ErrInvalid):
		return errInvalidBody.with("%s", err)
	case errors.Is(err, waivers.ErrRefused):
		return errForbidden.with("%s", err)
	case errors.Is(err, waivers.ErrConflict):
		return errConflict.with("%s", err)
	case errors.Is(err, postgres.ErrPolicyChanged):
		return errChanged
	case errors.As(err, &faults):
		return errPolicy.about(faults)
	case errors.Is(err, builds.ErrUntrustedAccount), errors.Is(err, postgres.ErrOtherPlace):
		return errForbidden.with("%s", err)
	case errors.Is(err, postgres.ErrNotFound):
		return errNotFound
	case postgres.IsUnavailable(err):
		return errUnavailable
	default:
		return errInternal
	}
}

// handle is the only place that renders an error.
func (s *Server) handle(f func(*gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := f(c); err != nil {
			s.fail(c, err)
		}
	}
}

func (s *Server) fail(c *gin.Context, err error) {
	p := s.limited(c, asProblem(err))
	p.RequestID = requestID(c)
	note(c, "code", p.Code, "reason", p.Detail)
	if p.Status >= 500 && c.FullPath() != readyPath { // which says itself what is worth a line
		level := slog.LevelError
		if p.Code == errBusy.Code || p.Code == errTooSlow.Code {
			level = slog.LevelWarn // the service is well; a client asks for too much
		}
		s.Log.Log(c.Request.Context(), level, "request failed", "request_id", p.RequestID, "route", c.FullPath(), "error", err)
	}
	if p.Status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", "Bearer")
	}
	if p.Status == http.StatusServiceUnavailable || p.Code == errCostly.Code {
		c.Header("Retry-After", "5")
	}
	if c.Writer.Written() {
		panic(http.ErrAbortHandler) // a body has begun, and must not look like a whole one
	}
	c.Header("Content-Type", "application/problem+json")
	c.AbortWithStatusJSON(p.Status, api.Problem(p))
}

// jsonProblem says what is wrong with a body that is JSON, without Go's words.
func jsonProblem(err error) string {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		return fmt.Sprintf("%s: a %s is not accepted here", wrongType.Field, wrongType.Value)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}
