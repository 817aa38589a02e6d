package forge_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"mergegate/internal/forge"
	"mergegate/internal/forge/forgetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newIssuer(t testing.TB) *forgetest.Issuer {
	t.Helper()
	issuer, err := forgetest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(issuer.Close)
	return issuer
}

func newVerifier(t testing.TB, issuer *forgetest.Issuer, cfg forge.Config) *forge.Verifier {
	t.Helper()
	if cfg.AppIDs == nil {
		cfg.AppIDs = []string{"ari:cloud:ecosystem::app/other", forgetest.AppID}
	}
	cfg.JWKSURL = issuer.URL + "/.well-known/jwks.json"
	verifier, err := forge.NewVerifier(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return verifier
}

func TestVerify(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t)
	at := time.Now().Truncate(time.Second)
	verifier := newVerifier(t, issuer, forge.Config{Environments: []string{"production", "STAGING"}, Now: func() time.Time { return at }})
	ago := func(d time.Duration) forgetest.Option { return forgetest.WithIssued(at.Add(-d)) }
	list := func(options ...forgetest.Option) []forgetest.Option { return options }
	for name, test := range map[string]struct {
		token   string // "": signed with options
		options []forgetest.Option
		want    error
		reason  string
	}{
		"as it should be":            {},
		"from a function":            {options: list(forgetest.WithoutClaim("context"))},
		"another environment's name": {options: list(forgetest.WithEnvironment("Staging"))},
		"no app.id":                  {options: list(forgetest.WithoutClaim("app.id"))},
		"null labels":                {options: list(forgetest.WithClaim("icLabel", nil), forgetest.WithClaim("principal", nil))},
		"list of one audience":       {options: list(forgetest.WithClaim("aud", []string{forgetest.AppID}))},
		"expired within leeway":      {options: list(ago(50 * time.Second))},
		"early within leeway":        {options: list(ago(-20 * time.Second))},
		"no nbf":                     {options: list(forgetest.WithoutClaim("nbf"))},

		"empty":                 {token: " ", want: forge.ErrUnauthorized, reason: "it isn't a JSON web token"},
		"three dots":            {token: "a.b.c", want: forge.ErrUnauthorized, reason: "it isn't a JSON web token"},
		"too long":              {token: strings.Repeat("a", 20<<10), want: forge.ErrUnauthorized, reason: "too long"},
		"expired":               {options: list(ago(2 * time.Minute)), want: forge.ErrUnauthorized, reason: "it expired 1m35s ago"},
		"not valid yet":         {options: list(ago(-time.Hour)), want: forge.ErrUnauthorized, reason: "it isn't valid before "},
		"no exp":                {options: list(forgetest.WithoutClaim("exp")), want: forge.ErrUnauthorized, reason: "it lacks a required claim"},
		"other issuer":          {options: list(forgetest.WithClaim("iss", "forge")), want: forge.ErrUnauthorized, reason: "its issuer is not"},
		"no issuer":             {options: list(forgetest.WithoutClaim("iss")), want: forge.ErrUnauthorized},
		"other app":             {options: list(forgetest.WithApp("ari:x")), want: forge.ErrUnauthorized, reason: `it is for another app, "ari:x"`},
		"no audience":           {options: list(forgetest.WithoutClaim("aud")), want: forge.ErrUnauthorized},
		"two audiences":         {options: list(forgetest.WithClaim("aud", []string{forgetest.AppID, "x"})), want: forge.ErrUnauthorized, reason: "several audiences"},
		"app is not audience":   {options: list(forgetest.WithClaim("app.id", "ari:cloud:ecosystem::app/other")), want: forge.ErrUnauthorized, reason: "its app and its audience differ"},
		"other environment":     {options: list(forgetest.WithEnvironment("DEVELOPMENT")), want: forge.ErrUnauthorized, reason: `its environment is "DEVELOPMENT"`},
		"no environment":        {options: list(forgetest.WithoutClaim("app.environment")), want: forge.ErrUnauthorized, reason: `its environment is ""`},
		"isolated cloud":        {options: list(forgetest.WithClaim("icLabel", "orange")), want: forge.ErrUnauthorized, reason: "isolated cloud"},
		"a person":              {options: list(forgetest.WithClaim("principal", "655362:312d3308")), want: forge.ErrForbidden},
		"a person, other type":  {options: list(forgetest.WithClaim("principal", map[string]any{})), want: forge.ErrForbidden},
		"claims of other types": {options: list(forgetest.WithClaim("app", "x")), want: forge.ErrUnauthorized, reason: "it isn't a JSON web token"},
		"foreign key":           {options: list(forgetest.WithForeignKey()), want: forge.ErrUnauthorized, reason: "its signature isn't a valid RS256 signature"},
		"unknown key":           {options: list(forgetest.WithKeyID("forged")), want: forge.ErrUnauthorized, reason: "it is signed with an unknown key"},
		"no key id":             {options: list(forgetest.WithKeyID("")), want: forge.ErrUnauthorized, reason: "it is signed with an unknown key"},
		"none":                  {options: list(forgetest.WithAlgorithm("none")), want: forge.ErrUnauthorized, reason: "RS256"},
		"HS256":                 {options: list(forgetest.WithAlgorithm("HS256")), want: forge.ErrUnauthorized, reason: "RS256"},
		"RS512":                 {options: list(forgetest.WithAlgorithm("RS512")), want: forge.ErrUnauthorized, reason: "RS256"},
		"PS256":                 {options: list(forgetest.WithAlgorithm("PS256")), want: forge.ErrUnauthorized, reason: "RS256"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token := test.token
			if token == "" {
				token = issuer.Token(test.options...)
			}
			got, err := verifier.Verify(t.Context(), token)
			if !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.reason) {
				t.Fatalf("got %v, want %v: %s", err, test.want, test.reason)
			}
			if err != nil && containsPart(err.Error(), token) {
				t.Errorf("the error has a part of the token: %v", err)
			}
			if err == nil && (got.AppID != forgetest.AppID || got.InstallationID != forgetest.InstallationID || got.ModuleKey != "merge-check" || !got.ForWorkspace(forgetest.WorkspaceUUID)) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func containsPart(text, token string) bool {
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 3 && strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// TestAtlassiansSample: the documented claims are a person's, of an isolated cloud and of development.
func TestAtlassiansSample(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t)
	at := time.Unix(1700175150, 0)
	now := func() time.Time { return at }
	production := newVerifier(t, issuer, forge.Config{Now: now})
	development := newVerifier(t, issuer, forge.Config{Now: now, Environments: []string{"DEVELOPMENT"}})
	for name, test := range map[string]struct {
		verifier *forge.Verifier
		without  []string
		want     error
	}{
		"as it is":                  {verifier: production, want: forge.ErrUnauthorized},
		"in its environment":        {verifier: development, want: forge.ErrUnauthorized},
		"without icLabel":           {verifier: development, without: []string{"icLabel"}, want: forge.ErrForbidden},
		"without principal, either": {verifier: development, without: []string{"icLabel", "principal"}},
		"in production":             {verifier: production, without: []string{"icLabel", "principal"}, want: forge.ErrUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := []forgetest.Option{forgetest.WithClaims(sampleClaims(t))}
			for _, claim := range test.without {
				options = append(options, forgetest.WithoutClaim(claim))
			}
			got, err := test.verifier.Verify(t.Context(), issuer.Token(options...))
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if err == nil && !got.ForWorkspace("{B7EA02C9-0871-4858-a2a6-a190d7de977c}") {
				t.Errorf("not for its workspace: %+v", got)
			}
		})
	}
}

func sampleClaims(t *testing.T) map[string]any {
	t.Helper()
	data, err := os.ReadFile("testdata/fit-sample-decoded.json")
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(data, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// TestTimesThatAreNone: a parser that reads them as floating-point numbers takes what is beyond int64 for long ago.
func TestTimesThatAreNone(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t)
	at := time.Now().Truncate(time.Second)
	verifier := newVerifier(t, issuer, forge.Config{Now: func() time.Time { return at }})
	now := strconv.FormatInt(at.Unix(), 10)
	for name, value := range map[string]any{
		"beyond int64":           json.RawMessage("9223372036854775808"),
		"the most of int64":      json.RawMessage("9223372036854775807"),
		"in the year 10000":      json.RawMessage("253402300800"),
		"huge":                   json.RawMessage("1e300"),
		"beyond float64":         json.RawMessage("1e400"),
		"with an exponent":       json.RawMessage("1.8e9"),
		"negative":               json.RawMessage("-1"),
		"negative, beyond int64": json.RawMessage("-9223372036854775809"),
		"fractional":             json.RawMessage(now + ".5"),
		"whole, with a fraction": json.RawMessage(now + ".0"),
		"a text":                 now,
		"a time":                 at.Format(time.RFC3339),
		"a list":                 []int64{at.Unix()},
		"true":                   true,
	} {
		for _, claim := range []string{"exp", "nbf", "iat"} {
			t.Run(claim+" "+name, func(t *testing.T) {
				t.Parallel()
				_, err := verifier.Verify(t.Context(), issuer.Token(forgetest.WithIssued(at), forgetest.WithClaim(claim, value)))
				if !errors.Is(err, forge.ErrUnauthorized) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
	for name, option := range map[string]forgetest.Option{
		"without nbf": forgetest.WithoutClaim("nbf"), "without iat": forgetest.WithoutClaim("iat"),
		"null": forgetest.WithClaim("nbf", nil), "zero": forgetest.WithClaim("nbf", 0),
	} {
		if _, err := verifier.Verify(t.Context(), issuer.Token(forgetest.WithIssued(at), option)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestForWorkspace(t *testing.T) {
	t.Parallel()
	const own, other = forgetest.WorkspaceUUID, "cc8e193d-7603-4dfd-8771-fcc8960aa0fb"
	issuer := newIssuer(t)
	verifier := newVerifier(t, issuer, forge.Config{})
	context := func(name, id string) map[string]any { return map[string]any{"name": name, "workspaceId": id} }
	contexts := func(list ...any) forgetest.Option { return forgetest.WithClaim("app.installation.contexts", list) }
	for name, test := range map[string]struct {
		options []forgetest.Option
		asked   string
		want    bool
	}{
		"both say so":           {asked: own, want: true},
		"with braces and case":  {asked: "{" + strings.ToUpper(own) + "}", want: true},
		"another":               {asked: other},
		"none asked":            {asked: ""},
		"no UUID asked":         {asked: "ws"},
		"installation only":     {options: []forgetest.Option{forgetest.WithoutClaim("context")}, asked: own, want: true},
		"context only":          {options: []forgetest.Option{forgetest.WithoutClaim("app.installation")}, asked: own, want: true},
		"neither":               {options: []forgetest.Option{forgetest.WithoutClaim("app.installation"), forgetest.WithoutClaim("context")}, asked: own},
		"they differ":           {options: []forgetest.Option{forgetest.WithClaim("context.workspaceId", "{"+other+"}")}, asked: own},
		"they differ, reversed": {options: []forgetest.Option{forgetest.WithClaim("context.workspaceId", "{"+other+"}")}, asked: other},
		"two installations":     {options: []forgetest.Option{contexts(context("bitbucket", own), context("bitbucket", other))}, asked: own},
		"another product":       {options: []forgetest.Option{contexts(context("jira", other), context("bitbucket", own))}, asked: own, want: true},
		"no UUID in it":         {options: []forgetest.Option{contexts(context("bitbucket", "ws"))}, asked: own},
		"an ARI":                {options: []forgetest.Option{contexts(context("bitbucket", "ari:cloud:bitbucket::workspace/"+own))}, asked: own, want: true},
		"an ARI with braces":    {options: []forgetest.Option{contexts(context("bitbucket", "ari:cloud:bitbucket::workspace/{"+strings.ToUpper(own)+"}"))}, asked: own, want: true},
		"an ARI in the context": {options: []forgetest.Option{forgetest.WithClaim("context.workspaceId", "ari:cloud:bitbucket::workspace/"+own)}, asked: own, want: true},
		"ARIs alone": {options: []forgetest.Option{
			contexts(context("bitbucket", "ari:cloud:bitbucket::workspace/"+own)), forgetest.WithClaim("context.workspaceId", "ari:cloud:bitbucket::workspace/{"+own+"}"),
		}, asked: own, want: true},
		"an ARI of another one":   {options: []forgetest.Option{contexts(context("bitbucket", "ari:cloud:bitbucket::workspace/"+other))}, asked: own},
		"an ARI of two":           {options: []forgetest.Option{contexts(context("bitbucket", "ari:cloud:bitbucket::workspace/"+own+"/"+other))}, asked: own},
		"an ARI of none":          {options: []forgetest.Option{contexts(context("bitbucket", "ari:cloud:bitbucket::workspace/"))}, asked: own},
		"an ARI with a slug":      {options: []forgetest.Option{contexts(context("bitbucket", "ari:cloud:bitbucket::workspace/ws"))}, asked: own},
		"a path that is no ARI":   {options: []forgetest.Option{contexts(context("bitbucket", "workspace/"+own))}, asked: own},
		"a UUID in odd braces":    {options: []forgetest.Option{contexts(context("bitbucket", "{{"+own+"}}"))}, asked: own},
		"a UUID in single braces": {options: []forgetest.Option{contexts(context("bitbucket", "{"+own+"}"))}, asked: own, want: true},
		"a wide context":          {options: []forgetest.Option{contexts(context("bitbucket", "")), forgetest.WithClaim("context.workspaceId", own)}, asked: own, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			invocation, err := verifier.Verify(t.Context(), issuer.Token(test.options...))
			if err != nil {
				t.Fatal(err)
			}
			if got := invocation.ForWorkspace(test.asked); got != test.want {
				t.Errorf("got %v for %q of %+v", got, test.asked, invocation)
			}
		})
	}
}

func TestNewVerifierRefusesBadConfiguration(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]forge.Config{
		"no app":          {},
		"an empty app id": {AppIDs: []string{""}},
		"no URL":          {AppIDs: []string{"a"}, JWKSURL: "keys"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := forge.NewVerifier(t.Context(), config); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// TestWeakKeysAreNotUsed: a set may have keys of all kinds.
func TestWeakKeysAreNotUsed(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t)
	issuer.AddJWK("nonsense")
	issuer.AddJWK(map[string]any{"kty": "EC", "crv": "P-256", "kid": "ec", "x": "AA", "y": "AA"})
	issuer.AddJWK(map[string]any{"kty": "oct", "kid": "oct", "k": "AAAA"})
	good := issuer.Token()
	if _, err := issuer.AddKey(1024); err != nil {
		t.Fatal(err)
	}
	verifier := newVerifier(t, issuer, forge.Config{})
	if _, err := verifier.Verify(t.Context(), good); err != nil {
		t.Errorf("the good key: %v", err)
	}
	if _, err := verifier.Verify(t.Context(), issuer.Token()); !errors.Is(err, forge.ErrUnauthorized) {
		t.Errorf("the short key: %v", err)
	}
	if keys, read, err := verifier.KeyStatus(); keys != 1 || read.IsZero() || err != nil {
		t.Errorf("status %d, %s, %v", keys, read, err)
	}
}

// TestWithoutKeys: what keeps the keys from being read keeps no one waiting for long.
func TestWithoutKeys(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]forgetest.Fault{
		"down":         {Status: http.StatusServiceUnavailable},
		"hanging":      {Hang: true},
		"reset":        {Reset: true},
		"HTML":         {HTML: true},
		"empty":        {Status: http.StatusOK},
		"no set":       {Body: `{}`},
		"null":         {Body: `{"keys":null}`},
		"followed":     {Body: `{"keys":[]}garbage`},
		"elsewhere":    {Redirect: "http://127.0.0.1:1/"},
		"larger":       {Body: `{"keys":[],"x":"` + strings.Repeat("x", 2<<20) + `"}`},
		"another type": {Body: `[]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			issuer := newIssuer(t)
			issuer.OnRequest(func(*http.Request) forgetest.Fault { return fault })
			verifier := newVerifier(t, issuer, forge.Config{})
			_, err := verifier.Verify(t.Context(), issuer.Token())
			if !errors.Is(err, forge.ErrUnauthorized) || !strings.Contains(err.Error(), "mergegate can't read Atlassian's keys") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestVerifyRespectsItsContext(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t)
	issuer.OnRequest(func(*http.Request) forgetest.Fault { return forgetest.Fault{Hang: true} })
	verifier := newVerifier(t, issuer, forge.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := verifier.Verify(ctx, issuer.Token()); !errors.Is(err, forge.ErrUnauthorized) || !strings.Contains(err.Error(), "took too long") {
		t.Errorf("got %v", err)
	}
}

func TestInvocationFields(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t)
	got, err := newVerifier(t, issuer, forge.Config{}).Verify(t.Context(), issuer.Token(forgetest.WithoutClaim("app.installationId")))
	want := forge.Invocation{AppID: forgetest.AppID, InstallationID: forgetest.InstallationID, Environment: "PRODUCTION", ModuleKey: "merge-check"}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(forge.Invocation{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// FuzzVerify gives any token: what is accepted says what the one good token says.
func FuzzVerify(f *testing.F) {
	issuer := newIssuer(f)
	at := time.Now().Truncate(time.Second)
	verifier := newVerifier(f, issuer, forge.Config{Now: func() time.Time { return at }})
	good := issuer.Token(forgetest.WithIssued(at))
	want, err := verifier.Verify(f.Context(), good)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		good, "", "..", issuer.Token(forgetest.WithIssued(at), forgetest.WithAlgorithm("none")),
		issuer.Token(forgetest.WithIssued(at), forgetest.WithAlgorithm("HS256")), issuer.Token(forgetest.WithIssued(at), forgetest.WithForeignKey()),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond) // no waiting for keys that join
		defer cancel()
		got, err := verifier.Verify(ctx, token)
		if err != nil {
			if !errors.Is(err, forge.ErrUnauthorized) && !errors.Is(err, forge.ErrForbidden) {
				t.Errorf("unexpected kind of error: %v", err)
			}
			return
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(), cmp.AllowUnexported(forge.Invocation{})); diff != "" {
			t.Errorf("%q is accepted (-want +got):\n%s", token, diff)
		}
	})
}
