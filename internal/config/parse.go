package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
	"mergegate/internal/sealed"
)

// parseAccounts reads "account=workspace,account=workspace,…". A workspace is a slug or a
// UUID, with or without braces.
func parseAccounts(s string) (mergecheck.Accounts, error) {
	accounts := mergecheck.Accounts{}
	for _, pair := range List(s) {
		account, workspace, found := strings.Cut(pair, "=")
		account = strings.ToLower(strings.TrimSpace(account))
		workspace = strings.ToLower(strings.Trim(strings.TrimSpace(workspace), "{}"))
		if !found || account == "" || workspace == "" || strings.ContainsAny(workspace, "/ ={}") {
			return nil, fmt.Errorf("%q is not account=workspace", pair)
		}
		accounts[account] = append(accounts[account], workspace)
	}
	return accounts, nil
}

// leastRetention is the shortest there is: shorter ones would delete what jobs still need.
const leastRetention = 24 * time.Hour

// RetentionKinds are what can be given a retention.
var RetentionKinds = []string{"deliveries", "decisions", "builds"}

// Retention says how long each of [RetentionKinds] is kept. A kind that is missing is kept
// for good.
type Retention map[string]time.Duration

// parseRetention reads "kind=duration,…", such as deliveries=30d.
func parseRetention(text string) (Retention, error) {
	retention := Retention{}
	for _, pair := range List(text) {
		kind, value, _ := strings.Cut(pair, "=")
		kept, err := policy.ParseDuration(strings.TrimSpace(value))
		switch {
		case !slices.Contains(RetentionKinds, kind):
			return nil, fmt.Errorf("%q is not one of %s", kind, strings.Join(RetentionKinds, ", "))
		case err != nil:
			return nil, fmt.Errorf("%s: %w", kind, err)
		case kept < leastRetention:
			return nil, fmt.Errorf("%s: %s is less than a day", kind, value)
		}
		retention[kind] = kept
	}
	return retention, nil
}

// WebhookSecret is a secret of Bitbucket's webhooks.
type WebhookSecret struct {
	// Workspace is the one that the secret speaks for, by slug or UUID, lower case and
	// without braces; "" for every workspace that is mapped.
	Workspace string
	Secret    string
}

// workspaceSecret is a secret that speaks for one workspace. What only ends with "=", as
// base64 does, is a secret alone.
var workspaceSecret = regexp.MustCompile(`^\{?([a-z0-9_-]+)\}?=(.*[^=].*)$`)

// webhookSecrets reads secrets, each alone or as workspace=secret.
func webhookSecrets(text string) (secrets []WebhookSecret) {
	for _, item := range List(text) {
		secret := WebhookSecret{Secret: item}
		if parts := workspaceSecret.FindStringSubmatch(item); parts != nil {
			secret = WebhookSecret{Workspace: parts[1], Secret: parts[2]}
		}
		secrets = append(secrets, secret)
	}
	return secrets
}

// List splits at commas and drops what is empty.
func List(s string) []string {
	var items []string
	for _, item := range strings.Split(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

var accountToken = regexp.MustCompile(`^([^=\s]+)=(\S+)$`)

// parseTokens reads one token for all accounts, or account=token pairs.
func parseTokens(s string) (map[string]string, error) {
	items := List(s)
	if len(items) == 1 && !strings.Contains(strings.TrimRight(items[0], "="), "=") {
		return map[string]string{"": items[0]}, nil
	}
	tokens := map[string]string{}
	for _, item := range items {
		pair := accountToken.FindStringSubmatch(item)
		if pair == nil {
			return nil, errors.New("is neither one token nor account=token pairs")
		}
		tokens[strings.ToLower(pair[1])] = pair[2]
	}
	return tokens, nil
}

// parseKeys reads base64 of 32 bytes, several with commas.
func parseKeys(s string) ([][]byte, error) {
	var keys [][]byte
	for _, item := range List(s) {
		key, err := base64.StdEncoding.DecodeString(item)
		if err != nil || len(key) != sealed.KeySize {
			return nil, errors.New("is not base64 of 32 bytes: make one with openssl rand -base64 32")
		}
		keys = append(keys, key)
	}
	return keys, nil
}
