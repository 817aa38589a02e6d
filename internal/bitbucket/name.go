package bitbucket

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"mergegate/internal/mergecheck"
)

// segment makes a path segment of a slug or a UUID; Bitbucket knows a UUID by its braces.
func segment(s string) string {
	if uuid := mergecheck.BareUUID(s); uuid != "" {
		s = "{" + uuid + "}"
	}
	return url.PathEscape(s)
}

// repositoryURL answers the URL of something below a repository; parts are taken as they are.
func (c *Client) repositoryURL(op, workspace, repo string, parts ...string) (*url.URL, error) {
	for _, name := range []string{workspace, repo} {
		if name == "" || name == "." || name == ".." {
			return nil, &Error{Op: op, Message: fmt.Sprintf("%q can't be a workspace or a repository", name), permanent: true}
		}
	}
	path := "/2.0/repositories/" + segment(workspace) + "/" + segment(repo)
	for _, part := range parts {
		path += "/" + part
	}
	u, err := url.Parse(c.base.String() + path)
	if err != nil {
		return nil, &Error{Op: op, Message: "no such address", permanent: true}
	}
	return u, nil
}

// apiRoot begins the part of an address that is the same wherever Bitbucket's API is reached.
const apiRoot = "/2.0/"

// linked answers the address that a link in an answer leads to: the next page of a list, or where a redirect goes.
// Bitbucket writes links to api.bitbucket.org, to bitbucket.org/!api and relative ones. Of each only what follows /2.0
// is used, on the configured address: a credential goes nowhere else. from is what the answer was to; ok is false where
// the link leads to nothing of the API.
func (c *Client) linked(link string, from *url.URL) (u *url.URL, ok bool) {
	parsed, err := url.Parse(link)
	if err != nil || link == "" {
		return nil, false
	}
	to := from.ResolveReference(parsed)
	escaped := to.EscapedPath()
	if to.Host == c.base.Host {
		escaped = strings.TrimPrefix(escaped, c.base.EscapedPath())
	}
	_, rest, found := strings.Cut(escaped, apiRoot)
	if !found || climbs(rest) {
		return nil, false
	}
	address := c.base.String() + apiRoot + rest
	if to.RawQuery != "" {
		address += "?" + to.RawQuery
	}
	u, err = url.Parse(address)
	return u, err == nil
}

// climbs reports whether a path leads out of where it begins.
func climbs(escaped string) bool {
	decoded, err := url.PathUnescape(escaped)
	return err != nil || slices.Contains(strings.Split(decoded, "/"), "..")
}
