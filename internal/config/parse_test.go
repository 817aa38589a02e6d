package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/mergecheck"
)

func TestParseAccounts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		given string
		want  mergecheck.Accounts
		fails bool
	}{
		{name: "one", given: "acme=team", want: mergecheck.Accounts{"acme": {"team"}}},
		{name: "several", given: " Acme = Team , acme=other,b={B7EA02C9-0871-4858-A2A6-A190D7DE977C}", want: mergecheck.Accounts{
			"acme": {"team", "other"}, "b": {"b7ea02c9-0871-4858-a2a6-a190d7de977c"},
		}},
		{name: "none", want: mergecheck.Accounts{}},
		{name: "no workspace", given: "acme", fails: true},
		{name: "empty workspace", given: "acme=", fails: true},
		{name: "empty account", given: "=team", fails: true},
		{name: "a repository", given: "acme=team/repo", fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseAccounts(tt.given)
			if (err != nil) != tt.fails {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("accounts (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParseAccounts(f *testing.F) {
	f.Add("acme=team")
	f.Add(" Acme = Team , acme=other,b={B7EA02C9-0871-4858-A2A6-A190D7DE977C}")
	f.Add("=,a=b=c,{}")
	f.Fuzz(func(t *testing.T, given string) {
		accounts, err := parseAccounts(given)
		if err != nil {
			return
		}
		for account, workspaces := range accounts {
			for _, workspace := range workspaces {
				if account == "" || workspace == "" || strings.ContainsAny(workspace, "/ ={}") || !accounts.Known(account) || !accounts.Names(account, workspace) {
					t.Errorf("%q may speak for %q", account, workspace)
				}
			}
		}
	})
}

func TestParseRetention(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	tests := []struct {
		name, given string
		want        Retention
		fails       bool
	}{
		{name: "two kinds", given: " deliveries=720h , decisions=9600h", want: Retention{"deliveries": 30 * day, "decisions": 400 * day}},
		{name: "nothing is deleted", want: Retention{}},
		{name: "a day", given: "builds=24h", want: Retention{"builds": day}},
		{name: "less than a day", given: "builds=23h", fails: true},
		{name: "an unknown kind", given: "bodies=24h", fails: true},
		{name: "no duration", given: "builds", fails: true},
		{name: "not a duration", given: "builds=long", fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseRetention(tt.given)
			if (err != nil) != tt.fails {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("retention (-want +got):\n%s", diff)
			}
		})
	}
}
