package bitbucket

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/retryafter"
)

// Error is a call that Bitbucket refused, or that got no usable answer.
type Error struct {
	Op         string        // what was attempted, such as "get pull request 7 of ws/repo"
	StatusCode int           // 0: there was no HTTP answer
	Message    string        // Bitbucket's own words where it had any; without credentials, one line
	RetryAfter time.Duration // from Retry-After; 0: Bitbucket didn't say

	permanent bool   // no HTTP answer, and asking again can't change that
	err       error  // what kept the answer from us, if anything did
	location  string // where a redirect goes
}

// Error names the operation, the status and Bitbucket's message.
func (e *Error) Error() string {
	text := e.Op + ": "
	if e.StatusCode != 0 {
		text += fmt.Sprintf("Bitbucket answered %d: ", e.StatusCode)
	}
	text += e.Message
	if e.err != nil {
		text += ": " + e.err.Error()
	}
	return text
}

// Cause says in a few plain words what went wrong, for people: without addresses, UUIDs and the errors below.
func (e *Error) Cause() string {
	switch code := e.StatusCode; {
	case e.permanent:
		return e.Message
	case code == 0 && isTimeout(e.err):
		return "Bitbucket didn't answer in time"
	case code == 0:
		return "mergegate can't reach Bitbucket"
	case code < http.StatusMultipleChoices:
		return "mergegate can't read Bitbucket's answer"
	case code < http.StatusBadRequest:
		return fmt.Sprintf("Bitbucket redirected mergegate to another address (%d)", code)
	case code == http.StatusUnauthorized, e.Op == opAccessToken && code < http.StatusNotFound:
		return fmt.Sprintf("Bitbucket rejected mergegate's credential (%d)", code)
	case code == http.StatusForbidden:
		return "mergegate's Bitbucket credential lacks a scope or access to this repository (403)"
	case code == http.StatusNotFound:
		return "Bitbucket doesn't show this repository to mergegate (404)"
	case code == http.StatusTooManyRequests:
		return "mergegate has used up its Bitbucket rate limit (429)"
	case code < http.StatusInternalServerError:
		return fmt.Sprintf("Bitbucket rejected mergegate's request (%d)", code)
	default:
		return fmt.Sprintf("Bitbucket answered with a server error (%d)", code)
	}
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.Canceled) || errors.As(err, &timeout) && timeout.Timeout()
}

// Unwrap answers the transport's or the decoder's error, such as context.DeadlineExceeded.
func (e *Error) Unwrap() error { return e.err }

// Temporary tells whether the same call may succeed later: no answer, one that isn't Bitbucket's, 429 and 5xx.
func (e *Error) Temporary() bool {
	switch {
	case e.permanent:
		return false
	case e.StatusCode == http.StatusTooManyRequests, e.StatusCode == http.StatusRequestTimeout:
		return true
	default:
		return e.StatusCode < 400 || e.StatusCode >= 500
	}
}

// StatusOf answers the status that Bitbucket refused with, 0 where there was no answer or no error.
func StatusOf(err error) int {
	var refused *Error
	if errors.As(err, &refused) {
		return refused.StatusCode
	}
	return 0
}

// refusal makes an Error of an answer that isn't a success.
func refusal(op string, res *http.Response, body []byte) *Error {
	message := refusalMessage(body)
	if message == "" {
		message = http.StatusText(res.StatusCode)
	}
	return &Error{
		Op:         op,
		StatusCode: res.StatusCode,
		Message:    oneLine(redact(message, res.Request.Header.Get("Authorization"))),
		RetryAfter: retryafter.Read(res.Header, time.Now()),
		location:   res.Header.Get("Location"),
	}
}

// refusalMessage reads Bitbucket's {"type":"error","error":{"message":…}} and OAuth's {"error_description":…}.
func refusalMessage(body []byte) string {
	var answer struct {
		Error            json.RawMessage `json:"error"`
		ErrorDescription string          `json:"error_description"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	var detail struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(answer.Error, &detail) == nil && detail.Message != "" {
		return detail.Message
	}
	return answer.ErrorDescription
}

// oneLine makes any text fit for a log line and a database column.
func oneLine(s string) string { return mergecheck.OneLine(s, 300) }

// redact takes out what we authenticated with, should an answer repeat it.
func redact(message, authorization string) string {
	_, secret, _ := strings.Cut(authorization, " ")
	secrets := []string{secret}
	if pair, err := base64.StdEncoding.DecodeString(secret); err == nil {
		_, password, _ := strings.Cut(string(pair), ":")
		secrets = append(secrets, password)
	}
	for _, s := range secrets {
		if s != "" {
			message = strings.ReplaceAll(message, s, "[redacted]")
		}
	}
	return message
}
