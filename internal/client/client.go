// Package client asks mergegate's API:
//
//	c := client.New("https://gate.example.com", token)
//	builds, err := c.Builds(ctx, "acme/widgets", client.BuildFilter{State: "failed"}, 20)
//
// What it asks is a running service, or a handler of this process: see [WithTransport].
package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"mergegate/api"
	"mergegate/internal/mergecheck"
)

// Timeout is how long one answer may take. What takes longer by nature is bounded by
// its context alone.
const Timeout = 30 * time.Second

// Client asks the API. It is safe for concurrent use.
type Client struct {
	base, token string
	http        *http.Client
}

// New returns a client of the service at base, such as https://gate.example.com. token is
// an API token, "" for none.
func New(base, token string) *Client {
	return WithTransport(base, token, nil)
}

// WithTransport is [New] with something else between; nil: the network.
func WithTransport(base, token string, transport http.RoundTripper) *Client {
	return &Client{base: strings.TrimRight(base, "/"), token: token, http: &http.Client{
		Transport: transport,
		// A POST that is redirected becomes a GET, and a token goes where nobody said it
		// should: redirects are answers.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Error is an answer that is no success.
type Error struct{ api.Problem }

// longest is what is shown of a text that others wrote.
const longest = 500

// Error says what the service answered, and where a token is at fault, how to get one
// that isn't.
func (e *Error) Error() string {
	text := mergecheck.OneLine(cmp.Or(e.Detail, e.Title, http.StatusText(e.Status), "an unknown status"), longest)
	switch {
	case e.Code == "":
		return fmt.Sprintf("the service answered %d %s, which is not its API's: see MERGEGATE_URL", e.Status, text)
	case e.Status == http.StatusUnauthorized:
		return text + "; mergegate token create makes one where the service runs, to be given as MERGEGATE_TOKEN or MERGEGATE_TOKEN_FILE"
	case e.Status == http.StatusForbidden && strings.Contains(e.Detail, "token with scope"):
		return text + "; mergegate token create --scope makes one where the service runs"
	default:
		return text
	}
}

// IsNotFound reports whether the service answered that there is no such thing, and said
// nothing more of it.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound && e.Code == "not_found" && e.Detail == ""
}

// IsRefusedParameter reports whether the service refused what it was asked with.
func IsRefusedParameter(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusBadRequest && e.Code != ""
}

// ErrLimit says that a limit is not a number from 1 up.
var ErrLimit = errors.New("the limit is not a number from 1 up")

// list follows pages until limit documents are there, or all. more says that there are
// others.
func list[T any](ctx context.Context, c *Client, path string, query url.Values, limit int) (values []T, more bool, err error) {
	if limit < 1 {
		return nil, false, ErrLimit
	}
	if query == nil {
		query = url.Values{}
	}
	query.Set("pagelen", fmt.Sprint(min(limit, 100)))
	next := path + "?" + query.Encode()
	values = []T{}
	for next != "" && len(values) < limit {
		var page api.Page[T]
		if err := c.get(ctx, next, &page); err != nil {
			return values, false, err
		}
		values = append(values, page.Values...)
		following, err := url.Parse(page.Next)
		if err != nil {
			return values, false, fmt.Errorf("the next page's address is not valid: %w", err)
		}
		if next = ""; page.Next != "" {
			next = following.RequestURI() // the service may be known by another name inside
		}
	}
	return values[:min(len(values), limit)], next != "" || len(values) > limit, nil
}

func (c *Client) get(ctx context.Context, path string, answer any) error {
	return c.do(ctx, http.MethodGet, path, nil, answer)
}

func (c *Client) post(ctx context.Context, path string, body, answer any) error {
	return c.do(ctx, http.MethodPost, path, body, answer)
}

func (c *Client) delete(ctx context.Context, path string) error {
	return c.do(ctx, http.MethodDelete, path, nil, nil)
}

func (c *Client) do(ctx context.Context, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	return c.doAll(ctx, method, path, body, func(r io.Reader) error {
		text, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("the service's answer broke off: %w", err)
		}
		if answer == nil || len(text) == 0 {
			return nil
		}
		if err := json.Unmarshal(text, answer); err != nil {
			return fmt.Errorf("the service's answer is not the API's: %w", err)
		}
		return nil
	})
}

// doAll sends a request and has read take the answer, where it is a success.
func (c *Client) doAll(ctx context.Context, method, path string, body any, read func(io.Reader) error) error {
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return c.noAnswer(err)
	}
	defer func() { _ = res.Body.Close() }()
	switch location := res.Header.Get("Location"); {
	case res.StatusCode < 300:
		return read(res.Body)
	case location != "" && res.StatusCode < 400:
		return fmt.Errorf("the service at %s redirects to %s: give the address that answers as MERGEGATE_URL", c.base, mergecheck.OneLine(location, longest))
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("the service's answer broke off: %w", err)
	}
	refused := &Error{}
	_ = json.Unmarshal(text, &refused.Problem) // what isn't a problem document is told by its status
	refused.Status = res.StatusCode
	return refused
}

func (c *Client) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

func (c *Client) noAnswer(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err // without the address once more
	}
	return fmt.Errorf("the service at %s does not answer: %w; see that it runs and that MERGEGATE_URL is its address", c.base, err)
}
