package bitbucket

import (
	"fmt"
	"net/url"

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
