package main

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mergegate/internal/config"
	"mergegate/internal/doctor"
	"mergegate/internal/postgres/postgrestest"
	"mergegate/internal/server/servertest"
)

const (
	appveyorToken = "a1b2c3d4e5f6a7b8c9d0"
	storageKey    = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
)

// change alters an answer to a request for path.
type change func(path string, header http.Header) (status int)

// through is a proxy before a server that changes its answers.
func through(t *testing.T, target string, change change) string {
	t.Helper()
	server := httptest.NewServer(proxyTo(t, target, change))
	t.Cleanup(server.Close)
	return server.URL
}

func proxyTo(t *testing.T, target string, change change) http.Handler {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) },
		ModifyResponse: func(res *http.Response) error {
			if status := change(res.Request.URL.Path, res.Header); status != 0 {
				res.StatusCode = status
			}
			return nil
		},
	}
}

// front puts TLS before the service, which commands in the returned environment
// trust.
func (w *world) front(change change) (env []string) {
	w.T.Helper()
	server := httptest.NewUnstartedServer(proxyTo(w.T, w.URL, change))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that don't trust it
	server.StartTLS()
	w.T.Cleanup(server.Close)
	file := filepath.Join(w.T.TempDir(), "ca.pem")
	w.Must(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	return []string{"MERGEGATE_PUBLIC_URL=" + server.URL, "SSL_CERT_FILE=" + file}
}

func asIs(string, http.Header) int { return 0 }

// with has an answer carry a header.
func with(name, value string) change {
	return func(_ string, header http.Header) int {
		header.Set(name, value)
		return 0
	}
}

// late has a clock be behind.
func late(by time.Duration) change {
	return func(_ string, header http.Header) int {
		header.Set("Date", time.Now().Add(-by).UTC().Format(http.TimeFormat))
		return 0
	}
}

// diagnose runs doctor and answers its findings by check: of several the worst,
// with what all of those say.
func (w *world) diagnose(args ...string) map[string]doctor.Finding {
	w.T.Helper()
	code, out, errs := w.outcome("", append([]string{"doctor", "--json"}, args...)...)
	var findings []doctor.Finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil {
		w.T.Fatalf("doctor --json: %v\n%s%s", err, out, errs)
	}
	worst := map[string]doctor.Finding{}
	order := []string{"", doctor.OK, doctor.Warning, doctor.Fault}
	for _, f := range findings {
		if slices.Index(order, f.State) > slices.Index(order, worst[f.Check].State) {
			worst[f.Check] = f
		} else if known := worst[f.Check]; known.State == f.State {
			worst[f.Check] = doctor.Finding{Check: f.Check, State: f.State, Detail: known.Detail + "; " + f.Detail, Fix: known.Fix + "; " + f.Fix}
		}
		if (f.State == doctor.OK) != (f.Fix == "") {
			w.T.Errorf("what to do about %+v", f)
		}
	}
	faulty := slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.State == doctor.Fault })
	if faulty != (code == 1) || !faulty && code != 0 {
		w.T.Errorf("exit code %d with %s", code, out)
	}
	if strings.Contains(out+errs, "pg-password") {
		w.T.Errorf("the database's password is printed:\n%s%s", out, errs)
	}
	for name, value := range w.Env {
		secret := strings.Contains(name, "TOKEN") || strings.Contains(name, "SECRET")
		for _, one := range config.List(value) {
			if secret && strings.Contains(out+errs, one) {
				w.T.Errorf("%s is printed:\n%s%s", name, out, errs)
			}
		}
	}
	return worst
}

// attended is a world in which doctor has nothing to say, but of the database the
// tests run on.
func attended(t *testing.T) *world {
	t.Helper()
	w := idleWorld(t, "MERGEGATE_APPVEYOR_TOKEN="+appveyorToken, "MERGEGATE_SECRET_KEY="+storageKey, "MERGEGATE_BITBUCKET_WEBHOOK_SECRET=bb-hook-secret")
	w.AppVeyor.RequireToken("acme", appveyorToken)
	w.Bitbucket.LimitRate(1000)
	w.start()
	w.Token = w.command("token", "create", "--name", "test", "--scope", "admin")
	w.Expect("no_build", "")
	w.Built(commit('1'), "success")
	w.Env["MERGEGATE_BITBUCKET_API_URL"] = through(t, w.Bitbucket.URL, with("X-OAuth-Scopes", "pullrequest"))
	return w.with(w.front(asIs)...)
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	w := attended(t)
	well := map[string]doctor.Finding{}
	maps.Copy(well, w.diagnose())
	for check, found := range well {
		if found.State != doctor.OK && check != "database durability" { // test servers may leave fsync out
			t.Errorf("of a service that is well: %+v", found)
		}
	}

	refusing := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusTeapot) }))
	t.Cleanup(refusing.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	pending := postgrestest.New(t)
	w.with("DATABASE_URL="+pending).command("migrate", "down", "--yes")
	readOnly := postgrestest.New(t)
	postgrestest.Exec(t, readOnly, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`)
	noWebhook := func(path string, _ http.Header) int {
		if strings.HasPrefix(path, "/webhooks") {
			return http.StatusNotFound
		}
		return 0
	}
	w.Bitbucket.AllowToken("narrow-token", "acme")
	w.Bitbucket.LimitToken("narrow-token", "repository")
	bitbucketWith := func(change change) []string {
		return []string{"MERGEGATE_BITBUCKET_API_URL=" + through(t, w.Bitbucket.URL, change)}
	}
	tests := []struct {
		name  string
		env   []string
		check string
		state string
		want  string // in what is found or what to do
	}{
		{name: "a variable", env: []string{"MERGEGATE_RETENTION=x"}, check: "configuration", state: doctor.Fault, want: "MERGEGATE_RETENTION: "},
		{name: "two credentials", env: []string{"MERGEGATE_BITBUCKET_EMAIL=a@example.com", "MERGEGATE_BITBUCKET_API_TOKEN=api-token-1"}, check: "configuration", state: doctor.Fault, want: "set one credential"},
		{name: "no database", env: []string{"DATABASE_URL=postgres://mergegate:pg-password@127.0.0.1:1/none"}, check: "database", state: doctor.Fault, want: "see that the server runs"},
		{name: "a read-only database", env: []string{"DATABASE_URL=" + readOnly}, check: "database writable", state: doctor.Fault, want: "default_transaction_read_only"},
		{name: "a pooler in transaction mode", env: []string{"DATABASE_URL=" + postgrestest.Pooler(t, w.Database)}, check: "database sessions", state: doctor.Fault, want: "session mode"},
		{name: "an empty database", env: []string{"DATABASE_URL=" + pending}, check: "database migrations", state: doctor.Warning, want: "mergegate migrate up"},
		{name: "an empty database, whose workspaces AppVeyor tells", env: []string{"DATABASE_URL=" + pending}, check: "bitbucket acme", state: doctor.OK, want: "the access token is accepted"},

		{name: "AppVeyor is away", env: []string{"MERGEGATE_APPVEYOR_URL=" + gone.URL}, check: "appveyor", state: doctor.Fault, want: "does not answer"},
		{name: "AppVeyor's short name", env: []string{"MERGEGATE_APPVEYOR_URL=http://localhost:1"}, check: "appveyor url", state: doctor.Warning, want: "no dot"},
		{name: "nobody is trusted", env: []string{"MERGEGATE_APPVEYOR_ACCOUNTS=", "MERGEGATE_APPVEYOR_WEBHOOK_SECRET="}, check: "appveyor accounts", state: doctor.Fault, want: "MERGEGATE_APPVEYOR_ACCOUNTS="},
		{name: "no webhook secret", env: []string{"MERGEGATE_APPVEYOR_WEBHOOK_SECRET="}, check: "appveyor webhook secret", state: doctor.Warning, want: "404"},
		{name: "no token of AppVeyor", env: []string{"MERGEGATE_APPVEYOR_TOKEN="}, check: "appveyor account acme", state: doctor.Warning, want: "there is no token"},
		{name: "a token that AppVeyor doesn't take", env: []string{"MERGEGATE_APPVEYOR_TOKEN=b1b2c3d4e5f6a7b8c9d0"}, check: "appveyor account acme", state: doctor.Fault, want: "does not accept the token"},
		{name: "a token of another form", env: []string{"MERGEGATE_APPVEYOR_TOKEN=Bearer-x"}, check: "appveyor account acme token", state: doctor.Warning, want: "has not the form"},
		{name: "a user's token for an account that isn't his", env: []string{"MERGEGATE_APPVEYOR_TOKEN=v2." + appveyorToken}, check: "appveyor account acme", state: doctor.Fault, want: "make another"},
		{name: "a token of another account", env: []string{"MERGEGATE_APPVEYOR_ACCOUNTS=acme=acme,other=acme"}, check: "appveyor account other", state: doctor.Fault, want: "is of account acme"},
		{name: "a token of nobody who is trusted", env: []string{"MERGEGATE_APPVEYOR_TOKEN=acme=" + appveyorToken + ",other=c1b2c3d4e5f6a7b8c9d0"}, check: "appveyor account other", state: doctor.Warning, want: "not trusted"},

		{name: "no public URL", env: []string{"MERGEGATE_PUBLIC_URL="}, check: "public url", state: doctor.Warning, want: "MERGEGATE_PUBLIC_URL is not set"},
		{name: "no TLS", env: []string{"MERGEGATE_PUBLIC_URL=" + w.URL}, check: "public url", state: doctor.Fault, want: "is not https"},
		{name: "a short public name", env: []string{"MERGEGATE_PUBLIC_URL=https://localhost:1"}, check: "public url", state: doctor.Fault, want: "no dot"},
		{name: "nothing at the public URL", env: []string{"MERGEGATE_PUBLIC_URL=" + gone.URL}, check: "public url", state: doctor.Fault, want: "does not answer"},
		{name: "something else at the public URL", env: []string{"MERGEGATE_PUBLIC_URL=" + refusing.URL}, check: "public url", state: doctor.Fault, want: "answered 418"},
		{name: "a certificate nobody trusts", env: []string{"SSL_CERT_FILE=/dev/null"}, check: "public url", state: doctor.Fault, want: "certificate"},
		{name: "a webhook that is not there", env: w.front(noWebhook), check: "webhook of appveyor", state: doctor.Fault, want: "start the service with MERGEGATE_APPVEYOR_WEBHOOK_SECRET"},
		{name: "Bitbucket's webhook that is not there", env: w.front(noWebhook), check: "webhook of bitbucket", state: doctor.Fault, want: "MERGEGATE_BITBUCKET_WEBHOOK_SECRET"},

		{name: "no credential for Bitbucket", env: []string{"MERGEGATE_BITBUCKET_TOKEN=", "MERGEGATE_FORGE_APP_ID="}, check: "bitbucket acme", state: doctor.Fault, want: "there is no credential"},
		{name: "no credential for Bitbucket yet", env: []string{"MERGEGATE_BITBUCKET_TOKEN="}, check: "bitbucket acme", state: doctor.Warning, want: "comes with its first call"},
		{name: "a token that Bitbucket doesn't take", env: []string{"MERGEGATE_BITBUCKET_TOKEN=stale"}, check: "bitbucket acme", state: doctor.Fault, want: "has expired or was revoked"},
		{name: "no scope for pull requests", env: bitbucketWith(with("X-OAuth-Scopes", "repository")), check: "bitbucket acme", state: doctor.Fault, want: "pullrequest or read:pullrequest:bitbucket"},
		{name: "scopes that don't imply one another", env: bitbucketWith(with("X-OAuth-Scopes", "write:pullrequest:bitbucket")), check: "bitbucket acme", state: doctor.Fault, want: "read:repository:bitbucket for statuses, pullrequest"},
		{name: "a token for the repository alone", env: []string{"MERGEGATE_BITBUCKET_TOKEN=narrow-token"}, check: "bitbucket acme pull requests", state: doctor.Fault, want: "may not list pull requests of acme/widgets"},
		{name: "a workspace that isn't there", env: []string{"MERGEGATE_APPVEYOR_ACCOUNTS=acme=acne"}, check: "mapping acme=acne", state: doctor.Fault, want: "Bitbucket has no workspace acne"},
		{name: "another workspace than the one it builds", env: []string{"MERGEGATE_APPVEYOR_ACCOUNTS=acme=acne"}, check: "appveyor account acme", state: doctor.Fault, want: "build acme/widgets, but MERGEGATE_APPVEYOR_ACCOUNTS maps it to acne"},
		{name: "scopes that are not told", env: []string{"MERGEGATE_BITBUCKET_API_URL=" + w.Bitbucket.URL}, check: "bitbucket acme", state: doctor.OK, want: "does not tell its scopes"},
		{
			name: "a rate limit that is nearly used up", env: bitbucketWith(with("X-RateLimit-NearLimit", "true")),
			check: "bitbucket acme rate limit", state: doctor.Warning, want: "less than a fifth of 1000",
		},
		{name: "Bitbucket is away", env: []string{"MERGEGATE_BITBUCKET_API_URL=" + gone.URL}, check: "bitbucket acme", state: doctor.Fault, want: "let this machine reach"},

		{name: "no Forge app", env: []string{"MERGEGATE_FORGE_APP_ID="}, check: "forge app", state: doctor.Warning, want: "docs/install.md"},
		{name: "an app's id of another form", env: []string{"MERGEGATE_FORGE_APP_ID=8db33809-1f32-48bb-8c52-5877dab48107"}, check: "configuration", state: doctor.Fault, want: "ari:cloud:ecosystem::app/"},
		{name: "an environment that isn't one", env: []string{"MERGEGATE_FORGE_ENVIRONMENTS=LIVE"}, check: "configuration", state: doctor.Fault, want: "DEVELOPMENT, STAGING, PRODUCTION"},
		{name: "no production", env: []string{"MERGEGATE_FORGE_ENVIRONMENTS=staging"}, check: "forge environments", state: doctor.Warning, want: "forge deploy -e production"},
		{name: "no keys", env: []string{"MERGEGATE_FORGE_JWKS_URL=" + refusing.URL}, check: "forge keys", state: doctor.Fault, want: "418"},
		{name: "no secret key", env: []string{"MERGEGATE_SECRET_KEY="}, check: "secret key", state: doctor.Warning, want: "openssl rand -base64 32"},

		{name: "Bitbucket's clock", env: bitbucketWith(late(time.Minute)), check: "clocks", state: doctor.Fault, want: "the clock of Bitbucket"},
		{name: "AppVeyor's clock", env: []string{"MERGEGATE_APPVEYOR_URL=" + through(t, w.AppVeyor.URL, late(15*time.Second))}, check: "clocks", state: doctor.Warning, want: "the clock of AppVeyor"},
		{name: "the clock of Forge's keys", env: []string{"MERGEGATE_FORGE_JWKS_URL=" + through(t, w.Forge.URL, late(-time.Minute))}, check: "clocks", state: doctor.Fault, want: "NTP"},
		{name: "deliveries for good", env: []string{"MERGEGATE_RETENTION=decisions=400d"}, check: "retention", state: doctor.Warning, want: "for good"},
	}
	for _, tt := range tests {
		found := w.with(tt.env...).diagnose()
		if f := found[tt.check]; f.State != tt.state || !strings.Contains(f.Detail+" "+f.Fix, tt.want) {
			t.Errorf("%s: %s is %+v; want %s with %q", tt.name, tt.check, f, tt.state, tt.want)
		}
		if tt.state != doctor.OK && well[tt.check].State == tt.state {
			t.Errorf("%s: nothing cures %s", tt.name, tt.check)
		}
		// What one check found keeps no other from being made.
		for _, check := range []string{"configuration", "database", "appveyor", "forge app", "clocks", "retention"} {
			if _, ok := found[check]; !ok {
				t.Errorf("%s: there was no check of %s", tt.name, check)
			}
		}
	}
}

// TestDoctorKnowsWhatAPolicyNeeds has a policy ask for what needs more scopes.
func TestDoctorKnowsWhatAPolicyNeeds(t *testing.T) {
	t.Parallel()
	w := attended(t)
	w.Policy("rules: [{branches: main, effects: {comment: true, task: Wait}}]")
	if f := w.diagnose()["bitbucket acme"]; f.State != doctor.OK {
		t.Errorf("for comments: %+v", f)
	}
	w.Policy("rules: [{branches: main, effects: {approve: true}}]")
	if f := w.diagnose()["bitbucket acme"]; f.State != doctor.Fault || !strings.Contains(f.Detail, "pullrequest:write") {
		t.Errorf("for approving: %+v", f)
	}
	w.Env["MERGEGATE_BITBUCKET_API_URL"] = through(t, w.Bitbucket.URL, with("X-OAuth-Scopes", "repository, pullrequest:write"))
	if f := w.diagnose()["bitbucket acme"]; f.State != doctor.OK {
		t.Errorf("with the scope: %+v", f)
	}
}

// TestDoctorAndTheForgeApp has the app's token be what Bitbucket is asked with.
func TestDoctorAndTheForgeApp(t *testing.T) {
	t.Parallel()
	w := attended(t)
	const systemToken = "app-system-token-5d1e"
	w.Bitbucket.AllowToken(systemToken, "acme")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/forge/merge-check", strings.NewReader(servertest.Event("on-merge")))
	w.Must(err)
	req.Header.Set("Authorization", "Bearer "+w.Forge.Token())
	req.Header.Set("x-forge-oauth-system", systemToken)
	if res := servertest.Send(t, req); res.Status != http.StatusOK {
		t.Fatalf("merge check answered %d", res.Status)
	}
	found := w.diagnose()
	for check, want := range map[string]string{
		"bitbucket acme reading": "the app system token is accepted, and valid until", "bitbucket acme posting": "the access token is accepted",
	} {
		if f := found[check]; f.State != doctor.OK || !strings.Contains(f.Detail, want) {
			t.Errorf("%s: %+v", check, f)
		}
	}
	alone := w.with("MERGEGATE_BITBUCKET_TOKEN=")
	if f := alone.diagnose()["bitbucket acme"]; f.State != doctor.OK || !strings.Contains(f.Detail, "app system token") {
		t.Errorf("the app alone: %+v", f)
	}
	if f := alone.diagnose("--commit", repository, commit('1'))["commit status"]; f.State != doctor.OK {
		t.Errorf("the app posts: %+v", f)
	}
	another := w.with("MERGEGATE_SECRET_KEY=" + strings.Replace(storageKey, "MDEy", "NDEy", 1))
	if f := another.diagnose()["bitbucket acme reading"]; f.State != doctor.Fault || !strings.Contains(f.Fix, "the service's MERGEGATE_SECRET_KEY") {
		t.Errorf("another secret key: %+v", f)
	}
	w.Bitbucket.RevokeToken(systemToken)
	if f := w.diagnose()["bitbucket acme reading"]; f.State != doctor.Fault || !strings.Contains(f.Fix, "the next call of the Forge app") {
		t.Errorf("a token that Bitbucket rejects: %+v", f)
	}
}

func TestDoctorPostsAStatusWhereItIsTold(t *testing.T) {
	t.Parallel()
	w := attended(t)
	w.diagnose()
	statuses := func() (keys []string) {
		for _, s := range w.Bitbucket.CommitStatuses(repository, commit('1')) {
			keys = append(keys, s.Key+" "+s.State)
		}
		return keys
	}
	w.Equal("without --commit", []string{"appveyor-12064-pr-7 SUCCESSFUL"}, statuses())
	if f := w.diagnose("--commit", repository, commit('1'))["commit status"]; f.State != doctor.OK || !strings.Contains(f.Detail, "stays there") {
		t.Errorf("posted: %+v", f)
	}
	w.Equal("with it", []string{"appveyor-12064-pr-7 SUCCESSFUL", "mergegate-doctor SUCCESSFUL"}, statuses())
	if f := w.diagnose("--commit", repository, commit('9'))["commit status"]; f.State != doctor.Fault || !strings.Contains(f.Detail, "404") {
		t.Errorf("a commit that isn't there: %+v", f)
	}
	for _, args := range [][]string{{"--commit", repository}, {commit('1')}, {"--commit", "widgets", commit('1')}, {"--commit", repository, "main"}} {
		if code, _, errs := w.outcome("", append([]string{"doctor"}, args...)...); code != 2 {
			t.Errorf("doctor %v: exit code %d\n%s", args, code, errs)
		}
	}
}

// TestDoctorForPeople runs it without a database, and on the one that serve made, where it
// has nothing to say but what isn't configured.
func TestDoctorForPeople(t *testing.T) {
	t.Parallel()
	w := idleWorld(t, "DATABASE_URL=", "MERGEGATE_DATA_DIR="+servertest.ShortTempDir(t), "MERGEGATE_APPVEYOR_TOKEN="+appveyorToken)
	w.AppVeyor.RequireToken("acme", appveyorToken)
	code, out, errs := w.outcome("", "doctor")
	if want := "warning  database: DATABASE_URL is not set, and no mergegate serve is running"; code != 0 || !strings.Contains(out, want) {
		t.Errorf("before serve: exit code %d, and %q is not in\n%s%s", code, want, out, errs)
	}
	if left, err := os.ReadDir(w.Env["MERGEGATE_DATA_DIR"]); len(left) > 0 || err != nil {
		t.Errorf("doctor left %v, %v", left, err)
	}
	w.start()
	code, out, errs = w.outcome("", "doctor")
	for _, want := range []string{
		"ok       configuration: every variable can be read\n", "ok       database durability: what is committed survives a crash\n",
		"warning  public url: MERGEGATE_PUBLIC_URL is not set", "\n         to do: set it to the service's address",
		"ok       appveyor account acme: the token is accepted; 1 Bitbucket project: widgets of acme/widgets\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if code != 0 || strings.Contains(out, "fault  ") || !strings.HasSuffix(out, " ok, 1 warning, 0 faults\n") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

// TestEveryCallOfDoctorHasADeadline has everything hang.
func TestEveryCallOfDoctorHasADeadline(t *testing.T) {
	t.Parallel()
	w := attended(t)
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(3 * doctor.ExternalTimeout): // more than a call may take
		case <-hang:
		}
	}))
	t.Cleanup(func() { close(hang); server.Close() })
	began := time.Now()
	found := w.with("MERGEGATE_APPVEYOR_URL="+server.URL, "MERGEGATE_BITBUCKET_API_URL="+server.URL, "MERGEGATE_FORGE_JWKS_URL="+server.URL,
		"MERGEGATE_PUBLIC_URL="+server.URL).diagnose()
	for _, check := range []string{"appveyor", "appveyor account acme", "bitbucket acme", "forge keys", "public url"} {
		if found[check].State != doctor.Fault {
			t.Errorf("%s of a server that hangs: %+v", check, found[check])
		}
	}
	if took := time.Since(began); took > 9*doctor.ExternalTimeout {
		t.Errorf("it took %s", took)
	}
}
