package doctor

import (
	"context"
	"slices"
	"strings"
	"time"

	"mergegate/internal/forge"
	"mergegate/internal/terminal"
)

func (d *doctor) checkForge(ctx context.Context) {
	if len(d.cfg.ForgeAppIDs) == 0 {
		d.warn("forge app", "MERGEGATE_FORGE_APP_ID is not set: there is no merge check, only commit statuses", "deploy the app in manifest/ and set it to the app's id; docs/install.md says how")
		return
	}
	d.checkAppIDs()
	d.checkEnvironments()
	d.checkSecretKey()
	d.checkKeys(ctx)
	d.ok("plan", "Bitbucket does not tell the plan: only with Premium can a custom merge check be Required, which is what blocks a merge; else its answer is shown")
}

func (d *doctor) checkAppIDs() {
	d.ok("forge app", "%s; nothing but the app's next call tells whether this is its id: if merge checks answer 401, compare it with app.id in manifest/manifest.yml", strings.Join(d.cfg.ForgeAppIDs, ", "))
}

func (d *doctor) checkEnvironments() {
	const check = "forge environments"
	if !slices.ContainsFunc(d.cfg.ForgeEnvironments, func(name string) bool { return strings.EqualFold(name, "PRODUCTION") }) {
		d.warn(check, "PRODUCTION is not accepted", "deploy with forge deploy -e production, and accept PRODUCTION")
		return
	}
	d.ok(check, "%s", strings.Join(d.cfg.ForgeEnvironments, ", "))
}

// checkSecretKey wants a key where the app's tokens are used: without one a restart
// loses them, and replicas don't share them.
func (d *doctor) checkSecretKey() {
	const check = "secret key"
	switch {
	case len(d.cfg.SecretKeys) > 0:
		d.ok(check, "the app's tokens are stored encrypted; %s", terminal.Counted(len(d.cfg.SecretKeys), "key"))
	case d.cfg.DatabaseURL == "":
		d.ok(check, "it is kept in %s", d.cfg.DataDir)
	default:
		d.warn(check, "MERGEGATE_SECRET_KEY is not set: the app's tokens are lost with a restart and not shared by replicas", "set it to what openssl rand -base64 32 prints, the same for all replicas")
	}
}

func (d *doctor) checkKeys(ctx context.Context) {
	const check = "forge keys"
	ctx, cancel := context.WithTimeout(ctx, ExternalTimeout)
	defer cancel()
	asked := time.Now()
	keys, err := forge.ReadKeys(ctx, d.cfg.ForgeJWKSURL)
	d.heard("Forge's keys", keys.On, asked)
	switch {
	case err != nil:
		d.fault(check, d.cfg.ForgeJWKSURL+": "+reason(err), "let this machine reach it by HTTPS; without the keys every merge check is refused")
	case keys.Usable == 0:
		d.fault(check, d.cfg.ForgeJWKSURL+" has no key that tokens can be verified with", "see MERGEGATE_FORGE_JWKS_URL; its default is right for Atlassian's cloud")
	default:
		d.ok(check, "%s at %s", terminal.Counted(keys.Usable, "key"), d.cfg.ForgeJWKSURL)
	}
}
