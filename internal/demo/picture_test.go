package demo

import (
	"encoding/json"
	"flag"
	"html/template"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write "+pictureFile)

// pictureFile is what README shows of the checks on a pull request: the answers of the
// demo, drawn.
const pictureFile = "../../docs/images/merge-check.svg"

// pictured are the answers that the picture has, in the order of the story, and what a
// person did before each.
var pictured = []struct{ code, when string }{
	{code: "no_build", when: "Just pushed"},
	{code: "running", when: "AppVeyor is building"},
	{code: "failed", when: "The build failed"},
	{code: "passed", when: "After a fix"},
}

// testPicture holds the picture to what the story answered. make picture draws it anew.
func testPicture(t *testing.T, story string) {
	t.Helper()
	got := draw(t, story)
	if *update {
		if err := os.WriteFile(pictureFile, []byte(got), 0o644); err != nil { //nolint:gosec // a page of the documentation
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(pictureFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the picture isn't what the demo answers; draw it anew with make picture (-want +got):\n%s", diff)
	}
}

// testExcerpt holds the lines of the demo that README has to the story; … stands for those
// between.
func testExcerpt(t *testing.T, story string) {
	t.Helper()
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, excerpt, _ := strings.Cut(string(page), "\n```text\n")
	excerpt, _, _ = strings.Cut(excerpt, "```")
	if excerpt == "" {
		t.Fatal("README.md shows nothing of the demo")
	}
	for line := range strings.Lines(excerpt) {
		line = strings.TrimSpace(line)
		i := strings.Index(story, line)
		switch {
		case line == "" || line == "…":
		case i < 0:
			t.Errorf("the demo doesn't print this line of README.md, or not there: %s", line)
		default:
			story = story[i+len(line):]
		}
	}
}

var (
	answerPattern = regexp.MustCompile(`(?s)(\{"message": .*?"success": (?:true|false)\})\s+✓ merge check: (\w+),`)
	spacePattern  = regexp.MustCompile(`\n\s+`)
	// Where the stand-in is, and how long the build had been running: they differ each time.
	hostPattern = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	timePattern = regexp.MustCompile(`\b\d+ s\b`)
)

// draw draws the first answer of each code.
func draw(t *testing.T, story string) string {
	t.Helper()
	first := map[string]string{}
	for _, match := range answerPattern.FindAllStringSubmatch(story, -1) {
		if _, drawn := first[match[2]]; drawn {
			continue
		}
		var answer struct{ Message string }
		if err := json.Unmarshal([]byte(spacePattern.ReplaceAllString(match[1], " ")), &answer); err != nil {
			t.Fatalf("%s: %v", match[1], err)
		}
		message := hostPattern.ReplaceAllString(answer.Message, "https://ci.appveyor.com")
		first[match[2]] = timePattern.ReplaceAllString(message, "3 min")
	}
	const width, top, lineHeight, pad = 760, 16, 20, 14
	var page struct {
		Width, Height int
		Cards         []pictureCard
	}
	y := top
	for _, p := range pictured {
		if first[p.code] == "" {
			t.Fatalf("the story has no answer of code %s", p.code)
		}
		card := pictureCard{When: p.when, Y: y, Colour: "#de350b", Sign: "✕", Verdict: "Merge blocked"}
		if p.code == "passed" {
			card.Colour, card.Sign, card.Verdict = "#00875a", "✓", "Merge allowed"
		}
		for i, line := range broken(first[p.code], 84) {
			card.Lines = append(card.Lines, pictureLine{Text: line, Y: y + pad + 36 + i*lineHeight})
		}
		card.Height = pad + 36 + len(card.Lines)*lineHeight
		card.TitleY, card.SignY = y+pad+12, y+pad+8
		page.Cards = append(page.Cards, card)
		y += card.Height + 12
	}
	page.Width, page.Height = width, y+4
	var out strings.Builder
	if err := pictureTemplate.Execute(&out, page); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

type pictureCard struct {
	When, Colour, Sign, Verdict string
	Y, Height, TitleY, SignY    int
	Lines                       []pictureLine
}

type pictureLine struct {
	Text string
	Y    int
}

// broken is a text in lines of about so many characters.
func broken(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}

var pictureTemplate = template.Must(template.New("picture").Parse(
	`<svg xmlns="http://www.w3.org/2000/svg" width="{{.Width}}" height="{{.Height}}" viewBox="0 0 {{.Width}} {{.Height}}" role="img" aria-labelledby="title" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif">
  <title id="title">What the check "AppVeyor PR build" says on a pull request:{{range .Cards}} {{.When}}: {{.Verdict}}.{{end}}</title>
  <rect width="{{.Width}}" height="{{.Height}}" rx="8" fill="#f4f5f7"/>
{{- range .Cards}}
  <rect x="16" y="{{.Y}}" width="728" height="{{.Height}}" rx="6" fill="#ffffff" stroke="#dfe1e6"/>
  <circle cx="40" cy="{{.SignY}}" r="10" fill="{{.Colour}}"/>
  <text x="40" y="{{.TitleY}}" font-size="12" font-weight="700" fill="#ffffff" text-anchor="middle">{{.Sign}}</text>
  <text x="62" y="{{.TitleY}}" font-size="14" font-weight="600" fill="#172b4d">AppVeyor PR build <tspan font-weight="400" fill="#5e6c84">· {{.When}}</tspan></text>
  <text x="728" y="{{.TitleY}}" font-size="13" font-weight="600" fill="{{.Colour}}" text-anchor="end">{{.Verdict}}</text>
{{- range .Lines}}
  <text x="62" y="{{.Y}}" font-size="14" fill="#42526e">{{.Text}}</text>
{{- end}}
{{- end}}
</svg>
`))
