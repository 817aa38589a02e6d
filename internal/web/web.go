// Package web renders the pages for people: what the API has, to look at.
//
//	err := web.PullRequest(w, "acme/widgets", verdict)
//
// Pages load nothing, run nothing, and escape whatever authors typed.
package web

import (
	_ "embed" // the templates
	"html/template"
	"io"
	"strings"
	"time"

	"mergegate/internal/mergecheck"
)

// ContentPolicy is what a page may do: show itself and its own style.
const ContentPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed page.html
var page string

var pages = template.Must(template.New("page").Funcs(template.FuncMap{
	"short":   func(commit string) string { return commit[:min(12, len(commit))] },
	"instant": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" },
	"words":   func(code mergecheck.Code) string { return strings.ReplaceAll(string(code), "_", " ") },
	"look":    look,
}).Parse(page))

// look is how a code looks: of what may merge, of what only takes waiting, and of
// what somebody has to see to.
func look(code mergecheck.Code) string {
	switch {
	case code.Success():
		return "good"
	case code.Pending() || code == mergecheck.Frozen:
		return "wait"
	default:
		return "bad"
	}
}

// PullRequest writes the page of a verdict on one of repository's pull requests.
func PullRequest(w io.Writer, repository string, v mergecheck.Verdict) error {
	return pages.ExecuteTemplate(w, "pull request", struct {
		mergecheck.Verdict
		Repository string
	}{v, repository})
}

// Home writes the page that says what this is.
func Home(w io.Writer) error { return pages.ExecuteTemplate(w, "home", nil) }
