// Package config reads what the program is configured with: the environment.
//
//	cfg, err := config.Load(os.Environ())
//
// An error is a [config.Error], which lists every fault at once.
package config

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
)

// Environment is every variable the service reads, as text. Each may be given as a
// file instead, under the name with _FILE. What is tagged as secret is never printed.
type Environment struct {
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

	// The OAuth consumer for signing in to the pages. The pages have no sign-in yet: both are
	// accepted, so that a configuration that has them starts.
	OAuthClientID     string `env:"MERGEGATE_OAUTH_CLIENT_ID"`
	OAuthClientSecret string `env:"MERGEGATE_OAUTH_CLIENT_SECRET" secret:"true"`

	Retention string `env:"MERGEGATE_RETENTION" envDefault:"deliveries=30d,decisions=400d"`
	SecretKey string `env:"MERGEGATE_SECRET_KEY" secret:"true" list:"true"`
	LogLevel  string `env:"MERGEGATE_LOG_LEVEL" envDefault:"info"`
	LogFormat string `env:"MERGEGATE_LOG_FORMAT"`
}

// Config is the environment, understood. Where a field has the name of a variable's text,
// it is what that means.
type Config struct {
	Environment
	Accounts          mergecheck.Accounts
	AppVeyorTokens    map[string]string // by account in lower case; "" is for all
	AppVeyorSecrets   []string          // all valid at once; none: the webhook's route is 404
	BitbucketSecrets  []WebhookSecret   // all valid at once; none: the webhook's route is 404
	ForgeAppIDs       []string          // none: Forge's routes are 404
	ForgeEnvironments []string
	ReconcileInterval time.Duration
	Retention         Retention
	SecretKeys        [][]byte // the first seals
	WebhookNetworks   []netip.Prefix
}

// Error is a fault of the configuration.
type Error struct{ error }

// Unwrap returns what is wrong.
func (e Error) Unwrap() error { return e.error }

// NewError says that err is a fault of the configuration.
func NewError(err error) Error { return Error{err} }

// Load reads the environment of the service. Its error lists every fault at once; the
// Config beside it has what could be read.
func Load(environ Environ) (Config, error) {
	var cfg Config
	var wrong faults
	values := readVariables(environ, serviceVariables, &wrong)
	if err := env.ParseWithOptions(&cfg.Environment, env.Options{Environment: values}); err != nil {
		return cfg, Error{err}
	}
	if cfg.DataDir == "" {
		cfg.DataDir = defaultDataDir(environ)
	}
	cfg.understand(&wrong)
	checkNames(environ, &wrong)
	return cfg, wrong.err()
}

// DatabaseURL reads DATABASE_URL, or its file, alone.
func DatabaseURL(environ Environ) (string, error) {
	var wrong faults
	values := readVariables(environ, []variable{{name: databaseURL, secret: true}}, &wrong)
	checkDatabaseURL(&wrong, values[databaseURL])
	return values[databaseURL], wrong.err()
}

func defaultDataDir(environ Environ) string {
	if dir := environ.Get("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "mergegate")
	}
	home := environ.Get("HOME")
	if home == "" {
		home, _ = os.UserHomeDir()
	}
	return filepath.Join(home, ".local", "share", "mergegate")
}

func (c *Config) understand(wrong *faults) {
	checkDatabaseURL(wrong, c.DatabaseURL)
	if strings.HasPrefix(c.DataDir, "~") {
		wrong.add("MERGEGATE_DATA_DIR", "%s begins with ~, which only a shell expands; write the whole path, for example /var/lib/mergegate", quoted(c.DataDir))
	}
	c.understandHTTP(wrong)
	c.understandAppVeyor(wrong)
	c.understandBitbucket(wrong)
	c.understandForge(wrong)
	c.understandNetworks(wrong)
	var err error
	if c.Retention, err = parseRetention(c.Environment.Retention); err != nil {
		wrong.add("MERGEGATE_RETENTION", "%v", err)
	}
	if c.SecretKeys, err = parseKeys(c.SecretKey); err != nil {
		wrong.add("MERGEGATE_SECRET_KEY", "%v", err)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, strings.ToLower(c.LogLevel)) {
		wrong.add("MERGEGATE_LOG_LEVEL", "%s is not debug, info, warn or error", quoted(c.LogLevel))
	}
	if !slices.Contains([]string{"", "json", "text"}, c.LogFormat) {
		wrong.add("MERGEGATE_LOG_FORMAT", "%s is not json or text", quoted(c.LogFormat))
	}
}

func (c *Config) understandHTTP(wrong *faults) {
	checkListen(wrong, "MERGEGATE_LISTEN", c.Listen)
	if c.AdminListen != "" {
		checkListen(wrong, "MERGEGATE_ADMIN_LISTEN", c.AdminListen)
	}
	if c.AdminListen == c.Listen && !strings.HasSuffix(c.Listen, ":0") {
		wrong.add("MERGEGATE_ADMIN_LISTEN", "%s is the address of MERGEGATE_LISTEN too; choose another port, for example 127.0.0.1:9090", quoted(c.AdminListen))
	}
	if c.PublicURL != "" {
		checkPublicURL(wrong, c.PublicURL)
	}
}

func (c *Config) understandAppVeyor(wrong *faults) {
	var err error
	if c.Accounts, err = parseAccounts(c.AppVeyorAccounts); err != nil {
		wrong.add("MERGEGATE_APPVEYOR_ACCOUNTS", "%v", err)
	}
	if c.AppVeyorWebhookSecret != "" && c.AppVeyorAccounts == "" {
		wrong.add("MERGEGATE_APPVEYOR_ACCOUNTS", "is required with MERGEGATE_APPVEYOR_WEBHOOK_SECRET: without it mergegate trusts no build; set it to account=workspace, for example acme=acme-team")
	}
	checkAppVeyorURL(wrong, c.AppVeyorURL)
	c.AppVeyorSecrets = List(c.AppVeyorWebhookSecret)
	if c.AppVeyorTokens, err = parseTokens(c.AppVeyorToken); err != nil {
		wrong.add("MERGEGATE_APPVEYOR_TOKEN", "%v", err)
	}
	if c.ReconcileInterval, err = policy.ParseDuration(c.Environment.ReconcileInterval); err != nil || c.ReconcileInterval < time.Second {
		wrong.add("MERGEGATE_RECONCILE_INTERVAL", "%s is not a duration of 1s or more, for example 2m", quoted(c.Environment.ReconcileInterval))
	}
}

func (c *Config) understandBitbucket(wrong *faults) {
	checkBitbucketURL(wrong, c.BitbucketAPIURL)
	c.BitbucketSecrets = webhookSecrets(c.BitbucketWebhookSecret)
	if c.Accounts != nil {
		checkWebhookWorkspaces(wrong, c.BitbucketSecrets, c.Accounts)
	}
	c.checkCredentials(wrong)
}

// checkCredentials wants one credential for Bitbucket at most, whole.
func (c *Config) checkCredentials(wrong *faults) {
	bothOrNone(wrong, "MERGEGATE_BITBUCKET_EMAIL", c.BitbucketEmail, "MERGEGATE_BITBUCKET_API_TOKEN", c.BitbucketAPIToken)
	bothOrNone(wrong, "MERGEGATE_BITBUCKET_OAUTH_CLIENT_ID", c.BitbucketOAuthClientID,
		"MERGEGATE_BITBUCKET_OAUTH_CLIENT_SECRET", c.BitbucketOAuthClientSecret)
	if c.BitbucketEmail != "" && !strings.Contains(c.BitbucketEmail, "@") {
		wrong.add("MERGEGATE_BITBUCKET_EMAIL", "%s is not an e-mail address; give that of the API token's Atlassian account", quoted(c.BitbucketEmail))
	}
	var set []string
	for _, credential := range []struct{ name, value string }{
		{"MERGEGATE_BITBUCKET_TOKEN", c.BitbucketToken},
		{"MERGEGATE_BITBUCKET_API_TOKEN", c.BitbucketAPIToken},
		{"MERGEGATE_BITBUCKET_OAUTH_CLIENT_SECRET", c.BitbucketOAuthClientSecret},
	} {
		if credential.value != "" {
			set = append(set, credential.name)
		}
	}
	if len(set) > 1 {
		wrong.add(set[0], "is set, and so is %s; set one credential for Bitbucket", strings.Join(set[1:], " and "))
	}
	// Atlassian's tokens say by their first letters what they are for.
	if strings.HasPrefix(c.BitbucketToken, "ATATT") {
		wrong.add("MERGEGATE_BITBUCKET_TOKEN", "is an API token; set it as MERGEGATE_BITBUCKET_API_TOKEN, with MERGEGATE_BITBUCKET_EMAIL")
	}
	if strings.HasPrefix(c.BitbucketAPIToken, "ATCTT") {
		wrong.add("MERGEGATE_BITBUCKET_API_TOKEN", "is an access token; set it as MERGEGATE_BITBUCKET_TOKEN, without MERGEGATE_BITBUCKET_EMAIL")
	}
}

// appID is the form of a Forge app's ARI.
var appID = regexp.MustCompile(`^ari:cloud:ecosystem::app/[^\s/]+$`)

// forgeEnvironments are those that Forge has.
var forgeEnvironments = []string{"DEVELOPMENT", "STAGING", "PRODUCTION"}

func (c *Config) understandForge(wrong *faults) {
	c.ForgeAppIDs, c.ForgeEnvironments = List(c.ForgeAppID), List(c.Environment.ForgeEnvironments)
	for _, id := range c.ForgeAppIDs {
		if strings.HasSuffix(id, "/00000000-0000-0000-0000-000000000000") {
			wrong.add("MERGEGATE_FORGE_APP_ID", "%s is the placeholder of manifest/manifest.yml; run forge register there, which writes your app's id", quoted(id))
			continue
		}
		if !appID.MatchString(id) {
			wrong.add("MERGEGATE_FORGE_APP_ID", "%s is not an app id of the form ari:cloud:ecosystem::app/UUID; copy app.id from manifest/manifest.yml", quoted(id))
		}
	}
	for _, name := range c.ForgeEnvironments {
		if !slices.Contains(forgeEnvironments, strings.ToUpper(name)) {
			wrong.add("MERGEGATE_FORGE_ENVIRONMENTS", "%s is not one of %s", quoted(name), strings.Join(forgeEnvironments, ", "))
		}
	}
	checkURL(wrong, "MERGEGATE_FORGE_JWKS_URL", c.ForgeJWKSURL, "https://forge.cdn.prod.atlassian-dev.net/.well-known/jwks.json")
}

func (c *Config) understandNetworks(wrong *faults) {
	for _, text := range List(c.Environment.WebhookNetworks) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			example := "10.1.0.0/16"
			if address, err := netip.ParseAddr(text); err == nil {
				example = netip.PrefixFrom(address, address.BitLen()).String()
			}
			wrong.add("MERGEGATE_WEBHOOK_NETWORKS", "%s is not a network in CIDR form, for example %s", quoted(text), example)
			continue
		}
		c.WebhookNetworks = append(c.WebhookNetworks, prefix.Masked())
	}
}

// SigningKey signs the addresses of pages and badges: derived, so that none tells anything of
// the key itself.
func (c *Config) SigningKey() []byte {
	if len(c.SecretKeys) == 0 {
		return nil
	}
	mac := hmac.New(sha256.New, c.SecretKeys[0])
	_, _ = mac.Write([]byte("signed addresses"))
	return mac.Sum(nil)
}

// BitbucketCredential names the credential that is used, for operators. A
// workspace where the Forge app is installed is read with the app's token.
func (c *Config) BitbucketCredential() string {
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
