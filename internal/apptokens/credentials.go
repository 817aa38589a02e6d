package apptokens

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mergegate/internal/bitbucket"
	"mergegate/internal/postgres"
)

// Credential is what Bitbucket is asked with in a workspace.
type Credential struct {
	WorkspaceUUID string
	Workspace     string // its slug; "" when it isn't known
	// Reading is for pull requests, Posting for commit statuses: only the creator
	// of a status may overwrite it, so that a configured credential, which stays,
	// comes before the app's there.
	Reading, Posting bitbucket.CredentialKind
	// AppTokenUntil is when the app system token expires; zero: there is none.
	AppTokenUntil time.Time
}

// maxWorkspaces bounds the list, and so the metrics made of it.
const maxWorkspaces = 1000

// Credentials tells for every workspace that is known which credential is used
// there; configured is the client without the app. Tokens that are only in the
// memory of another replica aren't seen.
func (t *Tokens) Credentials(ctx context.Context, configured *bitbucket.Client) ([]Credential, error) {
	workspaces, err := t.store.Workspaces(ctx, maxWorkspaces)
	if err != nil {
		return nil, err
	}
	expiries := map[string]time.Time{}
	if t.box.Usable() {
		if expiries, err = t.store.AppTokenExpiries(ctx); err != nil {
			return nil, err
		}
	}
	for workspace, until := range t.memory.Expiries() {
		if until.After(expiries[workspace]) {
			expiries[workspace] = until
		}
		if !slices.ContainsFunc(workspaces, func(w postgres.Workspace) bool { return w.UUID == workspace }) {
			workspaces = append(workspaces, postgres.Workspace{UUID: workspace})
		}
	}
	list := make([]Credential, len(workspaces))
	for i, w := range workspaces {
		list[i] = credentialOf(w, expiries[w.UUID], configured)
	}
	return list, nil
}

func credentialOf(w postgres.Workspace, until time.Time, configured *bitbucket.Client) Credential {
	kind := configured.CredentialKind()
	c := Credential{WorkspaceUUID: w.UUID, Workspace: w.Slug, Reading: kind, Posting: kind, AppTokenUntil: until}
	if until.IsZero() {
		return c
	}
	c.Reading = bitbucket.KindApp
	if kind == bitbucket.KindNone {
		c.Posting = bitbucket.KindApp
	}
	return c
}

// scrapeTimeout bounds what reading the metrics may wait for the store.
const scrapeTimeout = 2 * time.Second

// collector shows credentials as metrics, as they are when they are read.
type collector struct {
	tokens     *Tokens
	configured *bitbucket.Client
	log        *slog.Logger
	info       *prometheus.Desc
	expiry     *prometheus.Desc
}

// Collector returns the metrics of the credentials in use: what doctor and
// operators want to know without asking Bitbucket.
func (t *Tokens) Collector(configured *bitbucket.Client) prometheus.Collector {
	return &collector{
		tokens: t, configured: configured, log: t.log,
		info: prometheus.NewDesc("mergegate_bitbucket_credential_info",
			"The credential in use, by workspace and by what it is used for.", []string{"workspace", "use", "kind"}, nil),
		expiry: prometheus.NewDesc("mergegate_bitbucket_app_token_expiry_timestamp_seconds",
			"When the Forge app's system token of a workspace expires.", []string{"workspace"}, nil),
	}
}

// Describe names the metrics.
func (c *collector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- c.info
	descriptions <- c.expiry
}

// Collect reads them. A database that is down leaves them out: the others have
// to be seen then above all.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	credentials, err := c.tokens.Credentials(ctx, c.configured)
	if err != nil {
		c.log.DebugContext(ctx, "reading credentials for metrics failed", "error", err)
		return
	}
	for _, credential := range credentials {
		workspace := credential.Workspace
		if workspace == "" {
			workspace = credential.WorkspaceUUID
		}
		metrics <- prometheus.MustNewConstMetric(c.info, prometheus.GaugeValue, 1, workspace, "read", string(credential.Reading))
		metrics <- prometheus.MustNewConstMetric(c.info, prometheus.GaugeValue, 1, workspace, "post", string(credential.Posting))
		if until := credential.AppTokenUntil; !until.IsZero() {
			metrics <- prometheus.MustNewConstMetric(c.expiry, prometheus.GaugeValue, float64(until.Unix()), workspace)
		}
	}
}
