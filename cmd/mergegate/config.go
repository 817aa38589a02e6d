package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"mergegate/internal/builds"
	"mergegate/internal/policy"
	"mergegate/internal/retention"
	"mergegate/internal/sealed"
	"mergegate/internal/server"
)

// environment is every variable the program reads, as text. A secret may be
// given as a file instead, under the name with _FILE.
type environment struct {
	DatabaseURL string `env:"DATABASE_URL" secret:"true"`
	DataDir     string `env:"MERGEGATE_DATA_DIR"`
	Listen      string `env:"MERGEGATE_LISTEN" envDefault:"127.0.0.1:8080"`
	AdminListen string `env:"MERGEGATE_ADMIN_LISTEN"`
	PublicURL   string `env:"MERGEGATE_PUBLIC_URL"`

	AppVeyorAccounts      string `env:"MERGEGATE_APPVEYOR_ACCOUNTS" list:"true"`
	AppVeyorURL           string `env:"MERGEGATE_APPVEYOR_URL" envDefault:"https://ci.appveyor.com"`
	AppVeyorToken         string `env:"MERGEGATE_APPVEYOR_TOKEN" secret:"true" list:"true"`
	AppVeyorWebhookSecret string `env:"MERGEGATE_APPVEYOR_WEBHOOK_SECRET" secret:"true" list:"true"`
	ReconcileInterval     string `env:"MERGEGATE_RECONCILE_INTERVAL" envDefault:"2m"`

	BitbucketAPIURL            string `env:"MERGEGATE_BITBUCKET_API_URL" envDefault:"https://api.bitbucket.org"`
	BitbucketToken             string `env:"MERGEGATE_BITBUCKET_TOKEN" secret:"true"`
	BitbucketEmail             string `env:"MERGEGATE_BITBUCKET_EMAIL"`
	BitbucketAPIToken          string `env:"MERGEGATE_BITBUCKET_API_TOKEN" secret:"true"`
	BitbucketOAuthClientID     string `env:"MERGEGATE_BITBUCKET_OAUTH_CLIENT_ID"`
	BitbucketOAuthClientSecret string `env:"MERGEGATE_BITBUCKET_OAUTH_CLIENT_SECRET" secret:"true"`
	BitbucketWebhookSecret     string `env:"MERGEGATE_BITBUCKET_WEBHOOK_SECRET" secret:"true" list:"true"`

	ForgeAppID        string `env:"MERGEGATE_FORGE_APP_ID" list:"true"`
	ForgeEnvironments string `env:"MERGEGATE_FORGE_ENVIRONMENTS" envDefault:"PRODUCTION" list:"true"`
	ForgeJWKSURL      string `env:"MERGEGATE_FORGE_JWKS_URL" envDefault:"https://forge.cdn.prod.atlassian-dev.net/.well-known/jwks.json"`

	WebhookNetworks string `env:"MERGEGATE_WEBHOOK_NETWORKS" list:"true"`

	Retention string `env:"MERGEGATE_RETENTION" envDefault:"deliveries=30d,decisions=400d"`
	SecretKey string `env:"MERGEGATE_SECRET_KEY" secret:"true" list:"true"`
	LogLevel  string `env:"MERGEGATE_LOG_LEVEL" envDefault:"info"`
	LogFormat string `env:"MERGEGATE_LOG_FORMAT"`
}

// config is the environment, understood.
type config struct {
	environment
	accounts          builds.Accounts
	appveyorTokens    map[string]string
	appveyorSecrets   []string
	bitbucketSecrets  []server.BitbucketSecret
	forgeAppIDs       []string
	forgeEnvironments []string
	reconcileInterval time.Duration
	retention         retention.Policy
	secretKeys        [][]byte
	webhookNetworks   []netip.Prefix
}

// faults collects what is wrong with the environment, by variable.
type faults []string

func (f *faults) add(variable, format string, args ...any) {
	*f = append(*f, variable+": "+fmt.Sprintf(format, args...))
}

func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return usageError{f}
}

func (f faults) Error() string { return "configuration:\n  " + strings.Join(f, "\n  ") }

// loadConfig reads the environment. Its error lists every fault at once.
func loadConfig(getenv func(string) string) (config, error) {
	var cfg config
	var wrong faults
	values := readVariables(getenv, &wrong)
	if err := env.ParseWithOptions(&cfg.environment, env.Options{Environment: values}); err != nil {
		return cfg, usageError{err}
	}
	if cfg.DataDir == "" {
		cfg.DataDir = defaultDataDir(getenv)
	}
	cfg.understand(&wrong)
	return cfg, wrong.err()
}

// readVariables takes each variable from the environment, or a secret from the
// file that NAME_FILE names. Empty is unset.
func readVariables(getenv func(string) string, wrong *faults) map[string]string {
	values := map[string]string{}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[environment]()) {
		name := field.Tag.Get("env")
		value := strings.TrimSpace(getenv(name))
		if file := getenv(name + "_FILE"); file != "" && field.Tag.Get("secret") != "" {
			content, err := os.ReadFile(file)
			switch {
			case value != "":
				wrong.add(name+"_FILE", "is set, and %s too; set one of them", name)
			case err != nil:
				wrong.add(name+"_FILE", "%v", err)
			case len(bytes.TrimSpace(content)) == 0:
				wrong.add(name+"_FILE", "%q is empty; write the secret to it, or unset %[2]s_FILE", file, name)
			default:
				value = strings.TrimSpace(string(content))
			}
		}
		if value != "" && field.Tag.Get("list") != "" && len(list(value)) == 0 {
			wrong.add(name, "holds nothing but commas; give a value, or unset it")
		}
		if value != "" {
			values[name] = value
		}
	}
	return values
}

func defaultDataDir(getenv func(string) string) string {
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "mergegate")
	}
	home := getenv("HOME")
	if home == "" {
		home, _ = os.UserHomeDir()
	}
	return filepath.Join(home, ".local", "share", "mergegate")
}

func (c *config) understand(wrong *faults) {
	c.understandHTTP(wrong)
	c.understandAppVeyor(wrong)
	c.understandBitbucket(wrong)
	c.forgeAppIDs, c.forgeEnvironments = list(c.ForgeAppID), list(c.ForgeEnvironments)
	var err error
	if c.retention, err = retention.Parse(c.Retention, policy.ParseDuration); err != nil {
		wrong.add("MERGEGATE_RETENTION", "%v", err)
	}
	for _, text := range list(c.WebhookNetworks) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			wrong.add("MERGEGATE_WEBHOOK_NETWORKS", "%q is not a network like 10.1.0.0/16", text)
		}
		c.webhookNetworks = append(c.webhookNetworks, prefix.Masked())
	}
	if c.secretKeys, err = parseKeys(c.SecretKey); err != nil {
		wrong.add("MERGEGATE_SECRET_KEY", "%v", err)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, strings.ToLower(c.LogLevel)) {
		wrong.add("MERGEGATE_LOG_LEVEL", "%q is not debug, info, warn or error", c.LogLevel)
	}
	if !slices.Contains([]string{"", "json", "text"}, c.LogFormat) {
		wrong.add("MERGEGATE_LOG_FORMAT", "%q is not json or text", c.LogFormat)
	}
}

func (c *config) understandHTTP(wrong *faults) {
	checkListen(wrong, "MERGEGATE_LISTEN", c.Listen)
	if c.AdminListen != "" {
		checkListen(wrong, "MERGEGATE_ADMIN_LISTEN", c.AdminListen)
	}
	if c.PublicURL != "" {
		checkURL(wrong, "MERGEGATE_PUBLIC_URL", c.PublicURL)
	}
	checkURL(wrong, "MERGEGATE_FORGE_JWKS_URL", c.ForgeJWKSURL)
}

func (c *config) understandAppVeyor(wrong *faults) {
	var err error
	if c.accounts, err = builds.ParseAccounts(c.AppVeyorAccounts); err != nil {
		wrong.add("MERGEGATE_APPVEYOR_ACCOUNTS", "%v", err)
	}
	if c.AppVeyorWebhookSecret != "" && c.AppVeyorAccounts == "" {
		wrong.add("MERGEGATE_APPVEYOR_ACCOUNTS", "is required with MERGEGATE_APPVEYOR_WEBHOOK_SECRET: account=workspace, or no build is ever trusted")
	}
	checkURL(wrong, "MERGEGATE_APPVEYOR_URL", c.AppVeyorURL)
	c.appveyorSecrets = list(c.AppVeyorWebhookSecret)
	if c.appveyorTokens, err = parseTokens(c.AppVeyorToken); err != nil {
		wrong.add("MERGEGATE_APPVEYOR_TOKEN", "%v", err)
	}
	if c.reconcileInterval, err = policy.ParseDuration(c.ReconcileInterval); err != nil || c.reconcileInterval < time.Second {
		wrong.add("MERGEGATE_RECONCILE_INTERVAL", "%q is not a duration of 1s or more, like 2m", c.ReconcileInterval)
	}
}

func (c *config) understandBitbucket(wrong *faults) {
	checkURL(wrong, "MERGEGATE_BITBUCKET_API_URL", c.BitbucketAPIURL)
	c.bitbucketSecrets = webhookSecrets(c.BitbucketWebhookSecret)
	bothOrNone(wrong, "MERGEGATE_BITBUCKET_EMAIL", c.BitbucketEmail, "MERGEGATE_BITBUCKET_API_TOKEN", c.BitbucketAPIToken)
	bothOrNone(wrong, "MERGEGATE_BITBUCKET_OAUTH_CLIENT_ID", c.BitbucketOAuthClientID,
		"MERGEGATE_BITBUCKET_OAUTH_CLIENT_SECRET", c.BitbucketOAuthClientSecret)
}

// signingKey signs the addresses of pages and badges: derived, so that none tells anything of
// the key itself.
func (c *config) signingKey() []byte {
	if len(c.secretKeys) == 0 {
		return nil
	}
	mac := hmac.New(sha256.New, c.secretKeys[0])
	_, _ = mac.Write([]byte("signed addresses"))
	return mac.Sum(nil)
}

// bitbucketCredential names the credential that is used, for operators. A
// workspace where the Forge app is installed is read with the app's token.
func (c *config) bitbucketCredential() string {
	switch {
	case c.BitbucketToken != "":
		return "access token"
	case c.BitbucketAPIToken != "":
		return "API token of " + c.BitbucketEmail
	case c.BitbucketOAuthClientSecret != "":
		return "OAuth consumer " + c.BitbucketOAuthClientID
	default:
		return "the Forge app's tokens alone"
	}
}

func bothOrNone(wrong *faults, nameA, a, nameB, b string) {
	if a != "" && b == "" {
		wrong.add(nameB, "is required with %s", nameA)
	}
	if a == "" && b != "" {
		wrong.add(nameA, "is required with %s", nameB)
	}
}

func checkListen(wrong *faults, name, address string) {
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		wrong.add(name, "%q is not host:port, like 127.0.0.1:8080 or :8080", address)
	}
}

func checkURL(wrong *faults, name, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
		wrong.add(name, "is not an http(s) URL without credentials")
	}
}

// workspaceSecret is a secret that speaks for one workspace. What only ends with "=", as
// base64 does, is a secret alone.
var workspaceSecret = regexp.MustCompile(`^\{?([a-z0-9_-]+)\}?=(.*[^=].*)$`)

// webhookSecrets reads secrets, each alone or as workspace=secret.
func webhookSecrets(text string) (secrets []server.BitbucketSecret) {
	for _, item := range list(text) {
		secret := server.BitbucketSecret{Secret: item}
		if parts := workspaceSecret.FindStringSubmatch(item); parts != nil {
			secret = server.BitbucketSecret{Workspace: parts[1], Secret: parts[2]}
		}
		secrets = append(secrets, secret)
	}
	return secrets
}

// list splits at commas and drops what is empty.
func list(s string) []string {
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
	items := list(s)
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
	for _, item := range list(s) {
		key, err := base64.StdEncoding.DecodeString(item)
		if err != nil || len(key) != sealed.KeySize {
			return nil, errors.New("is not base64 of 32 bytes: make one with openssl rand -base64 32")
		}
		keys = append(keys, key)
	}
	return keys, nil
}
