package appveyor

import (
	"errors"
	"net/url"
	"strings"
)

// Why a build URL leads to no project.
var (
	ErrOtherHost   = errors.New("the build URL is not of the configured AppVeyor")
	ErrNotBuildURL = errors.New("the build URL names no project")
)

// Ref names a build for [Client.Build]. Version is optional: it finds the build
// where AppVeyor lacks the route by id.
type Ref struct {
	Account string
	Slug    string
	BuildID int64
	Version string
}

// ParseBuildURL reads account and slug, and what else is there, out of both
// shapes AppVeyor has: /project/{account}/{slug}/build/{version} and
// /project/{account}/{slug}/builds/{buildId}. A URL of any host but the
// configured one is [ErrOtherHost].
func (c *Client) ParseBuildURL(raw string) (Ref, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return Ref{}, ErrNotBuildURL
	}
	if !strings.EqualFold(u.Host, c.base.Host) || u.User != nil {
		return Ref{}, ErrOtherHost
	}
	return parseBuildPath(strings.TrimPrefix(u.EscapedPath(), strings.TrimSuffix(c.base.EscapedPath(), "/")))
}

func parseBuildPath(path string) (Ref, error) {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, part := range parts {
		decoded, err := url.PathUnescape(part)
		if err != nil {
			return Ref{}, ErrNotBuildURL
		}
		parts[i] = text(decoded, 512)
	}
	if len(parts) < 3 || parts[0] != "project" || !isName(parts[1]) || !isName(parts[2]) {
		return Ref{}, ErrNotBuildURL
	}
	ref := Ref{Account: parts[1], Slug: parts[2]}
	if len(parts) >= 5 && parts[3] == "build" {
		ref.Version = parts[4]
	}
	if len(parts) >= 5 && parts[3] == "builds" {
		ref.BuildID = intOf([]byte(parts[4]))
	}
	return ref, nil
}

// isName keeps out what would change the path of the request made with it.
func isName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, "/\\?#%") && !strings.ContainsFunc(s, isControl)
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }
