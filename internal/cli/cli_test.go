package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"mergegate/internal/config"
)

func TestEveryConfigurationFaultIsListedByVariable(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	code := Run(context.Background(), []string{"serve"}, config.EnvironOf(map[string]string{
		"MERGEGATE_LISTEN":                       "8080",
		"MERGEGATE_ADMIN_LISTEN":                 "x",
		"MERGEGATE_PUBLIC_URL":                   "gate.example",
		"MERGEGATE_APPVEYOR_ACCOUNTS":            "acme",
		"MERGEGATE_APPVEYOR_URL":                 "ftp://x",
		"MERGEGATE_APPVEYOR_TOKEN":               "a=b,c",
		"MERGEGATE_RECONCILE_INTERVAL":           "soon",
		"MERGEGATE_BITBUCKET_API_URL":            "x",
		"MERGEGATE_BITBUCKET_EMAIL":              "a@b",
		"MERGEGATE_BITBUCKET_OAUTH_CLIENT_ID":    "id",
		"MERGEGATE_SECRET_KEY":                   "c2hvcnQ=",
		"MERGEGATE_RETENTION":                    "bodies=1d",
		"MERGEGATE_WEBHOOK_NETWORKS":             "10.0.0.1",
		"MERGEGATE_LOG_LEVEL":                    "loud",
		"MERGEGATE_LOG_FORMAT":                   "xml",
		"MERGEGATE_APPVEYOR_WEBHOOK_SECRET_FILE": filepath.Join(t.TempDir(), "none"),
	}), &stdout, &stderr)
	if code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	for _, name := range []string{
		"MERGEGATE_LISTEN", "MERGEGATE_ADMIN_LISTEN", "MERGEGATE_PUBLIC_URL", "MERGEGATE_APPVEYOR_ACCOUNTS",
		"MERGEGATE_APPVEYOR_URL", "MERGEGATE_APPVEYOR_TOKEN", "MERGEGATE_RECONCILE_INTERVAL", "MERGEGATE_BITBUCKET_API_URL",
		"MERGEGATE_BITBUCKET_API_TOKEN", "MERGEGATE_BITBUCKET_OAUTH_CLIENT_SECRET", "MERGEGATE_SECRET_KEY", "MERGEGATE_RETENTION", "MERGEGATE_WEBHOOK_NETWORKS", "MERGEGATE_LOG_LEVEL", "MERGEGATE_LOG_FORMAT",
		"MERGEGATE_APPVEYOR_WEBHOOK_SECRET_FILE",
	} {
		if !strings.Contains(stderr.String(), "\n  "+name+": ") {
			t.Errorf("%s is not listed in:\n%s", name, stderr.String())
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		want int
	}{
		{name: "help", args: []string{"--help"}, want: exitDone},
		{name: "help of a command", args: []string{"token", "create", "--help"}, want: exitDone},
		{name: "no command", want: exitUsage},
		{name: "unknown command", args: []string{"explode"}, want: exitUsage},
		{name: "unknown scope", args: []string{"token", "create", "--name", "x", "--scope", "root"}, want: exitUsage},
		{name: "no name", args: []string{"token", "create", "--scope", "read"}, want: exitUsage},
		{name: "bad owner", args: []string{"token", "create", "--name", "x", "--scope", "read", "--owner", "me"}, want: exitUsage},
		{name: "bad glob", args: []string{"token", "create", "--name", "x", "--scope", "read", "--repository", "a["}, want: exitUsage},
		{name: "bad expiry", args: []string{"token", "create", "--name", "x", "--scope", "read", "--expires", "soon"}, want: exitUsage},
		{name: "empty repositories", args: []string{"token", "create", "--name", "x", "--scope", "read", "--repository", ""}, want: exitUsage},
		{name: "blank repositories", args: []string{"token", "create", "--name", "x", "--scope", "read", "--repository=  "}, want: exitUsage},
		{name: "empty owner", args: []string{"token", "create", "--name", "x", "--scope", "read", "--owner", ""}, want: exitUsage},
		{name: "empty expiry", args: []string{"token", "create", "--name", "x", "--scope", "read", "--expires="}, want: exitUsage},
		{name: "empty project", args: []string{"token", "create", "--name", "x", "--scope", "report", "--project", ""}, want: exitUsage},
		{name: "project 0", args: []string{"token", "create", "--name", "x", "--scope", "report", "--project", "0"}, want: exitUsage},
		{name: "project 0 of a token that doesn't report", args: []string{"token", "create", "--name", "x", "--scope", "read", "--project", "0"}, want: exitUsage},
		{name: "no project to report for", args: []string{"token", "create", "--name", "x", "--scope", "report"}, want: exitUsage},
		{name: "no project to report for, beside another scope", args: []string{"token", "create", "--name", "x", "--scope", "read,report"}, want: exitUsage},
		{name: "empty project of a waiver", args: []string{"waive", "acme/widgets", "7", "--reason", "x", "--project", ""}, want: exitUsage},
		{name: "empty commit of a waiver", args: []string{"waive", "acme/widgets", "7", "--reason", "x", "--commit", ""}, want: exitUsage},
		{name: "empty expiry of a waiver", args: []string{"waive", "acme/widgets", "7", "--reason", "x", "--expires", ""}, want: exitUsage},
		{name: "empty filter", args: []string{"builds", "list", "acme/widgets", "--state", ""}, want: exitUsage},
		{name: "pull request 0", args: []string{"builds", "list", "acme/widgets", "--pullrequest", "0"}, want: exitUsage},
		{name: "empty service", args: []string{"deliveries", "list", "--url", ""}, want: exitUsage},
		{name: "version", args: []string{"version"}, want: exitDone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			if got := Run(context.Background(), tt.args, nil, &stdout, &stderr); got != tt.want {
				t.Errorf("exit code %d, want %d\n%s", got, tt.want, stderr.String())
			}
		})
	}
}

// TestEveryCommandIsDocumented keeps the table and the program from parting.
func TestEveryCommandIsDocumented(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	parser, err := kong.New(&commands{})
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range parser.Model.Children {
		if name := command.Name; name != "version" && !strings.Contains(string(readme), "| `"+name) {
			t.Errorf("docs/commands.md does not list %s", name)
		}
	}
}
