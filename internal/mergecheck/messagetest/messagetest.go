// Package messagetest keeps internal/mergecheck/testdata/messages.txt: every text that a
// pull request's author can read, in one table. Each package that has such texts holds a
// section of it:
//
//	messagetest.Hold(t, "Merge check", rows)
//
// A change of a text shows in that file. Take it with
//
//	go test ./internal/mergecheck ./internal/gate … -update
package messagetest

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

var update = flag.Bool("update", false, "take the texts as they are")

// Row is one text with what leads to it.
type Row struct {
	Facts    string // in words
	Code     string // the verdict's, or another word that programs read; "" where none is
	Message  string
	NextStep string // "" for a pass
	Status   string // the commit status's description, "" where none is posted
}

// Kind says what a section's messages have to be like.
type Kind int

// The kinds of sections.
const (
	// Messages are whole: one line of at most 255 characters, whole sentences, with what to
	// do unless Pass names their code.
	Messages Kind = iota
	// Phrases are parts of other texts: one line of at most 255 characters.
	Phrases
)

// Pass are the codes whose messages need no next step.
var Pass = []string{"passed", "waived", "not_required"}

// maxMessage is what one line of Bitbucket's may have; see mergecheck.MaxMessage.
const maxMessage = 255

// Forbidden are words that sound like a translated specification.
var Forbidden = []string{
	"by itself", "begun", "somebody", "nobody", "whoever", "anew", "likewise", "is of ", "told of", "passed over", "there is no", "so that",
	"broken off", "be had", "let through", "is not let", "may speak", "tells of", "it is asked", "who runs", "not known", "is known", "has to be",
	"mended", "mend ", "can't be told", "could not be", "couldn't be", "in time can",
}

// Hold compares a section of the file with rows, and rows with the rules for texts.
func Hold(t *testing.T, section string, kind Kind, rows []Row) {
	t.Helper()
	for _, r := range rows {
		for _, fault := range faults(kind, r) {
			t.Errorf("%s, %s: %s:\n%s", section, r.Facts, fault, r.Message)
		}
	}
	want := render(rows)
	name := file(t)
	if *update {
		replace(t, name, section, want)
		return
	}
	text, err := os.ReadFile(name) //nolint:gosec // a file of this package
	if err != nil {
		t.Fatal(err)
	}
	if got := sections(string(text))[section]; got != want {
		t.Errorf("section %q of %s isn't what the code says; if the code is right, run the test with -update\n%s", section, name, firstDifference(got, want))
	}
}

// Literals are the texts that the package in the working directory gives a field of a
// struct in its source: with a format's verbs where the text has some.
func Literals(t *testing.T, field string) (rows []Row) {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			pair, ok := n.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			if key, ok := pair.Key.(*ast.Ident); ok && key.Name == field {
				if text := literalIn(pair.Value); strings.Trim(text, "…") != "" {
					rows = append(rows, Row{Facts: name, Message: text})
				}
			}
			return true
		})
	}
	return rows
}

// literalIn joins the strings written out in an expression, with … for the rest.
func literalIn(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(e.Value)
		return text
	case *ast.BinaryExpr:
		return literalIn(e.X) + literalIn(e.Y)
	case *ast.CallExpr:
		if len(e.Args) > 0 {
			return literalIn(e.Args[0])
		}
	}
	return "…"
}

// Codes are the codes that rows show.
func Codes(rows []Row) map[string]bool {
	codes := map[string]bool{}
	for _, r := range rows {
		codes[r.Code] = true
	}
	return codes
}

// ending is how a message ends: with a full stop, or with that and one link.
var ending = regexp.MustCompile(`\.( https?://\S+)?$`)

func faults(kind Kind, r Row) (list []string) {
	if strings.ContainsAny(r.Message, "\n\t") || strings.Contains(r.Message, "  ") {
		list = append(list, "not one line")
	}
	if n := len([]rune(r.Message)); n > maxMessage {
		list = append(list, fmt.Sprintf("%d characters", n))
	}
	for _, word := range Forbidden {
		if strings.Contains(strings.ToLower(r.Message+" "+r.NextStep+" "+r.Status), word) {
			list = append(list, fmt.Sprintf("%q sounds like a specification", word))
		}
	}
	if strings.Count(r.Message, "http") > 1 {
		list = append(list, "more than one link")
	}
	if kind == Phrases {
		return list
	}
	if !ending.MatchString(r.Message) {
		list = append(list, "no full stop at the end")
	}
	passes := false
	for _, code := range Pass {
		passes = passes || r.Code == code
	}
	if !passes && r.NextStep == "" {
		list = append(list, "nothing to do about it")
	}
	return list
}

func render(rows []Row) string {
	var b strings.Builder
	b.WriteString("| what is the case | code | message | next step | commit status |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", cell(r.Facts), cell(r.Code), cell(r.Message), cell(r.NextStep), cell(r.Status))
	}
	return b.String()
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

const head = `Every text that a pull request's author can read, with what leads to it. Tests write
this file from the code; see internal/mergecheck/messagetest.
`

// sections are the parts of the file by their headings.
func sections(text string) map[string]string {
	parts := map[string]string{}
	for _, part := range strings.Split(text, "\n## ")[1:] {
		name, body, _ := strings.Cut(part, "\n\n")
		parts[name] = strings.TrimRight(body, "\n") + "\n"
	}
	return parts
}

// order is that of the sections in the file.
var order = []string{
	"Merge check", "Head unknown", "Bitbucket can't be read", "mergegate can't answer", "Build can't be confirmed", "Build can't be attributed yet", "Forge function", "Commit status",
	"Pull request comment and Code Insights report", "What would change a verdict",
}

// replace writes one section. Tests of several packages do so at once: each holds a lock.
func replace(t *testing.T, name, section, body string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // a file of this package
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name) //nolint:gosec // a file of this package
	if err != nil {
		t.Fatal(err)
	}
	parts := sections(string(text))
	parts[section] = body
	var b strings.Builder
	b.WriteString(head)
	for _, s := range order {
		if parts[s] != "" {
			b.WriteString("\n## " + s + "\n\n" + parts[s])
		}
		delete(parts, s)
	}
	if len(parts) > 0 {
		t.Fatalf("sections without a place in the order: %v", parts)
	}
	if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil { //nolint:gosec // a file of this package
		t.Fatal(err)
	}
}

func file(t *testing.T) string {
	t.Helper()
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("no path of this file")
	}
	return filepath.Join(filepath.Dir(here), "..", "testdata", "messages.txt")
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		var a, b string
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			return "-file: " + a + "\n+code: " + b
		}
	}
	return ""
}
