package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/config"
)

// initialise runs init in this process, where standard input is no terminal.
func initialise(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Run(context.Background(), append([]string{"init"}, args...), nil, &out, &errs)
	return code, out.String(), errs.String()
}

func withToken(t *testing.T, token string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestInitWritesWhatAShellAndDockerRead(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "gate.env")
	code, out, errs := initialise("--workspace", "{B7EA02C9-0871-4858-A2A6-A190D7DE977C}", "--account", "acme", "--public-url", "https://gate.example.com/",
		"--env-file", file, "--appveyor-token-file", withToken(t, "v2.abcdefghij0123456789\r\n"))
	if code != exitDone {
		t.Fatalf("exit code %d\n%s", code, errs)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// As Docker reads it: a line is NAME=value.
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	cfg, err := config.Load(lines)
	if err != nil || cfg.PublicURL != "https://gate.example.com" || len(cfg.SecretKeys) != 1 || len(cfg.AppVeyorSecrets) != 1 || len(cfg.BitbucketSecrets) != 1 ||
		cfg.AppVeyorTokens[""] != "v2.abcdefghij0123456789" || !cfg.Accounts.Names("acme", "b7ea02c9-0871-4858-a2a6-a190d7de977c") {
		t.Errorf("%v in\n%s", err, content)
	}
	// As a shell reads it.
	for _, sh := range []string{"sh", "bash"} {
		read, err := exec.Command(sh, "-c", "set -a; . "+quote(file)+"; set +a; env").Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			if !slices.Contains(strings.Split(string(read), "\n"), line) {
				t.Errorf("%s doesn't read %s", sh, line)
			}
		}
	}
	for _, want := range []string{
		"https://gate.example.com/webhooks/appveyor\n", "https://gate.example.com/webhooks/bitbucket\n", "BACKEND_URL=https://gate.example.com\n",
		"--site https://bitbucket.org/{b7ea02c9-0871-4858-a2a6-a190d7de977c}/ ", "AppVeyor PR build (on merge)", "set -a; . " + file + "; set +a; mergegate doctor",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	for _, line := range lines {
		if _, value, _ := strings.Cut(line, "="); len(value) > 40 && !strings.HasPrefix(value, "acme=") && strings.Contains(out+errs, value) {
			t.Errorf("where there is no terminal it prints %s", line)
		}
	}
	before := content
	if code, _, errs := initialise("--workspace", "w", "--account", "a", "--public-url", "https://g.example", "--env-file", file); code != exitUsage || !strings.Contains(errs, file+" exists") {
		t.Errorf("over a file: exit code %d\n%s", code, errs)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file is now %s, %v", after, err)
	}
}

func TestInitRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{name: "nothing given", want: []string{"give --workspace, --account, --public-url", "Try mergegate init --help."}},
		{name: "one flag missing", args: []string{"--workspace", "w", "--public-url", "https://g.example"}, want: []string{"give --account\n"}},
		{
			name: "wrong values", args: []string{"--workspace", "Acme Team", "--account", "acme", "--public-url", "g.example"},
			want: []string{`MERGEGATE_PUBLIC_URL: "g.example" has no scheme`, `MERGEGATE_APPVEYOR_ACCOUNTS: "acme=Acme Team"`},
		},
		{
			name: "a token's file that isn't there", args: []string{"--workspace", "w", "--account", "a", "--public-url", "https://g.example", "--bitbucket-token-file", "/nothing/here"},
			want: []string{`--bitbucket-token-file: can't read "/nothing/here": no such file or directory`},
		},
		{
			name: "an empty file of a token", args: []string{"--workspace", "w", "--account", "a", "--public-url", "https://g.example", "--appveyor-token-file", withToken(t, "\n")},
			want: []string{"--appveyor-token-file: ", "is empty"},
		},
		{
			name: "a token that a shell would change", args: []string{"--workspace", "w", "--account", "a", "--public-url", "https://g.example", "--bitbucket-token-file", withToken(t, "a$b")},
			want: []string{"MERGEGATE_BITBUCKET_TOKEN: has a character that a shell would change; set it with MERGEGATE_BITBUCKET_TOKEN_FILE instead"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			code, out, errs := initialise(append(tt.args, "--env-file", filepath.Join(dir, ".env"))...)
			if code != exitUsage || out != "" {
				t.Errorf("exit code %d\n%s", code, out)
			}
			for _, want := range tt.want {
				if !strings.Contains(errs, want) {
					t.Errorf("%q is not in\n%s", want, errs)
				}
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("it left %v, %v", left, err)
			}
		})
	}
}

// TestInitAsks answers wrongly first, as people do.
func TestInitAsks(t *testing.T) {
	t.Parallel()
	var shown strings.Builder
	secrets := []string{"has a space", "v2.abcdefghij0123456789", ""}
	p := &person{
		in: bufio.NewReader(strings.NewReader("Acme Team\nacme-team\n\nacme\ngate.example.com\nhttps://gate.example.com\n")), out: &shown,
		secret: func() (line string, err error) { line, secrets = secrets[0], secrets[1:]; return line, nil },
	}
	var c initCommand
	tokens := map[string]string{}
	if err := c.ask(p, tokens); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(initCommand{Workspace: "acme-team", Account: "acme", PublicURL: "https://gate.example.com"}, c); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{appveyorTokenName: "v2.abcdefghij0123456789", bitbucketTokenName: ""}, tokens); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
	for _, want := range []string{"is not a Bitbucket workspace", "an answer is needed", "has no scheme", "has a space in it"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("%q is not in\n%s", want, shown.String())
		}
	}
	if regexp.MustCompile("abcdefghij|has a space\n").MatchString(shown.String()) {
		t.Errorf("a secret is shown:\n%s", shown.String())
	}
	end := &person{in: bufio.NewReader(strings.NewReader("")), out: io.Discard}
	if err := new(initCommand).ask(end, map[string]string{}); !errors.As(err, new(usageError)) {
		t.Errorf("no answer: %v", err)
	}
}
