package appveyor

import (
	"errors"
	"fmt"
	"time"
)

// Kind tells what to do about a failed request.
type Kind int

// The kinds of failure.
const (
	Temporary Kind = iota // ask again: unreachable, slow, 429, 5xx, not JSON
	Refused               // 401 or 403: the token isn't accepted
	NotFound              // 404: AppVeyor doesn't know the build, or won't show it
	Unusable              // what it says can't be kept; asking again gets the same
)

// Error is a request that AppVeyor did not answer with a build. Its text is
// meant for people and holds no secret.
type Error struct {
	Kind       Kind
	Status     int           // HTTP status, 0 where there was no answer
	RetryAfter time.Duration // as AppVeyor asked for, else 0
	Reason     string
}

func (e *Error) Error() string { return e.Reason }

// notJSON marks an answer that is a page: AppVeyor answers unknown routes so.
var errNotJSON = errors.New("not JSON")

func notJSON() *Error {
	return &Error{Status: 200, Reason: "AppVeyor answered with something other than JSON"}
}

func (e *Error) Unwrap() error {
	if e.Kind == Temporary && e.Status == 200 {
		return errNotJSON
	}
	return nil
}

func statusError(status int, retryAfter time.Duration) *Error {
	switch {
	case status == 401 || status == 403:
		return &Error{Kind: Refused, Status: status, Reason: "token refused"}
	case status == 404:
		return &Error{Kind: NotFound, Status: status, Reason: "build not found, or not shown without a token"}
	case status >= 300 && status < 400:
		return &Error{Status: status, Reason: "AppVeyor redirects to another host"}
	default:
		return &Error{Status: status, RetryAfter: retryAfter, Reason: fmt.Sprintf("AppVeyor answered %d", status)}
	}
}

// routeMissing reports whether another route may still have the build.
func routeMissing(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Kind == NotFound || errors.Is(err, errNotJSON))
}

// IsNotFound reports whether AppVeyor doesn't show what was asked for.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == NotFound
}
