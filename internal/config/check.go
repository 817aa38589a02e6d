package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"mergegate/internal/mergecheck"
)

func bothOrNone(wrong *faults, nameA, a, nameB, b string) {
	if a != "" && b == "" {
		wrong.add(nameB, "is required with %s", nameA)
	}
	if a == "" && b != "" {
		wrong.add(nameA, "is required with %s", nameB)
	}
}

func checkListen(wrong *faults, name, address string) {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		wrong.add(name, "%s is not host:port, for example 127.0.0.1:8080 or :8080", quoted(address))
	}
}

// checkURL wants the address of a web service. It returns nil after a fault.
func checkURL(wrong *faults, name, text, example string) *url.URL {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		wrong.add(name, "%s is not a URL, for example %s", quoted(withoutPassword(text)), example)
	case !strings.Contains(text, "://"):
		wrong.add(name, "%s has no scheme; write https:// before it, for example %s", quoted(withoutPassword(text)), example)
	case u.Scheme != "http" && u.Scheme != "https":
		wrong.add(name, "%s is not an http or https URL, for example %s", quoted(withoutPassword(text)), example)
	case u.Hostname() == "":
		wrong.add(name, "%s has no host, for example %s", quoted(withoutPassword(text)), example)
	case u.User != nil:
		wrong.add(name, "%s has a user or password in it; leave them out", quoted(withoutPassword(text)))
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#"):
		wrong.add(name, "%s has a query or fragment; leave out everything from ? or # on", quoted(text))
	case strings.ContainsAny(text, ", "):
		wrong.add(name, "%s is not one URL, for example %s", quoted(text), example)
	default:
		return u
	}
	return nil
}

// withoutPassword is a URL without what is before an @.
func withoutPassword(text string) string {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "", text
	} else {
		scheme += "://"
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = "…" + rest[at:]
	}
	return scheme + rest
}

// servedPaths are the service's own, which people copy with the address.
var servedPaths = []string{"/webhooks", "/forge", "/api/v1", "/healthz", "/readyz", "/openapi.yaml"}

func checkPublicURL(wrong *faults, text string) {
	const name, example = "MERGEGATE_PUBLIC_URL", "https://gate.example.com"
	u := checkURL(wrong, name, text, example)
	if u == nil {
		return
	}
	for _, path := range servedPaths {
		if at := strings.Index(u.Path, path); at >= 0 {
			wrong.add(name, "%s has a path of the service in it; end it before %s, for example %s", quoted(text), path, example)
			return
		}
	}
}

func checkAppVeyorURL(wrong *faults, text string) {
	const name, example = "MERGEGATE_APPVEYOR_URL", "https://ci.appveyor.com"
	u := checkURL(wrong, name, text, example)
	switch {
	case u == nil:
	case u.Hostname() == "appveyor.com" || u.Hostname() == "www.appveyor.com":
		wrong.add(name, "%s is AppVeyor's home page; builds are at %s", quoted(text), example)
	case strings.HasSuffix(u.Path, "//"):
		wrong.add(name, "%s ends with more than one slash; drop them, for example %s", quoted(text), example)
	default:
		dropPath(wrong, name, text, u, "/api", "/project", "/account")
	}
}

func checkBitbucketURL(wrong *faults, text string) {
	const name, example = "MERGEGATE_BITBUCKET_API_URL", "https://api.bitbucket.org"
	u := checkURL(wrong, name, text, example)
	switch {
	case u == nil:
	case u.Hostname() == "bitbucket.org" || u.Hostname() == "www.bitbucket.org":
		wrong.add(name, "%s is Bitbucket's web site; the API is at %s", quoted(text), example)
	default:
		dropPath(wrong, name, text, u, "/2.0", "/1.0", "/rest")
	}
}

// dropPath finds a path that mergegate adds itself.
func dropPath(wrong *faults, name, text string, u *url.URL, paths ...string) {
	for _, path := range paths {
		if strings.HasSuffix(u.Path, path) || strings.Contains(u.Path, path+"/") {
			before, _, _ := strings.Cut(text, path)
			wrong.add(name, "%s has %s in it, which mergegate adds itself; drop it: %s", quoted(text), path, before)
			return
		}
	}
}

// checkWebhookWorkspaces finds secrets of workspaces that no account is mapped to. The
// workspace is not shown: a secret with = in it reads like one.
func checkWebhookWorkspaces(wrong *faults, secrets []WebhookSecret, accounts mergecheck.Accounts) {
	var mapped []string
	for _, workspaces := range accounts {
		mapped = append(mapped, workspaces...)
	}
	slices.Sort(mapped)
	mapped = slices.Compact(mapped)
	for i, secret := range secrets {
		if secret.Workspace == "" || slices.Contains(mapped, secret.Workspace) {
			continue
		}
		// A slug and a UUID may be of the same workspace.
		if slices.ContainsFunc(mapped, func(w string) bool { return isUUID(w) != isUUID(secret.Workspace) }) {
			continue
		}
		list := "it maps none"
		if len(mapped) > 0 {
			list = "it maps " + strings.Join(mapped, ", ")
		}
		wrong.add("MERGEGATE_BITBUCKET_WEBHOOK_SECRET", "secret %d is written as workspace=secret, for a workspace that MERGEGATE_APPVEYOR_ACCOUNTS doesn't map; %s", i+1, list)
	}
}

func isUUID(text string) bool { return uuid.Validate(text) == nil }

// LeastConns is the fewest connections that a replica can share out: see the pools of
// package app.
const LeastConns = 9

// checkDatabaseURL reads the URL as pgx will, without connecting. No part of it is shown,
// since the password can't be told for certain in one that is malformed.
func checkDatabaseURL(wrong *faults, text string) {
	const example = "postgres://user:password@host:5432/database"
	if text == "" {
		return
	}
	scheme, _, isURL := strings.Cut(text, "://")
	switch {
	case isURL && scheme != "postgres" && scheme != "postgresql":
		wrong.add(databaseURL, "%s:// is not postgres://; write it as %s", mergecheck.OneLine(scheme, 20), example)
		return
	case !isURL && !strings.Contains(text, "="):
		wrong.add(databaseURL, "is not a PostgreSQL URL, for example %s", example)
		return
	}
	cfg, err := pgxpool.ParseConfig(text)
	switch {
	case err != nil:
		wrong.add(databaseURL, "%s", databaseReason(err, example))
	case strings.Contains(text, "pool_max_conns") && cfg.MaxConns < LeastConns:
		wrong.add(databaseURL, "pool_max_conns=%d is too small; mergegate needs %d connections or more", cfg.MaxConns, LeastConns)
	}
}

// databaseParameters are those whose faults pgx words without the rest of the URL.
var databaseParameters = []string{"sslmode", "target_session_attrs", "connect_timeout", "channel_binding", "require_auth", "protocol_version", "pool_", "port numbers"}

func databaseReason(err error, example string) string {
	_, told, _ := strings.Cut(err.Error(), "`: ")
	for _, parameter := range databaseParameters {
		if strings.Contains(told, parameter) {
			return told
		}
	}
	return fmt.Sprintf("can't be read as a PostgreSQL URL, for example %s; write special characters of the password as %%XX, such as %%40 for @", example)
}
