package server

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

const (
	defaultPageLength = 10
	maxPageLength     = 100
)

// storable reports whether PostgreSQL can compare s with a text.
func storable(s string) bool {
	return len(s) <= 1024 && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

// pathID reads a positive id out of the path. Anything else names nothing.
func pathID(c *gin.Context) (int64, error) {
	id, err := strconv.ParseInt(c.Param("id"), 10, 64)
	if err != nil || id <= 0 {
		return 0, errNotFound
	}
	return id, nil
}

// query reads parameters and remembers the first that is wrong.
type query struct {
	values url.Values
	err    error
}

// newQuery refuses parameters that don't exist: a misspelt filter would else
// answer with everything.
func newQuery(r *http.Request, known ...string) *query {
	q := &query{}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		q.err = errParameter.with("the query string is not valid: %s", quoted(r.URL.RawQuery))
		return q
	}
	q.values = values
	for name, given := range values {
		if !slices.Contains(known, name) {
			q.fail("unknown parameter %s; known are %s", quoted(name), strings.Join(known, ", "))
		} else if len(given) > 1 || !storable(given[0]) {
			q.fail("%s: give it once, as text in UTF-8", name)
		}
	}
	return q
}

func (q *query) fail(format string, args ...any) {
	if q.err == nil {
		q.err = errParameter.with(format, args...)
	}
}

// quoted is a value in an error's detail, shortened.
func quoted(s string) string { return strconv.Quote(mergecheck.OneLine(s, 80)) }

func (q *query) text(name string) string { return q.values.Get(name) }

func (q *query) positive(name string) int64 {
	s := q.text(name)
	if s == "" {
		if q.values.Has(name) {
			q.fail("%s: empty; leave it out or give a value", name)
		}
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		q.fail("%s: %s is not a positive number", name, quoted(s))
	}
	return n
}

func (q *query) instant(name string) time.Time {
	s := q.text(name)
	if s == "" {
		if q.values.Has(name) {
			q.fail("%s: empty; leave it out or give a value", name)
		}
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		// PostgreSQL's years end sooner than RFC 3339's begin.
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 0 {
			return t.UTC()
		}
	}
	q.fail("%s: %s is not a time like 2026-01-31T12:00:00Z or 2026-01-31", name, quoted(s))
	return time.Time{}
}

// project is "account/slug", taken apart.
func (q *query) project(name string) (account, slug string) {
	account, slug, found := strings.Cut(q.text(name), "/")
	if !found || account == "" || slug == "" || strings.Contains(slug, "/") {
		q.fail("%s: %s is not account/slug", name, quoted(q.text(name)))
	}
	return account, slug
}

func (q *query) matching(name, what string, pattern *regexp.Regexp) string {
	s := q.text(name)
	if q.values.Has(name) && !pattern.MatchString(s) {
		q.fail("%s: %s is not %s", name, quoted(s), what)
	}
	return s
}

func (q *query) pageLength() int {
	n := q.positive("pagelen")
	if n > maxPageLength {
		q.fail("pagelen: %d is over the limit of %d", n, maxPageLength)
	}
	if n == 0 {
		return defaultPageLength
	}
	return int(n)
}

// pageToken is where a list goes on: below an id that never changes, so that
// what is added meanwhile moves nothing.
type pageToken struct {
	Version int   `json:"v"`
	Before  int64 `json:"b"`
}

func encodePage(before int64) string {
	text, _ := json.Marshal(pageToken{Version: 1, Before: before}) // two numbers always marshal
	return base64.RawURLEncoding.EncodeToString(text)
}

// decodePage reads what encodePage wrote and nothing else.
func decodePage(s string) (before int64, ok bool) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return 0, false
	}
	var token pageToken
	if json.Unmarshal(text, &token) != nil || token.Version != 1 || token.Before <= 0 {
		return 0, false
	}
	return token.Before, encodePage(token.Before) == s
}

func (q *query) page() int64 {
	if !q.values.Has("page") {
		return 0
	}
	before, ok := decodePage(q.text("page"))
	if !ok {
		q.fail("page: use the page of a next link as it is")
	}
	return before
}

// paging reads where a page of a list without filters begins, and how long it is.
func paging(r *http.Request) (before int64, length int, err error) {
	q := newQuery(r, "pagelen", "page")
	before, length = q.page(), q.pageLength()
	return before, length, q.err
}

var (
	commitPattern  = regexp.MustCompile(`^[0-9a-fA-F]{7,40}$`)
	projectPattern = regexp.MustCompile(`^([0-9]{1,18}|[^/\s]+/[^/\s]+)$`)
	statePattern   = regexp.MustCompile(`^(queued|running|success|failed|cancelled)$`)
)

var buildParameters = []string{"pullrequest", "commit", "project", "state", "since", "until", "pagelen", "page"}

func buildFilter(r *http.Request, known []string) (postgres.BuildFilter, error) {
	q := newQuery(r, known...)
	f := postgres.BuildFilter{
		PullRequestID: q.positive("pullrequest"),
		Commit:        strings.ToLower(q.matching("commit", "7 to 40 hexadecimal characters", commitPattern)),
		Project:       q.matching("project", "account/slug or a project id", projectPattern),
		State:         mergecheck.State(q.matching("state", "queued, running, success, failed or cancelled", statePattern)),
		Since:         q.instant("since"),
		Until:         q.instant("until"),
		Before:        q.page(),
		Limit:         q.pageLength(),
	}
	return f, q.err
}
