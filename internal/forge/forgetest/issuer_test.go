package forgetest_test

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"mergegate/internal/forge"
	"mergegate/internal/forge/forgetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRotation: a verifier that starts after a rotation knows the new keys only.
func TestRotation(t *testing.T) {
	t.Parallel()
	issuer, err := forgetest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(issuer.Close)
	first := issuer.Token()
	if err := issuer.RemoveKey("key-1"); err == nil {
		t.Error("the only key was removed")
	}
	kid, err := issuer.AddKey(2048)
	if err != nil || kid != "key-2" {
		t.Fatalf("added %s, %v", kid, err)
	}
	second := issuer.Token()
	if err := issuer.RemoveKey("key-1"); err != nil {
		t.Error(err)
	}
	verify := func(token string) error {
		verifier, err := forge.NewVerifier(t.Context(), forge.Config{AppIDs: []string{forgetest.AppID}, JWKSURL: issuer.URL})
		if err != nil {
			t.Fatal(err)
		}
		_, err = verifier.Verify(t.Context(), token)
		return err
	}
	if err := verify(first); !errors.Is(err, forge.ErrUnauthorized) {
		t.Errorf("with the removed key: %v", err)
	}
	if err := verify(second); err != nil {
		t.Errorf("with the added key: %v", err)
	}
	if _, err := issuer.Rotate(); err != nil {
		t.Fatal(err)
	}
	if err := verify(second); !errors.Is(err, forge.ErrUnauthorized) {
		t.Errorf("with the key before the rotation: %v", err)
	}
	if err := verify(issuer.Token()); err != nil {
		t.Errorf("with the key after the rotation: %v", err)
	}
	if got := len(issuer.Requests()); got < 4 {
		t.Errorf("%d requests were counted", got)
	}
}
