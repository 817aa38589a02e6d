// Package config reads what the program is configured with: the environment.
//
//	cfg, err := config.Load(os.Getenv)
//
// An error is a [config.Error], which lists every fault at once.
package config

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
)

// Environment is every variable the program reads, as text. A secret may be
// given as a file instead, under the name with _FILE.
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

// Faults are what is wrong with the environment, each as "VARIABLE: what".
type Faults []string

func (f *Faults) add(variable, format string, args ...any) {
	*f = append(*f, variable+": "+fmt.Sprintf(format, args...))
}

func (f Faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return Error{f}
}

// Error lists every fault on a line of its own.
func (f Faults) Error() string { return "configuration:\n  " + strings.Join(f, "\n  ") }

// Load reads the environment. Its error lists every fault at once.
func Load(getenv func(string) string) (Config, error) {
	var cfg Config
	var wrong Faults
	values := readVariables(getenv, &wrong)
	if err := env.ParseWithOptions(&cfg.Environment, env.Options{Environment: values}); err != nil {
		return cfg, Error{err}
	}
	if cfg.DataDir == "" {
		cfg.DataDir = defaultDataDir(getenv)
	}
	cfg.understand(&wrong)
	return cfg, wrong.err()
}

// DatabaseURL reads DATABASE_URL, or its file, alone.
func DatabaseURL(getenv func(string) string) (string, error) {
	var wrong Faults
	values := readVariables(func(name string) string {
		if strings.HasPrefix(name, "DATABASE_URL") {
			return getenv(name)
		}
		return ""
	}, &wrong)
	return values["DATABASE_URL"], wrong.err()
}

// readVariables takes each variable from the environment, or a secret from the
// file that NAME_FILE names. Empty is unset.
func readVariables(getenv func(string) string, wrong *Faults) map[string]string {
	values := map[string]string{}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Environment]()) {
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
		if value != "" && field.Tag.Get("list") != "" && len(List(value)) == 0 {
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

func (c *Config) understand(wrong *Faults) {
	c.understandHTTP(wrong)
	c.understandAppVeyor(wrong)
	c.understandBitbucket(wrong)
	c.ForgeAppIDs, c.ForgeEnvironments = List(c.ForgeAppID), List(c.Environment.ForgeEnvironments)
	var err error
	if c.Retention, err = parseRetention(c.Environment.Retention); err != nil {
		wrong.add("MERGEGATE_RETENTION", "%v", err)
	}
	for _, text := range List(c.Environment.WebhookNetworks) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			wrong.add("MERGEGATE_WEBHOOK_NETWORKS", "%q is not a network like 10.1.0.0/16", text)
		}
		c.WebhookNetworks = append(c.WebhookNetworks, prefix.Masked())
	}
	if c.SecretKeys, err = parseKeys(c.SecretKey); err != nil {
		wrong.add("MERGEGATE_SECRET_KEY", "%v", err)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, strings.ToLower(c.LogLevel)) {
		wrong.add("MERGEGATE_LOG_LEVEL", "%q is not debug, info, warn or error", c.LogLevel)
	}
	if !slices.Contains([]string{"", "json", "text"}, c.LogFormat) {
		wrong.add("MERGEGATE_LOG_FORMAT", "%q is not json or text", c.LogFormat)
	}
}

func (c *Config) understandHTTP(wrong *Faults) {
	checkListen(wrong, "MERGEGATE_LISTEN", c.Listen)
	if c.AdminListen != "" {
		checkListen(wrong, "MERGEGATE_ADMIN_LISTEN", c.AdminListen)
	}
	if c.PublicURL != "" {
		checkURL(wrong, "MERGEGATE_PUBLIC_URL", c.PublicURL)
	}
	checkURL(wrong, "MERGEGATE_FORGE_JWKS_URL", c.ForgeJWKSURL)
}

func (c *Config) understandAppVeyor(wrong *Faults) {
	var err error
	if c.Accounts, err = parseAccounts(c.AppVeyorAccounts); err != nil {
		wrong.add("MERGEGATE_APPVEYOR_ACCOUNTS", "%v", err)
	}
	if c.AppVeyorWebhookSecret != "" && c.AppVeyorAccounts == "" {
		wrong.add("MERGEGATE_APPVEYOR_ACCOUNTS", "is required with MERGEGATE_APPVEYOR_WEBHOOK_SECRET: account=workspace, or no build is ever trusted")
	}
	checkURL(wrong, "MERGEGATE_APPVEYOR_URL", c.AppVeyorURL)
	c.AppVeyorSecrets = List(c.AppVeyorWebhookSecret)
	if c.AppVeyorTokens, err = parseTokens(c.AppVeyorToken); err != nil {
		wrong.add("MERGEGATE_APPVEYOR_TOKEN", "%v", err)
	}
	if c.ReconcileInterval, err = policy.ParseDuration(c.Environment.ReconcileInterval); err != nil || c.ReconcileInterval < time.Second {
		wrong.add("MERGEGATE_RECONCILE_INTERVAL", "%q is not a duration of 1s or more, like 2m", c.Environment.ReconcileInterval)
	}
}

func (c *Config) understandBitbucket(wrong *Faults) {
	checkURL(wrong, "MERGEGATE_BITBUCKET_API_URL", c.BitbucketAPIURL)
	c.BitbucketSecrets = webhookSecrets(c.BitbucketWebhookSecret)
	bothOrNone(wrong, "MERGEGATE_BITBUCKET_EMAIL", c.BitbucketEmail, "MERGEGATE_BITBUCKET_API_TOKEN", c.BitbucketAPIToken)
	bothOrNone(wrong, "MERGEGATE_BITBUCKET_OAUTH_CLIENT_ID", c.BitbucketOAuthClientID,
		"MERGEGATE_BITBUCKET_OAUTH_CLIENT_SECRET", c.BitbucketOAuthClientSecret)
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

func bothOrNone(wrong *Faults, nameA, a, nameB, b string) {
	if a != "" && b == "" {
		wrong.add(nameB, "is required with %s", nameA)
	}
	if a == "" && b != "" {
		wrong.add(nameA, "is required with %s", nameB)
	}
}

func checkListen(wrong *Faults, name, address string) {
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		wrong.add(name, "%q is not host:port, like 127.0.0.1:8080 or :8080", address)
	}
}

func checkURL(wrong *Faults, name, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
		wrong.add(name, "is not an http(s) URL without credentials")
	}
}
