package main

import (
	"flag"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/postgres/postgrestest"
	"mergegate/internal/server/servertest"
)

var update = flag.Bool("update", false, "rewrite testdata/mistakes.txt")

const mistakesFile = "testdata/mistakes.txt"

// mistake is one that people make in their first hour.
type mistake struct {
	name     string
	settings []string // what is set, wrongly or beside it
	command  string   // "": serve
	check    string   // of doctor, where only its findings tell; a name that they begin with
}

// TestMistakes runs the program with each wrong configuration and compares what it says with
// testdata/mistakes.txt, which is there to be read: whoever makes the mistake has no more to
// go by. With -update it is written anew.
func TestMistakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bare := &world{World: &servertest.World{T: t, Env: map[string]string{}}}
	list := append(mistakesOfTheConfiguration(t, dir), mistakesOfThePlace(t, dir)...)
	attended, seen := mistakesThatDoctorSees(t)
	said := make([]string, len(list)+len(seen))
	var group errgroup.Group
	group.SetLimit(3)
	for i, m := range append(list, seen...) {
		group.Go(func() error {
			w := bare
			if i >= len(list) {
				w = attended
			}
			said[i] = anonymous(m.story(w), dir)
			return nil
		})
	}
	_ = group.Wait() // none fails: what was said tells
	got := strings.Join(said, "\n")
	if *update {
		if err := os.WriteFile(mistakesFile, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(mistakesFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("what mergegate says (-want +got); -update takes it over:\n%s", diff)
	}
}

// story is the mistake and what came of it, as people read it.
func (m mistake) story(w *world) string {
	command := m.command
	if command == "" {
		command = "serve"
	}
	code, out, errs := w.with(m.settings...).outcome("", strings.Fields(command)...)
	told, exit := errs, fmt.Sprintf("exit  %d\n", code)
	if m.check != "" {
		if told = findings(out, m.check); !strings.Contains(told, "fault  ") {
			exit = "" // other checks decide, such as that of the tests' database
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "== %s\n", m.name)
	for _, setting := range m.settings {
		shown := strconv.Quote(setting)
		fmt.Fprintf(&text, "set   %s\n", strings.ReplaceAll(shown[1:len(shown)-1], `\"`, `"`))
	}
	fmt.Fprintf(&text, "run   mergegate %s\n%s", command, exit)
	for line := range strings.Lines(told) {
		fmt.Fprintf(&text, "says  %s\n", strings.TrimRight(line, "\n"))
	}
	return text.String()
}

// findings are those of one check, with what to do.
func findings(out, check string) string {
	var lines []string
	of := false
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, " ") {
			_, rest, _ := strings.Cut(line, " ")
			of = strings.HasPrefix(strings.TrimLeft(rest, " "), check+":")
		}
		if of {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

var (
	localAddress = regexp.MustCompile(`127\.0\.0\.1:\d{4,5}\b`)
	databaseURL  = regexp.MustCompile(`postgres://\S*/` + postgresDatabase + `\S*`)
	lateness     = regexp.MustCompile(`1m5\ds|2m\ds`)
)

// anonymous is text without what differs from one run to the next.
func anonymous(text, dir string) string {
	text = strings.ReplaceAll(text, dir, "/DIR")
	text = databaseURL.ReplaceAllString(text, "postgres://DATABASE")
	text = lateness.ReplaceAllString(text, "2m0s")
	return localAddress.ReplaceAllStringFunc(text, func(address string) string {
		if port := strings.TrimPrefix(address, "127.0.0.1:"); port == "8080" || port == "9090" {
			return address
		}
		return "127.0.0.1:PORT"
	})
}

// postgresDatabase is in the names of the tests' databases.
const postgresDatabase = "mergegate_"

func mistakesOfTheConfiguration(t *testing.T, dir string) []mistake {
	t.Helper()
	file := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const accounts = "MERGEGATE_APPVEYOR_ACCOUNTS=acme=acme-team"
	return []mistake{
		{name: "a value in quotes", settings: []string{`MERGEGATE_APPVEYOR_ACCOUNTS="acme=acme-team"`}},
		{name: "Windows line endings", settings: []string{accounts + "\r"}},
		{name: "a byte order mark in a value", settings: []string{"MERGEGATE_LISTEN=\ufeff127.0.0.1:8080"}},
		{name: "a byte order mark before a name", settings: []string{"\ufeffMERGEGATE_LISTEN=127.0.0.1:8080"}},
		{name: "a no-break space", settings: []string{"MERGEGATE_APPVEYOR_ACCOUNTS=acme\u00a0=acme-team"}},
		{name: "a comment after a value", settings: []string{accounts + "   # AppVeyor account=Bitbucket workspace"}},
		{name: "a variable that nothing expanded", settings: []string{"DATABASE_URL=postgres://mergegate:${POSTGRES_PASSWORD}@db/mergegate"}},
		{name: "the placeholder of an example", settings: []string{"MERGEGATE_SECRET_KEY=…"}},
		{name: "AppVeyor's display name", settings: []string{"MERGEGATE_APPVEYOR_ACCOUNTS=Acme Corp=acme-team"}},
		{name: "Bitbucket's display name", settings: []string{"MERGEGATE_APPVEYOR_ACCOUNTS=acme=Acme Team"}},
		{name: "the mapping the wrong way round", settings: []string{"MERGEGATE_APPVEYOR_ACCOUNTS={b7ea02c9-0871-4858-a2a6-a190d7de977c}=acme"}},
		{name: "nobody is trusted", settings: []string{"MERGEGATE_APPVEYOR_WEBHOOK_SECRET=a-secret"}},
		{name: "a header instead of a secret", settings: []string{"MERGEGATE_APPVEYOR_WEBHOOK_SECRET=Bearer a-secret", accounts}},
		{name: "a URL without a scheme", settings: []string{"MERGEGATE_PUBLIC_URL=gate.example.com"}},
		{name: "a URL without a host", settings: []string{"MERGEGATE_PUBLIC_URL=https:///"}},
		{name: "the webhook's URL as the public one", settings: []string{"MERGEGATE_PUBLIC_URL=https://gate.example.com/webhooks/appveyor"}},
		{name: "an API URL that ends in /2.0", settings: []string{"MERGEGATE_BITBUCKET_API_URL=https://api.bitbucket.org/2.0"}},
		{name: "an API URL that ends in /2.0/", settings: []string{"MERGEGATE_BITBUCKET_API_URL=https://api.bitbucket.org/2.0/"}},
		{name: "Bitbucket's web site instead of its API", settings: []string{"MERGEGATE_BITBUCKET_API_URL=https://bitbucket.org"}},
		{name: "an ftp URL", settings: []string{"MERGEGATE_APPVEYOR_URL=ftp://ci.appveyor.com"}},
		{name: "a slash too many", settings: []string{"MERGEGATE_APPVEYOR_URL=https://ci.appveyor.com//"}},
		{name: "a misspelt variable", settings: []string{"MERGEGATE_APPVEYOR_ACOUNTS=acme=acme-team"}},
		{name: "a prefix too many", settings: []string{"MERGEGATE_DATABASE_URL=postgres://mergegate@db/mergegate"}},
		{name: "a file that isn't there", settings: []string{"MERGEGATE_SECRET_KEY_FILE=" + filepath.Join(dir, "none")}},
		{name: "a folder instead of a file", settings: []string{"MERGEGATE_SECRET_KEY_FILE=" + dir}},
		{name: "a value and a file", settings: []string{"MERGEGATE_LISTEN=127.0.0.1:8080", "MERGEGATE_LISTEN_FILE=" + file("listen", "127.0.0.1:8080\n")}},
		{name: "an empty file", settings: []string{"MERGEGATE_BITBUCKET_TOKEN_FILE=" + file("empty", "\n")}},
		{name: "a key that isn't base64", settings: []string{"MERGEGATE_SECRET_KEY=not base64"}},
		{name: "a key of 16 bytes", settings: []string{"MERGEGATE_SECRET_KEY=MDEyMzQ1Njc4OTAxMjM0NQ=="}},
		{name: "a key of another command", settings: []string{"MERGEGATE_SECRET_KEY=" + strings.Repeat("0a", 32)}},
		{name: "a retention without a unit", settings: []string{"MERGEGATE_RETENTION=deliveries=30"}},
		{name: "a retention of something unknown", settings: []string{"MERGEGATE_RETENTION=bodies=30d"}},
		{name: "an interval without a unit", settings: []string{"MERGEGATE_RECONCILE_INTERVAL=120"}},
		{name: "a listener without a port", settings: []string{"MERGEGATE_LISTEN=127.0.0.1"}},
		{name: "one port for both listeners", settings: []string{"MERGEGATE_LISTEN=:8080", "MERGEGATE_ADMIN_LISTEN=:8080"}},
		{name: "another database", settings: []string{"DATABASE_URL=mysql://mergegate:pg-password@db/mergegate"}},
		{name: "a password that isn't escaped", settings: []string{"DATABASE_URL=postgres://mergegate:pg/password@db/mergegate"}},
		{name: "an e-mail address without an API token", settings: []string{"MERGEGATE_BITBUCKET_EMAIL=ann@example.com"}},
		{name: "an OAuth consumer without its secret", settings: []string{"MERGEGATE_BITBUCKET_OAUTH_CLIENT_ID=consumer"}},
		{name: "two credentials for Bitbucket", settings: []string{"MERGEGATE_BITBUCKET_TOKEN=a-token", "MERGEGATE_BITBUCKET_EMAIL=ann@example.com", "MERGEGATE_BITBUCKET_API_TOKEN=another"}},
		{name: "an API token as access token", settings: []string{"MERGEGATE_BITBUCKET_TOKEN=ATATT3xFfGF0"}},
		{name: "an app id without its beginning", settings: []string{"MERGEGATE_FORGE_APP_ID=8db33809-1f32-48bb-8c52-5877dab48107"}},
		{name: "the manifest's placeholder of an app id", settings: []string{"MERGEGATE_FORGE_APP_ID=ari:cloud:ecosystem::app/00000000-0000-0000-0000-000000000000"}},
		{name: "an address instead of a network", settings: []string{"MERGEGATE_WEBHOOK_NETWORKS=10.1.2.3"}},
		{name: "a webhook secret of a workspace that isn't mapped", settings: []string{accounts, "MERGEGATE_BITBUCKET_WEBHOOK_SECRET=acme=a-secret"}},
		{name: "a log level that isn't one", settings: []string{"MERGEGATE_LOG_LEVEL=verbose"}},
		{name: "several mistakes at once", settings: []string{"MERGEGATE_LISTEN=8080", "MERGEGATE_PUBLIC_URL=gate.example.com", "MERGEGATE_LOGLEVEL=debug", "DATABASE_URL=db.example.com"}},
	}
}

// mistakesOfThePlace are those that only the machine or the database shows.
func mistakesOfThePlace(t *testing.T, dir string) []mistake {
	t.Helper()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	newer := postgrestest.New(t)
	postgrestest.Exec(t, newer, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)`)
	full := postgrestest.New(t)
	(&world{World: &servertest.World{T: t, Env: map[string]string{"DATABASE_URL": full}}}).tokenOf("ops", "admin")
	noDatabase := "MERGEGATE_DATA_DIR=" + filepath.Join(dir, "nothing")
	return []mistake{
		{name: "a port that is taken", settings: []string{"MERGEGATE_LISTEN=" + taken.Addr().String(), noDatabase}},
		{name: "a data folder that can't be made", settings: []string{"MERGEGATE_DATA_DIR=/dev/null/mergegate", "MERGEGATE_LISTEN=127.0.0.1:0"}},
		{name: "a database that isn't there", settings: []string{"DATABASE_URL=postgres://mergegate:pg-password@127.0.0.1:1/mergegate"}, command: "token list"},
		{name: "a database that a newer mergegate has migrated", settings: []string{"DATABASE_URL=" + newer, "MERGEGATE_LISTEN=127.0.0.1:0"}},
		{name: "a command without a database", settings: []string{noDatabase}, command: "token create --name ops --scope admin"},
		{name: "a command with a service but no token", settings: []string{"MERGEGATE_URL=https://gate.example.com"}, command: "token list"},
		{name: "a service without a scheme", settings: []string{"MERGEGATE_URL=gate.example.com", "MERGEGATE_TOKEN=a-token"}, command: "token list"},
		{name: "rolling back without saying so", settings: []string{"DATABASE_URL=" + full}, command: "migrate down"},
		{name: "a misspelt command", command: "token creat"},
		{name: "a misspelt flag", command: "token create --nme ops"},
		{name: "init without a terminal", command: "init --account acme --env-file " + filepath.Join(dir, "init.env")},
	}
}

// mistakesThatDoctorSees are those that nothing else can, with the world that it looks at.
func mistakesThatDoctorSees(t *testing.T) (*world, []mistake) {
	t.Helper()
	w := attended(t)
	w.Must(w.Bitbucket.AddRepository(bitbuckettest.Repository{WorkspaceUUID: workspaceUUID, UUID: repositoryUUID, FullName: repository, Private: true}))
	w.Bitbucket.AllowToken("narrow-token", "acme")
	w.Bitbucket.LimitToken("narrow-token", "repository")
	w.Bitbucket.AllowToken("elsewhere-token", "other")
	gone := httptest.NewServer(nil)
	gone.Close()
	direct := "MERGEGATE_BITBUCKET_API_URL=" + w.Bitbucket.URL
	return w, []mistake{
		{name: "a token without the scope pullrequest", settings: []string{direct, "MERGEGATE_BITBUCKET_TOKEN=narrow-token"}, command: "doctor", check: "bitbucket acme pull requests"},
		{name: "a token of another workspace", settings: []string{direct, "MERGEGATE_BITBUCKET_TOKEN=elsewhere-token"}, command: "doctor", check: "bitbucket acme"},
		{name: "a token that was revoked", settings: []string{direct, "MERGEGATE_BITBUCKET_TOKEN=revoked-token"}, command: "doctor", check: "bitbucket acme"},
		{name: "a workspace that isn't there", settings: []string{direct, "MERGEGATE_APPVEYOR_ACCOUNTS=acme=acme-team"}, command: "doctor", check: "mapping acme=acme-team"},
		{name: "another workspace than the one that AppVeyor builds", settings: []string{direct, "MERGEGATE_APPVEYOR_ACCOUNTS=acme=acme-team"}, command: "doctor", check: "appveyor account acme"},
		{name: "an AppVeyor token of another account", settings: []string{"MERGEGATE_APPVEYOR_ACCOUNTS=other=acme"}, command: "doctor", check: "appveyor account other"},
		{name: "an app id of another app", settings: []string{"MERGEGATE_FORGE_APP_ID=ari:cloud:ecosystem::app/11111111-2222-3333-4444-555555555555"}, command: "doctor", check: "forge app"},
		{name: "a clock that is late", settings: []string{"MERGEGATE_BITBUCKET_API_URL=" + through(t, w.Bitbucket.URL, late(-2*time.Minute))}, command: "doctor", check: "clocks"},
		{name: "a public URL that nothing answers at", settings: []string{"MERGEGATE_PUBLIC_URL=" + strings.Replace(gone.URL, "http:", "https:", 1)}, command: "doctor", check: "public url"},
		{name: "a public URL without TLS", settings: []string{"MERGEGATE_PUBLIC_URL=" + w.URL}, command: "doctor", check: "public url"},
	}
}
