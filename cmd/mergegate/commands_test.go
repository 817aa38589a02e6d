package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/server/servertest"
)

// TestCommandsAndTheAPI has each command ask the running service, and do the same
// by itself on the database.
func TestCommandsAndTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Expect("no_build", "")
	w.Built(commit('1'), "failed")
	w.Expect("failed", "")
	var builds struct{ Values []struct{ ID string } }
	w.Get("/api/v1/repositories/acme/widgets/builds", &builds)
	var deliveries, statuses struct{ Values []struct{ ID string } }
	w.Settled()
	w.Get("/api/v1/deliveries", &deliveries)
	w.Get("/api/v1/commit-statuses", &statuses)
	build, delivery, status := builds.Values[0].ID, deliveries.Values[0].ID, statuses.Values[0].ID

	tests := []struct {
		name string
		args string
		want string // in the table
		json string // a key of the document, or of each of the list; "": the list is empty
		list bool
	}{
		{name: "explain", args: "explain acme/widgets 7", want: "BLOCKED  failed", json: "next_step"},
		{name: "builds list", args: "builds list acme/widgets", want: "acme/widgets  1.0.1    failed  7   111111111111", json: "build_id", list: true},
		{
			name: "builds list with every filter", list: true, json: "build_id", want: "failed",
			args: "builds list acme/widgets --pullrequest 7 --commit 1111111 --project 12064 --state failed --since 1h --until 2100-01-01 --limit 1",
		},
		{name: "builds list of nothing", args: "builds list acme/widgets --state queued", want: "ID  PROJECT  VERSION", list: true},
		{name: "builds show", args: "builds show " + build, want: "failed  acme/widgets build 1.0.1 of acme/widgets#7: Add widgets", json: "jobs"},
		{name: "decisions list", args: "decisions list acme/widgets", want: "on-merge  no      failed", json: "inputs", list: true},
		{name: "decisions list of a pull request", args: "decisions list acme/widgets 7 --limit 1", want: "on-merge", json: "inputs", list: true},
		{name: "stats", args: "stats acme/widgets --since 1d", want: "builds failed        1", json: "pass_rate"},
		{name: "deliveries list", args: "deliveries list", want: "appveyor  processed  1001", json: "received_on", list: true},
		{name: "deliveries replay", args: "deliveries replay " + delivery, want: "is queued", json: "outcome"},
		{name: "statuses list", args: "statuses list --outcome posted", want: "appveyor-12064-pr-7  FAILED  posted", json: "posted_state", list: true},
		{name: "statuses retry", args: "statuses retry " + status, want: "is queued", json: "outcome"},
		{name: "rebuild", args: "rebuild acme/widgets 7", want: "AppVeyor rejected mergegate's token", json: "build_id", list: true},
		{name: "waive", args: "waive acme/widgets 7 --reason flaky --project acme/widgets --expires 4h --commit " + commit('1'), want: "is live: 111111111111", json: "expires_on"},
		{name: "waive --list", args: "waive acme/widgets 7 --list", want: "111111111111  main    acme/widgets", json: "expires_on", list: true},
	}
	token := w.tokenOf("everything", "read,waive,admin")
	for where, place := range map[string]*world{"in the service": w.remotely(token), "on the database": w} {
		for _, tt := range tests {
			code, out, errs := place.outcome("", strings.Fields(tt.args)...)
			if code != 0 || !strings.Contains(out, tt.want) {
				t.Errorf("%s %s: %q is not in the answer, exit code %d:\n%s%s", tt.name, where, tt.want, code, out, errs)
			}
			_, out, errs = place.outcome("", append(strings.Fields(tt.args), "--json")...)
			documents := []map[string]any{{}}
			var err error
			if tt.list {
				err = json.Unmarshal([]byte(out), &documents)
			} else {
				err = json.Unmarshal([]byte(out), &documents[0])
			}
			if err != nil {
				t.Errorf("%s --json %s: %v in\n%s%s", tt.name, where, err, out, errs)
			}
			if (len(documents) == 0) != (tt.json == "") {
				t.Errorf("%s --json %s lists %d:\n%s", tt.name, where, len(documents), out)
			}
			for _, document := range documents {
				if _, ok := document[tt.json]; !ok {
					t.Errorf("%s --json %s has no %s:\n%s", tt.name, where, tt.json, out)
				}
			}
		}
		w.command("waive", "acme/widgets", "7", "--revoke-all")
		w.Eventually("the status is what it was before", func() bool {
			return strings.Contains(w.command("statuses", "list", "--outcome", "posted"), "FAILED  posted")
		})
	}
	if out := w.command("statuses", "list", "--json", "--outcome", "failed"); out != "[]" {
		t.Errorf("an empty list is %q", out)
	}
	_, _, errs := w.outcome("", "decisions", "list", "acme/widgets", "--limit", "1")
	if !strings.Contains(errs, "There are more than these 1") {
		t.Errorf("that there are more is told as %q", errs)
	}
	list := w.command("decisions", "list", "acme/widgets", "--limit", "150", "--json")
	if n := strings.Count(list, `"duration_ms"`); n != 2 {
		t.Errorf("%d decisions", n)
	}
}

func TestWaiveCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Authored(commit('1'))
	w.Expect("no_build", "")
	w.Built(commit('1'), "failed")
	w.command("waive", "acme/widgets", "7", "--reason", "the agents are down", "--name", "Ann")
	w.Expect("waived", "Waived by Ann: the agents are down")
	var list []struct{ ID string }
	w.Must(json.Unmarshal([]byte(w.command("waive", "acme/widgets", "7", "--list", "--json")), &list))
	w.command("waive", "acme/widgets", "7", "--revoke", list[0].ID)
	w.Expect("failed", "")
	remote := w.remotely(w.tokenOf("release manager", "waive"))
	remote.command("waive", "acme/widgets", "7", "--reason", "again")
	w.Expect("waived", "Waived by release manager: again")
	remote.command("waive", "acme/widgets", "7", "--revoke-all")
	w.Expect("failed", "")

	w.Policy("rules: [{waivers: {two_person: true}}]")
	if out := w.command("waive", "acme/widgets", "7", "--reason", "first", "--owner", servertest.AnnUUID); !strings.Contains(out, "asks for a second person") {
		t.Errorf("the first of two persons is told %q", out)
	}
	w.Expect("failed", "")
	w.command("waive", "acme/widgets", "7", "--reason", "second", "--owner", "{"+servertest.BobUUID+"}")
	w.Expect("waived", "first")
}

// TestRebuildCommand asks for a build, and again.
func TestRebuildCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_APPVEYOR_TOKEN=av-token")
	w.AppVeyor.RequireToken("acme", "av-token")
	w.Built(commit('1'), "success")
	if out := w.command("rebuild", "acme/widgets", "7"); strings.Contains(out, "before") {
		t.Errorf("the first rebuild printed %q", out)
	}
	w.Shows(commit('1'), "INPROGRESS") // the queued build is watched
	if out := w.command("rebuild", "acme/widgets", "7"); !strings.Contains(out, "mergegate asked for this head and target branch before") {
		t.Errorf("rebuild printed %q", out)
	}
}

// TestCommandsSayWhatToDo has every error name what helps.
func TestCommandsSayWhatToDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Expect("no_build", "")
	reader := w.tokenOf("reader", "read")
	elsewhere := w.tokenOf("elsewhere", "read,waive", "--repository", "acme/other")
	page := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/deliveries") {
			http.Redirect(rw, r, "https://elsewhere.example.com/", http.StatusMovedPermanently)
			return
		}
		rw.WriteHeader(http.StatusNotFound)
		fmt.Fprint(rw, "<html>nothing here</html>")
	}))
	t.Cleanup(page.Close)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	w.Must(err)
	w.Must(gone.Close())
	remote := w.remotely(w.Token)
	tests := []struct {
		name string
		in   *world
		args string
		code int
		want string
	}{
		{name: "unknown repository", in: w, args: "builds list acme/nothing", code: 1, want: "mergegate projects list shows what is"},
		{name: "unknown repository, asked of the service", in: remote, args: "explain acme/nothing 7", code: 1, want: "repository acme/nothing is not known"},
		{name: "a repository the token isn't for", in: w.remotely(elsewhere), args: "builds list acme/widgets", code: 1, want: "or the token does not cover it"},
		{name: "no repository", in: w, args: "stats widgets", code: 2, want: `"widgets" is not WORKSPACE/REPO`},
		{name: "no number", in: w, args: "explain acme/widgets 0", code: 2, want: "WORKSPACE/REPO NUMBER"},
		{name: "unknown build", in: w, args: "builds show 999", code: 1, want: "mergegate builds list"},
		{name: "unknown delivery", in: w, args: "deliveries replay 999", code: 1, want: "mergegate deliveries list"},
		{name: "unknown status", in: w, args: "statuses retry 999", code: 1, want: "mergegate statuses list"},
		{name: "unknown waiver", in: w, args: "waive acme/widgets 7 --revoke 999", code: 1, want: "has no waiver 999; mergegate waive --list"},
		{name: "unknown state", in: w, args: "statuses list --outcome red", code: 2, want: "must be one of"},
		{name: "no time", in: w, args: "builds list acme/widgets --since yesterday", code: 2, want: "--since: \"yesterday\" is not a duration like 30d or a time"},
		{name: "no commit", in: w, args: "builds list acme/widgets --commit main", code: 2, want: "commit: \"main\" is not 7 to 40 hexadecimal characters"},
		{name: "no limit", in: w, args: "deliveries list --limit 0", code: 2, want: "--limit is not a number from 1 up"},
		{name: "too long a time", in: w, args: "stats acme/widgets --since 900d", code: 2, want: "more than 400 days apart"},
		{name: "nothing to do", in: w, args: "waive acme/widgets 7", code: 2, want: "--reason"},
		{name: "two things to do", in: w, args: "waive acme/widgets 7 --list --revoke-all", code: 2, want: "can't be used together"},
		{name: "no duration", in: w, args: "waive acme/widgets 7 --reason x --expires soon", code: 2, want: "--expires"},
		{name: "no owner", in: w, args: "waive acme/widgets 7 --reason x --owner me", code: 2, want: "--owner is not the UUID"},
		{name: "a name beside a token", in: remote, args: "waive acme/widgets 7 --reason x --name Ann", code: 2, want: "takes those of the token"},
		{name: "a head that is not", in: w, args: "waive acme/widgets 7 --reason x --commit " + commit('9'), code: 1, want: "is " + commit('1') + " now"},
		{name: "another scope", in: w.remotely(reader), args: "deliveries list", code: 1, want: "needs an API token with scope admin; mergegate token create --scope"},
		{name: "a token that is none", in: w.remotely("mgt_wrong"), args: "deliveries list", code: 1, want: "mergegate token create makes one"},
		{name: "no token", in: remote.with("MERGEGATE_TOKEN="), args: "deliveries list", code: 2, want: "MERGEGATE_TOKEN is empty"},
		{name: "no file", in: remote.with("MERGEGATE_TOKEN=", "MERGEGATE_TOKEN_FILE=/nothing/here"), args: "deliveries list", code: 2, want: "MERGEGATE_TOKEN_FILE: "},
		{name: "no scheme", in: remote.with("MERGEGATE_URL=gate.example.com"), args: "deliveries list", code: 2, want: `MERGEGATE_URL: "gate.example.com" has no scheme; write https://`},
		{name: "no scheme, with a port", in: remote, args: "deliveries list --url localhost:8080", code: 2, want: `--url: "localhost:8080" has no scheme; write https://`},
		{name: "another scheme", in: remote, args: "deliveries list --url ftp://gate.example.com", code: 2, want: `--url: "ftp://gate.example.com" is not an http or https URL`},
		{name: "nobody there", in: remote, args: "deliveries list --url http://" + gone.Addr().String(), code: 1, want: "does not answer: "},
		{name: "somebody else there", in: remote, args: "builds show 1 --url " + page.URL, code: 1, want: "not its API's: see MERGEGATE_URL"},
		{name: "a redirect", in: remote, args: "deliveries list --url " + page.URL, code: 1, want: "redirects to https://elsewhere.example.com/"},
		{name: "unknown project", in: w, args: "projects forget 999", code: 1, want: "mergegate projects list"},
		{name: "unknown token", in: w, args: "token revoke 999", code: 1, want: "mergegate token list"},
		{name: "project without report", in: w, args: "token create --name x --scope read --project 12064", code: 2, want: "--project is for tokens with scope report"},
	}
	for _, tt := range tests {
		code, out, errs := tt.in.outcome("", strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(errs, tt.want) || out != "" {
			t.Errorf("%s: exit code %d, want %d with %q; got\n%s%s", tt.name, code, tt.code, tt.want, out, errs)
		}
	}
}

// TestTextOfOthersDoesNotControlTheTerminal has an author put what terminals obey
// wherever an author can.
func TestTextOfOthersDoesNotControlTheTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const evil = "\x1b]0;owned\a\u202egnp\u2066.\u009b31m\r\nOK  passed\U000e0041"
	pr := servertest.PullRequest(commit('1'))
	pr.Title, pr.SourceBranch = evil, "feature\u202e"
	w.Put(pr)
	b := w.Build(commit('1'), "failed", func(b *appveyortest.Build) {
		b.PullRequestName, b.PullRequestHeadBranch, b.Version, b.Message = evil, "feature\u202e", "1.0\x1b[2J", evil
		b.Jobs = []appveyortest.Job{{Name: evil}}
	})
	w.Notify(b)
	w.Shows(commit('1'), "FAILED")
	w.Expect("failed", "")
	w.Policy("# " + strings.ReplaceAll(evil, "\r\n", "") + "\nrules: [{accept_reports: [acme/widgets]}]")
	w.command("waive", "acme/widgets", "7", "--reason", evil, "--name", evil)
	var builds struct{ Values []struct{ ID string } }
	w.Get("/api/v1/repositories/acme/widgets/builds", &builds)
	for _, args := range []string{
		"builds list acme/widgets", "builds show " + builds.Values[0].ID, "explain acme/widgets 7", "decisions list acme/widgets 7",
		"deliveries list", "statuses list", "projects list", "waive acme/widgets 7 --list",
		"policy show", "policy show --effective acme/widgets main",
	} {
		for _, more := range []string{"", " --json"} {
			code, out, errs := w.outcome("", strings.Fields(args+more)...)
			if code != 0 {
				t.Errorf("%s: exit code %d: %s", args, code, errs)
			}
			if strings.TrimSpace(out) == "[]" {
				t.Errorf("%s%s lists nothing that could obey", args, more)
			}
			if at := strings.IndexFunc(out+errs, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); at >= 0 {
				t.Errorf("%s%s prints %q", args, more, (out + errs)[at:min(at+20, len(out+errs))])
			}
			if strings.Contains(out, "\nOK  passed") {
				t.Errorf("%s%s: a title makes a line of its own:\n%s", args, more, out)
			}
		}
	}
	var shown struct{ PullRequest struct{ Title string } }
	w.Must(json.Unmarshal([]byte(w.command("builds", "show", builds.Values[0].ID, "--json")), &shown))
	var told struct{ PullRequest struct{ Title string } }
	w.Get("/api/v1/builds/"+builds.Values[0].ID, &told)
	w.Equal("what programs read", told, shown)
}

// TestTokensOnReplicas has two processes serve one database.
func TestTokensOnReplicas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	replica := w.replica()
	const path = "/api/v1/deliveries"
	old := w.Token
	fresh := w.tokenOf("test", "admin") // rotation: both are valid for a while
	for _, place := range []*world{w, replica} {
		for name, token := range map[string]string{"old": old, "new": fresh} {
			if res := place.Do(http.MethodGet, path, token, nil); res.Status != http.StatusOK {
				t.Errorf("the %s token was answered %d", name, res.Status)
			}
		}
	}
	var list []listedToken
	w.Must(json.Unmarshal([]byte(w.command("token", "list", "--json")), &list))
	w.command("token", "revoke", list[0].ID)
	revoked := time.Now()
	for _, place := range []*world{w, replica} {
		if res := place.Do(http.MethodGet, path, old, nil); res.Status != http.StatusUnauthorized {
			t.Errorf("a token that is revoked was answered %d", res.Status)
		}
		if res := place.Do(http.MethodGet, path, fresh, nil); res.Status != http.StatusOK {
			t.Errorf("the token that replaced it was answered %d", res.Status)
		}
	}
	if took := time.Since(revoked); took > time.Second {
		t.Errorf("asking took %s: this shows nothing about a second", took)
	}
}

func TestReportTokensAreOfOneProject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bound := w.tokenOf("bound", "report", "--repository", repository, "--project", "12064")
	other := w.tokenOf("other", "report", "--project", "12065")
	shownFor := func() (list []string) {
		t.Helper()
		var tokens []listedToken
		w.Must(json.Unmarshal([]byte(w.command("token", "list", "--json")), &tokens))
		for _, token := range tokens[1:] {
			list = append(list, token.reportsFor())
		}
		return list
	}
	w.Equal("before the first report", []string{"12064", "12065"}, shownFor())
	for name, report := range map[string]struct {
		token  string
		status int
	}{
		"the project's token": {token: bound, status: http.StatusCreated},
		"another project's":   {token: other, status: http.StatusForbidden},
	} {
		if res := w.Post(servertest.ReportsPath, report.token, servertest.Reported(5, "success", commit('1'))); res.Status != report.status {
			t.Errorf("%s: answered %d %s", name, res.Status, res.Body)
		}
	}
	w.Equal("after it", []string{"acme/widgets", "12065"}, shownFor())
	if table := w.command("token", "list"); !strings.Contains(table, "bound  report  acme/widgets  acme/widgets ") {
		t.Errorf("listed as\n%s", table)
	}
}

// TestCompletionInBash completes in a real bash.
func TestCompletionInBash(t *testing.T) {
	t.Parallel()
	w := idleWorldless(t)
	script := filepath.Join(t.TempDir(), "completion.bash")
	w.Must(os.WriteFile(script, []byte(w.command("completion", "bash")+"\n"), 0o600))
	tests := []struct {
		name  string
		typed []string // the last is completed
		want  string
	}{
		{name: "a command", typed: []string{"del"}, want: "deliveries"},
		{name: "several commands", typed: []string{"de"}, want: "demo decisions deliveries"},
		{name: "a command below", typed: []string{"deliveries", "r"}, want: "replay"},
		{name: "all commands below", typed: []string{"statuses", ""}, want: "list retry"},
		{name: "a flag", typed: []string{"builds", "list", "acme/widgets", "--s"}, want: "--state --since"},
		{name: "a flag of what is embedded", typed: []string{"explain", "acme/widgets", "7", "--u"}, want: "--url"},
		{name: "a value", typed: []string{"builds", "list", "--state", "f"}, want: "failed"},
		{name: "a value after =", typed: []string{"statuses", "list", "--outcome", "=", "not"}, want: "not_postable"},
		{name: "every value after =", typed: []string{"statuses", "list", "--outcome", "="}, want: "pending posted failed not_postable"},
		{name: "an argument", typed: []string{"completion", "z"}, want: "zsh"},
		{name: "anything goes", typed: []string{"waive", "acme/widgets", "7", "--reason", ""}},
		{name: "nothing fits", typed: []string{"nonsense"}},
	}
	for _, tt := range tests {
		words := append([]string{"mergegate"}, tt.typed...)
		var quoted []string
		for _, word := range words {
			quoted = append(quoted, quote(word))
		}
		program := fmt.Sprintf(`source %s; COMP_WORDS=(%s); COMP_CWORD=%d; COMPREPLY=(); _mergegate; echo "${COMPREPLY[@]}"`,
			quote(script), strings.Join(quoted, " "), len(words)-1)
		out, err := exec.Command("bash", "--norc", "-uc", program).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
			t.Errorf("%s: %q, want %q (%v)", tt.name, got, tt.want, err)
		}
	}
	out, err := exec.Command("bash", "--norc", "-c", "source "+quote(script)+"; complete -p mergegate").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "-F _mergegate mergegate") {
		t.Errorf("registered as %s (%v)", out, err)
	}
}

// quote is text as one word of a shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// idleWorldless is a world for commands that need nothing of it.
func idleWorldless(t *testing.T) *world {
	t.Helper()
	return &world{World: &servertest.World{T: t, Env: map[string]string{}}}
}

// TestCompletionKnowsEveryCommand holds the other shells' scripts, which not every
// machine can run, to the same commands.
func TestCompletionKnowsEveryCommand(t *testing.T) {
	t.Parallel()
	w := idleWorldless(t)
	for shell, line := range map[string]string{
		"zsh":  `('builds list') found=() flags=('--help:Show context-sensitive help.' '--pullrequest:Only builds of this pull request'`,
		"fish": `complete -c mergegate -n '__mergegate_at builds list' -l state -x -a 'queued running success failed cancelled' -d`,
	} {
		script := w.command("completion", shell)
		for _, want := range []string{line, "doctor", "policy validate", "backfill"} {
			if !strings.Contains(script, want) {
				t.Errorf("%q is not in the script for %s", want, shell)
			}
		}
	}
	if code, _, _ := w.outcome("", "completion", "tcsh"); code != 2 {
		t.Errorf("a shell there is no script for: exit code %d", code)
	}
}

// listedToken is a token as token list shows it to programs.
type listedToken struct {
	ID         string
	ReportsFor *struct {
		ProjectID int64 `json:"project_id"`
		Project   *string
	} `json:"reports_for"`
}

func (l listedToken) reportsFor() string {
	switch {
	case l.ReportsFor == nil:
		return ""
	case l.ReportsFor.Project != nil:
		return *l.ReportsFor.Project
	default:
		return fmt.Sprint(l.ReportsFor.ProjectID)
	}
}
