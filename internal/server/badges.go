package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// badge shows the newest answer to a merge check of a pull request. Whoever may
// see it has an address that is signed, or any address where the policy says so;
// to everybody else there is nothing.
func (s *Server) badge(c *gin.Context) error {
	id, isBadge := strings.CutSuffix(c.Param("file"), ".svg")
	pullRequestID, err := strconv.ParseInt(id, 10, 64)
	workspace, slug := c.Param("workspace"), c.Param("repo_slug")
	if !isBadge || err != nil || pullRequestID <= 0 || !storable(workspace) || !storable(slug) {
		return errNotFound
	}
	repository, err := s.Store.RepositoryByPath(c.Request.Context(), workspace, slug)
	if err != nil {
		return err
	}
	decisions, err := s.Store.Decisions(c.Request.Context(), keyOf(repository, pullRequestID), 0, 1)
	if err != nil {
		return err
	}
	if !s.signed(c, signedBadge, repository, pullRequestID) {
		if err := s.publicBadge(c, repository, decisions); err != nil {
			return err
		}
	}
	text, color := "not asked", gray
	if len(decisions) > 0 {
		text, color = badgeOf(decisions[0])
	}
	c.Header("Cache-Control", "no-cache, max-age=0")
	c.Header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	c.Status(http.StatusOK)
	c.Header("Content-Type", "image/svg+xml; charset=utf-8")
	return badgeSVG.Execute(c.Writer, badgeData("merge", text, color))
}

// publicBadge refuses where the policy doesn't show badges to anybody.
func (s *Server) publicBadge(c *gin.Context, r postgres.Repository, decisions []postgres.Decision) error {
	if len(decisions) == 0 {
		return errNotFound // nobody knows which branch it goes to
	}
	p, err := s.Store.Policy(c.Request.Context(), r.WorkspaceUUID)
	if errors.Is(err, postgres.ErrNotFound) {
		return errNotFound
	}
	if err != nil {
		return err
	}
	effective, err := s.policies.For(r.WorkspaceUUID, p.Version, p.Document, r.FullName, decisions[0].Destination)
	if err != nil || !effective.PublicBadges {
		return errNotFound
	}
	return nil
}

// What a signature is for: who has a badge's address can't see the page.
const (
	signedBadge = "badge"
	signedPage  = "page"
)

// signedURL is an address with its signature, nil where there is no key to sign with.
func (s *Server) signedURL(format, what string, r postgres.Repository, pullRequestID int64) *string {
	if len(s.SigningKey) == 0 || r.FullName == "" {
		return nil
	}
	path := fmt.Sprintf(format, r.FullName, pullRequestID)
	return new(strings.TrimSuffix(s.PublicURL, "/") + path + "?signature=" + s.signature(what, r, pullRequestID))
}

// signature is of what doesn't change with a name.
func (s *Server) signature(what string, r postgres.Repository, pullRequestID int64) string {
	mac := hmac.New(sha256.New, s.SigningKey)
	fmt.Fprintf(mac, "%s %s %s %d", what, r.WorkspaceUUID, r.RepositoryUUID, pullRequestID)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (s *Server) signed(c *gin.Context, what string, r postgres.Repository, pullRequestID int64) bool {
	return len(s.SigningKey) > 0 && hmac.Equal([]byte(s.signature(what, r, pullRequestID)), []byte(c.Query("signature")))
}

// The colors of badges: of states that may merge, that wait, that may not, and
// that nobody knows.
const (
	green  = "#2e7d32"
	yellow = "#8a6100"
	red    = "#b3261e"
	gray   = "#5f6368"
)

func badgeOf(d postgres.Decision) (text, color string) {
	code := mergecheck.Code(d.Code)
	text = strings.ReplaceAll(d.Code, "_", " ")
	switch {
	case code.Success():
		return text, green
	case code.Pending() || code == mergecheck.Frozen:
		return text, yellow
	case code == mergecheck.HeadUnknown || code == mergecheck.Unavailable || code == mergecheck.PullRequestClosed:
		return text, gray
	default:
		return text, red
	}
}

type badgeParts struct {
	Label, Text, Color           string
	LabelWidth, TextWidth, Width int
	LabelMiddle, TextMiddle      int
}

// badgeData lays out the two words. A character has about 7 pixels in the 11 point
// fonts that are asked for.
func badgeData(label, text, color string) badgeParts {
	width := func(s string) int { return 7*utf8.RuneCountInString(s) + 12 }
	b := badgeParts{Label: label, Text: text, Color: color, LabelWidth: width(label), TextWidth: width(text)}
	b.Width = b.LabelWidth + b.TextWidth
	b.LabelMiddle, b.TextMiddle = b.LabelWidth/2, b.LabelWidth+b.TextWidth/2
	return b
}

var badgeSVG = template.Must(template.New("badge").Parse(`<svg xmlns="http://www.w3.org/2000/svg" width="{{.Width}}" height="20" role="img" aria-label="{{.Label}}: {{.Text}}"><title>{{.Label}}: {{.Text}}</title>` +
	`<clipPath id="r"><rect width="{{.Width}}" height="20" rx="3"/></clipPath>` +
	`<g clip-path="url(#r)"><rect width="{{.LabelWidth}}" height="20" fill="#3c4043"/><rect x="{{.LabelWidth}}" width="{{.TextWidth}}" height="20" fill="{{.Color}}"/></g>` +
	`<g fill="#fff" text-anchor="middle" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" font-size="11"><text x="{{.LabelMiddle}}" y="14">{{.Label}}</text><text x="{{.TextMiddle}}" y="14">{{.Text}}</text></g></svg>
`))
