package appveyor

import (
	"errors"
	"strings"
)

// Why a build URL leads to no project.
var (
	ErrOtherHost   = errors.New("the build URL has another host than MERGEGATE_APPVEYOR_URL")
	ErrNotBuildURL = errors.New("the build URL doesn't name a project")
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
// /project/{account}/{slug}/builds/{buildId}, with or without more behind them.
//
// AppVeyor puts versions into URLs as they are, so a version may hold what a URL
// has to escape: percent signs, spaces, question marks, hash signs. Where the URL
// leads is read strictly: a URL of any host but the configured one, or with
// credentials, is [ErrOtherHost]; one with a control character, or with a name or
// version that would change the path of the request made with it, is
// [ErrNotBuildURL].
func (c *Client) ParseBuildURL(raw string) (Ref, error) {
	raw = strings.TrimSpace(raw)
	scheme, rest, _ := strings.Cut(raw, "://")
	scheme = strings.ToLower(scheme)
	if scheme != "http" && scheme != "https" || strings.ContainsFunc(raw, isControl) {
		return Ref{}, ErrNotBuildURL
	}
	host, path := rest, ""
	if end := strings.IndexAny(rest, `/\?#`); end >= 0 {
		host, path = rest[:end], rest[end:]
	}
	switch {
	case host == "":
		return Ref{}, ErrNotBuildURL
	case plainHost(scheme, host) != plainHost(c.base.Scheme, c.base.Host): // also where it has user@
		return Ref{}, ErrOtherHost
	}
	if inside, ok := strings.CutPrefix(path, c.base.EscapedPath()+"/"); ok {
		return parseBuildPath(inside)
	}
	return Ref{}, ErrNotBuildURL
}

// plainHost is a host as it is compared: in lower case, and without the port that
// its scheme means anyway.
func plainHost(scheme, host string) string {
	port := map[string]string{"http": ":80", "https": ":443"}[scheme]
	return strings.TrimSuffix(strings.ToLower(host), port)
}

// parseBuildPath reads project/{account}/{slug}, and the build behind it if one is
// named.
func parseBuildPath(path string) (Ref, error) {
	parts := strings.SplitN(path, "/", 4)
	if len(parts) < 3 || parts[0] != "project" {
		return Ref{}, ErrNotBuildURL
	}
	slug, rest := beforeQuery(parts[2]), ""
	if slug == parts[2] && len(parts) == 4 {
		rest = parts[3]
	}
	ref := Ref{Account: unescape(parts[1]), Slug: unescape(slug)}
	if !isName(ref.Account, maxAccount) || !isName(ref.Slug, maxSlug) {
		return Ref{}, ErrNotBuildURL
	}
	kind, name, _ := strings.Cut(rest, "/")
	name, _, _ = strings.Cut(name, "/") // what follows is a part of the build's page: a job, its tests
	switch kind {
	case "builds":
		ref.BuildID = digits(unescape(beforeQuery(name)))
	case "build":
		version := unescape(name)
		if climbs(version) || strings.ContainsFunc(version, isControl) {
			return Ref{}, ErrNotBuildURL
		}
		ref.Version = identity(version, maxVersion)
	}
	return ref, nil
}

func beforeQuery(s string) string {
	if end := strings.IndexAny(s, "?#"); end >= 0 {
		return s[:end]
	}
	return s
}

// unescape decodes what is escaped, and leaves a percent sign that escapes nothing
// as it is.
func unescape(s string) string {
	var decoded strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			decoded.WriteByte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			i += 2
			continue
		}
		decoded.WriteByte(s[i])
	}
	return decoded.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// isName keeps out what would change the path of the request made with it.
func isName(s string, limit int) bool {
	return identity(s, limit) == s && s != "" && !climbs(s) && !strings.ContainsAny(s, "/\\?#%") && !strings.ContainsFunc(s, isControl)
}

// climbs reports whether a text, where somebody unescapes it, leads to another
// folder.
func climbs(s string) bool {
	for part := range strings.FieldsFuncSeq(s, func(c rune) bool { return c == '/' || c == '\\' }) {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

func isControl(r rune) bool { return r < 0x20 || 0x7f <= r && r < 0xa0 }
