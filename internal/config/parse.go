package config

import (
	"encoding/base64"
	"encoding/hex"
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

var (
	// accountName is what AppVeyor has in the addresses of an account's projects.
	accountName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)
	// workspaceSlug is a workspace's ID, as Bitbucket calls it.
	workspaceSlug = regexp.MustCompile(`^[a-z0-9_-]+$`)
)

// parseAccounts reads "account=workspace,account=workspace,…". A workspace is a slug or a
// UUID, with or without braces.
func parseAccounts(s string) (mergecheck.Accounts, error) {
	accounts := mergecheck.Accounts{}
	for _, pair := range List(s) {
		account, workspace, err := parseAccount(pair)
		if err != nil {
			return nil, err
		}
		accounts[account] = append(accounts[account], workspace)
	}
	return accounts, nil
}

func parseAccount(pair string) (account, workspace string, err error) {
	given, mapped, found := strings.Cut(pair, "=")
	given, mapped = strings.TrimSpace(given), strings.TrimSpace(mapped)
	account, workspace = strings.ToLower(given), strings.ToLower(mapped)
	bare := strings.TrimSuffix(strings.TrimPrefix(workspace, "{"), "}")
	braced := bare != workspace
	switch {
	case !found || account == "" || workspace == "":
		return "", "", fmt.Errorf("%s is not account=workspace, for example acme=acme-team", quoted(pair))
	case isUUID(strings.Trim(account, "{}")):
		return "", "", fmt.Errorf("%s is the wrong way round: the AppVeyor account comes first, as in acme={WORKSPACE UUID}", quoted(pair))
	case !accountName.MatchString(account):
		return "", "", fmt.Errorf("%s: %s is not an AppVeyor account; give its name as in https://ci.appveyor.com/account/NAME, not its display name", quoted(pair), quoted(given))
	case braced && !isUUID(bare), !workspaceSlug.MatchString(bare):
		return "", "", fmt.Errorf("%s: %s is not a Bitbucket workspace; give its ID as in https://bitbucket.org/ID, or its UUID, not its display name", quoted(pair), quoted(mapped))
	}
	return account, bare, nil
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
		kind = strings.TrimSpace(kind)
		kept, err := policy.ParseDuration(strings.TrimSpace(value))
		switch {
		case !slices.Contains(RetentionKinds, kind):
			return nil, fmt.Errorf("%s: %s is not one of %s, for example deliveries=30d", quoted(pair), quoted(kind), strings.Join(RetentionKinds, ", "))
		case err != nil:
			return nil, fmt.Errorf("%s: %s is not a duration, for example %s=30d", quoted(pair), quoted(value), kind)
		case kept < leastRetention:
			return nil, fmt.Errorf("%s is less than a day; give 1d or more", quoted(pair))
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
	if strings.ContainsAny(strings.Join(items, ""), " \t") {
		return nil, errors.New("has a space in it; AppVeyor's tokens have none")
	}
	if len(items) == 1 && !strings.Contains(strings.TrimRight(items[0], "="), "=") {
		return map[string]string{"": items[0]}, nil
	}
	tokens := map[string]string{}
	for _, item := range items {
		pair := accountToken.FindStringSubmatch(item)
		if pair == nil {
			return nil, errors.New("is neither one token nor account=token pairs, for example acme=v2.TOKEN,other=v2.TOKEN")
		}
		tokens[strings.ToLower(pair[1])] = pair[2]
	}
	return tokens, nil
}

// parseKeys reads base64 of 32 bytes, several with commas.
func parseKeys(s string) ([][]byte, error) {
	const advice = "make one with openssl rand -base64 32"
	var keys [][]byte
	for _, item := range List(s) {
		key, err := base64.StdEncoding.DecodeString(item)
		switch {
		case err == nil && len(key) == sealed.KeySize:
			keys = append(keys, key)
		case isHex(item):
			return nil, errors.New("is hexadecimal, not base64 of 32 bytes; " + advice)
		case err != nil:
			return nil, errors.New("is not base64 of 32 bytes; " + advice)
		default:
			return nil, fmt.Errorf("is base64 of %d bytes, not of %d; %s", len(key), sealed.KeySize, advice)
		}
	}
	return keys, nil
}

func isHex(text string) bool {
	_, err := hex.DecodeString(text)
	return err == nil
}
