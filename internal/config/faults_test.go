package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// written makes a file and returns its path.
func written(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// faultsOf are the faults of an environment, without the folders of files that are named.
func faultsOf(t *testing.T, env map[string]string) []string {
	t.Helper()
	_, err := Load(EnvironOf(env))
	var wrong Faults
	if err != nil && !errors.As(err, &wrong) {
		t.Fatalf("%T: %v", err, err)
	}
	var list []string
	for _, fault := range wrong {
		for name, value := range env {
			if strings.HasSuffix(name, asFile) && filepath.IsAbs(value) {
				fault = strings.ReplaceAll(fault, filepath.Dir(value), "DIR")
			}
		}
		list = append(list, fault)
	}
	return list
}

func TestFaults(t *testing.T) {
	t.Parallel()
	const accounts = "MERGEGATE_APPVEYOR_ACCOUNTS"
	tests := []struct {
		name string
		env  map[string]string
		want []string
	}{
		{name: "nothing is set"},
		{name: "every fault at once", env: map[string]string{"MERGEGATE_LISTEN": "foo", "DATABASE_URL": "mysql://u:geheim@h/d", "MERGEGATE_LISTN": ":1"}, want: []string{
			"DATABASE_URL: mysql:// is not postgres://; write it as postgres://user:password@host:5432/database",
			`MERGEGATE_LISTEN: "foo" is not host:port, for example 127.0.0.1:8080 or :8080`,
			"MERGEGATE_LISTN: mergegate has no such variable; did you mean MERGEGATE_LISTEN?",
		}},

		{name: "quotes", env: map[string]string{accounts: `"acme=ws"`}, want: []string{accounts + ": `\"acme=ws\"` is in quotes, which became part of the value; remove them"}},
		{name: "typographic quotes", env: map[string]string{accounts: "“acme=ws”"}, want: []string{accounts + `: "“acme=ws”" is in quotes, which became part of the value; remove them`}},
		{name: "a secret in quotes", env: map[string]string{"MERGEGATE_BITBUCKET_TOKEN": "'geheim'"}, want: []string{"MERGEGATE_BITBUCKET_TOKEN: is in quotes, which became part of the value; remove them"}},
		{name: "keywords and values in a quote", env: map[string]string{"DATABASE_URL": "host=h password='a b'"}},
		{name: "a Windows line ending", env: map[string]string{accounts: "acme=ws\r"}, want: []string{accounts + `: "acme=ws\r" ends with a carriage return; save the file with Unix line endings (LF)`}},
		{name: "a byte order mark", env: map[string]string{accounts: "\ufeffacme=ws"}, want: []string{accounts + `: "\ufeffacme=ws" begins with a byte order mark; save the file as UTF-8 without it`}},
		{
			name: "a byte order mark before a name", env: map[string]string{"\ufeffMERGEGATE_LISTEN": ":1"},
			want: []string{`MERGEGATE_LISTEN: the name is written as "\ufeffMERGEGATE_LISTEN", so nothing reads it; save the file as UTF-8 without a byte order mark, and write NAME=value`},
		},
		{name: "a no-break space", env: map[string]string{accounts: "acme\u00a0=ws"}, want: []string{accounts + `: "acme\u00a0=ws" has a no-break space in it (U+00A0); type the value by hand`}},
		{name: "a zero-width space in a secret", env: map[string]string{"MERGEGATE_BITBUCKET_TOKEN": "ge\u200bheim"}, want: []string{"MERGEGATE_BITBUCKET_TOKEN: has a zero-width space in it (U+200B); type the value by hand"}},
		{name: "no UTF-8", env: map[string]string{"MERGEGATE_BITBUCKET_TOKEN": "ge\xffheim"}, want: []string{"MERGEGATE_BITBUCKET_TOKEN: is not UTF-8 text; save the file as UTF-8"}},
		{name: "two lines", env: map[string]string{"MERGEGATE_BITBUCKET_WEBHOOK_SECRET": "one\ntwo"}, want: []string{"MERGEGATE_BITBUCKET_WEBHOOK_SECRET: has several lines; write one, and separate values with commas"}},
		{name: "spaces and a line break around a value", env: map[string]string{accounts: " acme=ws \n"}},
		{name: "a comment", env: map[string]string{accounts: "acme=ws  # ours"}, want: []string{accounts + `: "acme=ws  # ours" has a comment in it, which became part of the value; put the comment on a line of its own`}},
		{name: "nothing expanded it", env: map[string]string{"DATABASE_URL": "postgres://u:${PW}@h/d"}, want: []string{"DATABASE_URL: has a $( or ${ in it that nothing expanded; write what it stands for"}},
		{name: "a placeholder", env: map[string]string{"MERGEGATE_SECRET_KEY": "…"}, want: []string{"MERGEGATE_SECRET_KEY: is the placeholder of an example; replace it"}},
		{name: "a header instead of a secret", env: map[string]string{"MERGEGATE_BITBUCKET_TOKEN": "Bearer geheim"}, want: []string{`MERGEGATE_BITBUCKET_TOKEN: begins with "Bearer "; give the secret alone`}},
		{
			name: "damage hides what follows from it", env: map[string]string{accounts: "'acme=ws'", "MERGEGATE_APPVEYOR_WEBHOOK_SECRET": "geheim", "MERGEGATE_BITBUCKET_EMAIL": "'a@b'", "MERGEGATE_BITBUCKET_API_TOKEN": "geheim"},
			want: []string{accounts + `: "'acme=ws'" is in quotes, which became part of the value; remove them`, `MERGEGATE_BITBUCKET_EMAIL: "'a@b'" is in quotes, which became part of the value; remove them`},
		},

		{name: "a display name of an account", env: map[string]string{accounts: "Acme Corp=ws"}, want: []string{accounts + `: "Acme Corp=ws": "Acme Corp" is not an AppVeyor account; give its name as in https://ci.appveyor.com/account/NAME, not its display name`}},
		{name: "a display name of a workspace", env: map[string]string{accounts: "acme=Acme Team"}, want: []string{accounts + `: "acme=Acme Team": "Acme Team" is not a Bitbucket workspace; give its ID as in https://bitbucket.org/ID, or its UUID, not its display name`}},
		{name: "an address as a workspace", env: map[string]string{accounts: "acme=https://bitbucket.org/acme"}, want: []string{accounts + `: "acme=https://bitbucket.org/acme": "https://bitbucket.org/acme" is not a Bitbucket workspace; give its ID as in https://bitbucket.org/ID, or its UUID, not its display name`}},
		{name: "a slug in braces", env: map[string]string{accounts: "acme={acme}"}, want: []string{accounts + `: "acme={acme}": "{acme}" is not a Bitbucket workspace; give its ID as in https://bitbucket.org/ID, or its UUID, not its display name`}},
		{name: "the wrong way round", env: map[string]string{accounts: "{b7ea02c9-0871-4858-a2a6-a190d7de977c}=acme"}, want: []string{accounts + `: "{b7ea02c9-0871-4858-a2a6-a190d7de977c}=acme" is the wrong way round: the AppVeyor account comes first, as in acme={WORKSPACE UUID}`}},
		{name: "no pair", env: map[string]string{accounts: "acme:ws"}, want: []string{accounts + `: "acme:ws" is not account=workspace, for example acme=acme-team`}},
		{name: "semicolons", env: map[string]string{accounts: "acme=ws;b=w"}, want: []string{accounts + `: "acme=ws;b=w": "ws;b=w" is not a Bitbucket workspace; give its ID as in https://bitbucket.org/ID, or its UUID, not its display name`}},
		{name: "nobody is trusted", env: map[string]string{"MERGEGATE_APPVEYOR_WEBHOOK_SECRET": "geheim"}, want: []string{accounts + ": is required with MERGEGATE_APPVEYOR_WEBHOOK_SECRET: without it mergegate trusts no build; set it to account=workspace, for example acme=acme-team"}},

		{name: "no scheme", env: map[string]string{"MERGEGATE_PUBLIC_URL": "gate.example.com"}, want: []string{`MERGEGATE_PUBLIC_URL: "gate.example.com" has no scheme; write https:// before it, for example https://gate.example.com`}},
		{name: "no scheme but a port", env: map[string]string{"MERGEGATE_PUBLIC_URL": "gate.example.com:8443"}, want: []string{`MERGEGATE_PUBLIC_URL: "gate.example.com:8443" has no scheme; write https:// before it, for example https://gate.example.com`}},
		{name: "no host", env: map[string]string{"MERGEGATE_PUBLIC_URL": "https://:443"}, want: []string{`MERGEGATE_PUBLIC_URL: "https://:443" has no host, for example https://gate.example.com`}},
		{name: "another scheme", env: map[string]string{"MERGEGATE_APPVEYOR_URL": "ftp://ci.appveyor.com"}, want: []string{`MERGEGATE_APPVEYOR_URL: "ftp://ci.appveyor.com" is not an http or https URL, for example https://ci.appveyor.com`}},
		{name: "a password", env: map[string]string{"MERGEGATE_APPVEYOR_URL": "https://me:geheim@ci.appveyor.com"}, want: []string{`MERGEGATE_APPVEYOR_URL: "https://…@ci.appveyor.com" has a user or password in it; leave them out`}},
		{name: "a password in no URL", env: map[string]string{"MERGEGATE_APPVEYOR_URL": "https://me:ge%heim@ci.appveyor.com"}, want: []string{`MERGEGATE_APPVEYOR_URL: "https://…@ci.appveyor.com" is not a URL, for example https://ci.appveyor.com`}},
		{name: "a query", env: map[string]string{"MERGEGATE_PUBLIC_URL": "https://g.example/?a=b"}, want: []string{`MERGEGATE_PUBLIC_URL: "https://g.example/?a=b" has a query or fragment; leave out everything from ? or # on`}},
		{name: "a route of the service", env: map[string]string{"MERGEGATE_PUBLIC_URL": "https://g.example/webhooks/appveyor"}, want: []string{`MERGEGATE_PUBLIC_URL: "https://g.example/webhooks/appveyor" has a path of the service in it; end it before /webhooks, for example https://gate.example.com`}},
		{name: "Bitbucket's API with its version", env: map[string]string{"MERGEGATE_BITBUCKET_API_URL": "https://api.bitbucket.org/2.0"}, want: []string{`MERGEGATE_BITBUCKET_API_URL: "https://api.bitbucket.org/2.0" has /2.0 in it, which mergegate adds itself; drop it: https://api.bitbucket.org`}},
		{name: "… and a slash", env: map[string]string{"MERGEGATE_BITBUCKET_API_URL": "https://api.bitbucket.org/2.0/"}, want: []string{`MERGEGATE_BITBUCKET_API_URL: "https://api.bitbucket.org/2.0/" has /2.0 in it, which mergegate adds itself; drop it: https://api.bitbucket.org`}},
		{name: "Bitbucket's web site", env: map[string]string{"MERGEGATE_BITBUCKET_API_URL": "https://bitbucket.org"}, want: []string{`MERGEGATE_BITBUCKET_API_URL: "https://bitbucket.org" is Bitbucket's web site; the API is at https://api.bitbucket.org`}},
		{name: "AppVeyor's API", env: map[string]string{"MERGEGATE_APPVEYOR_URL": "https://ci.appveyor.com/api"}, want: []string{`MERGEGATE_APPVEYOR_URL: "https://ci.appveyor.com/api" has /api in it, which mergegate adds itself; drop it: https://ci.appveyor.com`}},
		{name: "AppVeyor's home page", env: map[string]string{"MERGEGATE_APPVEYOR_URL": "https://www.appveyor.com"}, want: []string{`MERGEGATE_APPVEYOR_URL: "https://www.appveyor.com" is AppVeyor's home page; builds are at https://ci.appveyor.com`}},
		{name: "a slash at the end", env: map[string]string{"MERGEGATE_APPVEYOR_URL": "https://ci.appveyor.com/", "MERGEGATE_BITBUCKET_API_URL": "https://api.bitbucket.org/", "MERGEGATE_PUBLIC_URL": "https://g.example/"}},

		{name: "no port", env: map[string]string{"MERGEGATE_LISTEN": "127.0.0.1"}, want: []string{`MERGEGATE_LISTEN: "127.0.0.1" is not host:port, for example 127.0.0.1:8080 or :8080`}},
		{name: "an empty port", env: map[string]string{"MERGEGATE_LISTEN": "127.0.0.1:"}, want: []string{`MERGEGATE_LISTEN: "127.0.0.1:" is not host:port, for example 127.0.0.1:8080 or :8080`}},
		{name: "a URL to listen on", env: map[string]string{"MERGEGATE_LISTEN": "http://127.0.0.1:8080"}, want: []string{`MERGEGATE_LISTEN: "http://127.0.0.1:8080" is not host:port, for example 127.0.0.1:8080 or :8080`}},
		{name: "one port for two", env: map[string]string{"MERGEGATE_ADMIN_LISTEN": "127.0.0.1:8080"}, want: []string{`MERGEGATE_ADMIN_LISTEN: "127.0.0.1:8080" is the address of MERGEGATE_LISTEN too; choose another port, for example 127.0.0.1:9090`}},
		{name: "a folder that a shell would know", env: map[string]string{"MERGEGATE_DATA_DIR": "~/data"}, want: []string{`MERGEGATE_DATA_DIR: "~/data" begins with ~, which only a shell expands; write the whole path, for example /var/lib/mergegate`}},

		{name: "a misspelt name", env: map[string]string{"MERGEGATE_BITBUCKET_TOKN": "geheim"}, want: []string{"MERGEGATE_BITBUCKET_TOKN: mergegate has no such variable; did you mean MERGEGATE_BITBUCKET_TOKEN?"}},
		{name: "a misspelt name of a file", env: map[string]string{"MERGEGATE_BITBUCKET_TOKN_FILE": "/f"}, want: []string{"MERGEGATE_BITBUCKET_TOKN_FILE: mergegate has no such variable; did you mean MERGEGATE_BITBUCKET_TOKEN_FILE?"}},
		{name: "a prefix too many", env: map[string]string{"MERGEGATE_DATABASE_URL": "geheim"}, want: []string{"MERGEGATE_DATABASE_URL: mergegate has no such variable; did you mean DATABASE_URL?"}},
		{name: "a name in the plural", env: map[string]string{"MERGEGATE_FORGE_APP_IDS": "x"}, want: []string{"MERGEGATE_FORGE_APP_IDS: mergegate has no such variable; did you mean MERGEGATE_FORGE_APP_ID?"}},
		{name: "what Kubernetes sets", env: map[string]string{
			"MERGEGATE_SERVICE_HOST": "10.0.0.1", "MERGEGATE_SERVICE_PORT": "80", "MERGEGATE_SERVICE_PORT_HTTP": "80", "MERGEGATE_PORT": "tcp://10.0.0.1:80",
			"MERGEGATE_PORT_80_TCP": "tcp://10.0.0.1:80", "MERGEGATE_PORT_80_TCP_ADDR": "10.0.0.1", "MERGEGATE_ADMIN_SERVICE_HOST": "10.0.0.1", "MERGEGATE_ADMIN_PORT_9090_TCP_PROTO": "tcp",
		}},
		{name: "what commands read", env: map[string]string{"MERGEGATE_URL": "x", "MERGEGATE_TOKEN": "x", "MERGEGATE_TOKEN_FILE": "/f"}},
		{name: "what isn't ours", env: map[string]string{"PATH": "/bin", "OTEL_SERVICE_NAME": "x", "TEST_MERGEGATE": "x"}},

		{name: "a file that isn't there", env: map[string]string{"MERGEGATE_LISTEN_FILE": filepath.Join(t.TempDir(), "none")}, want: []string{`MERGEGATE_LISTEN_FILE: can't read "DIR/none": no such file or directory`}},
		{name: "a folder", env: map[string]string{"DATABASE_URL_FILE": t.TempDir() + "/."}, want: []string{`DATABASE_URL_FILE: can't read "DIR/.": is a directory`}},
		{name: "an empty file", env: map[string]string{"MERGEGATE_SECRET_KEY_FILE": written(t, " \r\n")}, want: []string{`MERGEGATE_SECRET_KEY_FILE: "DIR/value" is empty; write the value to it, or unset the variable`}},
		{name: "a file and a value", env: map[string]string{"MERGEGATE_LISTEN": ":1", "MERGEGATE_LISTEN_FILE": written(t, ":1")}, want: []string{"MERGEGATE_LISTEN_FILE: is set, and so is MERGEGATE_LISTEN; set one of them"}},
		{name: "a file with a byte order mark", env: map[string]string{"MERGEGATE_BITBUCKET_TOKEN_FILE": written(t, "\ufeffgeheim\r\n")}, want: []string{"MERGEGATE_BITBUCKET_TOKEN_FILE: the file DIR/value: begins with a byte order mark; save the file as UTF-8 without it"}},
		{name: "a huge file", env: map[string]string{"MERGEGATE_BITBUCKET_TOKEN_FILE": written(t, strings.Repeat("x", maxFile+1))}, want: []string{`MERGEGATE_BITBUCKET_TOKEN_FILE: "DIR/value" is larger than 64 KiB; name a file that holds the value alone`}},
		{name: "a wrong value in a file", env: map[string]string{"MERGEGATE_LOG_LEVEL_FILE": written(t, "loud\n")}, want: []string{`MERGEGATE_LOG_LEVEL: "loud" is not debug, info, warn or error`}},

		{name: "no base64", env: map[string]string{"MERGEGATE_SECRET_KEY": "geheim!"}, want: []string{"MERGEGATE_SECRET_KEY: is not base64 of 32 bytes; make one with openssl rand -base64 32"}},
		{name: "16 bytes", env: map[string]string{"MERGEGATE_SECRET_KEY": "MDEyMzQ1Njc4OTAxMjM0NQ=="}, want: []string{"MERGEGATE_SECRET_KEY: is base64 of 16 bytes, not of 32; make one with openssl rand -base64 32"}},
		{name: "hexadecimal", env: map[string]string{"MERGEGATE_SECRET_KEY": strings.Repeat("0a", 32)}, want: []string{"MERGEGATE_SECRET_KEY: is hexadecimal, not base64 of 32 bytes; make one with openssl rand -base64 32"}},
		{name: "retention of something else", env: map[string]string{"MERGEGATE_RETENTION": "bodies=30d"}, want: []string{`MERGEGATE_RETENTION: "bodies=30d": "bodies" is not one of deliveries, decisions, builds, for example deliveries=30d`}},
		{name: "retention without a unit", env: map[string]string{"MERGEGATE_RETENTION": "builds=30"}, want: []string{`MERGEGATE_RETENTION: "builds=30": "30" is not a duration, for example builds=30d`}},
		{name: "retention of hours", env: map[string]string{"MERGEGATE_RETENTION": "builds=12h"}, want: []string{`MERGEGATE_RETENTION: "builds=12h" is less than a day; give 1d or more`}},
		{name: "an interval without a unit", env: map[string]string{"MERGEGATE_RECONCILE_INTERVAL": "120"}, want: []string{`MERGEGATE_RECONCILE_INTERVAL: "120" is not a duration of 1s or more, for example 2m`}},
		{name: "an app id without its prefix", env: map[string]string{"MERGEGATE_FORGE_APP_ID": "8db33809-1f32-48bb-8c52-5877dab48107"}, want: []string{`MERGEGATE_FORGE_APP_ID: "8db33809-1f32-48bb-8c52-5877dab48107" is not an app id of the form ari:cloud:ecosystem::app/UUID; copy app.id from manifest/manifest.yml`}},
		{name: "an environment of Forge's that isn't one", env: map[string]string{"MERGEGATE_FORGE_ENVIRONMENTS": "live"}, want: []string{`MERGEGATE_FORGE_ENVIRONMENTS: "live" is not one of DEVELOPMENT, STAGING, PRODUCTION`}},
		{name: "an address for a network", env: map[string]string{"MERGEGATE_WEBHOOK_NETWORKS": "10.0.0.1"}, want: []string{`MERGEGATE_WEBHOOK_NETWORKS: "10.0.0.1" is not a network in CIDR form, for example 10.0.0.1/32`}},
		{name: "no network", env: map[string]string{"MERGEGATE_WEBHOOK_NETWORKS": "10.0.0.0/8,intranet"}, want: []string{`MERGEGATE_WEBHOOK_NETWORKS: "intranet" is not a network in CIDR form, for example 10.1.0.0/16`}},

		{name: "an address without a token", env: map[string]string{"MERGEGATE_BITBUCKET_EMAIL": "a@example.com"}, want: []string{"MERGEGATE_BITBUCKET_API_TOKEN: is required with MERGEGATE_BITBUCKET_EMAIL"}},
		{name: "a consumer without a secret", env: map[string]string{"MERGEGATE_BITBUCKET_OAUTH_CLIENT_ID": "id"}, want: []string{"MERGEGATE_BITBUCKET_OAUTH_CLIENT_SECRET: is required with MERGEGATE_BITBUCKET_OAUTH_CLIENT_ID"}},
		{name: "no address", env: map[string]string{"MERGEGATE_BITBUCKET_EMAIL": "ann", "MERGEGATE_BITBUCKET_API_TOKEN": "geheim"}, want: []string{`MERGEGATE_BITBUCKET_EMAIL: "ann" is not an e-mail address; give that of the API token's Atlassian account`}},
		{name: "two credentials", env: map[string]string{"MERGEGATE_BITBUCKET_TOKEN": "geheim", "MERGEGATE_BITBUCKET_EMAIL": "a@example.com", "MERGEGATE_BITBUCKET_API_TOKEN": "geheim"}, want: []string{"MERGEGATE_BITBUCKET_TOKEN: is set, and so is MERGEGATE_BITBUCKET_API_TOKEN; set one credential for Bitbucket"}},
		{name: "an API token as access token", env: map[string]string{"MERGEGATE_BITBUCKET_TOKEN": "ATATTgeheim"}, want: []string{"MERGEGATE_BITBUCKET_TOKEN: is an API token; set it as MERGEGATE_BITBUCKET_API_TOKEN, with MERGEGATE_BITBUCKET_EMAIL"}},
		{
			name: "a webhook secret of a workspace that isn't mapped", env: map[string]string{accounts: "acme=ws", "MERGEGATE_BITBUCKET_WEBHOOK_SECRET": "one,ge=heim"},
			want: []string{"MERGEGATE_BITBUCKET_WEBHOOK_SECRET: secret 2 is written as workspace=secret, for a workspace that MERGEGATE_APPVEYOR_ACCOUNTS doesn't map; it maps ws"},
		},
		{name: "a webhook secret by UUID where the mapping is by slug", env: map[string]string{accounts: "acme=ws", "MERGEGATE_BITBUCKET_WEBHOOK_SECRET": "{b7ea02c9-0871-4858-a2a6-a190d7de977c}=geheim"}},

		{name: "a database that is no URL", env: map[string]string{"DATABASE_URL": "geheim"}, want: []string{"DATABASE_URL: is not a PostgreSQL URL, for example postgres://user:password@host:5432/database"}},
		{name: "a password that is not escaped", env: map[string]string{"DATABASE_URL": "postgres://u:ge/heim@h:5432/d"}, want: []string{"DATABASE_URL: can't be read as a PostgreSQL URL, for example postgres://user:password@host:5432/database; write special characters of the password as %XX, such as %40 for @"}},
		{name: "an escape that isn't one", env: map[string]string{"DATABASE_URL": "postgres://u:ge%heim@h:5432/d"}, want: []string{"DATABASE_URL: can't be read as a PostgreSQL URL, for example postgres://user:password@host:5432/database; write special characters of the password as %XX, such as %40 for @"}},
		{name: "a parameter", env: map[string]string{"DATABASE_URL": "postgres://u:geheim@h/d?sslmode=maybe"}, want: []string{"DATABASE_URL: failed to configure TLS (sslmode is invalid)"}},
		{name: "too few connections", env: map[string]string{"DATABASE_URL": "postgres://u:geheim@h/d?pool_max_conns=8"}, want: []string{"DATABASE_URL: pool_max_conns=8 is too small; mergegate needs 9 connections or more"}},
		{name: "several hosts", env: map[string]string{"DATABASE_URL": "postgres://u:geheim@h:5432,i:5433/d?target_session_attrs=read-write"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := faultsOf(t, tt.env)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			if text := fmt.Sprint(got); strings.Contains(text, "geheim") || strings.Contains(text, "heim@") {
				t.Errorf("a secret is printed: %s", text)
			}
		})
	}
}

// TestEveryVariableCanBeAFile gives each the value by file that it takes directly.
func TestEveryVariableCanBeAFile(t *testing.T) {
	t.Parallel()
	for _, v := range serviceVariables {
		const value = "what the file holds"
		var wrong faults
		got := readVariables(EnvironOf(map[string]string{v.name + asFile: written(t, value+"\n")}), serviceVariables, &wrong)
		if diff := cmp.Diff(map[string]string{v.name: value}, got); diff != "" || len(wrong.list) > 0 {
			t.Errorf("%s (-want +got):\n%s%v", v.name, diff, wrong.list)
		}
	}
}

func TestLoadService(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		env   map[string]string
		given Service
		want  Service
		wrong string
	}{
		{name: "none"},
		{name: "of the environment", env: map[string]string{"MERGEGATE_URL": "https://g.example", "MERGEGATE_TOKEN": "t"}, want: Service{URL: "https://g.example", Token: "t"}},
		{name: "of files", env: map[string]string{"MERGEGATE_URL_FILE": written(t, "https://g.example\n"), "MERGEGATE_TOKEN_FILE": written(t, "t\n")}, want: Service{URL: "https://g.example", Token: "t"}},
		{name: "flags come first", env: map[string]string{"MERGEGATE_URL": "nonsense", "MERGEGATE_TOKEN_FILE": "/nothing/here"}, given: Service{URL: "https://g.example", Token: "t"}, want: Service{URL: "https://g.example", Token: "t"}},
		{name: "no scheme", env: map[string]string{"MERGEGATE_URL": "g.example"}, wrong: `MERGEGATE_URL: "g.example" has no scheme`},
		{name: "no scheme in the flag", given: Service{URL: "localhost:8080"}, wrong: `--url: "localhost:8080" has no scheme`},
		{name: "a misspelt token", env: map[string]string{"MERGEGATE_URL": "https://g.example", "MERGEGATE_TOKN": "t"}, wrong: "MERGEGATE_TOKN: mergegate has no such variable; did you mean MERGEGATE_TOKEN?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := LoadService(EnvironOf(tt.env), tt.given)
			switch {
			case tt.wrong != "":
				if err == nil || !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("%v, want %s", err, tt.wrong)
				}
			case err != nil:
				t.Error(err)
			default:
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("service (-want +got):\n%s", diff)
				}
			}
		})
	}
}
