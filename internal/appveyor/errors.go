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
	Temporary Kind = iota // retry: unreachable, slow, 429, 5xx, not JSON
	Refused               // 401 or 403: AppVeyor rejects the token
	NotFound              // 404: AppVeyor doesn't know the build, or won't show it
	Unusable              // the answer can't be stored; a retry gets the same one
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
	return &Error{Status: 200, Reason: "AppVeyor's answer isn't JSON"}
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
		return &Error{Kind: Refused, Status: status, Reason: fmt.Sprintf("AppVeyor rejected mergegate's token (%d)", status)}
	case status == 404:
		return &Error{Kind: NotFound, Status: status, Reason: "AppVeyor doesn't show it to mergegate: it was deleted, or mergegate has no token for it"}
	case status >= 300 && status < 400:
		return &Error{Status: status, Reason: "AppVeyor redirected mergegate to another host"}
	case status == 429:
		return &Error{Status: status, RetryAfter: retryAfter, Reason: "mergegate has used up its AppVeyor rate limit (429)"}
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
