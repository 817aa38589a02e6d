package demo

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"mergegate/internal/bitbucket/bitbuckettest/held"
	"mergegate/internal/config"
	"mergegate/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m).Run()) }

// TestStoryIsHeld tells the story with a stand-in that is held to Atlassian's document, and
// holds the picture of it in README to its answers.
func TestStoryIsHeld(t *testing.T) {
	t.Parallel()
	var stdout bytes.Buffer
	env := map[string]string{"DATABASE_URL": postgrestest.Empty(t)}
	o := Options{Stdout: &stdout, Environ: config.EnvironOf(env), bitbucket: held.New}
	if err := Run(t.Context(), o); err != nil {
		t.Fatalf("%v\n%s", err, stdout.String())
	}
	testPicture(t, stdout.String())
	testExcerpt(t, stdout.String())
}

func TestTellsWhatDoesNotHold(t *testing.T) {
	t.Parallel()
	var stdout bytes.Buffer
	env := map[string]string{"DATABASE_URL": postgrestest.Empty(t)}
	o := Options{Stdout: &stdout, Environ: config.EnvironOf(env)}
	steps := []step{
		{"A step that holds", func(s *tale) { s.showsNone(headBroken) }},
		{"A step that doesn't", func(s *tale) { s.expect("Bitbucket shows", "FAILED", "SUCCESSFUL"); s.text("never said") }},
		{"A step that is never told", func(*tale) { t.Error("told") }},
	}
	if err := tellIn(t.Context(), o, steps); err == nil || err.Error() != "step 2 did not hold: Bitbucket shows" {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{
		"   ✗ Bitbucket shows\n     expected: FAILED\n     got:      SUCCESSFUL\n",
		"The end of the service's log:", "msg=serving",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, stdout.String())
		}
	}
	if strings.Contains(stdout.String(), "never") {
		t.Errorf("it went on:\n%s", stdout.String())
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	var stdout bytes.Buffer
	env := map[string]string{"DATABASE_URL": postgrestest.Empty(t)}
	o := Options{Stdout: &stdout, Environ: config.EnvironOf(env)}
	steps := []step{{"A step that is interrupted", func(s *tale) {
		interrupt()
		s.eventually("never", func() bool { return false })
	}}}
	if err := tellIn(ctx, o, steps); err == nil || err.Error() != "interrupted" {
		t.Errorf("got %v", err)
	}
	if strings.Contains(stdout.String(), "✗") {
		t.Errorf("said to fail:\n%s", stdout.String())
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, body, want string }{
		{name: "short", body: `{"b":1,"a":[true,null]}`, want: "{\"b\": 1, \"a\": [true, null]}"},
		{name: "no JSON", body: "<html>\n</html>\n", want: "<html>\n     </html>"},
		{name: "commits and UUIDs", body: fmt.Sprintf(`{"c":%q,"u":"{%s}"}`, strings.Repeat("1", 40), repositoryUUID), want: `{"c": "111111111111…", "u": "{15a31549…}"}`},
		{
			name: "a sentence", body: `{"message":"` + strings.Repeat("word ", 20) + `","success":false}`,
			want: `{"message": "` + strings.Repeat("word ", 15) + "word\n      " + strings.Repeat("word ", 4) + `", "success": false}`,
		},
		{
			name: "a list", body: `{"values":[{"a":"` + strings.Repeat("x", 80) + `"},{"b":2}]}`,
			want: "{\n       \"values\": [\n         {\"a\": \"" + strings.Repeat("x", 80) + "\"},\n         {\"b\": 2}\n       ]\n     }",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			(&page{w: &out}).answer(http.StatusOK, "", []byte(tt.body))
			if want := "   ← 200 OK\n     " + tt.want + "\n"; out.String() != want {
				t.Errorf("got\n%s\nwant\n%s", out.String(), want)
			}
		})
	}
}

func TestPageColours(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	page := &page{w: &out, colour: true}
	page.heading(1, "A")
	page.held("b", "c")
	if want := "\n\x1b[1m1. A\x1b[0m\n   \x1b[32m✓\x1b[0m b: c\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
