package bitbucket

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

var (
	uuidPattern = regexp.MustCompile(`^\{?([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\}?$`)
	hexPattern  = regexp.MustCompile(`^[0-9a-f]{7,40}$`)
)

// bareUUID answers a UUID in lower case and without braces, "" for what is none.
func bareUUID(s string) string {
	parts := uuidPattern.FindStringSubmatch(s)
	if parts == nil {
		return ""
	}
	return strings.ToLower(parts[1])
}

// hexHash answers a commit hash in lower case, "" for what is none. Bitbucket's schema allows 7 or more characters;
// pull requests carry 12, commits 40.
func hexHash(s string) string {
	s = strings.ToLower(s)
	if !hexPattern.MatchString(s) {
		return ""
	}
	return s
}

// segment makes a path segment of a slug or a UUID; Bitbucket knows a UUID by its braces.
func segment(s string) string {
	if uuid := bareUUID(s); uuid != "" {
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
